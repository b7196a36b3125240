"""A jit for functions that use States."""

from .compiled import jit as jit
