"""Who shares memory with whom: what may be given away, and what has to be copied first."""

import itertools
import operator
import sys
import weakref
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, TypeAlias

import brainstate
import jax

from .._types import Leaf, PyTree

Leaves: TypeAlias = tuple[Leaf, ...]

_ALONE = max(map(sys.getrefcount, [object()])) + 1
"""The references to a leaf in a list and a tuple, and nowhere else, while they are counted."""


class Lender:
    """What a program gives away, call after call, and how it knows that it has it for itself.

    An array that anything else refers to is not given away: a variable, a clone, a view of NumPy.
    References tell nothing of another array on the same memory. But what a program returns has memory
    of its own, so such an array is looked for only where a leaf has come from elsewhere.
    """

    _all: ClassVar["weakref.WeakSet[Lender]"] = weakref.WeakSet()

    def __init__(
        self,
        states: Sequence[brainstate.State],
        shapes: set[tuple[int, ...]],
        arguments: list[Leaf],
    ) -> None:
        self.last: Leaves = ()
        """What the States held after its last call."""

        self._shapes = shapes
        self._arguments_alike = bool(self._alike(arguments))
        self._states = {*map(id, states)}
        # They refer to the same leaves, if they had the last call.
        self._others: weakref.WeakSet[Lender] = weakref.WeakSet()
        for other in self._all:
            if not self._states.isdisjoint(other._states):
                other._others.add(self)
                self._others.add(other)
        self._all.add(self)

    def own(self, leaves: list[Leaf], lent: Leaves, kept: Leaves, arguments: PyTree) -> Leaves:
        """`lent`, with copies of what the program does not have for itself.

        Nothing but the first two arguments refers to a leaf that it does.
        """
        last, self.last = self.last or (None,) * len(leaves), ()
        come = self._alike(itertools.compress(leaves, map(operator.is_not, leaves, last)))
        del last  # or it would count
        if come:
            made = {id(leaf) for other in self._others for leaf in other.last}
            come = [leaf for leaf in come if id(leaf) not in made]
        held = max(map(sys.getrefcount, lent)) > _ALONE
        if held:
            for other in self._others:
                other.last = ()
            held = max(map(sys.getrefcount, lent)) > _ALONE
        if not (come or self._arguments_alike or held):
            return lent

        strange = {*map(id, come)}
        del come
        is_held = [count > _ALONE for count in map(sys.getrefcount, lent)]
        near: list[Leaf] = []
        if strange or self._arguments_alike:
            near += *kept, *jax.tree.leaves(arguments)
        if not strange.isdisjoint(map(id, lent)):
            near += [leaf for leaf in jax.live_arrays() if leaf.aval.shape in self._shapes]
        return _exclusive(lent, is_held, near)

    def _alike(self, leaves: Iterable[Leaf]) -> list[Leaf]:
        """Arrays that may have the memory of what is lent: they have its shape."""
        return [
            leaf for leaf in leaves if isinstance(leaf, jax.Array) and leaf.shape in self._shapes
        ]


def _exclusive(lent: Leaves, held: list[bool], near: list[Leaf]) -> Leaves:
    """`lent`, with copies of those that are `held`, or whose memory another one or one of `near` has."""
    mine = {*map(id, lent)}
    taken: set[Any] = set()
    for leaf in near:
        if id(leaf) not in mine:
            taken |= _buffers(leaf)
    own: list[Leaf] = []
    for leaf, is_held in zip(lent, held, strict=True):
        buffers = _buffers(leaf)
        if buffers and (is_held or buffers & taken):
            leaf = _copy(leaf)
        own.append(leaf)
        taken |= buffers
    return tuple(own)


def _buffers(leaf: Leaf) -> set[Any]:
    """What tells two arrays apart that share memory: where it is, on each device of this process."""
    if not isinstance(leaf, jax.Array):
        return set()
    try:
        # It would wait for what computes the array, which may call a Python function, but keep the GIL from it.
        leaf.block_until_ready()
        return {leaf.unsafe_buffer_pointer()}
    except (ValueError, RuntimeError, NotImplementedError):
        pass  # it is gone, or on several devices
    try:
        # Its parts are arrays, too, and remain: they are not compared with it.
        return {(s.device.id, s.data.unsafe_buffer_pointer()) for s in leaf.addressable_shards}
    except (ValueError, RuntimeError, NotImplementedError):
        return {id(leaf)}


def _copy(leaf: jax.Array) -> jax.Array:
    """The same in memory of its own, by no program: one to compile, and to be run by every process."""
    if leaf.is_fully_addressable:
        return jax.device_put(leaf, may_alias=False)
    parts = [jax.device_put(shard.data, may_alias=False) for shard in leaf.addressable_shards]
    return jax.make_array_from_single_device_arrays(leaf.shape, leaf.sharding, parts)
