"""A function of States, traced for one signature of its arguments and compiled on the leaves of its States."""

import itertools
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import brainstate
import jax
import jax.numpy as jnp

from .._types import Function, Leaf, PyTree
from ..states.internals import (
    HAS_HOOKS,
    IN_USE,
    REACHES_VALUES,
    VALUE,
    WRITTEN,
    Bundle,
    Trace,
    TypedState,
    configuration,
    jax_traces,
    trace,
    unseen,
    writes_as_is,
)
from ..states.placement import given, is_key
from .counters import Counted, is_few
from .sharing import Kind, Leaves, Lender, is_on_one_device, kind


class Stale(Exception):
    """A program is not made for a call: for its arguments, for what its States hold, for how jax is set, or for who looks."""


def is_about_a_gone_array(error: BaseException) -> bool:
    gone = "array has been deleted", "buffer has been deleted", "deleted or donated"
    texts = *gone, "previously donated", "same buffer twice"
    return any(text in str(error).lower() for text in texts)


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

    is_few: bool
    """Whether it is a few numbers, as a clock or a learning rate."""


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
        lendable = donate and _may_be_lent(traced.states[i], leaves)
        found.append([])
        for leaf, becomes in zip(leaves, after, strict=True):
            place = next(places)
            passes = becomes is not None and outputs[becomes] is inputs[first + place]
            # What has another shape afterwards cannot lend its memory to it.
            fits = becomes is not None and kind(leaf) == kind(outputs[becomes].aval)
            lent = lendable and fits and not passes and not is_key(leaf)
            found[-1].append(_Leaf(place, kind(leaf), becomes, passes, lent, is_few(leaf)))
    return found


def _may_be_lent(state: brainstate.State, leaves: list[Leaf]) -> bool:
    """Whether the memory of what a State holds may be given to its next value.

    What is small and often looked at is not worth the copy that keeps it. But a GPU starts many kernels at
    once, as they were recorded, only while all arrays are where they were: there each one is lent.
    """
    if not isinstance(state, TypedState):
        return REACHES_VALUES
    alone = all(map(is_on_one_device, leaves))
    return REACHES_VALUES and alone and jax.default_backend() != "cpu"


