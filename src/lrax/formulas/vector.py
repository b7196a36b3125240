"""The arithmetic of NumPy arrays of epochs."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from .._types import Array, Function, Number, Value
from . import host
from .arithmetic import LARGEST_EXPONENT


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
    quarter_sine = staticmethod(lambda fraction: np.sin(fraction * (math.pi / 2)))
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
        one = lambda v: host.call(function, host.user_epoch(v, self._integer))  # noqa: E731
        return np.vectorize(one, otypes=[np.float64])(t)


def chain(
    where: Function, starts: Sequence[Number], t: Value, branch: Callable[[int], Value]
) -> Value:
    """``branch(count(starts, t))``, by comparing one after the other."""
    value = branch(0)
    for i, start in enumerate(starts, start=1):
        value = where(t < start, value, branch(i))
    return value
