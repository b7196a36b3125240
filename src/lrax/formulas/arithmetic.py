"""The arithmetic that formulas run in.

A formula is written once, against the small vocabulary of :class:`Arithmetic`, and runs in three
implementations of it: plain Python numbers (one epoch on the host, under a microsecond), NumPy
(many epochs on the host) and jax (anything traced). All three compute in float64 and round to
float32 once, in the `evaluate` functions, which is why they give the same bits.

Traced arithmetic needs care that Python arithmetic does not. XLA rewrites ``t / T`` with a constant
``T`` to ``t * (1 / T)`` and contracts ``a - b * c`` to one fused operation, so ``1 - t / T`` is not
zero at ``t == T``. Formulas therefore subtract whole epochs first (exact in float64 up to
2**53), divide afterwards, and choose end values with a comparison instead of trusting arithmetic.
"""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import jax
import numpy as np

from .._transfers import meant
from .._types import Function, Number, Value

SMALLEST = 2.0**-126
"""Smallest normal float32. XLA flushes anything below it to zero, so every mode does."""

LARGEST = float(np.finfo(np.float32).max)

LARGEST_EXPONENT = 709.0
"""Of which ``exp`` is finite in float64."""

_WITHOUT_FLOAT64 = ("metal",)


def wide() -> contextlib.AbstractContextManager[Any]:
    """Float64 for the code inside, where the device has it, whatever options of jax a user has set.

    Formulas are written for jax's ordinary promotion.
    """
    config: Any = jax.config
    contexts = contextlib.ExitStack()
    contexts.enter_context(jax.enable_x64(jax.default_backend().lower() not in _WITHOUT_FLOAT64))
    if config.jax_numpy_dtype_promotion != "standard":
        contexts.enter_context(jax.numpy_dtype_promotion("standard"))
    if config.jax_numpy_rank_promotion != "allow":
        contexts.enter_context(jax.numpy_rank_promotion("allow"))
    contexts.enter_context(meant())
    return contexts


class Arithmetic(Protocol):
    """The vocabulary of formulas: what :meth:`lrax.Formula.raw` may use besides ``+ - * /`` and comparisons.

    It is handed to ``raw`` as `x`, in one of three implementations: for Python numbers, for NumPy
    arrays and for jax tracers. All three compute in float64 and agree to a few units in its last
    place, so that the learning rates, rounded to float32, are the same. Every branch is computed,
    also where it is not chosen, and an argument has to be in the function's domain there, too:
    ``x.sqrt(x.maximum(t - 5, 0))``.

    Conditions are combined with ``&`` and ``|``. Whole epochs are exact up to 2**53: subtract them
    first and divide afterwards, since a compiled ``1 - t / T`` need not be 0 at ``t == T``.

    Examples
    --------
    >>> import dataclasses, lrax
    >>> @dataclasses.dataclass(frozen=True)
    ... class Bounce(lrax.Formula):
    ...     period: int
    ...
    ...     def raw(self, t, base, x):
    ...         position = t - x.floor_divide(t, self.period) * self.period
    ...         return base * (1 + x.cos(2 * 3.141592653589793 * position / self.period)) / 2
    >>> scheduler = lrax.LRScheduler(0.1, formula=Bounce(period=4))
    >>> print([f"{scheduler(t):.2f}" for t in range(5)])
    ['0.10', '0.05', '0.00', '0.05', '0.10']
    """

    def where(self, condition: Value, a: Value, b: Value, /) -> Value:
        """`a` where the condition holds, else `b`."""
        ...

    def minimum(self, a: Value, b: Value, /) -> Value:
        """The smaller of two numbers."""
        ...

    def maximum(self, a: Value, b: Value, /) -> Value:
        """The larger of two numbers."""
        ...

    def floor(self, a: Value, /) -> Value:
        """The largest whole number that is not above `a`."""
        ...

    def sqrt(self, a: Value, /) -> Value:
        """Square root of a number >= 0. Its slope at 0 is infinite, which a gradient sees."""
        ...

    def exp(self, a: Value, /) -> Value:
        """``e ** a``. It stops growing at a = 709, before float64 ends."""
        ...

    def expm1(self, a: Value, /) -> Value:
        """``e ** a - 1``, which keeps its digits near 0. It stops growing at a = 709."""
        ...

    def log(self, a: Value, /) -> Value:
        """Natural logarithm of a number > 0."""
        ...

    def log1p(self, a: Value, /) -> Value:
        """``log(1 + a)`` for a > -1, which keeps its digits near 0."""
        ...

    def sin(self, a: Value, /) -> Value:
        """Sine of an angle in radians."""
        ...

    def cos(self, a: Value, /) -> Value:
        """Cosine of an angle in radians. ``1 + cos`` cancels near its zero: see :func:`half_cosine`."""
        ...

    def quarter_sine(self, fraction: Value, /) -> Value:
        """``sin(pi / 2 * fraction)`` for a fraction from 0 to 1."""
        ...

    def power(self, a: Value, b: Value, /) -> Value:
        """``a ** b`` for a > 0, or a = 0 and b > 0."""
        ...

    def divide(self, t: Value, size: Value, /) -> Value:
        """``t / size``, rounded correctly in compiled programs, too, so that whole quotients are whole."""
        ...

    def floor_divide(self, t: Value, size: Value, /) -> Value:
        """``t // size``, exact for whole numbers: how many periods are complete."""
        ...

    def rest(self, t: Value, periods: Value, size: Value, /) -> Value:
        """``t - periods * size``: the time since so many periods, of those that are complete, have passed."""
        ...

    def since(self, t: Value, start: Value, /) -> Value:
        """``max(t - start, 0)``: how long ago something began."""
        ...

    def count(self, starts: Sequence[Number], t: Value, /) -> Value:
        """How many of the non-decreasing `starts` are at or before `t`."""
        ...

    def steps(self, starts: Sequence[Number], t: Value, values: Sequence[Number], /) -> Value:
        """``values[count(starts, t)]``."""
        ...

    def choose(
        self, starts: Sequence[Number], t: Value, branch: Callable[[int], Value], /
    ) -> Value:
        """``branch(count(starts, t))``; all branches must be finite everywhere."""
        ...

    def call(self, function: Function, t: Value, /) -> Value:
        """A user's function of the epoch, called with one number."""
        ...
