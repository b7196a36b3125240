"""Decay by factors: in steps, and exponential."""

import dataclasses
import functools
import itertools
import math
from collections.abc import Iterator, Sequence

from .. import _checks
from .._types import Number, RatesLike, Value
from ..formulas import host
from ..formulas.arithmetic import Arithmetic
from ..formulas.phases import merged, way
from ..formulas.pieces import growth
from ..formulas.ranges import Monotone
from .scheduler import LRScheduler


def _is_constant(factor: Number, base: Number) -> bool:
    """Whether multiplying by a factor again and again changes nothing."""
    return factor == 1 or base == 0


def _growth_phase(factor: Number, base: Number) -> str:
    return "stable" if _is_constant(factor, base) else way(1, factor)


@dataclasses.dataclass(frozen=True)
class _Step(Monotone):
    step_size: Number
    gamma: Number

    def raw(self, t: Value, base: Value, x: Arithmetic) -> Value:
        return base * growth(x, self.gamma, x.floor_divide(t, self.step_size))

    def constant_from(self, base: Number) -> Number | None:
        return 0 if _is_constant(self.gamma, base) else None

    def changes(self, base: Number) -> Iterator[Number]:
        constant = _is_constant(self.gamma, base)
        return iter(()) if constant else itertools.count(self.step_size, self.step_size)

    def phase_at(self, t: Number, base: Number) -> str:
        return _growth_phase(self.gamma, base)


class StepLR(LRScheduler):
    """Multiply the learning rate by `gamma` every `step_size` epochs.

    The classic staircase. With stairs of different lengths use MultiStepLR; ExponentialLR and
    CosineAnnealingLR fall smoothly and have no jumps to place.

    At epoch t, which is after t calls of ``step()``::

        lr(t) = base_lr * gamma ** (t // step_size)

    It has no end. Below 1.2e-38, the smallest normal float32, the learning rate is 0.

    Parameters
    ----------
    base_lr : float or list of float, default 0.001
        Learning rate of the first stair, >= 0; a list has one entry for each parameter group.
    step_size : int, default 30
        Length of a stair in epochs, >= 1.
    gamma : float, default 0.1
        Factor from one stair to the next, > 0.
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
    >>> scheduler = lrax.StepLR(base_lr=0.1, step_size=2, gamma=0.1)
    >>> print(scheduler(np.arange(6)))
    [0.1   0.1   0.01  0.01  0.001 0.001]

    Notes
    -----
    - torch: the same values. It multiplies the learning rate it finds, so a change by hand lasts;
      here the next ``step()`` ends it. It also takes ``step_size=-3`` and ``gamma=-0.5``, which
      turns the learning rate negative, and fails with ``step_size=0`` at the first step only.
    - braintools: the same values; it takes ``gamma <= 0``.
    - optax: ``exponential_decay(base_lr, step_size, gamma, staircase=True)``.
    """

    def __init__(
        self,
        base_lr: RatesLike = 1e-3,
        step_size: int = 30,
        gamma: float = 0.1,
        last_epoch: int = 0,
    ) -> None:
        formula = _Step(
            _checks.integer("step_size", step_size, low=1), _checks.positive("gamma", gamma)
        )
        super().__init__(base_lr, last_epoch, formula=formula)


@dataclasses.dataclass(frozen=True)
class _MultiStep(Monotone):
    milestones: tuple[Number, ...]
    gamma: Number

    def raw(self, t: Value, base: Value, x: Arithmetic) -> Value:
        if not isinstance(self.gamma, float):  # traced, or whole: no table of its powers
            return base * growth(x, self.gamma, x.count(self.milestones, t))
        return base * x.steps(self.milestones, t, self.factors)

    def constant_from(self, base: Number) -> Number | None:
        return 0 if _is_constant(self.gamma, base) else max(self.milestones, default=0)

    def changes(self, base: Number) -> Iterator[Number]:
        return iter(() if self.constant_from(base) == 0 else self.milestones)

    def phase_at(self, t: Number, base: Number) -> str:
        over = t >= max(self.milestones, default=0)
        return "stable" if over else _growth_phase(self.gamma, base)

    @functools.cached_property
    def factors(self) -> tuple[float, ...]:
        return tuple(growth(host, self.gamma, n) for n in range(len(self.milestones) + 1))


