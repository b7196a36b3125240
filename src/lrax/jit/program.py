"""A function of States, traced for one signature of its arguments and compiled on the leaves of its States."""

import itertools
import operator
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from .._types import Function, Leaf, PyTree
from ..states.internals import Bundle, Trace, TypedState, trace, writes_as_is
from ..states.placement import given, key_numbers
from .sharing import exclusive

Kind: TypeAlias = tuple[tuple[int, ...], Any]
"""Shape and dtype."""


class Stale(Exception):
    """A State has another shape than when the function was traced."""


def is_about_a_gone_array(error: Exception) -> bool:
    return any(text in str(error) for text in ("has been deleted", "deleted or donated"))


class _Leaf(NamedTuple):
    """An array that a State holds when the program begins."""

    place: int
    """Where the jaxpr takes it, among the leaves of all States."""

    kind: Kind
    becomes: int | None
    """The output of the jaxpr that takes its place; None if the State is not written, or becomes another tree."""

    passes: bool
    """Whether that output is the leaf itself."""

    lent: bool
    """Whether its memory is given to what becomes of it."""


def _leaves(traced: Trace, donate: bool) -> list[list[_Leaf]]:
    """The leaves of each State, and what becomes of them."""
    inputs, outputs = traced.jaxpr.jaxpr.invars, traced.jaxpr.jaxpr.outvars
    values = [jax.tree.flatten(state.value) for state in traced.states]
    first = len(inputs) - sum(len(leaves) for leaves, _ in values)
    places, found = itertools.count(), []
    for i, (leaves, structure) in enumerate(values):
        after, new_structure = jax.tree.flatten(traced.after[i] if traced.written[i] else None)
        if new_structure != structure:
            after = [None] * len(leaves)
        # What is small and logged is not lent: XLA would have to copy it first.
        lendable = donate and not isinstance(traced.states[i], TypedState)
        found.append([])
        for leaf, becomes in zip(leaves, after, strict=True):
            place, kind = next(places), _kind(key_numbers(leaf))
            passes = becomes is not None and outputs[becomes] is inputs[first + place]
            # What has another shape afterwards cannot lend its memory to it.
            fits = becomes is not None and _kind(leaf) == _kind(outputs[becomes].aval)
            lent = lendable and fits and not passes
            found[-1].append(_Leaf(place, kind, becomes, passes, lent))
    return found


class Program:
    """The function, traced for one signature of its arguments and compiled on the leaves of its States."""

    def __init__(self, fn: Function, donate: bool, args: PyTree, kwargs: PyTree) -> None:
        traced = trace(fn, args, kwargs)
        leaves_of = _leaves(traced, donate)

        # The States, those that are written first.
        order = sorted(range(len(traced.states)), key=lambda i: not traced.written[i])
        written = order[: sum(traced.written)]
        self._trace = traced
        self._bundle = Bundle([traced.states[i] for i in order])
        self._written = self._bundle.states[: len(written)]
        self._as_is = all(map(writes_as_is, self._written))

        # What they hold before and after, as flat lists.
        leaves = [leaf for i in order for leaf in leaves_of[i]]
        self._before = jax.tree.structure([traced.states[i].value for i in order])
        after, self._after = jax.tree.flatten([traced.after[i] for i in written])
        self._rest = sum(len(leaves_of[i]) for i in written)

        # What goes in: leaves that are lent, and others.
        self._lent = [leaf.lent for leaf in leaves]
        self._kept = [not leaf.lent for leaf in leaves]
        self._places = [leaf.place for leaf in (*self._split(leaves)[0], *self._split(leaves)[1])]
        self._shapes = [_kind(leaf) for leaf in jax.tree.leaves([s.value for s in traced.states])]
        self._lent_kinds = {leaf.kind for leaf in leaves if leaf.lent}

        # What comes out: leaves that are other ones afterwards. Those that pass stay where they are.
        passed = {leaf.becomes: n for n, leaf in enumerate(leaves) if leaf.passes}
        self._passed = [(n, passed[b]) for n, b in enumerate(after) if b in passed]
        self._changed = [b for b in after if b not in passed]
        self._last: list[Leaf] = []
        self._run = jax.jit(self._flat, donate_argnums=(0,))

    def __call__(self, arguments: list[Leaf]) -> PyTree:
        fast = self._bundle.direct()
        leaves = self._leaves(self._bundle.peek() if fast else None)
        lent, kept = self._split(leaves)
        if lent and not self._is_exclusive(leaves, arguments):
            lent = exclusive(lent, kept + arguments)
        try:
            out, new = self._run(lent, kept, arguments)
        except (RuntimeError, ValueError) as error:
            _explain(error, lent)
            raise
        for n, old in self._passed:
            leaf = leaves[old]
            new.insert(n, leaf if isinstance(leaf, jax.Array) else jnp.asarray(leaf))
        self._last = new + leaves[self._rest :]
        values = self._after.unflatten(new)
        if fast and self._as_is:
            self._bundle.poke(values)
        else:
            for state, value in zip(self._written, values, strict=True):
                state.value = value
        return out

    def _leaves(self, values: list[Leaf] | None = None) -> list[Leaf]:
        """What the States hold, those that are written first."""
        if values is None:
            values = [state.value for state in self._bundle.states]
        leaves, structure = jax.tree.flatten(values)
        if structure != self._before:
            raise Stale
        return given(leaves)

    def _split(self, leaves: Sequence[Leaf]) -> tuple[list[Leaf], list[Leaf]]:
        """Leaves that are lent, and others."""
        return [*itertools.compress(leaves, self._lent)], [*itertools.compress(leaves, self._kept)]

    def _is_exclusive(self, leaves: list[Leaf], arguments: list[Leaf]) -> bool:
        """Whether it is known without looking at memory that nothing shares the buffers of what is lent.

        What a program returns shares nothing with what was there before. So it takes an array that
        has come since, and it shares memory only with one of its own shape and dtype.
        """
        if len(self._last) != len(leaves):
            return False
        come = itertools.compress(leaves, map(operator.is_not, leaves, self._last))
        return not any(
            isinstance(leaf, jax.Array)
            # A random key shares memory with the numbers that it is made of.
            and (
                (leaf.shape, leaf.dtype) in self._lent_kinds or not isinstance(leaf.dtype, np.dtype)
            )
            for leaf in (*come, *arguments)
        )

    def lower(self, arguments: list[Leaf]) -> jax.stages.Lowered:
        return self._run.lower(*self._split(self._leaves()), arguments)

    def _flat(self, lent: list[Leaf], kept: list[Leaf], arguments: list[Leaf]) -> PyTree:
        """The program itself, in which the leaves are in the order of the jaxpr again."""
        taken = zip(self._places, lent + kept, strict=True)
        leaves = [leaf for _, leaf in sorted(taken, key=operator.itemgetter(0))]
        if [*map(_kind, leaves)] != self._shapes:
            raise Stale
        outs = self._trace.run(arguments, leaves)
        return jax.tree.map(outs.__getitem__, self._trace.results), [outs[b] for b in self._changed]


def _explain(error: Exception, lent: list[Leaf]) -> None:
    """Say so if the call failed after it had taken what it was lent."""
    given = [leaf for leaf in lent if isinstance(leaf, jax.Array)]
    if not is_about_a_gone_array(error) and any(leaf.is_deleted() for leaf in given):
        error.add_note(
            "The call failed after it was given the memory of the States that it writes: their values are lost. "
            "Restore them from a checkpoint, or use lrax.jit(fn, donate=False)."
        )


def _kind(leaf: Leaf) -> Kind:
    return np.shape(leaf), jax.dtypes.result_type(leaf)
