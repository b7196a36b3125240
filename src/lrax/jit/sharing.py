"""Who shares memory with whom: what may be given away, and what has to be copied first."""

import itertools
import operator
import sys
import weakref
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, TypeAlias

import brainstate
import jax
import numpy as np

from .._types import Leaf, PyTree

Leaves: TypeAlias = tuple[Leaf, ...]
Kind: TypeAlias = tuple[tuple[int, ...], Any]
"""Shape and dtype."""

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
        kinds: set[Kind],
        large: set[Kind],
        arguments: list[Leaf],
        made: list[int],
    ) -> None:
        self.last: Leaves = ()
        """What the States held after its last call."""

        self._kinds = kinds
        self._large = large
        """Those of what is not a number of ours: an argument may have its memory, and jax says no if it has that of a number."""
        self._arguments_alike = bool(_alike(arguments, large))
        self._known: list[weakref.ref[jax.Array]] = []
        """The arguments of the last call, which have memory of their own."""

        self._made = made
        """Where in `last` that is which the program has made itself."""

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
        come = [*itertools.compress(leaves, map(operator.is_not, leaves, last))]
        del last  # or it would count
        if come and (come := _alike(come, self._kinds)):
            alive = (other for other in self._others if other.last)
            made = {id(other.last[n]) for other in alive for n in other._made}
            come = [leaf for leaf in come if id(leaf) not in made]
        held = max(map(sys.getrefcount, lent)) > _ALONE
        if held:
            for other in self._others:
                other.last = ()
            held = max(map(sys.getrefcount, lent)) > _ALONE
        strange = {*map(id, come)}
        del come
        if not (strange or held) and (not self._arguments_alike or self._knows(arguments)):
            return lent

        is_held = [count > _ALONE for count in map(sys.getrefcount, lent)]
        given = _alike(jax.tree.leaves(arguments), self._large)
        near = [*kept, *given]
        if not strange.isdisjoint(map(id, lent)):
            shapes = {shape for shape, _ in self._kinds} | {*map(_shape_of_shards, lent)}
            near += [leaf for leaf in jax.live_arrays() if leaf.aval.shape in shapes]
        self._known = [*map(weakref.ref, given)]
        return _exclusive(lent, is_held, near)

    def _knows(self, arguments: PyTree) -> bool:
        """Whether the arguments that may have such memory are those of the last call."""
        given = _alike(jax.tree.leaves(arguments), self._large)
        known = [known() for known in self._known]
        return len(given) == len(known) and all(map(operator.is_, given, known))


def _alike(leaves: Iterable[Leaf], kinds: set[Kind]) -> list[Leaf]:
    """Arrays that may have the memory of what is lent: they are of its kind."""
    return [
        leaf
        for leaf in leaves
        if isinstance(leaf, jax.Array) and (leaf.aval.shape, leaf.aval.dtype) in kinds
    ]


def kind(leaf: Leaf) -> Kind:
    return np.shape(leaf), jax.dtypes.result_type(leaf)


def is_on_one_device(leaf: Leaf) -> bool:
    return not isinstance(leaf, jax.Array) or len(leaf.sharding.device_set) == 1


def _shape_of_shards(leaf: Leaf) -> tuple[int, ...] | None:
    """An array of it may be one of the shards, on one device."""
    return None if is_on_one_device(leaf) else leaf.sharding.shard_shape(leaf.aval.shape)


def _exclusive(lent: Leaves, held: list[bool], near: list[Leaf]) -> Leaves:
    """`lent`, with copies of those that are `held`, or whose memory another one or one of `near` has."""
    near = [leaf for leaf in near if isinstance(leaf, jax.Array)]
    mine, kinds = {*map(id, lent)}, {*map(kind, near)}
    taken: set[Any] = set()
    for leaf in near:
        if id(leaf) not in mine:
            taken |= _buffers(leaf)
    own: list[Leaf] = []
    for leaf, is_held in zip(lent, held, strict=True):
        if isinstance(leaf, jax.Array):
            near_it = kind(leaf) in kinds or not is_on_one_device(leaf)
            buffers = _buffers(leaf) if near_it else set()
            if is_held or buffers & taken:
                leaf = _copy(leaf)
            taken |= buffers
        own.append(leaf)
    return tuple(own)


def _buffers(leaf: jax.Array) -> set[Any]:
    """What tells two arrays apart that share memory: where it is, on each device of this process."""
    try:
        # It would wait for what computes the array, which may call a Python function, but keep the GIL from it.
        leaf.block_until_ready()
        (device,) = leaf.devices()
        return {(device.id, leaf.unsafe_buffer_pointer())}
    except (ValueError, RuntimeError, NotImplementedError):
        pass  # it is gone, or on several devices
    try:
        return {(s.device.id, s.data.unsafe_buffer_pointer()) for s in leaf.addressable_shards}
    except (ValueError, RuntimeError, NotImplementedError):
        return {id(leaf)}


def _copy(leaf: jax.Array) -> jax.Array:
    """The same in memory of its own, by no program: one to compile, and to be run by every process."""
    if leaf.is_fully_addressable:
        return jax.device_put(leaf, may_alias=False)
    parts = [jax.device_put(shard.data, may_alias=False) for shard in leaf.addressable_shards]
    return jax.make_array_from_single_device_arrays(leaf.shape, leaf.sharding, parts)
