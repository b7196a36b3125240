"""Counters apart from the rest of a program: clocks, learning rates and the like, which depend on a few numbers."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import jax
from jax.experimental.xla_metadata import set_xla_metadata
from jax.extend.core import Literal

from .._types import Leaf
from ..states.internals import Trace, evaluate_jaxpr
from .sharing import is_on_one_device, kind

_FEW = 64


def is_few(leaf: Leaf) -> bool:
    """Whether it is a few numbers, on one device."""
    return is_on_one_device(leaf) and math.prod(kind(leaf)[0]) <= _FEW


class Counted:
    """A traced function, in whose program all counters are one kernel.

    On a CPU, XLA hands some of what is ready to another thread as soon as that is more than eight
    kernels, and waiting for it can take a small step half as long again. Counters are ready at once,
    so that they are in a function of their own, which is not inlined.

    They are outputs at some of `places`, and depend on the inputs at the places `given` alone.
    """

    def __init__(self, traced: Trace, places: Sequence[int], given: Sequence[int]) -> None:
        self._consts, whole = traced.jaxpr.consts, traced.jaxpr.jaxpr
        known = {*whole.constvars, *(whole.invars[n] for n in given)}
        for equation in whole.eqns:
            if known.issuperset(_variables(equation.invars)) and _is_short(equation):
                known.update(equation.outvars)
        counters = [v for v in _variables(whole.outvars[b] for b in places) if v in known]
        needed, apart, rest = {*counters}, [], []
        for equation in reversed(whole.eqns):
            if known.issuperset(equation.outvars) and not needed.isdisjoint(equation.outvars):
                needed.update(_variables(equation.invars))
                apart.insert(0, equation)
            else:
                rest.insert(0, equation)

        self._given = given
        self._is_worth_it = len(counters) > 1 and bool(rest) and jax.default_backend() == "cpu"
        if not self._is_worth_it:
            self._rest = whole
            return
        made = {variable for equation in apart for variable in equation.outvars}
        used = _variables((*(v for equation in rest for v in equation.invars), *whole.outvars))
        made = [variable for variable in dict.fromkeys(used) if variable in made]
        self._counters = whole.replace(eqns=apart, outvars=made)
        self._rest = whole.replace(constvars=[*whole.constvars, *made], eqns=rest)

    def run(self, inputs: Sequence[Any]) -> list[Any]:
        """All outputs."""
        made = self._count(inputs) if self._is_worth_it else []
        return evaluate_jaxpr(self._rest, [*self._consts, *made], inputs)

    def _count(self, inputs: Sequence[Any]) -> list[Any]:
        def counters(given: Iterable[Any]) -> list[Any]:
            known = [None] * len(inputs)
            for n, value in zip(self._given, given, strict=True):
                known[n] = value
            return evaluate_jaxpr(self._counters, self._consts, known)

        made = jax.jit(counters)([inputs[n] for n in self._given])
        tagged: Any = set_xla_metadata(made, inlineable="false")
        return tagged


def _is_short(equation: Any) -> bool:
    """Whether it computes a few numbers from a few, and nobody sees when or how often."""
    sizes = (v.aval.size for v in (*equation.invars, *equation.outvars) if hasattr(v.aval, "size"))
    if equation.effects or max(sizes, default=0) > _FEW:
        return False
    if equation.primitive.name in ("jit", "pjit"):
        return all(map(_is_short, equation.params["jaxpr"].eqns))
    inner = ("callback", "rng_uniform", "while", "scan", "cond", "custom", "ffi")
    return not any(name in equation.primitive.name for name in inner)


def _variables(atoms: Iterable[Any]) -> list[Any]:
    return [atom for atom in atoms if not isinstance(atom, Literal)]