class Program:
    """The function, traced for one signature of its arguments and compiled on the leaves of its States."""

    _made_for: tuple[Any, ...] | None = None
    """The kind of arguments, and how jax was set."""

    def __init__(self, fn: Function, donate: bool, args: PyTree, kwargs: PyTree) -> None:
        self._trace = traced = trace(fn, args, kwargs)
        leaves_of = _leaves(traced, donate)

        # The States, those that are written first.
        order = sorted(range(len(traced.states)), key=lambda i: not traced.written[i])
        written = order[: sum(traced.written)]
        self._bundle = Bundle([traced.states[i] for i in order])
        self._written = self._bundle.states[: len(written)]
        as_is = all(map(writes_as_is, self._written))
        self._cells = self._bundle.cells[: len(written)] if as_is else None

        # What they hold before and after, as flat lists.
        leaves = [leaf for i in order for leaf in leaves_of[i]]
        self._before = jax.tree.structure([traced.states[i].value for i in order])
        after, first = jax.tree.flatten([traced.after[i] for i in written])
        rest = [traced.states[i].value for i in order[len(written) :]]
        self._after = jax.tree.structure([*first.unflatten(after), *rest])

        # What goes in: leaves that are lent, and others.
        self._lent = _pick(n for n, leaf in enumerate(leaves) if leaf.lent)
        self._kept = _pick(n for n, leaf in enumerate(leaves) if not leaf.lent)
        self._places = [leaf.place for leaf in (*self._lent(leaves), *self._kept(leaves))]
        self._shapes = [leaf.kind for found in leaves_of for leaf in found]

        # What comes out: leaves that are other ones afterwards. Those that pass stay where they are.
        passed = {leaf.becomes: n for n, leaf in enumerate(leaves) if leaf.passes}
        self._passed = [n for n, b in enumerate(after) if b in passed]
        self._changed = [b for b in after if b not in passed]
        unwritten = sum(len(leaves_of[i]) for i in order[len(written) :])
        self._pick_afterwards = _pick(_places_afterwards(after, passed, len(leaves), unwritten))
        self._lender: Lender | None = None
        self._lending: list[dict[str, Any]] = []
        lent_by = [{leaf.kind for leaf in leaves_of[i] if leaf.lent} for i in order]
        if any(lent_by):
            self._lend(lent_by, jax.tree.leaves((args, kwargs)))
        self._counted = _counted(traced, leaves)

    def _lend(self, lent_by: list[set[Kind]], arguments: list[Leaf]) -> None:
        """What each State lends, beside arguments of the same kinds."""
        states = self._bundle.states
        pairs = [*zip(states, self._bundle.cells, lent_by, strict=True)]
        self._lending = [cell for _, cell, kinds in pairs if kinds]
        large = [kinds for state, _, kinds in pairs if not isinstance(state, TypedState)]
        kinds = set().union(*lent_by), set().union(*large)
        written = range(len(self._passed) + len(self._changed))
        made = [n for n in written if n not in self._passed]
        self._lender = Lender(states, *kinds, arguments, made)

    def caller(self) -> Callable[..., PyTree]:
        """What a call does, with all that it needs at hand: as attributes they would take a small step a tenth longer.

        Nothing in the program refers to it, or what the States hold would wait for the garbage collector.
        """
        bundle, lender, run, written = self._bundle, self._lender, self._jitted(), self._cells
        cells, hooks, made = bundle.cells, bundle.hooks, bundle.made
        flatten, unflatten = self._before.flatten_up_to, self._after.unflatten
        pick_lent, pick_kept, then, lending = self._lent, self._kept, self._then, self._lending

        def call(args: PyTree, kwargs: PyTree, directly: bool = False) -> PyTree:
            free = unseen() and not any(map(HAS_HOOKS, hooks))
            if directly and not free:
                raise Stale
            leaves = [c[VALUE] for c in cells] if free and not made else self._values(free)
            try:
                leaves = flatten(leaves) if free else given(flatten(leaves))
            except ValueError:
                raise Stale from None
            lent, kept = pick_lent(leaves), pick_kept(leaves)
            shown = [] if free else bundle.watched()  # noqa: F841 (while they are held, they are copied)
            done: list[tuple[list[Leaf], PyTree]] = []  # where an interrupt finds it
            try:
                if lender:
                    for cell in lending:  # what is referred to now, someone else holds
                        cell[VALUE] = IN_USE
                    lent = lender.own(leaves, lent, kept, (args, kwargs))
                done.extend(map(run, (lent,), (kept,), (args,), (kwargs,)))
                last = then(done[0][0] + leaves)
                if lender:
                    lender.last = last
                values = unflatten(last)
                if free and written is not None:
                    for cell, value in zip(written, values, strict=False):
                        cell[VALUE] = value
                        cell[WRITTEN] = True
                else:
                    self._write(values, leaves)
            except BaseException as error:
                self._recover(error, done, lent, leaves)
                raise
            return done[0][1]

        return call

    def _recover(
        self,
        error: BaseException,
        done: list[tuple[list[Leaf], PyTree]],
        lent: Leaves,
        leaves: list[Leaf],
    ) -> None:
        """Have the States hold what the call has made of them, or what they held before."""
        if done:
            last = self._then(done[0][0] + leaves)
            self._bundle.poke(self._after.unflatten(last)[: len(self._written)])
        elif self._lender:
            self._bundle.give_back(self._held(leaves))
            _explain(error, lent)

    def _held(self, leaves: list[Leaf]) -> list[PyTree]:
        """What the States that are written held before."""
        return self._before.unflatten(leaves)[: len(self._written)]

    def _write(self, values: list[PyTree], leaves: list[Leaf]) -> None:
        """With hooks and conversions, which see what there was before."""
        if self._lender:
            self._bundle.give_back(self._held(leaves))
        for state, value in zip(self._written, values, strict=False):
            state.value = value

    @property
    def _then(self) -> Callable[[list[Leaf]], Leaves]:
        """What the States hold afterwards, of what has changed and what they held; not kept, as it may refer to the program."""
        return self._then_arrays if self._passed else self._pick_afterwards

    def _then_arrays(self, new_and_old: list[Leaf]) -> Leaves:
        """The same, where what passes may be a number."""
        last = self._pick_afterwards(new_and_old)
        for n in self._passed:
            if not isinstance(last[n], jax.Array):
                last = (*last[:n], jnp.asarray(last[n]), *last[n + 1 :])
        return last

    def _values(self, free: bool = False) -> list[PyTree]:
        """What the States hold, those that are written first."""
        return self._bundle.peek() if free else [state.value for state in self._bundle.states]

    def lower(self, args: PyTree, kwargs: PyTree) -> jax.stages.Lowered:
        leaves = given(self._before.flatten_up_to(self._values()))
        return self._jitted().lower(self._lent(leaves), self._kept(leaves), args, kwargs)

    def _jitted(self) -> Any:
        return jax.jit(self._flat, donate_argnums=(0,))

    def _flat(
        self, lent: Leaves, kept: Leaves, args: PyTree, kwargs: PyTree
    ) -> tuple[list[Leaf], PyTree]:
        """The program itself, in which the leaves are in the order of the jaxpr again."""
        arguments, structure = jax.tree.flatten((args, kwargs))
        call = configuration(), structure, *map(jax.typeof, arguments)
        taken = zip(self._places, (*lent, *kept), strict=True)
        leaves = [leaf for _, leaf in sorted(taken, key=operator.itemgetter(0))]
        flat = all(isinstance(leaf, jax.Array) for leaf in leaves)
        if jax_traces():  # else jax looks for a NaN, one operation after the other
            if (
                not flat
                or [*map(kind, leaves)] != self._shapes
                or self._made_for not in (None, call)
            ):
                raise Stale
            self._made_for = call
        elif jax.config.jax_disable_jit:  # pyright: ignore[reportAttributeAccessIssue]
            raise Stale
        outs = self._counted.run([*arguments, *leaves])
        # In this order: jax gives the memory of what is lent to what comes first.
        return [outs[b] for b in self._changed], jax.tree.map(outs.__getitem__, self._trace.results)


