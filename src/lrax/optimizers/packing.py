"""Optax states as a few flat arrays: whole numbers in one, the rest in a tuple.

A compiled step hands each array over and counts each scalar up in a kernel of its own, and jax sorts
the keys of a nested dict whenever it flattens it. A small step feels all of that.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .._checks import is_traced
from .._transfers import fetched, meant
from .._types import Leaf, PyTree
from .stacks import Stacks


@dataclasses.dataclass(frozen=True)
class Layout:
    """How one optax state is taken apart and put together again."""

    stacks: Stacks
    structure: Any
    """That of the state in which the stacks are arrays."""

    counted: tuple[bool, ...]
    """For each leaf whether it is a whole number."""

    def joined(self, state: PyTree) -> PyTree:
        """The state with stacks, from one with a leaf for each weight."""
        return _in_dicts(self.stacks.joined, state)

    def split(self, state: PyTree) -> PyTree:
        """The state with a leaf for each weight, from one with stacks."""
        return _in_dicts(self.stacks.split, state)

    def apart(self, state: PyTree) -> tuple[list[Leaf], tuple[Leaf, ...]]:
        """Its whole numbers, and the other leaves."""
        pairs = list(zip(jax.tree.leaves(state), self.counted, strict=True))
        counts = [leaf for leaf, counted in pairs if counted]
        return counts, tuple(leaf for leaf, counted in pairs if not counted)

    def together(self, counts: Sequence[Leaf], moments: Sequence[Leaf]) -> PyTree:
        """The state, from what :meth:`apart` gave."""
        numbers, others = iter(counts), iter(moments)
        return self.structure.unflatten(
            next(numbers if counted else others) for counted in self.counted
        )


class Packed(NamedTuple):
    """What the State of an optimizer holds."""

    counts: Leaf
    """The counters of the optimizer, that of updates first, then the whole numbers of each state: int32."""

    moments: tuple[tuple[Leaf, ...], ...]
    """The other leaves of each state."""

    beside: dict[str, Any] = {}  # noqa: RUF012 (nobody changes it)
    """What the optimizer keeps beside the states."""

    numbers: tuple[Leaf, ...] = ()
    """Those of the rows of stacks, for a program to be told."""


def _in_dicts(change: Callable[[Any], PyTree], state: PyTree) -> PyTree:
    """A state with something else in place of its dicts, which are by the paths of weights."""
    is_dict = lambda node: isinstance(node, dict)  # noqa: E731
    return jax.tree.map(lambda n: change(n) if is_dict(n) else n, state, is_leaf=is_dict)


def layout_of(state: PyTree, stacks: Stacks) -> Layout:
    """How a state with a leaf for each weight is packed."""
    leaves, structure = jax.tree.flatten(_in_dicts(stacks.joined, state))
    return Layout(
        stacks,
        structure,
        tuple(np.shape(leaf) == () and jnp.result_type(leaf) == np.int32 for leaf in leaves),
    )


def pack(
    counters: Sequence[Leaf],
    states: Sequence[PyTree],
    layouts: Sequence[Layout],
    beside: dict[str, Any],
    rows: tuple[Leaf, ...] = (),
) -> Packed:
    """The counters of an optimizer, its optax states, and what is beside them, as its State holds them."""
    counts, moments = [*counters], []
    for state, layout in zip(states, layouts, strict=True):
        own, rest = layout.apart(state)
        counts += own
        moments.append(rest)
    if any(map(is_traced, counts)):
        # Not jnp.stack, which under vmap would put the mapped axis last.
        numbers = jnp.concatenate([jnp.asarray(count, np.int32).reshape(1) for count in counts])
    else:
        numbers = np.stack([*map(fetched, counts)], dtype=np.int32)
    return Packed(numbers, tuple(moments), beside, rows)


def unpack(packed: Packed, layouts: Sequence[Layout]) -> tuple[list[Leaf], list[PyTree]]:
    """The counters and the optax states."""
    counts = packed.counts
    numbers = [counts[..., i] for i in range(counts.shape[-1])]
    own = len(numbers) - sum(sum(layout.counted) for layout in layouts)
    counters, numbers = numbers[:own], numbers[own:]
    states = []
    for layout, moments in zip(layouts, packed.moments, strict=True):
        size = sum(layout.counted)
        states.append(layout.together(numbers[:size], moments))
        numbers = numbers[size:]
    return counters, states


def counter(packed: Packed, place: int) -> Leaf:
    with meant():  # the index goes to where the counts are
        return packed.counts[..., place]
