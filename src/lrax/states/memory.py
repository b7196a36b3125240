"""What a scheduler has learned from step to step."""

from typing import Any

import jax
import numpy as np

from .._types import PyTree
from .internals import TypedState
from .placement import strong

_HOST_TYPES = {np.ndarray, np.int32}


class Memory(TypedState):
    """A nested dict of numbers and arrays, each with the dtype it had at first."""

    def converted(self, new: PyTree, old: PyTree) -> PyTree:
        return jax.tree.map(lambda leaf, before: strong(leaf, before.dtype, before), new, old)

    def peek(self) -> dict[str, Any] | None:
        """The value, if it is on the host."""
        value = self.held()
        kinds = {type(leaf) for part in value.values() for leaf in part.values()}
        return value if kinds <= _HOST_TYPES else None