class MultiStepLR(LRScheduler):
    """Multiply the learning rate by `gamma` at each milestone.

    For recipes that name the epochs of their drops. For drops at equal distances use StepLR, for
    values that are no powers of one factor PiecewiseConstantSchedule.

    At epoch t, which is after t calls of ``step()``::

        lr(t) = base_lr * gamma ** n        n = number of milestones <= t

    A milestone that is listed twice counts twice. After the last one the learning rate stays.
    Traced milestones have to be in order, too; else the learning rate is not defined.

    Parameters
    ----------
    base_lr : float or list of float, default 0.001
        Learning rate before the first milestone, >= 0; a list has one entry for each parameter
        group.
    milestones : sequence of int, default (30, 60, 90)
        Epochs at which the learning rate drops, >= 0, in non-decreasing order.
    gamma : float, default 0.1
        Factor at each milestone, > 0.
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
    >>> scheduler = lrax.MultiStepLR(base_lr=0.1, milestones=[2, 5], gamma=0.1)
    >>> print(scheduler(np.arange(7)))
    [0.1   0.1   0.01  0.01  0.01  0.001 0.001]

    Notes
    -----
    - torch: the same values. It multiplies the learning rate it finds, so a change by hand lasts;
      here the next ``step()`` ends it. It never reaches a milestone like 2.5, which is an error
      here; so are milestones out of order, and ``gamma <= 0``.
    - braintools: the same values; it, too, takes milestones out of order and ``gamma <= 0``.
    - optax: ``piecewise_constant_schedule(base_lr, {m: gamma for m in milestones})``.

    References
    ----------
    P. Goyal et al., "Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour" (drops at epochs
    30, 60, 80), https://arxiv.org/abs/1706.02677
    """

    def __init__(
        self,
        base_lr: RatesLike = 1e-3,
        milestones: Sequence[int] = (30, 60, 90),
        gamma: float = 0.1,
        last_epoch: int = 0,
    ) -> None:
        formula = _MultiStep(
            _checks.milestones("milestones", milestones), _checks.positive("gamma", gamma)
        )
        super().__init__(base_lr, last_epoch, formula=formula)


@dataclasses.dataclass(frozen=True)
class _Exponential(Monotone):
    gamma: Number

    def raw(self, t: Value, base: Value, x: Arithmetic) -> Value:
        return base * growth(x, self.gamma, t)

    def constant_from(self, base: Number) -> Number | None:
        return 0 if _is_constant(self.gamma, base) else None

    def phase_at(self, t: Number, base: Number) -> str:
        return _growth_phase(self.gamma, base)


class ExponentialLR(LRScheduler):
    """Multiply the learning rate by `gamma` every epoch.

    A smooth decay with one number to choose. Stepped once a batch, `gamma` has to be very close to
    1; there ExponentialDecayLR is easier to choose, and can stop at a smallest value.

    At epoch t, which is after t calls of ``step()``::

        lr(t) = base_lr * gamma ** t

    It has no end. Below 1.2e-38, the smallest normal float32, the learning rate is 0.

    Parameters
    ----------
    base_lr : float or list of float, default 0.001
        Learning rate at epoch 0, >= 0; a list has one entry for each parameter group.
    gamma : float, default 0.95
        Factor from one epoch to the next, > 0.
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
    >>> scheduler = lrax.ExponentialLR(base_lr=0.1, gamma=0.5)
    >>> print(scheduler(np.arange(5)))
    [0.1     0.05    0.025   0.0125  0.00625]

    Notes
    -----
    - torch: the same values, with a required `gamma` that may be negative. It multiplies the
      learning rate it finds, so a change by hand lasts; here the next ``step()`` ends it.
    - braintools: the same values; it takes ``gamma <= 0``.
    - optax: ``exponential_decay(base_lr, 1, gamma)``, in float32: 1.3 % off after a million steps
      with gamma = 0.999999, where this class is within one ulp.
    """

    def __init__(self, base_lr: RatesLike = 1e-3, gamma: float = 0.95, last_epoch: int = 0) -> None:
        super().__init__(
            base_lr, last_epoch, formula=_Exponential(_checks.positive("gamma", gamma))
        )


