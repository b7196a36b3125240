"""Cosine annealing, with and without restarts."""

import dataclasses
import functools
import itertools
from collections.abc import Iterator

from .. import _checks
from .._types import Number, RatesLike, Scalar, Value
from ..formulas.arithmetic import HOST, Arithmetic
from ..formulas.evaluate import is_concrete, traced_integers
from ..formulas.formula import Formula
from ..formulas.phases import way
from ..formulas.pieces import powered, ramp
from ..formulas.shapes import half_cosine
from ..states.view import View
from .scheduler import LRScheduler

_CYCLES = 32
"""Growing cycles at least double, so that this many reach past every epoch of the clock."""


@dataclasses.dataclass(frozen=True)
class _Cosine(Formula):
    T_max: Number
    eta_min: Number
    exponent: Number

    def raw(self, t: Value, base: Value, x: Arithmetic) -> Value:
        if not _checks.is_traced(self.exponent) and self.exponent == 1:  # as mostly
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


@dataclasses.dataclass(frozen=True)
class _WarmRestarts(Formula):
    T_0: Number
    T_mult: Number
    eta_min: Number

    @functools.cached_property
    def lengths(self) -> tuple[Number, ...]:
        """Lengths of the first cycles, by repeated multiplication: exact, unlike a logarithm."""

        def longer(length: Number, _: int) -> Number:
            product = length * self.T_mult
            return min(product, 2**53) if isinstance(product, int) else product

        return tuple(itertools.accumulate(range(_CYCLES - 1), longer, initial=self.T_0))

    @functools.cached_property
    def starts(self) -> tuple[Number, ...]:
        """First epochs of these cycles."""
        return tuple(itertools.accumulate(self.lengths[:-1], initial=0))

    def cycle(self, t: Value, x: Arithmetic) -> tuple[Value, Value]:
        """Epochs since the last restart, and the length of the cycle: T_cur and T_i."""
        if not isinstance(self.T_mult, int):
            pairs = zip(self._equal_cycle(t, x), self._growing_cycle(t, x), strict=True)
            return tuple(x.where(self.T_mult == 1, one, many) for one, many in pairs)  # type: ignore[return-value]
        return self._equal_cycle(t, x) if self.T_mult == 1 else self._growing_cycle(t, x)

    def _equal_cycle(self, t: Value, x: Arithmetic) -> tuple[Value, Value]:
        return t - x.floor_divide(t, self.T_0) * self.T_0, self.T_0

    def _growing_cycle(self, t: Value, x: Arithmetic) -> tuple[Value, Value]:
        restarts = self.starts[1:]
        return t - x.steps(restarts, t, self.starts), x.steps(restarts, t, self.lengths)

    def raw(self, t: Value, base: Value, x: Arithmetic) -> Value:
        t_cur, t_i = self.cycle(t, x)
        return ramp(x, base, self.eta_min, t_cur, t_i, "cosine")

    def changes(self, base: Number) -> Iterator[Number]:
        if self.T_mult == 1:
            return itertools.count(self.T_0, self.T_0)
        return iter(self.starts[1:])

    def phase_at(self, t: Number, base: Number) -> str:
        return way(base, self.eta_min)


