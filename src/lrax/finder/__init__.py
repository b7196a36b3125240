"""The range test that finds a learning rate."""

from .search import find_lr as find_lr