@dataclasses.dataclass(frozen=True)
class _ExponentialDecay(Monotone):
    decay_steps: Number
    decay_rate: Number
    transition_begin: Number
    staircase: bool
    end_value: Number | None

    def raw(self, t: Value, base: Value, x: Arithmetic) -> Value:
        since = x.since(t, self.transition_begin)
        periods = (
            x.floor_divide(since, self.decay_steps) if self.staircase else since / self.decay_steps
        )
        lr = base * growth(x, self.decay_rate, periods)
        if self.end_value is None:
            return lr
        return x.where(
            self.decay_rate < 1, x.maximum(lr, self.end_value), x.minimum(lr, self.end_value)
        )

    def constant_from(self, base: Number) -> Number | None:
        if _is_constant(self.decay_rate, base):
            return 0
        if self.end_value is None:
            return None
        if (self.decay_rate < 1) == (base <= self.end_value):
            return 0
        if self.end_value == 0:
            return None
        periods = (math.log(self.end_value) - math.log(base)) / math.log(self.decay_rate)
        steps = (
            math.ceil(periods) * self.decay_steps if self.staircase else periods * self.decay_steps
        )
        return self.transition_begin + steps

    def changes(self, base: Number) -> Iterator[Number]:
        end = self.constant_from(base)
        if end == 0:
            return iter(())
        stairs = itertools.count(self.transition_begin, self.decay_steps)
        inner = stairs if self.staircase else iter((self.transition_begin,))
        last = math.inf if end is None else end
        return merged([itertools.takewhile(lambda t: t < last, inner), super().changes(base)])

    def phase_at(self, t: Number, base: Number) -> str:
        end = self.constant_from(base)
        moves = t >= self.transition_begin and (end is None or t < end)
        return _growth_phase(self.decay_rate, base) if moves else "stable"


class ExponentialDecayLR(LRScheduler):
    """Multiply the learning rate by `decay_rate` every `decay_steps` epochs, smoothly or in stairs.

    ExponentialLR with a period, a delay and an end value, for schedules that step once a batch.

    At epoch t, which is after t calls of ``step()``::

        p     = max(t - transition_begin, 0) / decay_steps     rounded down if staircase
        lr(t) = base_lr * decay_rate ** p                      without end_value
                max(base_lr * decay_rate ** p, end_value)      with end_value, decay_rate < 1
                min(base_lr * decay_rate ** p, end_value)      with end_value, decay_rate >= 1

    `end_value` applies from epoch 0 on. Without it there is no end; below 1.2e-38 the learning rate
    is 0.

    Parameters
    ----------
    base_lr : float or list of float, default 0.001
        Learning rate up to `transition_begin`, >= 0; a list has one entry for each parameter group.
    decay_steps : int, default 1000
        Epochs in which the learning rate changes by `decay_rate`, >= 1.
    decay_rate : float, default 0.96
        Factor for `decay_steps` epochs, > 0.
    transition_begin : int, default 0
        Epochs before the decay begins, >= 0.
    staircase : bool, default False
        Whether to decay in stairs of `decay_steps` epochs.
    end_value : float, optional
        Bound that the learning rate does not cross, >= 0.
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
    >>> scheduler = lrax.ExponentialDecayLR(1.0, decay_steps=2, decay_rate=0.25, end_value=0.1)
    >>> print(scheduler(np.arange(6)))
    [1.    0.5   0.25  0.125 0.1   0.1  ]

    Notes
    -----
    - optax: ``exponential_decay(base_lr, decay_steps, decay_rate, ...)``. There ``decay_steps <=
      0`` or ``decay_rate == 0`` means constant, and a negative `transition_begin` 0; here they are
      errors.
    - braintools: the same values; its ``decay_rate=-0.5`` gives NaN and is an error here.
    - torch has no such class.
    """

    def __init__(
        self,
        base_lr: RatesLike = 1e-3,
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
