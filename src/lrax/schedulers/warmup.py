"""Warmup, alone and followed by a cosine."""

import dataclasses
from typing import Any

from .. import _checks
from .._checks import Number
from .._formula import Formula
from .._numerics import Arithmetic, half_cosine, ramp, straight
from ._base import LRScheduler


@dataclasses.dataclass(frozen=True)
class _Warmup(Formula):
    warmup_epochs: Number
    warmup_start_lr: Number

    def raw(self, t: Any, base: Any, x: Arithmetic) -> Any:
        return ramp(x, self.warmup_start_lr, base, t, self.warmup_epochs, straight)


class WarmupScheduler(LRScheduler):
    """Rise in a straight line from `warmup_start_lr` to the base learning rate, and stay there."""

    def __init__(
        self,
        base_lr: Any = 1e-3,
        warmup_epochs: int = 5,
        warmup_start_lr: float = 0.0,
        last_epoch: int = 0,
    ) -> None:
        formula = _Warmup(
            _checks.integer("warmup_epochs", warmup_epochs),
            _checks.non_negative("warmup_start_lr", warmup_start_lr),
        )
        super().__init__(base_lr, last_epoch, formula=formula)


@dataclasses.dataclass(frozen=True)
class _WarmupCosine(Formula):
    warmup_steps: Number
    total_steps: Number
    warmup_start_lr: Number
    eta_min: Number

    def raw(self, t: Any, base: Any, x: Arithmetic) -> Any:
        warmup = ramp(x, self.warmup_start_lr, base, t, self.warmup_steps, straight)
        decay_steps = self.total_steps - self.warmup_steps
        decay = ramp(x, base, self.eta_min, t - self.warmup_steps, decay_steps, half_cosine)
        return x.where(t < self.warmup_steps, warmup, decay)


class WarmupCosineSchedule(LRScheduler):
    """Linear warmup, then half a cosine down to `eta_min`: the most used recipe."""

    def __init__(
        self,
        base_lr: Any = 1e-3,
        warmup_steps: int = 1000,
        total_steps: int = 10000,
        warmup_start_lr: float = 0.0,
        eta_min: float = 0.0,
        last_epoch: int = 0,
    ) -> None:
        warmup_steps = _checks.integer("warmup_steps", warmup_steps)
        total_steps = _checks.integer("total_steps", total_steps, low=1)
        if (
            not (_checks.is_traced(warmup_steps) or _checks.is_traced(total_steps))
            and total_steps < warmup_steps
        ):
            raise ValueError(
                f"total_steps must be >= warmup_steps, which it includes, got {total_steps} < {warmup_steps}. "
                "For a cosine of n steps after the warmup pass total_steps = warmup_steps + n."
            )
        formula = _WarmupCosine(
            warmup_steps,
            total_steps,
            _checks.non_negative("warmup_start_lr", warmup_start_lr),
            _checks.non_negative("eta_min", eta_min),
        )
        super().__init__(base_lr, last_epoch, formula=formula)
