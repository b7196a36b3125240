"""Warmup, alone and followed by a cosine."""

import dataclasses
from collections.abc import Iterator

from .. import _checks
from .._types import Number, RatesLike, Value
from ..formulas.arithmetic import Arithmetic
from ..formulas.formula import Formula
from ..formulas.phases import way
from ..formulas.pieces import ramp
from .scheduler import LRScheduler


@dataclasses.dataclass(frozen=True)
class _Warmup(Formula):
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
class _WarmupCosine(Formula):
    warmup_steps: Number
    total_steps: Number
    warmup_start_lr: Number
    eta_min: Number

    def raw(self, t: Value, base: Value, x: Arithmetic) -> Value:
        warmup = ramp(x, self.warmup_start_lr, base, t, self.warmup_steps)
        decay_steps = self.total_steps - self.warmup_steps
        decay = ramp(x, base, self.eta_min, t - self.warmup_steps, decay_steps, "cosine")
        return x.where(t < self.warmup_steps, warmup, decay)

    def constant_from(self, base: Number) -> Number | None:
        return self.total_steps

    def changes(self, base: Number) -> Iterator[Number]:
        return iter((self.warmup_steps, self.total_steps))

    def phase_at(self, t: Number, base: Number) -> str:
        if t < self.warmup_steps:
            return way(self.warmup_start_lr, base)
        return way(base, self.eta_min) if t < self.total_steps else "stable"


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
