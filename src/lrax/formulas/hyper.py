"""Hyper-parameters other than the learning rate, as functions of the epoch."""

import dataclasses

from .._checks import is_known
from .._types import Number, Value
from .arithmetic import LARGEST, Arithmetic
from .formula import Formula

BELOW_ONE = 1 - 2.0**-24
"""The largest float32 below 1."""


@dataclasses.dataclass(frozen=True)
class Hyper(Formula):
    """A schedule of the hyper-parameter called `name`; what is outside of its range becomes the nearest in it.

    A negative number that is known stays one, so that it is refused.
    """

    name: str = dataclasses.field(metadata={"fixed": True})
    schedule: Formula
    low: Number = 0.0
    high: Number = LARGEST

    def raw(self, t: Value, base: Value, x: Arithmetic) -> Value:
        value = self.schedule.raw(t, base, x)
        within = x.minimum(x.maximum(value, self.low), self.high)
        return x.where(value >= 0, within, value) if is_known(value) else within


def share(name: str, schedule: Formula) -> Hyper:
    """A schedule of what must lie in [0, 1)."""
    return Hyper(name, schedule, high=BELOW_ONE)
