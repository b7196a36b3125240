"""The arithmetic of Python numbers: whole epochs are exact integers of any size.

A module, whose words Python finds faster than those of a class.
"""

import contextlib
import math
import numbers
from bisect import bisect_right as count
from collections.abc import Callable, Sequence
from math import cos, floor, log, log1p, sin, sqrt
from math import pow as power
from operator import floordiv as floor_divide
from typing import Any

import jax
import numpy as np

from .._checks import host_number
from .._types import Function, Number, Value
from .arithmetic import LARGEST_EXPONENT, wide

__all__ = ["cos", "count", "floor", "floor_divide", "log", "log1p", "power", "sin", "sqrt"]

_QUARTER = math.pi / 2


def where(condition: Value, a: Value, b: Value) -> Value:
    return a if condition else b


# Not min and max, which pass NaN on or not, as their arguments stand.


def minimum(a: Value, b: Value) -> Value:
    return a if a < b or a != a else b


def maximum(a: Value, b: Value) -> Value:
    return a if a > b or a != a else b


def exp(a: Value) -> Value:
    return math.exp(min(a, LARGEST_EXPONENT))


def expm1(a: Value) -> Value:
    return math.expm1(min(a, LARGEST_EXPONENT))


def quarter_sine(fraction: Value) -> Value:
    return sin(fraction * _QUARTER)


def rest(t: Value, periods: Value, size: Value) -> Value:
    return t - periods * size


def since(t: Value, start: Value) -> Value:
    return max(t - start, 0)


def steps(starts: Sequence[Number], t: Value, values: Sequence[Number]) -> Value:
    return values[count(starts, t)]


def choose(starts: Sequence[Number], t: Value, branch: Callable[[int], Value]) -> Value:
    return branch(count(starts, t))


def divide(t: Value, size: Value) -> Value:
    quotient = t / size
    return user_epoch(quotient, isinstance(t, int))


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
