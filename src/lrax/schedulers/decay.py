"""Decay: step, exponential and polynomial."""

import dataclasses
import functools
import itertools
import math
from collections.abc import Iterator, Sequence

from .. import _checks
from .._types import Number, RatesLike, Scalar, Value
from ..formulas.arithmetic import HOST, Arithmetic
from ..formulas.formula import Formula
from ..formulas.phases import merged, way
from ..formulas.pieces import MOST, growth, powered, ramp
from .scheduler import LRScheduler


def _if_constant(factor: Number, base: Number) -> Number | None:
    """Since when multiplying by a factor again and again changes nothing."""
    return 0 if factor == 1 or base == 0 else None


def _growth_phase(factor: Number, base: Number) -> str:
    return "stable" if _if_constant(factor, base) == 0 else way(1, factor)


@dataclasses.dataclass(frozen=True)
class _Step(Formula):
    step_size: Number
    gamma: Number

    def raw(self, t: Value, base: Value, x: Arithmetic) -> Value:
        return base * growth(x, self.gamma, x.floor_divide(t, self.step_size))

    def constant_from(self, base: Number) -> Number | None:
        return _if_constant(self.gamma, base)

    def changes(self, base: Number) -> Iterator[Number]:
        constant = self.constant_from(base) == 0
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
class _MultiStep(Formula):
    milestones: tuple[Number, ...]
    gamma: Number

    def raw(self, t: Value, base: Value, x: Arithmetic) -> Value:
        if not isinstance(self.gamma, float):  # traced: no table of its powers
            return base * growth(x, self.gamma, x.count(self.milestones, t))
        return base * x.steps(self.milestones, t, self.factors)

    def constant_from(self, base: Number) -> Number | None:
        constant = _if_constant(self.gamma, base) == 0
        return 0 if constant else max(self.milestones, default=0)

    def changes(self, base: Number) -> Iterator[Number]:
        return iter(() if self.constant_from(base) == 0 else self.milestones)

    def phase_at(self, t: Number, base: Number) -> str:
        over = t >= max(self.milestones, default=0)
        return "stable" if over else _growth_phase(self.gamma, base)

    @functools.cached_property
    def factors(self) -> tuple[float, ...]:
        return tuple(growth(HOST, self.gamma, n) for n in range(len(self.milestones) + 1))


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
class _Exponential(Formula):
    gamma: Number

    def raw(self, t: Value, base: Value, x: Arithmetic) -> Value:
        return base * growth(x, self.gamma, t)

    def constant_from(self, base: Number) -> Number | None:
        return _if_constant(self.gamma, base)

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
class _ExponentialDecay(Formula):
    decay_steps: Number
    decay_rate: Number
    transition_begin: Number
    staircase: bool
    end_value: Number | None

    def raw(self, t: Value, base: Value, x: Arithmetic) -> Value:
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

    def constant_from(self, base: Number) -> Number | None:
        if self.decay_rate == 1 or base == 0 or self.end_value is None:
            return _if_constant(self.decay_rate, base)
        if (self.decay_rate < 1) == (base <= self.end_value):
            return 0
        if self.end_value == 0:
            return None
        periods = math.log(self.end_value / base) / math.log(self.decay_rate)
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


@dataclasses.dataclass(frozen=True)
class _Polynomial(Formula):
    total_iters: Number
    power: Number
    eta_min: Number

    def raw(self, t: Value, base: Value, x: Arithmetic) -> Value:
        done = x.minimum(t, self.total_iters)
        lost, kept = done / self.total_iters, (self.total_iters - done) / self.total_iters
        return powered(x, base, self.eta_min, kept, lost, self.power)

    def constant_from(self, base: Number) -> Number | None:
        return self.total_iters

    def phase_at(self, t: Number, base: Number) -> str:
        return way(base, self.eta_min) if t < self.total_iters else "stable"


class PolynomialLR(LRScheduler):
    """Decay to zero, or to `eta_min`, along a power of the fraction that is left.

    ``power=1`` is the linear decay of fine-tuning recipes, 0.9 the usual choice in segmentation.
    WSDSchedule has more shapes, and a warmup.

    At epoch t, which is after t calls of ``step()``, with N = total_iters::

        lr(t) = eta_min + (base_lr - eta_min) * (1 - t / N) ** power     t < N
                eta_min                                                  t >= N

    Parameters
    ----------
    base_lr : float or list of float, default 0.001
        Learning rate at epoch 0, >= 0; a list has one entry for each parameter group.
    total_iters : int, default 5
        Epochs until `eta_min`, >= 1.
    power : float, default 1.0
        Exponent, > 0.
    last_epoch : int, default 0
        Epoch to start at, >= 0; -1 means 0.
    eta_min : float, default 0.0
        Last learning rate, >= 0, of every parameter group.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described above; the message names it.

    Examples
    --------
    >>> import lrax
    >>> import numpy as np
    >>> scheduler = lrax.PolynomialLR(base_lr=0.1, total_iters=4, power=2)
    >>> print(scheduler(np.arange(6)))
    [0.1     0.05625 0.025   0.00625 0.      0.     ]

    Notes
    -----
    - torch: the same values, down to 0. With ``total_iters=0`` its learning rate is constant, as it
      is with ``power=0`` (a negative power makes it grow); these are errors here. It multiplies the
      learning rate it finds, so a change by hand lasts; here the next ``step()`` ends it.
    - braintools: the same values, down to 0; it takes ``power=0``.
    - optax: ``polynomial_schedule(base_lr, eta_min, power, total_iters)``, constant for
      ``total_iters=0``. Its delay is SequentialLR's business here.

    References
    ----------
    L.-C. Chen et al., "DeepLab: Semantic Image Segmentation with Deep Convolutional Nets, Atrous
    Convolution, and Fully Connected CRFs" (power 0.9), https://arxiv.org/abs/1606.00915
    """

    def __init__(
        self,
        base_lr: RatesLike = 1e-3,
        total_iters: int = 5,
        power: float = 1.0,
        last_epoch: int = 0,
        *,
        eta_min: float = 0.0,
    ) -> None:
        formula = _Polynomial(
            _checks.integer("total_iters", total_iters, low=1),
            _checks.positive("power", power),
            _checks.non_negative("eta_min", eta_min),
        )
        super().__init__(base_lr, last_epoch, formula=formula)


