"""Decay along a power: of the fraction that is left, of the time, of the number of tokens."""

import dataclasses
import math
from collections.abc import Iterator

from .. import _checks
from .._types import Number, RatesLike, Value
from ..formulas import host
from ..formulas.arithmetic import Arithmetic
from ..formulas.formula import Formula, Range
from ..formulas.phases import way
from ..formulas.pieces import MOST, powered, ramp
from ..formulas.ranges import FOREVER, Monotone, between, widened
from .scheduler import LRScheduler


@dataclasses.dataclass(frozen=True)
class _Polynomial(Monotone):
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
      is with ``power=0`` (with a negative power it divides by 0 in the end); these are errors here.
      It multiplies the learning rate it finds, so a change by hand lasts; here the next ``step()``
      ends it.
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


_SHORTEST = 1e-200
"""Of time scales: the share that is left at the end of the clock is a normal float64."""


@dataclasses.dataclass(frozen=True)
class _InverseSqrt(Formula):
    warmup_steps: Number
    timescale: Number | None
    power: Number
    eta_min: Number
    warmup_start_lr: Number

    def raw(self, t: Value, base: Value, x: Arithmetic) -> Value:
        rises = t < self.warmup_steps
        if rises is True:
            return ramp(x, self.warmup_start_lr, base, t, self.warmup_steps)
        tau = self.timescale
        if tau is None:  # which it is with a traced warmup only
            tau = x.where(self.warmup_steps > 0, self.warmup_steps, 1)
        since = x.since(t, self.warmup_steps)
        kept, lost = tau / (tau + since), since / (tau + since)
        fall = powered(x, base, self.eta_min, kept, lost, self.power)
        if rises is False:
            return fall
        return x.where(rises, ramp(x, self.warmup_start_lr, base, t, self.warmup_steps), fall)

    def constant_from(self, base: Number) -> Number | None:
        return self.warmup_steps if base == self.eta_min else None

    def range_from(self, base: Number, t: Number) -> Range:
        turns = (base,) if t < self.warmup_steps else ()
        rates = self.raw(t, base, host), self.eta_min, *turns
        return widened(*between(rates), moves=base != self.eta_min)

    def changes(self, base: Number) -> Iterator[Number]:
        return iter((self.warmup_steps,))

    def phase_at(self, t: Number, base: Number) -> str:
        if t < self.warmup_steps:
            return way(self.warmup_start_lr, base)
        return "stable" if base == self.eta_min else way(base, self.eta_min)


class InverseSqrtLR(LRScheduler):
    """Linear warmup, then a decay with the square root of the time, or another power of it.

    For trainings without a fixed end: it never stops falling, but ever more slowly. With
    ``power=1`` it is inverse time decay. With a fixed length WSDSchedule ends lower.

    At epoch t, which is after t calls of ``step()``, with W = warmup_steps and tau = timescale::

        lr(t) = warmup_start_lr + (base_lr - warmup_start_lr) * t / W                t < W
                eta_min + (base_lr - eta_min) * (tau / (tau + t - W)) ** power       t >= W

    With tau = W, which is the default, that is ``base_lr * (W / t) ** power`` where eta_min is 0.
    It has no end.

    Parameters
    ----------
    base_lr : float or list of float, default 0.001
        Highest learning rate, >= 0; a list has one entry for each parameter group.
    warmup_steps : int, default 0
        Length of the warmup in epochs (here: training steps), >= 0; 0 means none.
    timescale : float, optional
        Epochs after the warmup in which it falls to ``0.5 ** power``, >= 1e-200; None:
        `warmup_steps`, or 1 if that is 0.
    power : float, default 0.5
        Exponent, > 0.
    eta_min : float, default 0.0
        Learning rate that it approaches, >= 0, of every parameter group.
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
    >>> import lrax
    >>> import numpy as np
    >>> scheduler = lrax.InverseSqrtLR(base_lr=1.0, warmup_steps=4)
    >>> print(scheduler(np.array([0, 2, 4, 8, 16, 64])).round(3))
    [0.    0.5   1.    0.707 0.5   0.25 ]

    Notes
    -----
    - torch, braintools and optax have no such class; there it is a function of the epoch.
    - Hugging Face's `get_inverse_sqrt_schedule` has the same values, fairseq's `inverse_sqrt` too.

    References
    ----------
    A. Vaswani et al., "Attention Is All You Need", https://arxiv.org/abs/1706.03762
    X. Zhai et al., "Scaling Vision Transformers", https://arxiv.org/abs/2106.04560
    """

    def __init__(
        self,
        base_lr: RatesLike = 1e-3,
        warmup_steps: int = 0,
        timescale: float | None = None,
        power: float = 0.5,
        eta_min: float = 0.0,
        warmup_start_lr: float = 0.0,
        last_epoch: int = 0,
    ) -> None:
        warmup_steps = _checks.integer("warmup_steps", warmup_steps)
        if timescale is not None:
            timescale = _checks.real("timescale", timescale, low=_SHORTEST)
        elif not _checks.is_traced(warmup_steps):
            timescale = warmup_steps or 1
        formula = _InverseSqrt(
            warmup_steps,
            timescale,
            _checks.positive("power", power),
            _checks.non_negative("eta_min", eta_min),
            _checks.non_negative("warmup_start_lr", warmup_start_lr),
        )
        super().__init__(base_lr, last_epoch, formula=formula)


@dataclasses.dataclass(frozen=True)
class _TokenPower(Monotone):
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
            return min(math.pow(self.batch_size * self.a / base, 1 / self.power), FOREVER)
        except OverflowError:
            return FOREVER


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
