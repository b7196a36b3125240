"""Cyclic schedules: triangular cycles and the one-cycle policy."""

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from typing import Any

from .. import _checks
from .._types import Function, Number, RatesLike, Value
from ..formulas import host
from ..formulas.arithmetic import Arithmetic
from ..formulas.formula import Formula, Range
from ..formulas.pieces import MOST, growth, ramp
from ..formulas.ranges import ANY, Turning, widened
from ..formulas.schedule import Member, spread
from .scheduler import LRScheduler

_SHAPES = {"cos": "cosine", "linear": "linear"}


@dataclasses.dataclass(frozen=True)
class _Cyclic(Formula):
    max_lr: Number
    step_size_up: Number
    step_size_down: Number
    mode: str
    gamma: Number
    scale_fn: Function | None
    scale_mode: str
    cycle_momentum: bool
    base_momentum: Number
    max_momentum: Number

    def raw(self, t: Value, base: Value, x: Arithmetic) -> Value:
        return base + (self.max_lr - base) * self.height(t, x)

    def constant_from(self, base: Number) -> Number | None:
        return 0 if self.max_lr == base else None

    def range_from(self, base: Number, t: Number) -> Range:
        if self.max_lr == base:
            return base, base
        if self.scale_fn is not None or (self.mode == "exp_range" and self.gamma > 1):
            return ANY
        cycle = t // (self.step_size_up + self.step_size_down)
        highest = base + (self.max_lr - base) * self.scale(t, cycle, host)
        return widened(base, highest, moves=True)

    def changes(self, base: Number) -> Iterator[Number]:
        if self.max_lr == base:
            return iter(())
        length = self.step_size_up + self.step_size_down
        cycles = itertools.count(0, length)
        return (start + turn for start in cycles for turn in (self.step_size_up, length))

    def phase_at(self, t: Number, base: Number) -> str:
        if self.max_lr == base:
            return "stable"
        position = t % (self.step_size_up + self.step_size_down)
        return "rise" if position < self.step_size_up else "fall"

    def height(self, t: Value, x: Arithmetic) -> Value:
        """Where in its cycle it is: from 0 to 1, or as high as the mode has it."""
        length = self.step_size_up + self.step_size_down
        cycle = x.floor_divide(t, length)
        position = x.rest(t, cycle, length)
        rising = position <= self.step_size_up
        height = x.where(
            rising, position / self.step_size_up, (length - position) / self.step_size_down
        )
        return height * self.scale(t, cycle, x)

    def check_base(self, base: Number) -> None:
        if not (_checks.is_traced(base) or _checks.is_traced(self.max_lr)) and self.max_lr < base:
            raise ValueError(
                f"max_lr must be >= base_lr, got {self.max_lr} < {base}. Swap them, or pass max_lr=..."
            )

    def scale(self, t: Value, cycle: Value, x: Arithmetic) -> Value:
        if self.scale_fn is not None:
            return x.call(self.scale_fn, cycle + 1 if self.scale_mode == "cycle" else t)
        if self.mode == "triangular2":
            return growth(x, 0.5, cycle)
        return growth(x, self.gamma, t) if self.mode == "exp_range" else 1.0


@dataclasses.dataclass(frozen=True)
class _Mirrored(Formula):
    """The momentum beside a cyclic learning rate: low where that is high."""

    cycle: _Cyclic

    def raw(self, t: Value, base: Value, x: Arithmetic) -> Value:
        high = self.cycle.max_momentum
        return x.maximum(high - (high - base) * self.cycle.height(t, x), 0.0)


