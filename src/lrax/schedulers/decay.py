"""Decay: step, exponential and polynomial."""

import dataclasses
from typing import Any

from .. import _checks
from .._checks import Number
from .._formula import Formula
from .._numerics import Arithmetic, growth, ramp, remainder_power, straight
from ._base import LRScheduler


@dataclasses.dataclass(frozen=True)
class _Step(Formula):
    step_size: Number
    gamma: Number

    def raw(self, t: Any, base: Any, x: Arithmetic) -> Any:
        return base * growth(x, self.gamma, x.floor_divide(t, self.step_size))


class StepLR(LRScheduler):
    """Multiply the learning rate by `gamma` every `step_size` epochs."""

    def __init__(
        self, base_lr: Any = 1e-3, step_size: int = 30, gamma: float = 0.1, last_epoch: int = 0
    ) -> None:
        formula = _Step(
            _checks.integer("step_size", step_size, low=1), _checks.positive("gamma", gamma)
        )
        super().__init__(base_lr, last_epoch, formula=formula)


@dataclasses.dataclass(frozen=True)
class _MultiStep(Formula):
    milestones: tuple[Number, ...]
    gamma: Number

    def raw(self, t: Any, base: Any, x: Arithmetic) -> Any:
        return base * growth(x, self.gamma, x.count(self.milestones, t))


class MultiStepLR(LRScheduler):
    """Multiply the learning rate by `gamma` at each milestone."""

    def __init__(
        self,
        base_lr: Any = 1e-3,
        milestones: Any = (30, 60, 90),
        gamma: float = 0.1,
        last_epoch: int = 0,
    ) -> None:
        formula = _MultiStep(
            _checks.milestones("milestones", milestones), _checks.positive("gamma", gamma)
        )
        super().__init__(base_lr, last_epoch, formula=formula)


@dataclasses.dataclass(frozen=True)
class _Exponential(Formula):
    gamma: Number

    def raw(self, t: Any, base: Any, x: Arithmetic) -> Any:
        return base * growth(x, self.gamma, t)


class ExponentialLR(LRScheduler):
    """Multiply the learning rate by `gamma` every epoch."""

    def __init__(self, base_lr: Any = 1e-3, gamma: float = 0.95, last_epoch: int = 0) -> None:
        super().__init__(
            base_lr, last_epoch, formula=_Exponential(_checks.positive("gamma", gamma))
        )


@dataclasses.dataclass(frozen=True)
class _ExponentialDecay(Formula):
    decay_steps: Number
    decay_rate: Number
    transition_begin: Number
    staircase: bool
    end_value: Number | None

    def raw(self, t: Any, base: Any, x: Arithmetic) -> Any:
        since = x.maximum(t - self.transition_begin, 0)
        periods = (
            x.floor_divide(since, self.decay_steps) if self.staircase else since / self.decay_steps
        )
        lr = base * growth(x, self.decay_rate, periods)
        if self.end_value is None:
            return lr
        return x.where(
            self.decay_rate < 1, x.maximum(lr, self.end_value), x.minimum(lr, self.end_value)
        )


class ExponentialDecayLR(LRScheduler):
    """Exponential decay with a period, a beginning, an end value and optional stairs."""

    def __init__(
        self,
        base_lr: Any = 1e-3,
        decay_steps: int = 1000,
        decay_rate: float = 0.96,
        transition_begin: int = 0,
        staircase: bool = False,
        end_value: float | None = None,
        last_epoch: int = 0,
    ) -> None:
        formula = _ExponentialDecay(
            _checks.integer("decay_steps", decay_steps, low=1),
            _checks.positive("decay_rate", decay_rate),
            _checks.integer("transition_begin", transition_begin),
            _checks.flag("staircase", staircase),
            None if end_value is None else _checks.non_negative("end_value", end_value),
        )
        super().__init__(base_lr, last_epoch, formula=formula)


@dataclasses.dataclass(frozen=True)
class _Polynomial(Formula):
    total_iters: Number
    power: Number

    def raw(self, t: Any, base: Any, x: Arithmetic) -> Any:
        return base * remainder_power(x, t, self.total_iters, self.power)


class PolynomialLR(LRScheduler):
    """Decay to zero along ``(1 - t / total_iters) ** power``."""

    def __init__(
        self, base_lr: Any = 1e-3, total_iters: int = 5, power: float = 1.0, last_epoch: int = 0
    ) -> None:
        formula = _Polynomial(
            _checks.integer("total_iters", total_iters, low=1), _checks.positive("power", power)
        )
        super().__init__(base_lr, last_epoch, formula=formula)


@dataclasses.dataclass(frozen=True)
class _Linear(Formula):
    start_factor: Number
    end_factor: Number
    total_iters: Number

    def raw(self, t: Any, base: Any, x: Arithmetic) -> Any:
        return base * ramp(x, self.start_factor, self.end_factor, t, self.total_iters, straight)


class LinearLR(LRScheduler):
    """Go in a straight line from `start_factor` to `end_factor` times the base learning rate."""

    def __init__(
        self,
        base_lr: Any = 1e-3,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = 0,
    ) -> None:
        formula = _Linear(
            _checks.non_negative("start_factor", start_factor),
            _checks.non_negative("end_factor", end_factor),
            _checks.integer("total_iters", total_iters),
        )
        super().__init__(base_lr, last_epoch, formula=formula)


@dataclasses.dataclass(frozen=True)
class _Constant(Formula):
    factor: Number
    total_iters: Number

    def raw(self, t: Any, base: Any, x: Arithmetic) -> Any:
        return base * x.where(t < self.total_iters, self.factor, 1.0)


class ConstantLR(LRScheduler):
    """Hold `factor` times the base learning rate for `total_iters` epochs, then the base learning rate."""

    def __init__(
        self,
        base_lr: Any = 1e-3,
        factor: float = 1.0 / 3,
        total_iters: int = 5,
        last_epoch: int = 0,
    ) -> None:
        formula = _Constant(
            _checks.non_negative("factor", factor), _checks.integer("total_iters", total_iters)
        )
        super().__init__(base_lr, last_epoch, formula=formula)
