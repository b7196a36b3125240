"""Small leaves of one shape as the rows of one array: one kernel updates what would take one for each of them.

A kernel for a small leaf costs more to start than to run, and each array that a step takes and gives back
costs as well: moments as rows are few arrays. Only directions that look at each number alone can be used so.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .._checks import is_known, is_traced
from .._transfers import fetched, meant
from .._types import Leaf
from .weights import accurate

LARGEST = 1024
"""The numbers of a leaf for which starting a kernel still matters: with 4096 joining the rows costs more."""

TOGETHER, ROWS = 32, 8
"""So many leaves are one array, more are several of so many rows.

XLA compiles a kernel once for all places where it is needed: what joins eight rows, updates them and takes
one out. One that joins more than a few is compiled at each place.
"""


class Stack(NamedTuple):
    """Leaves that are the rows of one array."""

    paths: tuple[str, ...]
    shape: tuple[int, ...]
    """That of a row."""


class Stacks(tuple[Stack, ...]):
    """Which leaves are rows, each array under the first of its paths; the others stay as they are."""

    def shapes(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Those of the rows, by path."""
        return ((path, stack.shape) for stack in self for path in stack.paths)

    def joined(self, leaves: Mapping[str, Leaf]) -> dict[str, Leaf]:
        found = dict(leaves)
        for stack in self:
            found[stack.paths[0]] = _joined([found.pop(path) for path in stack.paths])
        return found

    def split(self, arrays: Mapping[str, Leaf]) -> dict[str, Leaf]:
        """The leaves by path where no program is compiled for it, also those of many trainings."""
        found = dict(arrays)
        for stack in self:
            rows = found.pop(stack.paths[0])
            found |= zip(stack.paths, _split(rows, stack), strict=True)
        return found

    def taken(self, arrays: Mapping[str, Leaf], numbers: Sequence[Leaf]) -> dict[str, Leaf]:
        """The leaves by path in a program, which is told the numbers of the rows.

        With numbers that it knew XLA would compile a kernel for each.
        """
        found = dict(arrays)
        for stack in self:
            rows, first = found.pop(stack.paths[0]), (np.int32(0),) * len(stack.shape)
            for path, number in zip(stack.paths, numbers, strict=False):
                row = jax.lax.dynamic_slice(
                    rows, (number, *first), (1, *stack.shape), allow_negative_indices=False
                )
                found[path] = row.reshape(stack.shape)
        return found


def stacks_of(leaves: Mapping[str, Leaf], fewest: int) -> Stacks:
    """Which of these weights are rows: small ones on one device of this process, at least so many of a shape."""
    alike: dict[Any, list[str]] = {}
    for path, leaf in leaves.items():
        if np.size(leaf) <= LARGEST and _is_here(leaf):
            where = leaf.sharding if isinstance(leaf, jax.Array) else None
            kind = np.shape(leaf), accurate(jnp.result_type(leaf)), where
            alike.setdefault(kind, []).append(path)
    many = ((paths, shape) for (shape, *_), paths in alike.items() if len(paths) >= fewest)
    return Stacks(stack for paths, shape in many for stack in _cut(paths, shape))


def numbers_of(every: Iterable[Stacks]) -> tuple[Leaf, ...]:
    """The numbers of the rows, as many as the largest array has."""
    most = max((len(stack.paths) for stacks in every for stack in stacks), default=0)
    return tuple(np.int32(i) for i in range(most))


def _is_here(leaf: Leaf) -> bool:
    if isinstance(leaf, jax.Array):
        return is_known(leaf) and len(leaf.sharding.device_set) == 1
    return True


def _cut(paths: Sequence[str], shape: tuple[int, ...]) -> Iterator[Stack]:
    rows = len(paths) if len(paths) <= TOGETHER else ROWS
    for i in range(0, len(paths) - rows + 1, rows):
        yield Stack(tuple(paths[i : i + rows]), shape)


def _joined(leaves: Sequence[Leaf]) -> Leaf:
    if any(map(is_traced, leaves)):
        return jnp.concatenate([jnp.reshape(leaf, (1, *jnp.shape(leaf))) for leaf in leaves])
    with meant():
        return jnp.asarray(np.stack([*map(fetched, leaves)]))


def _split(rows: Leaf, stack: Stack) -> Iterator[Leaf]:
    behind = (slice(None),) * len(stack.shape)
    known = not is_traced(rows)
    rows = fetched(rows) if known else rows
    for i, _ in enumerate(stack.paths):
        row = rows[(..., i, *behind)]
        with meant():  # a copy: a donating step gives away what it is a part of
            yield jnp.array(row) if known else row