class CyclicLR(LRScheduler):
    """Go up and down between the base learning rate and `max_lr`.

    For trainings without a fixed end, as it has none, and to find good learning rates. Step it once
    a batch; with a fixed length OneCycleLR ends lower.

    At epoch t, which is after t calls of ``step()``, with up, down = step_size_up, step_size_down::

        cycle = t // (up + down)          position = t % (up + down)
        lr(t) = base_lr + (max_lr - base_lr) * height * scale

        height = position / up                       position <= up
                 (up + down - position) / down       position > up
        scale  = 1                                   mode="triangular"
                 0.5 ** cycle                        mode="triangular2"
                 gamma ** t                          mode="exp_range"
                 scale_fn(cycle + 1)                 with scale_fn, scale_mode="cycle"
                 scale_fn(t)                         with scale_fn, scale_mode="iterations"

    Parameters
    ----------
    base_lr, max_lr : float or list of float, default 0.001 and 0.01
        Lowest and highest learning rate, ``0 <= base_lr <= max_lr``; one entry for each group. A
        traced `max_lr` below `base_lr` is where the cycles go down to.
    step_size_up, step_size_down : int, default 2000 and None
        Epochs of the rise and of the fall, >= 1. None: as long as the rise.
    mode : {"triangular", "triangular2", "exp_range"}, default "triangular"
        How the height of the cycles changes; ignored with `scale_fn`.
    gamma : float, default 1.0
        Factor for each epoch with ``mode="exp_range"``, > 0.
    scale_fn : callable, optional
        Height of a cycle as a function of one number; see :class:`LambdaLR`.
    scale_mode : {"cycle", "iterations"}, default "cycle"
        Whether `scale_fn` is given the cycle, from 1 on, or the epoch.
    last_epoch : int, default 0
        Epoch to start at, >= 0; -1 means 0.
    cycle_momentum, base_momentum, max_momentum : bool, default False and 0.8 and 0.9
        Whether the optimizer's momentum (Adam's beta1) follows, and its range in [0, 1):
        ``max_momentum - (max_momentum - base_momentum) * height * scale``.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described above; the message names it.

    Examples
    --------
    >>> import lrax, numpy as np
    >>> print(lrax.CyclicLR(0.1, 0.5, step_size_up=2, mode="triangular2")(np.arange(8)))
    [0.1 0.3 0.5 0.3 0.1 0.2 0.3 0.2]

    Notes
    -----
    - torch: the same values. It cycles the momentum unless told not to, here only if asked: it is
      the optimizer's. It takes ``max_lr < base_lr``.
    - braintools: wrong for step_size_down != step_size_up. optax has no such schedule.

    References
    ----------
    L. N. Smith, "Cyclical Learning Rates for Training Neural Networks",
    https://arxiv.org/abs/1506.01186
    """

    def __init__(
        self,
        base_lr: RatesLike = 1e-3,
        max_lr: RatesLike = 1e-2,
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
        scale_fn: Function | None = None,
        scale_mode: str = "cycle",
        last_epoch: int = 0,
        *,
        cycle_momentum: bool = False,
        base_momentum: float = 0.8,
        max_momentum: float = 0.9,
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
            *_momenta(cycle_momentum, base_momentum, max_momentum),
        )
        max_lrs = _checks.learning_rates("max_lr", max_lr)
        base_lrs = _checks.learning_rates("base_lr", base_lr)
        groups = _checks.group_count(base_lr=base_lrs, max_lr=max_lrs)
        formulas = [_Cyclic(max_lr, *rest) for max_lr in max_lrs]
        for base, formula in zip(spread(base_lrs, groups), spread(formulas, groups), strict=True):
            formula.check_base(base)
        super().__init__(base_lrs, last_epoch, formula=formulas)

    def momentum_schedule(self) -> Member | None:
        return _member(self, _Mirrored)


@dataclasses.dataclass(frozen=True)
class _OneCycle(Turning):
    div_factor: Number
    final_div_factor: Number
    total_steps: Number
    pct_start: Number
    anneal_strategy: str
    three_phase: bool
    cycle_momentum: bool
    base_momentum: Number
    max_momentum: Number

    def raw(self, t: Value, base: Value, x: Arithmetic) -> Value:
        start = x.minimum(base / self.div_factor, MOST)  # not infinite
        return self.path(t, start, base, start / self.final_div_factor, x)

    def constant_from(self, base: Number) -> Number | None:
        return self.total_steps - 1

    def changes(self, base: Number) -> Iterator[Number]:
        peak = self.pct_start * self.total_steps - 1
        turns = (peak, 2 * peak) if self.three_phase else (peak,)
        last = self.total_steps - 1
        return iter((*(min(max(turn, 0), last) for turn in turns), last))

    def phase_at(self, t: Number, base: Number) -> str:
        if t >= self.total_steps - 1:
            return "stable"
        turns = [turn for turn in self.changes(base) if turn <= t]
        return ("warmup", "decay", "annihilation")[len(turns)]

    def path(self, t: Value, start: Value, base: Value, low: Value, x: Arithmetic) -> Value:
        """From `start` to `base`, and on to `low`."""
        shape = _SHAPES[self.anneal_strategy]
        last = self.total_steps - 1
        t = x.minimum(t, last)
        peak = self.pct_start * self.total_steps - 1
        rises = t <= peak
        if rises is True:  # and so no array or tracer
            top, bottom, begin, end = start, base, 0, peak
        elif rises is False:
            top, bottom, begin, end = base, low, peak, last
        else:
            top, bottom = x.where(rises, start, base), x.where(rises, base, low)
            begin, end = x.where(rises, 0, peak), x.where(rises, peak, last)
        if self.three_phase:
            back = 2 * peak
            falls_back, runs_out = (t > peak) & (t <= back), t > back
            bottom, end = x.where(falls_back, start, bottom), x.where(falls_back, back, end)
            top, begin = x.where(runs_out, start, top), x.where(runs_out, back, begin)
        return ramp(x, top, bottom, t - begin, end - begin, shape)


@dataclasses.dataclass(frozen=True)
class _OneCycleMomentum(Formula):
    """The momentum beside a one-cycle learning rate: low where that is high."""

    cycle: _OneCycle

    def raw(self, t: Value, base: Value, x: Arithmetic) -> Value:
        high = self.cycle.max_momentum
        return self.cycle.path(t, high, base, high, x)


