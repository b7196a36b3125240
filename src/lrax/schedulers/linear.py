"""Straight lines and constants."""

import dataclasses

from .. import _checks
from .._types import Number, RatesLike, Scalar, Value
from ..formulas.arithmetic import Arithmetic
from ..formulas.phases import way
from ..formulas.pieces import MOST, ramp
from ..formulas.ranges import Monotone
from .scheduler import LRScheduler


@dataclasses.dataclass(frozen=True)
class _Linear(Monotone):
    start_factor: Number
    end_factor: Number
    total_iters: Number

    def raw(self, t: Value, base: Value, x: Arithmetic) -> Value:
        start = x.minimum(base * self.start_factor, MOST)
        end = x.minimum(base * self.end_factor, MOST)
        return ramp(x, start, end, t, self.total_iters)

    def constant_from(self, base: Number) -> Number | None:
        return self.total_iters

    def phase_at(self, t: Number, base: Number) -> str:
        return way(self.start_factor, self.end_factor) if t < self.total_iters else "stable"


class LinearLR(LRScheduler):
    """Go in a straight line from `start_factor` to `end_factor` times the base learning rate.

    A warmup (the default) or a linear decay. WarmupScheduler takes the first learning rate itself
    instead of a factor.

    At epoch t, which is after t calls of ``step()``, with N = total_iters::

        lr(t) = base_lr * (start_factor + (end_factor - start_factor) * t / N)     t < N
                base_lr * end_factor                                               t >= N

    Parameters
    ----------
    base_lr : float or list of float, default 0.001
        Base learning rate, >= 0; a list has one entry for each parameter group.
    start_factor : float, default 1/3
        Factor at epoch 0, >= 0.
    end_factor : float, default 1.0
        Factor from epoch `total_iters` on, >= 0.
    total_iters : int, default 5
        Epochs from one to the other, >= 0; 0 means `end_factor` at once.
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
    >>> scheduler = lrax.LinearLR(base_lr=0.1, start_factor=0.2, total_iters=4)
    >>> print(scheduler(np.arange(7)))
    [0.02 0.04 0.06 0.08 0.1  0.1  0.1 ]

    Notes
    -----
    - torch: the same values, for factors up to 1 and a `start_factor` above 0; with
      ``total_iters=0`` it stays at `start_factor` for ever. It multiplies the learning rate it
      finds, so a change by hand lasts; here the next ``step()`` ends it.
    - braintools: the same values; it takes negative factors, and so negative learning rates.
    - optax: ``linear_schedule(base_lr * start_factor, base_lr * end_factor, total_iters)``, which
      for ``total_iters=0`` stays at its first value for ever.

    References
    ----------
    P. Goyal et al., "Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour" (gradual warmup),
    https://arxiv.org/abs/1706.02677
    """

    def __init__(
        self,
        base_lr: RatesLike = 1e-3,
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
class _Constant(Monotone):
    factor: Number
    total_iters: Number

    def raw(self, t: Value, base: Value, x: Arithmetic) -> Value:
        return base * x.where(t < self.total_iters, self.factor, 1.0)

    def constant_from(self, base: Number) -> Number | None:
        return self.total_iters

    def phase_at(self, t: Number, base: Number) -> str:
        return "stable"


class ConstantLR(LRScheduler):
    """Hold `factor` times the base learning rate for a while, then the base learning rate.

    A constant warmup, or a piece of a SequentialLR. It ends with a jump; LinearLR rises gradually.
    With ``factor=1`` it is a constant learning rate.

    At epoch t, which is after t calls of ``step()``::

        lr(t) = base_lr * factor     t < total_iters
                base_lr              t >= total_iters

    Parameters
    ----------
    base_lr : float or list of float, default 0.001
        Learning rate from epoch `total_iters` on, >= 0; a list has one entry for each parameter
        group.
    factor : float, default 1/3
        Factor before, >= 0.
    total_iters : int, default 5
        Epochs with the factor, >= 0; 0 means none.
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
    >>> scheduler = lrax.ConstantLR(base_lr=0.1, factor=0.5, total_iters=2)
    >>> print(scheduler(np.arange(5)))
    [0.05 0.05 0.1  0.1  0.1 ]

    Notes
    -----
    - torch: the same values for a factor in (0, 1]; it refuses one above 1, divides by zero at the
      end of ``factor=0``, and with ``total_iters=0`` keeps `factor` for ever. It divides the
      learning rate it finds, so a change by hand lasts; here the next ``step()`` ends it.
    - braintools: the same values; it takes a negative factor.
    - optax: ``piecewise_constant_schedule(base_lr * factor, {total_iters: 1 / factor})``.

    References
    ----------
    P. Goyal et al., "Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour" (constant warmup,
    and why gradual is better), https://arxiv.org/abs/1706.02677
    """

    def __init__(
        self,
        base_lr: RatesLike = 1e-3,
        factor: float = 1.0 / 3,
        total_iters: int = 5,
        last_epoch: int = 0,
    ) -> None:
        formula = _Constant(
            _checks.non_negative("factor", factor), _checks.integer("total_iters", total_iters)
        )
        super().__init__(base_lr, last_epoch, formula=formula)


def constant(lr: Scalar | None) -> ConstantLR:
    """What an optimizer follows that was given a number, or nothing."""
    rate = _checks.non_negative("lr", 1e-3 if lr is None else lr)
    return ConstantLR(rate, factor=1.0, total_iters=0)
