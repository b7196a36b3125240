"""Warmup, alone and followed by a decay."""

import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any

from .. import _checks
from .._types import Number, RatesLike, Value
from ..formulas import shapes
from ..formulas.arithmetic import Arithmetic
from ..formulas.phases import way
from ..formulas.pieces import ramp
from ..formulas.ranges import Monotone, Turning
from ..formulas.shapes import Shape
from .scheduler import LRScheduler


@dataclasses.dataclass(frozen=True)
class _Warmup(Monotone):
    warmup_epochs: Number
    warmup_start_lr: Number

    def raw(self, t: Value, base: Value, x: Arithmetic) -> Value:
        return ramp(x, self.warmup_start_lr, base, t, self.warmup_epochs)

    def constant_from(self, base: Number) -> Number | None:
        return self.warmup_epochs

    def phase_at(self, t: Number, base: Number) -> str:
        return way(self.warmup_start_lr, base) if t < self.warmup_epochs else "stable"


class WarmupScheduler(LRScheduler):
    """Rise in a straight line from `warmup_start_lr` to the base learning rate, and stay there.

    For large batches and for optimizers with moments, whose first updates are unreliable. To decay
    afterwards use WarmupCosineSchedule, or this class as the first of a SequentialLR.

    At epoch t, which is after t calls of ``step()``, with W = warmup_epochs::

        lr(t) = warmup_start_lr + (base_lr - warmup_start_lr) * t / W     t < W
                base_lr                                                   t >= W

    Parameters
    ----------
    base_lr : float or list of float, default 0.001
        Learning rate after the warmup, >= 0; a list has one entry for each parameter group.
    warmup_epochs : int, default 5
        Length of the warmup in epochs, >= 0; 0 means none.
    warmup_start_lr : float, default 0.0
        Learning rate at epoch 0, >= 0, of every parameter group.
    last_epoch : int, default 0
        Epoch to start at, >= 0; -1 means 0.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described above; the message names it.

    Examples
    --------
    The first update of a warmup from 0 changes nothing; a `warmup_start_lr` above 0 avoids that.

    >>> import lrax
    >>> import numpy as np
    >>> scheduler = lrax.WarmupScheduler(base_lr=0.1, warmup_epochs=4)
    >>> print(scheduler(np.arange(7)))
    [0.    0.025 0.05  0.075 0.1   0.1   0.1  ]

    Notes
    -----
    - braintools: the same values. There ``optimizer.current_lr`` is `base_lr` until the first
      ``step()``; here it is `warmup_start_lr` from the beginning.
    - optax: ``warmup_constant_schedule(warmup_start_lr, base_lr, warmup_epochs)``, which for
      ``warmup_epochs=0`` stays at its first value, 0, for ever.
    - torch: LinearLR, whose factor must be above 0.

    References
    ----------
    P. Goyal et al., "Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour",
    https://arxiv.org/abs/1706.02677
    """

    def __init__(
        self,
        base_lr: RatesLike = 1e-3,
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
class _WarmupCosine(Turning):
    warmup_steps: Number
    total_steps: Number
    warmup_start_lr: Number
    eta_min: Number

    def raw(self, t: Value, base: Value, x: Arithmetic) -> Value:
        decay_steps = self.total_steps - self.warmup_steps
        return _rise_and_fall(self, t, base, x, decay_steps, "linear", "cosine")

    def constant_from(self, base: Number) -> Number | None:
        return self.total_steps

    def changes(self, base: Number) -> Iterator[Number]:
        return iter((self.warmup_steps, self.total_steps))

    def phase_at(self, t: Number, base: Number) -> str:
        if t < self.warmup_steps:
            return way(self.warmup_start_lr, base)
        return way(base, self.eta_min) if t < self.total_steps else "stable"


def _rise_and_fall(
    f: Any, t: Value, base: Value, x: Arithmetic, decay_steps: Value, warmup: Shape, decay: Shape
) -> Value:
    """The warmup while it lasts, and then the decay, which ends at `total_steps`."""
    rises = t < f.warmup_steps
    if rises is False:  # and so no array or tracer, of which both are worked out
        return ramp(x, base, f.eta_min, t - (f.total_steps - decay_steps), decay_steps, decay)
    rise = ramp(x, f.warmup_start_lr, base, t, f.warmup_steps, warmup)
    if rises is True:
        return rise
    fall = ramp(x, base, f.eta_min, t - (f.total_steps - decay_steps), decay_steps, decay)
    return x.where(rises, rise, fall)


class WarmupCosineSchedule(LRScheduler):
    """Linear warmup, then half a cosine down to `eta_min`: the most used recipe for transformers.

    For a training of known length that steps once a batch. `total_steps` is the length of the whole
    schedule, with the warmup in it.

    At epoch t, which is after t calls of ``step()``, with W = warmup_steps and N = total_steps::

        lr(t) = warmup_start_lr + (base_lr - warmup_start_lr) * t / W                    t < W
                eta_min + (base_lr - eta_min) * (1 + cos(pi * (t - W) / (N - W))) / 2    W <= t < N
                eta_min                                                                  t >= N

    With W = N there is no cosine: the learning rate rises up to epoch N - 1 and is `eta_min` from N
    on. So it is with W in place of N where traced arguments have W > N.

    Parameters
    ----------
    base_lr : float or list of float, default 0.001
        Highest learning rate, >= 0; a list has one entry for each parameter group.
    warmup_steps : int, default 1000
        Length of the warmup in epochs (here: training steps), >= 0; 0 means none.
    total_steps : int, default 10000
        Length of warmup and cosine together, >= 1 and >= `warmup_steps`.
    warmup_start_lr : float, default 0.0
        Learning rate at epoch 0, >= 0, of every parameter group.
    eta_min : float, default 0.0
        Last learning rate, >= 0, of every parameter group.
    last_epoch : int, default 0
        Epoch to start at, >= 0; -1 means 0.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described above; the message names it.

    Examples
    --------
    >>> import lrax
    >>> import numpy as np
    >>> scheduler = lrax.WarmupCosineSchedule(base_lr=1.0, warmup_steps=2, total_steps=6)
    >>> print(scheduler(np.arange(8)).round(3))
    [0.    0.5   1.    0.854 0.5   0.146 0.    0.   ]

    Notes
    -----
    - optax: ``warmup_cosine_decay_schedule(warmup_start_lr, base_lr, warmup_steps, decay_steps,
      eta_min)``, whose `decay_steps` is the total, too; it refuses W = N.
    - braintools: the same values, except that W = N has `base_lr` at epoch N. With W > N it falls
      from `base_lr` to `eta_min` in one step after the warmup; here that is an error.
    - torch has no such class; there it is a SequentialLR of LinearLR and CosineAnnealingLR.

    References
    ----------
    I. Loshchilov and F. Hutter, "SGDR", https://arxiv.org/abs/1608.03983
    P. Goyal et al., "Accurate, Large Minibatch SGD", https://arxiv.org/abs/1706.02677
    """

    def __init__(
        self,
        base_lr: RatesLike = 1e-3,
        warmup_steps: int = 1000,
        total_steps: int = 10000,
        warmup_start_lr: float = 0.0,
        eta_min: float = 0.0,
        last_epoch: int = 0,
    ) -> None:
        warmup_steps, total_steps = _lengths(warmup_steps, total_steps, "cosine")
        formula = _WarmupCosine(
            warmup_steps,
            total_steps,
            _checks.non_negative("warmup_start_lr", warmup_start_lr),
            _checks.non_negative("eta_min", eta_min),
        )
        super().__init__(base_lr, last_epoch, formula=formula)


def _lengths(warmup_steps: Any, total_steps: Any, rest: str) -> tuple[Number, Number]:
    """The lengths of the warmup and of the whole, of which it is a part."""
    warmup_steps = _checks.integer("warmup_steps", warmup_steps)
    total_steps = _checks.integer("total_steps", total_steps, low=1)
    if (
        not (_checks.is_traced(warmup_steps) or _checks.is_traced(total_steps))
        and total_steps < warmup_steps
    ):
        raise ValueError(
            f"total_steps must be >= warmup_steps, which it includes, got {total_steps} < {warmup_steps}. "
            f"For a {rest} of n steps after the warmup pass total_steps = warmup_steps + n."
        )
    return warmup_steps, total_steps


@dataclasses.dataclass(frozen=True)
class _WarmupStableDecay(Turning):
    warmup_steps: Number
    total_steps: Number
    decay_steps: Number | None
    decay: Shape
    warmup: Shape
    warmup_start_lr: Number
    eta_min: Number

    def decay_length(self) -> Value:
        """All that is left, if it is None, which it is with traced lengths only."""
        left = self.total_steps - self.warmup_steps
        return left if self.decay_steps is None else self.decay_steps

    def raw(self, t: Value, base: Value, x: Arithmetic) -> Value:
        length = self.decay_length()
        stable = (t >= self.warmup_steps) & (t < self.total_steps - length)
        if stable is True:
            return base
        lr = _rise_and_fall(self, t, base, x, length, self.warmup, self.decay)
        return x.where(stable, base, lr)

    def constant_from(self, base: Number) -> Number | None:
        return self.total_steps

    def changes(self, base: Number) -> Iterator[Number]:
        low, high, length = self.warmup_start_lr, self.eta_min, self.decay_length()
        rise = shapes.changes_of(self.warmup, 0, self.warmup_steps, base > low)
        begin = self.total_steps - length
        return itertools.chain(rise, shapes.changes_of(self.decay, begin, length, high > base))

    def phase_at(self, t: Number, base: Number) -> str:
        if t < self.warmup_steps:
            return way(self.warmup_start_lr, base)
        if not self.total_steps - self.decay_length() <= t < self.total_steps:
            return "stable"
        return way(base, self.eta_min)

    def check_base(self, base: Number) -> None:
        shapes.check_ends("warmup", self.warmup, base_lr=base, warmup_start_lr=self.warmup_start_lr)
        shapes.check_ends("decay", self.decay, base_lr=base, eta_min=self.eta_min)


class WSDSchedule(LRScheduler):
    """Warmup, then the base learning rate, then a decay: warmup-stable-decay, or trapezoid.

    For trainings whose length is open: up to the decay, which may be short, it doesn't depend on
    it, and every checkpoint of the stable phase can be decayed. WarmupCosineSchedule needs to know.

    At epoch t, which is after t calls of ``step()``, with W = warmup_steps, N = total_steps and
    D = decay_steps, where fall(p) leads from fall(0) = 1 to fall(1) = 0::

        lr(t) = warmup_start_lr + (base_lr - warmup_start_lr) * fall(1 - t / W)  t < W, `warmup`
                base_lr                                                          W <= t < N - D
                eta_min + (base_lr - eta_min) * fall((t - (N - D)) / D)          t < N, `decay`
                eta_min                                                          t >= N

    Here base_lr > warmup_start_lr and base_lr > eta_min; a warmup that falls and a decay that rises
    are the other way round. Where traced arguments have W + D > N there is no stable phase: the
    warmup goes on to W, into the middle of the decay.

    Parameters
    ----------
    base_lr : float or list of float, default 0.001
        Learning rate between warmup and decay, >= 0; a list has one entry for each group.
    warmup_steps : int, default 1000
        Length of the warmup in epochs (here: training steps), >= 0; 0 means none.
    total_steps : int, default 10000
        Length of all three phases together, >= 1.
    decay_steps : int, optional
        Length of the decay, from 0 to ``total_steps - warmup_steps``; None: all of that.
    decay, warmup : str, tuple or callable, default "linear" and "linear"
        Shapes: "linear", "cosine", "1-sqrt", "square", "exponential", "power", "log", "rex",
        "tanh", "harmonic" (between rates > 0), "constant", ("power", 3.0), or a function fall(p).
    warmup_start_lr, eta_min : float, default 0.0 and 0.0
        First and last learning rate, >= 0, of every parameter group.
    last_epoch : int, default 0
        Epoch to start at, >= 0; -1 means 0.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described above; the message names it.

    Examples
    --------
    >>> import lrax, numpy as np
    >>> scheduler = lrax.WSDSchedule(1.0, 2, total_steps=8, decay_steps=4, decay="1-sqrt")
    >>> print(scheduler(np.arange(9)).round(3))
    [0.    0.5   1.    1.    1.    0.5   0.293 0.134 0.   ]

    Notes
    -----
    - torch, braintools: no such class. optax: ``join_schedules`` of three schedules.
    - With ``decay="cosine"`` and `decay_steps` None it is WarmupCosineSchedule, to the bit.

    References
    ----------
    S. Hu et al., "MiniCPM", https://arxiv.org/abs/2404.06395
    A. Hägele et al., "Scaling Laws and Compute-Optimal Training Beyond Fixed Training Durations"
    (1-sqrt), https://arxiv.org/abs/2405.18392
    """

    def __init__(
        self,
        base_lr: RatesLike = 1e-3,
        warmup_steps: int = 1000,
        total_steps: int = 10000,
        decay_steps: int | None = None,
        decay: Shape = "linear",
        warmup: Shape = "linear",
        warmup_start_lr: float = 0.0,
        eta_min: float = 0.0,
        last_epoch: int = 0,
    ) -> None:
        warmup_steps, total_steps = _lengths(warmup_steps, total_steps, "decay")
        formula = _WarmupStableDecay(
            warmup_steps,
            total_steps,
            _decay_steps(decay_steps, warmup_steps, total_steps),
            shapes.checked("decay", decay),
            shapes.checked("warmup", warmup),
            _checks.non_negative("warmup_start_lr", warmup_start_lr),
            _checks.non_negative("eta_min", eta_min),
        )
        bases = _checks.learning_rates("base_lr", base_lr)
        for base in bases:
            formula.check_base(base)
        super().__init__(bases, last_epoch, formula=formula)


def _decay_steps(value: Any, warmup_steps: Number, total_steps: Number) -> Number | None:
    """The length of the decay; None if it follows from what is traced."""
    traced = _checks.is_traced(warmup_steps) or _checks.is_traced(total_steps)
    if value is None:
        return None if traced else total_steps - warmup_steps
    steps = _checks.integer("decay_steps", value)
    if not traced and not _checks.is_traced(steps) and warmup_steps + steps > total_steps:
        raise ValueError(
            "decay_steps must be <= total_steps - warmup_steps, which is all that the warmup leaves, got "
            f"{steps} > {total_steps} - {warmup_steps}. Pass total_steps={warmup_steps + steps}, or a shorter decay."
        )
    return steps