class OneCycleLR(LRScheduler):
    """One rise to `max_lr` and one fall far below the start, within `total_steps`.

    For fast training with large learning rates and a fixed length, stepped once a batch. At epoch
    t, which is after t calls of ``step()``::

        N = total_steps, or epochs * steps_per_epoch        P = pct_start * N - 1
        first = max_lr / div_factor                         last = first / final_div_factor

        three_phase=False   first -> max_lr over 0..P,  max_lr -> last over P..N-1
        three_phase=True    first -> max_lr over 0..P,  max_lr -> first over P..2P,
                            first -> last over 2P..N-1

        a -> b over r..s  =  a + (b - a) * (1 - cos(pi * (t - r) / (s - r))) / 2     "cos"
                             a + (b - a) * (t - r) / (s - r)                         "linear"
        lr(t) = lr(N - 1)    t >= N - 1

    Parameters
    ----------
    max_lr : float or list of float, default 0.01
        Peak, >= 0, in place of `base_lr`; a list has one entry for each parameter group.
    total_steps : int, optional
        Length in epochs (here: training steps), >= 1; or give the next two.
    epochs, steps_per_epoch : int, optional
        Two factors of the length, >= 1.
    pct_start : float, default 0.3
        Share of the rise, in [0, 1]; for three phases in [0, 0.5], where a traced one is cut off.
    anneal_strategy : {"cos", "linear"}, default "cos"
        Shape of all phases.
    div_factor, final_div_factor : float, default 25.0 and 1e4
        ``max_lr / first`` and ``first / last``, > 0.
    last_epoch : int, default 0
        Epoch to start at, >= 0; -1 means 0.
    three_phase : bool, default False
        Whether to come back down to the start before the last fall.
    cycle_momentum, base_momentum, max_momentum : bool, default False and 0.85 and 0.95
        Whether the optimizer's momentum (Adam's beta1) follows, and its range in [0, 1): it falls
        to `base_momentum` at the peak, comes back along the same shape, and stays.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described above, or the length is missing or given twice.

    Examples
    --------
    >>> import lrax, numpy as np
    >>> print(lrax.OneCycleLR(1.0, total_steps=5, pct_start=0.6)(np.arange(7)).round(3))
    [0.04 0.52 1.   0.5  0.   0.   0.  ]

    Notes
    -----
    - torch: the same values up to N - 1; at N it rises again and then raises. It takes three phases
      with ``pct_start > 0.5`` and ends before they do. It cycles the momentum unless told not to,
      here only if asked: it is the optimizer's. Give arguments after `anneal_strategy` by name.
    - braintools: linear rise, peak one epoch later, the end ``max_lr / final_div_factor`` at N.
    - optax: ``cosine_onecycle_schedule`` has peak and end one epoch later.

    References
    ----------
    Smith and Topin, "Super-Convergence", https://arxiv.org/abs/1708.07120
    """

    base_argument = "max_lr"

    def __init__(
        self,
        max_lr: RatesLike = 1e-2,
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
        cycle_momentum: bool = False,
        base_momentum: float = 0.85,
        max_momentum: float = 0.95,
    ) -> None:
        pct_start = _checks.real("pct_start", pct_start, low=0, high=1)
        three_phase = _checks.flag("three_phase", three_phase)
        if three_phase and not _checks.is_traced(pct_start) and pct_start > 0.5:
            raise ValueError(
                f"pct_start must be a number in [0, 0.5] with three_phase=True, got {pct_start}: the second phase is as long as "
                "the rise, and the cycle would be over before the third. Pass a smaller one, or three_phase=False."
            )
        formula = _OneCycle(
            _checks.positive("div_factor", div_factor),
            _checks.positive("final_div_factor", final_div_factor),
            _length(total_steps, epochs, steps_per_epoch),
            pct_start,
            _checks.choice("anneal_strategy", anneal_strategy, tuple(_SHAPES)),
            three_phase,
            *_momenta(cycle_momentum, base_momentum, max_momentum),
        )
        super().__init__(_checks.learning_rates("max_lr", max_lr), last_epoch, formula=formula)

    def momentum_schedule(self) -> Member | None:
        return _member(self, _OneCycleMomentum)


def _momenta(cycle_momentum: Any, base: Any, high: Any) -> tuple[bool, Number, Number]:
    cycles = _checks.flag("cycle_momentum", cycle_momentum)
    base, high = _checks.share("base_momentum", base), _checks.share("max_momentum", high)
    if not (_checks.is_traced(base) or _checks.is_traced(high)) and base > high:
        raise ValueError(
            f"base_momentum must be <= max_momentum, got {base} > {high}. It is the momentum at the peak of the learning rate."
        )
    return cycles, base, high


def _member(scheduler: LRScheduler, kind: Callable[[Any], Formula]) -> Member | None:
    """The momentum that a cycle drives, if it was asked to."""
    cycle: Any = scheduler.formulas[0]
    if not cycle.cycle_momentum:
        return None
    return Member(type(scheduler), cycle.base_momentum, kind(cycle))


def _length(total_steps: Any, epochs: Any, steps_per_epoch: Any) -> Number:
    """The number of steps, given in one of two ways."""
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
    return _checks.integer("total_steps", total_steps, low=1)
