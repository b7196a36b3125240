"""The preview of a schedule: the check-up, and the command line."""