class CosineAnnealingWarmRestarts(LRScheduler):
    """Cosine annealing that starts again from the base learning rate, in cycles that may grow.

    A model at the end of each cycle is a usable one (take it one epoch before the restart), so the
    length of the training can stay open. If it is fixed, CosineAnnealingLR ends lower.

    At epoch t, which is after t calls of ``step()``::

        T_i   = T_0 * T_mult ** i                            length of cycle i = 0, 1, 2, ...
        T_cur = t - (T_0 + T_1 + ... + T_{i-1})              epochs since the restart, in [0, T_i)
        lr(t) = eta_min + (base_lr - eta_min) * (1 + cos(pi * T_cur / T_i)) / 2

    It has no end, and ends every cycle just above `eta_min`. ``scheduler.T_cur.value`` and
    ``scheduler.T_i.value`` show where it is. Assigning `T_cur` jumps within the cycle, assigning
    `T_i` selects the cycle of that length; both take numbers or those of another scheduler.

    Parameters
    ----------
    base_lr : float or list of float, default 0.001
        Learning rate at each restart, >= 0; a list has one entry for each parameter group.
    T_0 : int, default 10
        Length of the first cycle in epochs, >= 1.
    T_mult : int, default 1
        Factor from the length of one cycle to the next, >= 1.
    eta_min : float, default 0
        Learning rate towards which a cycle falls, >= 0, of every parameter group.
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
    >>> scheduler = lrax.CosineAnnealingWarmRestarts(base_lr=1.0, T_0=2, T_mult=2)
    >>> print(scheduler(np.arange(8)).round(3))
    [1.    0.5   1.    0.854 0.5   0.146 1.    0.962]

    Notes
    -----
    - torch: the same values, but its ``step(epoch)`` misses some restarts (epoch 121 of T_0=1,
      T_mult=3 gives `eta_min`) and takes fractions. Here ``step`` takes whole epochs: count
      batches, with `T_0` in batches, or call ``scheduler(12.5)``.
    - braintools: the same values, but it begins at epoch 0 whatever `last_epoch` is.
    - optax: ``sgdr_schedule`` with one dict for each cycle.

    References
    ----------
    I. Loshchilov and F. Hutter, "SGDR", https://arxiv.org/abs/1608.03983
    """

    def __init__(
        self,
        base_lr: RatesLike = 1e-3,
        T_0: int = 10,
        T_mult: int = 1,
        eta_min: float = 0,
        last_epoch: int = 0,
    ) -> None:
        formula = _WarmRestarts(
            _checks.integer("T_0", T_0, low=1),
            _checks.integer("T_mult", T_mult, low=1),
            _checks.non_negative("eta_min", eta_min),
        )
        super().__init__(base_lr, last_epoch, formula=formula)

    @property
    def T_cur(self) -> View:
        """Epochs since the last restart. Assigning a number jumps there within the cycle."""
        return View(lambda: self._cycle()[0], self._set_T_cur)

    @T_cur.setter
    def T_cur(self, value: Scalar | View) -> None:
        self._set_T_cur(value)

    @property
    def T_i(self) -> View:
        """Length of the current cycle. Assigning the length of another cycle jumps to that one."""
        return View(lambda: self._cycle()[1], self._set_T_i)

    @T_i.setter
    def T_i(self, value: Scalar | View) -> None:
        self._set_T_i(value)

    def _cycle(self) -> tuple[Value, Value]:
        now, formula = self.last_epoch.read(), self._formula()
        if is_concrete(formula) and not _checks.is_traced(now):
            return formula.cycle(now.item(), HOST)
        return traced_integers(formula, lambda f, t, x: f.cycle(t, x), now)

    def _formula(self) -> _WarmRestarts:
        (formula,) = self.formulas
        assert isinstance(formula, _WarmRestarts)
        return formula

    def _set_T_cur(self, value: Scalar | View) -> None:
        t_cur = _checks.integer("T_cur", value.value if isinstance(value, View) else value)
        formula, (now_cur, now_i) = self._formula(), self._cycle()
        start = self.last_epoch.read().item() - now_cur
        while t_cur >= now_i:
            # A later cycle is meant, and T_i was not assigned yet: the first that is long enough.
            if formula.T_mult == 1:
                raise ValueError(f"T_cur must be a whole number below T_i = {now_i}, got {t_cur}.")
            start, now_i = start + now_i, now_i * formula.T_mult
        self.step(start + t_cur)

    def _set_T_i(self, value: Scalar | View) -> None:
        t_i = _checks.integer("T_i", value.value if isinstance(value, View) else value, low=1)
        formula, (now_cur, now_i) = self._formula(), self._cycle()
        if t_i == now_i:
            return
        if formula.T_mult == 1 or t_i not in formula.lengths:
            first = sorted(set(formula.lengths[:4]))
            raise ValueError(
                f"T_i must be the length of a cycle ({', '.join(map(str, first))}, ...), got {t_i}."
            )
        start = formula.starts[formula.lengths.index(t_i)]
        self.step(start + (now_cur if now_cur < t_i else 0))
