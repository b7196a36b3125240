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

import bisect
import contextlib
import math
import numbers
import operator
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import jax
import numpy as np

from .._checks import host_number
from .._transfers import meant
from .._types import Array, Function, Number, Value

SMALLEST = 2.0**-126
"""Smallest normal float32. XLA flushes anything below it to zero, so every mode does."""

LARGEST = float(np.finfo(np.float32).max)

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


LARGEST_EXPONENT = 709.0
_QUARTER = math.pi / 2


class HOST:
    """Python numbers: whole epochs are exact integers of any size. A namespace, which is never constructed."""

    where = lambda condition, a, b: a if condition else b  # noqa: E731
    # Not min and max, which pass NaN on or not, as their arguments stand.
    minimum = lambda a, b: a if a < b or a != a else b  # noqa: E731
    maximum = lambda a, b: a if a > b or a != a else b  # noqa: E731
    floor = math.floor
    sqrt = math.sqrt
    exp = lambda a: math.exp(min(a, LARGEST_EXPONENT))  # noqa: E731
    expm1 = lambda a: math.expm1(min(a, LARGEST_EXPONENT))  # noqa: E731
    log = math.log
    log1p = math.log1p
    sin = math.sin
    cos = math.cos
    quarter_sine = lambda fraction: math.sin(fraction * _QUARTER)  # noqa: E731
    power = math.pow
    floor_divide = operator.floordiv
    rest = lambda t, periods, size: t - periods * size  # noqa: E731
    since = lambda t, start: max(t - start, 0)  # noqa: E731
    count = bisect.bisect_right
    steps = lambda starts, t, values: values[bisect.bisect_right(starts, t)]  # noqa: E731
    choose = lambda starts, t, branch: branch(bisect.bisect_right(starts, t))  # noqa: E731

    @staticmethod
    def divide(t: Value, size: Value) -> Value:
        quotient = t / size
        return user_epoch(quotient, isinstance(t, int))

    @staticmethod
    def call(function: Function, t: Value) -> float:
        value = function(t)
        if type(value) is float:  # as mostly
            return value
        number = value
        if type(value) not in (int, bool):
            value = _in_float64(function, t, value)
            is_bool = getattr(value, "dtype", None) == np.bool_ and np.ndim(value) == 0
            number = bool(value) if is_bool else host_number(value)
        with contextlib.suppress(OverflowError):
            if isinstance(number, numbers.Real) and not isinstance(number, np.generic):
                return float(number)
        raise TypeError(
            f"A function of the epoch must return one number, got {value!r:.80} at epoch {t}. "
            "A number that is traced goes beside it: LambdaLR(base_lr=number, lr_lambda=function)."
        )


def user_epoch(t: float, integer: bool) -> Number:
    """An epoch as a user's function is given it: an int, or a float for a fractional one."""
    return int(t) if integer and t.is_integer() else float(t)


def _in_float64(function: Function, t: Value, value: Any) -> Any:
    """``function(t)``, which is `value`, as a program computes it: no constant of NumPy or jax makes it narrow.

    A function that takes whole numbers only, for a table, has to have one.
    """
    if not isinstance(value, jax.Array):
        with np.errstate(over="ignore"), contextlib.suppress(Exception):
            return function(np.float64(t))
        return value
    with wide(), jax.ensure_compile_time_eval():
        with contextlib.suppress(Exception):
            return function(np.float64(t))
        return function(t)


class Vector:
    """NumPy arrays of epochs."""

    where = staticmethod(np.where)
    minimum = staticmethod(np.minimum)
    maximum = staticmethod(np.maximum)
    floor = staticmethod(np.floor)
    sqrt = staticmethod(np.sqrt)
    exp = staticmethod(lambda a: np.exp(np.minimum(a, LARGEST_EXPONENT)))
    expm1 = staticmethod(lambda a: np.expm1(np.minimum(a, LARGEST_EXPONENT)))
    log = staticmethod(np.log)
    log1p = staticmethod(np.log1p)
    sin = staticmethod(np.sin)
    cos = staticmethod(np.cos)
    quarter_sine = staticmethod(lambda fraction: np.sin(fraction * _QUARTER))
    power = staticmethod(np.power)
    divide = staticmethod(np.divide)
    floor_divide = staticmethod(np.floor_divide)
    rest = staticmethod(lambda t, periods, size: t - periods * size)
    since = staticmethod(lambda t, start: np.maximum(t - start, 0))
    count = staticmethod(
        lambda starts, t: np.searchsorted(np.asarray(starts, np.float64), t, side="right")
    )

    def __init__(self, integer: bool) -> None:
        self._integer = integer

    def array(self, values: Value) -> Array:
        return np.asarray(values, np.float64)

    def steps(self, starts: Sequence[Number], t: Value, values: Sequence[Number]) -> Value:
        return self.array(values)[self.count(starts, t)]

    def choose(self, starts: Sequence[Number], t: Value, branch: Callable[[int], Value]) -> Value:
        return chain(np.where, starts, t, branch)

    def call(self, function: Function, t: Value) -> Value:
        one = lambda v: HOST.call(function, user_epoch(v, self._integer))  # noqa: E731
        return np.vectorize(one, otypes=[np.float64])(t)


def chain(
    where: Function, starts: Sequence[Number], t: Value, branch: Callable[[int], Value]
) -> Value:
    """``branch(count(starts, t))``, by comparing one after the other."""
    value = branch(0)
    for i, start in enumerate(starts, start=1):
        value = where(t < start, value, branch(i))
    return value

