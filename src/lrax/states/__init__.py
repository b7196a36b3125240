"""What changes: the clock, what a plateau remembers, what is published."""
