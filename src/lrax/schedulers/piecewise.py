"""Schedules given by values or by a function."""

import dataclasses
from collections.abc import Callable
from typing import Any

from .. import _checks
from .._checks import Number
from .._formula import Formula
from .._numerics import Arithmetic, ratio
from ._base import LRScheduler


@dataclasses.dataclass(frozen=True)
class _PiecewiseConstant(Formula):
    boundaries: tuple[Number, ...]
    values: tuple[Number, ...]

    def raw(self, t: Any, base: Any, x: Arithmetic) -> Any:
        return x.take(self.values, x.count(self.boundaries, t)) * ratio(x, base, self.values[0])


class PiecewiseConstantSchedule(LRScheduler):
    """Hold each of `values` until the next boundary."""

    def __init__(
        self,
        base_lr: Any = 1e-3,
        boundaries: Any = None,
        values: Any = None,
        last_epoch: int = 0,
    ) -> None:
        boundaries = _checks.milestones(
            "boundaries", (1000, 2000) if boundaries is None else boundaries
        )
        values = _checks.sequence(
            "values",
            (1.0, 0.1, 0.01) if values is None else values,
            _checks.non_negative,
            of="numbers",
        )
        if len(values) != len(boundaries) + 1:
            raise ValueError(
                f"values must have one entry more than boundaries, got {len(values)} values for {len(boundaries)} boundaries."
            )
        bases = [values[0]] * len(_checks.learning_rates("base_lr", base_lr))
        super().__init__(bases, last_epoch, formula=_PiecewiseConstant(boundaries, values))


@dataclasses.dataclass(frozen=True)
class _Lambda(Formula):
    lr_lambda: Callable[[Any], Any]

    def raw(self, t: Any, base: Any, x: Arithmetic) -> Any:
        return base * x.call(self.lr_lambda, t)


class LambdaLR(LRScheduler):
    """Multiply the base learning rate by a function of the epoch."""

    def __init__(self, base_lr: Any = 1e-3, lr_lambda: Any = None, last_epoch: int = 0) -> None:
        functions = _checks.per_group(
            "lr_lambda", lr_lambda, _checks.function, of="a function of the epoch"
        )
        super().__init__(base_lr, last_epoch, formula=[_Lambda(f) for f in functions])