@dataclasses.dataclass(frozen=True)
class _Linear(Formula):
    start_factor: Number
    end_factor: Number
    total_iters: Number

    def raw(self, t: Value, base: Value, x: Arithmetic) -> Value:
        start, end = (x.minimum(base * f, MOST) for f in (self.start_factor, self.end_factor))
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
class _Constant(Formula):
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


@dataclasses.dataclass(frozen=True)
class _TokenPower(Formula):
    batch_size: Number
    a: Number
    power: Number

    def raw(self, t: Value, base: Value, x: Arithmetic) -> Value:
        begun = t > 0
        exponent = -self.power * x.log(x.where(begun, t, 1))
        # Of a fraction of a token it may be any number, but not infinite.
        lr = x.minimum(self.batch_size * self.a, MOST) * x.exp(x.minimum(exponent, 600.0))
        return x.where(begun, x.minimum(base, lr), base)

    def constant_from(self, base: Number) -> Number | None:
        return None if base else 0

    def changes(self, base: Number) -> Iterator[Number]:
        return iter((self._begin(base),) if base else ())

    def phase_at(self, t: Number, base: Number) -> str:
        return "decay" if base and t >= self._begin(base) else "stable"

    def _begin(self, base: Number) -> float:
        """Where the power falls below the base learning rate."""
        try:
            return math.pow(self.batch_size * self.a / base, 1 / self.power)
        except OverflowError:
            return math.inf


class TokenPowerLR(LRScheduler):
    """Decay with a power of the number of tokens: the Power scheduler.

    For language models whose number of tokens is open: `a` and `power` are the same for all lengths
    and all sizes of batches. Here an epoch is a token. Its recipe has a warmup before and a decay
    after it.

    At token t::

        lr(t) = min(base_lr, batch_size * a * t ** -power)     t > 0
                base_lr                                        t = 0

    It has no end. ``scheduler(tokens)`` is exact for token counts up to 2 ** 53 (in a compiled
    program one beyond int32 has to be a float, since jax wraps it), but the clock, which ``step()``
    moves, ends at 2 ** 31 - 1: ``.stretch(1 / tokens_per_step)`` makes a schedule of it that counts
    steps.

    Parameters
    ----------
    base_lr : float or list of float, default 0.001
        Highest learning rate, >= 0; a list has one entry for each parameter group.
    batch_size : int, default 1
        Sequences in a batch, >= 1.
    a : float, default 4.6
        Learning rate for a batch of one sequence at token 1, > 0.
    power : float, default 0.51
        Exponent, > 0.
    last_epoch : int, default 0
        Epoch (here: token) to start at, >= 0; -1 means 0.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described above; the message names it.

    Examples
    --------
    >>> import lrax
    >>> scheduler = lrax.TokenPowerLR(base_lr=0.02, batch_size=1024)
    >>> print([f"{scheduler(tokens):.2e}" for tokens in (0, 10**10, 10**11, 10**12)])
    ['2.00e-02', '2.00e-02', '1.16e-02', '3.57e-03']

    By the step, of a million tokens each:

    >>> print(f"{scheduler.stretch(1 / 10**6)(100_000):.2e}")
    1.16e-02

    Notes
    -----
    - torch, braintools and optax have no such class; there it is a function of the number of steps.

    References
    ----------
    Y. Shen et al., "Power Scheduler: A Batch Size and Token Number Agnostic Learning Rate
    Scheduler", https://arxiv.org/abs/2408.13359
    """

    def __init__(
        self,
        base_lr: RatesLike = 1e-3,
        batch_size: int = 1,
        a: float = 4.6,
        power: float = 0.51,
        last_epoch: int = 0,
    ) -> None:
        formula = _TokenPower(
            _checks.integer("batch_size", batch_size, low=1),
            _checks.positive("a", a),
            _checks.positive("power", power),
        )
        super().__init__(base_lr, last_epoch, formula=formula)


def constant(lr: Scalar | None) -> ConstantLR:
    """What an optimizer follows that was given a number, or nothing."""
    rate = _checks.non_negative("lr", 1e-3 if lr is None else lr)
    return ConstantLR(rate, factor=1.0, total_iters=0)
