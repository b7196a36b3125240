"""Cyclic schedules: triangular cycles and the one-cycle policy."""

import dataclasses
from collections.abc import Callable
from typing import Any

from .. import _checks
from .._checks import Number
from .._formula import Formula
from .._numerics import Arithmetic, growth, half_cosine, ramp, straight
from ._base import LRScheduler

_SHAPES = {"cos": half_cosine, "linear": straight}


@dataclasses.dataclass(frozen=True)
class _Cyclic(Formula):
    max_lr: Number
    step_size_up: Number
    step_size_down: Number
    mode: str
    gamma: Number
    scale_fn: Callable[[Any], Any] | None
    scale_mode: str

    def raw(self, t: Any, base: Any, x: Arithmetic) -> Any:
        length = self.step_size_up + self.step_size_down
        cycle = x.floor_divide(t, length)
        position = t - cycle * length
        rising = position <= self.step_size_up
        height = x.where(
            rising, position / self.step_size_up, (length - position) / self.step_size_down
        )
        return base + (self.max_lr - base) * height * self.scale(t, cycle, x)

    def scale(self, t: Any, cycle: Any, x: Arithmetic) -> Any:
        if self.scale_fn is not None:
            return x.call(self.scale_fn, cycle + 1 if self.scale_mode == "cycle" else t)
        if self.mode == "triangular2":
            return growth(x, 0.5, cycle)
        return growth(x, self.gamma, t) if self.mode == "exp_range" else 1.0


class CyclicLR(LRScheduler):
    """Go up and down between the base learning rate and `max_lr`."""

    def __init__(
        self,
        base_lr: Any = 1e-3,
        max_lr: Any = 1e-2,
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[Any], Any] | None = None,
        scale_mode: str = "cycle",
        last_epoch: int = 0,
    ) -> None:
        step_size_up = _checks.integer("step_size_up", step_size_up, low=1)
        step_size_down = (
            step_size_up
            if step_size_down is None
            else _checks.integer("step_size_down", step_size_down, low=1)
        )
        rest = (
            step_size_up,
            step_size_down,
            _checks.choice("mode", mode, ("triangular", "triangular2", "exp_range")),
            _checks.positive("gamma", gamma),
            None if scale_fn is None else _checks.function("scale_fn", scale_fn),
            _checks.choice("scale_mode", scale_mode, ("cycle", "iterations")),
        )
        max_lrs = _checks.learning_rates("max_lr", max_lr)
        base_lrs = _checks.learning_rates("base_lr", base_lr)
        for group in range(_checks.group_count(base_lr=base_lrs, max_lr=max_lrs)):
            low, high = (
                base_lrs[min(group, len(base_lrs) - 1)],
                max_lrs[min(group, len(max_lrs) - 1)],
            )
            if not (_checks.is_traced(low) or _checks.is_traced(high)) and high < low:
                raise ValueError(f"max_lr must be >= base_lr, got {high} < {low}. Swap them.")
        super().__init__(
            base_lr, last_epoch, formula=[_Cyclic(max_lr, *rest) for max_lr in max_lrs]
        )


@dataclasses.dataclass(frozen=True)
class _OneCycle(Formula):
    div_factor: Number
    final_div_factor: Number
    total_steps: Number
    pct_start: Number
    anneal_strategy: str
    three_phase: bool

    def raw(self, t: Any, base: Any, x: Arithmetic) -> Any:
        shape = _SHAPES[self.anneal_strategy]
        start, low = base / self.div_factor, base / self.div_factor / self.final_div_factor
        last = self.total_steps - 1
        t = x.minimum(t, last)
        peak = self.pct_start * self.total_steps - 1

        def up() -> Any:
            return ramp(x, start, base, t, peak, shape)

        def down(end: Any = low, until: Any = last) -> Any:
            return ramp(x, base, end, t - peak, until - peak, shape)

        def out() -> Any:
            return ramp(x, start, low, t - back, last - back, shape)

        if not self.three_phase:
            return x.choose(x.where(t <= peak, 0, 1), (up, down))
        back = 2 * peak
        index = x.where(t <= peak, 0, x.where(t <= back, 1, 2))
        return x.choose(index, (up, lambda: down(start, back), out))


class OneCycleLR(LRScheduler):
    """One rise to `max_lr` and one fall far below the start, within `total_steps`."""

    def __init__(
        self,
        max_lr: Any = 1e-2,
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        last_epoch: int = 0,
        *,
        three_phase: bool = False,
    ) -> None:
        if total_steps is None:
            if epochs is None or steps_per_epoch is None:
                raise ValueError(
                    "OneCycleLR must know its length: pass total_steps, or both epochs and steps_per_epoch, "
                    f"got epochs={epochs}, steps_per_epoch={steps_per_epoch}."
                )
            epochs = _checks.integer("epochs", epochs, low=1)
            total_steps = epochs * _checks.integer("steps_per_epoch", steps_per_epoch, low=1)
        elif epochs is not None or steps_per_epoch is not None:
            raise ValueError(
                "OneCycleLR takes either total_steps or epochs and steps_per_epoch, "
                f"got total_steps={total_steps}, epochs={epochs}, steps_per_epoch={steps_per_epoch}."
            )
        formula = _OneCycle(
            _checks.positive("div_factor", div_factor),
            _checks.positive("final_div_factor", final_div_factor),
            _checks.integer("total_steps", total_steps, low=1),
            _checks.real("pct_start", pct_start, low=0, high=1),
            _checks.choice("anneal_strategy", anneal_strategy, tuple(_SHAPES)),
            _checks.flag("three_phase", three_phase),
        )
        super().__init__(_checks.learning_rates("max_lr", max_lr), last_epoch, formula=formula)
