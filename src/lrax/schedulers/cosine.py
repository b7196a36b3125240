"""Cosine annealing without restarts."""

import dataclasses

from .. import _checks
from .._types import Number, RatesLike, Value
from ..formulas.arithmetic import Arithmetic
from ..formulas.phases import way
from ..formulas.pieces import powered, ramp
from ..formulas.ranges import Monotone
from ..formulas.shapes import half_cosine
from .scheduler import LRScheduler


@dataclasses.dataclass(frozen=True)
class _Cosine(Monotone):
    T_max: Number
    eta_min: Number
    exponent: Number

    def raw(self, t: Value, base: Value, x: Arithmetic) -> Value:
        if (self.exponent == 1) is True:  # as mostly, and not traced
            return ramp(x, base, self.eta_min, t, self.T_max, "cosine")
        done = x.minimum(t, self.T_max)
        kept = half_cosine(x, (self.T_max - done) / self.T_max)
        lost = half_cosine(x, done / self.T_max)
        return powered(x, base, self.eta_min, kept, lost, self.exponent)

    def constant_from(self, base: Number) -> Number | None:
        return self.T_max

    def phase_at(self, t: Number, base: Number) -> str:
        return way(base, self.eta_min) if t < self.T_max else "stable"


class CosineAnnealingLR(LRScheduler):
    """Anneal along half a cosine from the base learning rate to `eta_min`, and stay there.

    The usual decay when the length of the training is known. It begins at the full learning rate;
    WarmupCosineSchedule adds a warmup, CosineAnnealingWarmRestarts starts again and again.

    At epoch t, which is after t calls of ``step()``::

        lr(t) = eta_min + (base_lr - eta_min) * c(t) ** exponent     t < T_max
                eta_min                                              t >= T_max
        c(t)  = (1 + cos(pi * t / T_max)) / 2

    Parameters
    ----------
    base_lr : float or list of float, default 0.001
        Learning rate at epoch 0, >= 0; a list has one entry for each parameter group.
    T_max : int, default 50
        Epochs until `eta_min`, >= 1.
    eta_min : float, default 0
        Last learning rate, >= 0, of every parameter group.
    last_epoch : int, default 0
        Epoch to start at, >= 0; -1 means 0.
    exponent : float, default 1.0
        How early it falls: above 1 earlier, below 1 later, > 0.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described above; the message names it.

    Examples
    --------
    >>> import lrax
    >>> import numpy as np
    >>> scheduler = lrax.CosineAnnealingLR(base_lr=1.0, T_max=4)
    >>> print(scheduler(np.arange(7)).round(3))
    [1.    0.854 0.5   0.146 0.    0.    0.   ]

    Notes
    -----
    - torch: the same values up to `T_max`; it has no exponent. After it torch rises again, to
      `base_lr` at 2 * `T_max`; here the learning rate stays at `eta_min`. torch goes on from the
      learning rate it finds, so a change by hand lasts; here the next ``step()`` ends it.
    - braintools: the same values, with exponent 1.
    - optax: ``cosine_decay_schedule(base_lr, T_max, eta_min / base_lr, exponent)``, in float32:
      with T_max = 100 000 it is 0 one step before the end instead of 2.5e-10 * `base_lr`.

    References
    ----------
    I. Loshchilov and F. Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts",
    https://arxiv.org/abs/1608.03983
    """

    def __init__(
        self,
        base_lr: RatesLike = 1e-3,
        T_max: int = 50,
        eta_min: float = 0,
        last_epoch: int = 0,
        *,
        exponent: float = 1.0,
    ) -> None:
        formula = _Cosine(
            _checks.integer("T_max", T_max, low=1),
            _checks.non_negative("eta_min", eta_min),
            _checks.positive("exponent", exponent),
        )
        super().__init__(base_lr, last_epoch, formula=formula)