def _counted(traced: Trace, leaves: list[_Leaf]) -> Counted:
    few = [leaf for leaf in leaves if leaf.is_few]
    new = [leaf.becomes for leaf in few if leaf.becomes is not None and not leaf.passes]
    return Counted(traced, new, [leaf.place - len(leaves) for leaf in few])


def _places_afterwards(
    after: list[int], passed: dict[int | None, int], leaves: int, unwritten: int
) -> Iterator[int]:
    """Where the leaves afterwards stand, if those before stand behind what has changed."""
    changed, new = len(after) - sum(b in passed for b in after), itertools.count()
    yield from (changed + passed[b] if b in passed else next(new) for b in after)
    yield from range(changed + leaves - unwritten, changed + leaves)


def _explain(error: BaseException, lent: Leaves) -> None:
    """Say so if the call ended after it had taken what it was lent, and without a result."""
    given = [leaf for leaf in lent if isinstance(leaf, jax.Array)]
    if not is_about_a_gone_array(error) and any(leaf.is_deleted() for leaf in given):
        error.add_note(
            "The call ended after it was given the memory of the States that it writes, and before it returned: their values "
            "are lost. Restore them from a checkpoint, or use lrax.jit(fn, donate=False)."
        )


def _pick(places: Iterable[int]) -> Callable[[Sequence[Any]], tuple[Any, ...]]:
    """A function that takes what is at some places of a sequence, as fast as can be."""
    places = [*places]
    if len(places) > 1:
        return operator.itemgetter(*places)
    return lambda sequence: tuple(sequence[i] for i in places)
