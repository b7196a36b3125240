"""A range test on what the States hold, and never on the States: there is nothing to be put back."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._transfers import fetched, meant
from .._types import Leaf, PyTree
from ..states.internals import Trace, trace
from ..states.saving import copied
from .curve import Curve, Rule
from .step import Step, Trains


class Program:
    """Updates for batches of one kind, in a loop that is compiled once."""

    def __init__(self, step: Step, rule: Rule, lrs: np.ndarray, batch: PyTree) -> None:
        self._rule, self._lrs = rule, lrs
        self._trace = _traced(step, (lrs[0], *batch))
        pairs = [*zip(self._trace.states, self._trace.written, strict=True)]
        self.written = [state for state, written in pairs if written]
        self.others = [state for state, written in pairs if not written]
        numbers, read = (
            [i for i, (_, written) in enumerate(pairs) if written],
            _are_read(self._trace),
        )
        self._after = [self._trace.after[i] for i in numbers]
        self._are_read = [read[i] for i in numbers]
        self.run = jax.jit(self._loop, donate_argnums=(0, 1))

    def _loop(
        self, curve: Curve, held: list[Any], others: list[Any], batches: PyTree, until: Leaf
    ) -> tuple[Curve, list[Any]]:
        """Go on until so many batches have been used; `held` is what the written States hold."""
        began = zip(held, self._are_read, self._after, strict=True)
        held = [value if read else self._zeros(after) for value, read, after in began]
        size = len([*jax.tree.leaves(batches), np.empty((1,))][0])
        lrs = jnp.asarray(self._lrs)

        def goes_on(carry: tuple[Curve, list[Any]]) -> Leaf:
            return carry[0].going & (carry[0].count < until)

        def body(carry: tuple[Curve, list[Any]]) -> tuple[Curve, list[Any]]:
            curve, held = carry
            batch = jax.tree.map(lambda leaf: leaf[curve.count % size], batches)
            loss, held = self._one(lrs[curve.count // self._rule.every], batch, held, others)
            return self._rule.after(curve, loss), held

        return jax.lax.while_loop(goes_on, body, (curve, held))

    def _zeros(self, after: PyTree) -> PyTree:
        """Something like these outputs of the trace."""
        outs = self._trace.jaxpr.out_avals
        return jax.tree.map(lambda out: jnp.zeros(outs[out].shape, outs[out].dtype), after)

    def _one(
        self, lr: Leaf, batch: PyTree, held: list[Any], others: list[Any]
    ) -> tuple[Leaf, list[Any]]:
        """One update: its loss, and what the written States hold then."""
        own, rest = iter(held), iter(others)
        values = [next(own if written else rest) for written in self._trace.written]
        outs = self._trace.run(jax.tree.leaves((lr, batch)), jax.tree.leaves(values))
        new = jax.tree.map(outs.__getitem__, self._after)
        return outs[self._trace.results], jax.tree.map(_alike, new, held)


def _traced(step: Step, arguments: tuple[PyTree, ...]) -> Trace:
    try:
        return trace(step, arguments, {})
    except Trains:
        step.trains = True
        return trace(step, arguments, {})


def _are_read(traced: Trace) -> list[bool]:
    """For each State whether anything depends on what it held: else it may have another shape for other batches."""
    jaxpr = traced.jaxpr.jaxpr
    used = {*map(id, jaxpr.outvars)}.union(*(map(id, each.invars) for each in jaxpr.eqns))
    counts = [len(jax.tree.leaves(state.value)) for state in traced.states]
    leaves = iter(jaxpr.invars[len(jaxpr.invars) - sum(counts) :])
    return [not used.isdisjoint([*map(id, itertools.islice(leaves, count))]) for count in counts]


def _alike(new: Leaf, old: Leaf) -> Leaf:
    """What a State is given, which must be such as it held before."""
    if np.shape(new) != np.shape(old):
        raise ValueError(
            f"loss_fn must leave the shapes in States as they are, but one is {np.shape(old)} before and {np.shape(new)} after "
            "it. Call it once before, so that its States have the shapes that they keep."
        )
    return new if new.dtype == old.dtype else new.astype(old.dtype)


class Walk:
    """A range test as far as it has come."""

    def __init__(self, step: Step, rule: Rule, lrs: np.ndarray) -> None:
        self._step, self._rule, self._lrs = step, rule, lrs
        self._programs: dict[Any, Program] = {}
        self._held = step.begins_with()
        """What the States that are written would hold, by their identity."""
        self.curve = rule.begin()

    def go(self, batches: PyTree, until: int) -> bool:
        """Go on until so many batches have been used; whether there is more to do."""
        # What is not finite ends the test, and is no error.
        with meant(), jax.debug_nans(False), jax.debug_infs(False):
            program = self._program(batches)
            held = [
                self._held[id(state)]
                if id(state) in self._held
                else jax.tree.map(copied, state.value)
                for state in program.written
            ]
            others = [self._held.get(id(state), state.value) for state in program.others]
            self.curve, held = program.run(self.curve, held, others, batches, np.int32(until))
        self._held.update(zip(map(id, program.written), held, strict=True))
        return bool(fetched(self.curve.going))

    def _program(self, batches: PyTree) -> Program:
        leaves, structure = jax.tree.flatten(batches)
        kind = structure, *((leaf.shape[1:], leaf.dtype) for leaf in leaves)
        if kind not in self._programs:
            batch = jax.tree.map(lambda leaf: leaf[0], batches)
            self._programs[kind] = Program(self._step, self._rule, self._lrs, batch)
        return self._programs[kind]
