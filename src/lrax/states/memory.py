"""What a scheduler has learned from step to step."""

from typing import Any

import jax
import numpy as np

from .._checks import is_traced
from .._types import PyTree
from .internals import TypedState
from .placement import on_host, strong

_HOST_TYPES = {np.ndarray, np.int32}


class Memory(TypedState):
    """A nested dict of numbers and arrays, each with the dtype it had at first."""

    def converted(self, new: PyTree, old: PyTree) -> PyTree:
        return jax.tree.map(lambda leaf, before: strong(leaf, before.dtype, before), new, old)

    def peek(self) -> dict[str, Any] | None:
        """The value on the host, if it is nowhere that a new one would have to be put."""
        value = self.held()
        kinds = {type(leaf) for part in value.values() for leaf in part.values()}
        if kinds <= _HOST_TYPES:
            return value
        leaves = jax.tree.leaves(value)
        if any(is_traced(leaf) or getattr(leaf, "committed", False) for leaf in leaves):
            return None
        return {
            key: {name: on_host(leaf) for name, leaf in part.items()} for key, part in value.items()
        }
