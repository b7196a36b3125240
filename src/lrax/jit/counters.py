"""Counters apart from the rest of a program: clocks, learning rates and the like, which depend on no weight."""

import contextlib
import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Any

import brainstate
import jax
from jax.extend.core import Literal

from .._types import Leaf
from ..states.internals import Trace, TypedState
from .sharing import kind

try:
    from jax.experimental.xla_metadata import set_xla_metadata

except ImportError:

    def set_xla_metadata(**metadata: str) -> contextlib.AbstractContextManager[Any]:
        return contextlib.nullcontext()


_FEW = 64


def counts(state: brainstate.State, leaf: Leaf) -> bool:
    """Whether a State counts with this array, on one device."""
    alone = not isinstance(leaf, jax.Array) or len(leaf.sharding.device_set) == 1
    return isinstance(state, TypedState) and alone and math.prod(kind(leaf)[0]) <= _FEW


class Counted:
    """A traced function, in whose program all counters are one kernel.

    On a CPU, XLA hands some of what is ready to another thread as soon as that is more than eight
    kernels, and waiting for it can take a small step half as long again. Counters are ready at once,
    so that they are in a function of their own, which is not inlined.

    They are outputs at some of `places`, and depend on the inputs at the places `given` alone, from the end.
    """

    def __init__(self, traced: Trace, places: Sequence[int], given: Sequence[int]) -> None:
        self._consts, whole = traced.jaxpr.consts, traced.jaxpr.jaxpr
        known = {*whole.constvars, *(whole.invars[n] for n in given)}
        for equation in whole.eqns:
            if not equation.effects and known.issuperset(_variables(equation.invars)):
                known.update(equation.outvars)
        self._given = given
        found = {b for b in places if known.issuperset(_variables([whole.outvars[b]]))}
        worth_it = len(found) > 1 and jax.default_backend() == "cpu"
        self._is_counter = [worth_it and b in found for b in range(len(whole.outvars))]
        others = [not counter for counter in self._is_counter]
        self._counters = _part(whole, self._is_counter, effects=False)
        self._rest = _part(whole, others, effects=True)

    def run(self, inputs: Sequence[Any]) -> list[Any]:
        """All outputs."""
        rest = iter(self._evaluate(self._rest, inputs))
        counters = iter(self._count(inputs) if any(self._is_counter) else ())
        return [next(counters if counter else rest) for counter in self._is_counter]

    def _count(self, inputs: Sequence[Any]) -> list[Any]:
        def counters(given: Iterable[Any]) -> list[Any]:
            known = [None] * len(inputs)
            for n, value in zip(self._given, given, strict=True):
                known[n] = value
            return self._evaluate(self._counters, known)

        with set_xla_metadata(inlineable="false"):
            return jax.jit(counters)([inputs[n] for n in self._given])

    def _evaluate(self, jaxpr: Any, inputs: Sequence[Any]) -> list[Any]:
        return jax.core.eval_jaxpr(jaxpr, self._consts, *inputs)  # pyright: ignore


def _part(jaxpr: Any, wanted: Sequence[bool], effects: bool) -> Any:
    """What some of the outputs need, and all that has effects, or none of it."""
    outputs = [*itertools.compress(jaxpr.outvars, wanted)]
    needed, equations = {*_variables(outputs)}, []
    for equation in reversed(jaxpr.eqns):
        if (equation.effects and effects) or not needed.isdisjoint(equation.outvars):
            needed.update(_variables(equation.invars))
            equations.append(equation)
    return jaxpr.replace(eqns=equations[::-1], outvars=outputs)


def _variables(atoms: Iterable[Any]) -> list[Any]:
    return [atom for atom in atoms if not isinstance(atom, Literal)]
