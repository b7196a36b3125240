"""A jit for functions that use States."""

from .program import jit as jit
