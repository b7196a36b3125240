"""What a scheduler has learned from step to step."""

from typing import Any

import jax

from .._checks import is_traced
from .._types import PyTree
from .internals import TypedState
from .placement import strong


class Memory(TypedState):
    """A nested dict of numbers and arrays, each with the dtype it had at first."""

    def converted(self, new: PyTree, old: PyTree) -> PyTree:
        return jax.tree.map(lambda leaf, before: strong(leaf, before.dtype, before), new, old)

    def peek(self) -> dict[str, Any] | None:
        """The value, if none of it is traced, or somewhere that a new one would have to be put."""
        value = self.held()
        for part in value.values():
            for leaf in part.values():
                if is_traced(leaf) or getattr(leaf, "committed", False):
                    return None
        return value
