"""The classes that users name, one family a file."""
