"""What changes: the clock, what a schedule remembers, what is published."""
