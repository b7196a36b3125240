"""Cosine annealing with restarts."""

import dataclasses
import functools
import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from .. import _checks
from .._types import Number, RatesLike, Scalar, Value
from ..formulas import host
from ..formulas.arithmetic import Arithmetic
from ..formulas.evaluate import is_concrete, traced_numbers
from ..formulas.formula import Formula, Range
from ..formulas.phases import way
from ..formulas.pieces import MOST, growth, ramp
from ..formulas.ranges import FOREVER, between, widened
from ..states.view import View
from . import cycles
from .scheduler import LRScheduler

_CYCLES = 32
"""Cycles that grow by a whole factor at least double, so that this many reach past every epoch of the clock."""


@dataclasses.dataclass(frozen=True)
class _WarmRestarts(Formula):
    T_0: Number
    T_mult: Number
    eta_min: Number
    cycle_decay: Number
    cycle_limit: Number | None
    warmup_steps: Number

    @functools.cached_property
    def fractional(self) -> cycles.Cycles | None:
        """The cycles, if they grow by a fractional factor."""
        if not isinstance(self.T_mult, float) or self.T_mult.is_integer():
            return None
        limit = self.cycle_limit
        most = int(limit) if isinstance(limit, (int, float)) else None
        return cycles.growing(int(self.T_0), self.T_mult, most)

    @functools.cached_property
    def unlimited(self) -> cycles.Cycles | None:
        """The same with the cycles after the limit, unless they are too many."""
        if self.fractional is None:
            return None
        return cycles.growing(int(self.T_0), self.T_mult, None) or self.fractional

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

    @functools.cached_property
    def restarts(self) -> tuple[Number, ...]:
        """Where the cycles begin that grow, but for the first."""
        return self.starts[1:] if self.fractional is None else self.fractional.restarts

    def number_of(self, t: Value, x: Arithmetic) -> Value:
        """In which cycle an epoch is, from 0 on."""
        if not _checks.is_traced(self.T_mult):
            once = self.T_mult == 1
            return x.floor_divide(t, self.T_0) if once else x.count(self.restarts, t)
        equal, growing = x.floor_divide(t, self.T_0), x.count(self.restarts, t)
        return x.where(self.T_mult == 1, equal, growing)

    def cycle(self, t: Value, x: Arithmetic) -> tuple[Value, Value, Value]:
        """Epochs since the last restart, until the next one, and between them: T_cur, T_i - T_cur and T_i."""
        if self.fractional is not None:
            return _fractional_cycle(self.fractional, t, x)
        if isinstance(self.T_mult, int):
            find = self._equal_cycle if self.T_mult == 1 else self._growing_cycle
            t_cur, t_i = find(t, x)
        else:
            pairs = zip(self._equal_cycle(t, x), self._growing_cycle(t, x), strict=True)
            t_cur, t_i = (x.where(self.T_mult == 1, one, many) for one, many in pairs)
        return t_cur, t_i - t_cur, t_i

    def _equal_cycle(self, t: Value, x: Arithmetic) -> tuple[Value, Value]:
        return t - x.floor_divide(t, self.T_0) * self.T_0, self.T_0

    def _growing_cycle(self, t: Value, x: Arithmetic) -> tuple[Value, Value]:
        start = x.steps(self.restarts, t, self.starts)
        return t - start, x.steps(self.restarts, t, self.lengths)

    def place(self, t: Value, x: Arithmetic) -> tuple[Value, Value]:
        """T_cur and T_i, which count on after the limit; where the cycles would be too many, it stays in the last one."""
        if self.unlimited is None:
            t_cur, _, t_i = self.cycle(t, x)
            return t_cur, t_i
        t_cur, _, t_i = _fractional_cycle(self.unlimited, t, x)
        return x.minimum(t_cur, t_i), t_i

    @functools.cached_property
    def _plain(self) -> bool:
        """Whether all cycles are whole cosines from the base learning rate, as mostly."""
        usual = self.cycle_limit is None and (self.cycle_decay == 1) is True
        return usual and (self.warmup_steps == 0) is True  # and none is traced

    @functools.cached_property
    def _equal(self) -> bool:
        """Whether they are all of the same length, too."""
        return self._plain and (self.T_mult == 1) is True

    def raw(self, t: Value, base: Value, x: Arithmetic) -> Value:
        if self._equal:
            size = self.T_0
            t_cur = t % size if x is host else t - x.floor_divide(t, size) * size
            return ramp(x, base, self.eta_min, t_cur, size, "cosine")
        t_cur, left, t_i = self.cycle(t, x)
        if self._plain:
            return ramp(x, base, self.eta_min, t_cur, t_i, "cosine", left)
        number, warmup = self.number_of(t, x), self.warmup_steps
        peak = self._peak(number, base, x)
        lr = ramp(x, peak, self.eta_min, t_cur - warmup, t_i - warmup, "cosine", left)
        if _checks.is_traced(warmup) or warmup:
            lr = x.where(t_cur < warmup, ramp(x, 0.0, peak, t_cur, warmup), lr)
        return (
            lr if self.cycle_limit is None else x.where(number < self.cycle_limit, lr, self.eta_min)
        )

    def _peak(self, number: Value, base: Value, x: Arithmetic) -> Value:
        decay = self.cycle_decay
        if not _checks.is_traced(decay) and decay == 1:
            return base
        peak = x.minimum(base * growth(x, decay, number), MOST)
        lowest = (
            x.where(decay == 1, 0.0, self.eta_min) if _checks.is_traced(decay) else self.eta_min
        )
        return x.maximum(peak, lowest)

    def _is_constant(self, base: Number) -> bool:
        """Whether all cycles go from `eta_min` to `eta_min`."""
        decay, low = self.cycle_decay, self.eta_min
        flat = base == low or (base < low and decay < 1) or (base == 0 and decay != 1)
        return flat and (decay <= 1 or base == 0) and 0 in (low, self.warmup_steps)

    def constant_from(self, base: Number) -> Number | None:
        limit = self.cycle_limit
        if self._is_constant(base):
            return 0
        if limit is None:
            return None
        if self.T_mult == 1:
            return limit * self.T_0
        starts = self.starts if self.fractional is None else self.fractional.exact
        return starts[limit] if limit < len(starts) else None

    def range_from(self, base: Number, t: Number) -> Range:
        end = self.constant_from(base)
        if end is not None and t >= end:
            return super().range_from(base, t)
        number, limit = self.number_of(t, host), self.cycle_limit
        numbers = number, FOREVER if limit is None else limit - 1
        peaks = (self._peak(n, base, host) for n in numbers)
        lowest = (0.0,) if self.warmup_steps else ()
        rates = between((*peaks, self.eta_min, *lowest))
        return widened(*rates, moves=base > 0 and self.eta_min == 0)

    def changes(self, base: Number) -> Iterator[Number]:
        if self._is_constant(base):
            return
        starts: Any = itertools.count(0, self.T_0)
        if self.T_mult != 1:
            starts = self.starts if self.fractional is None else self.fractional.exact
        for number, start in enumerate(starts):
            yield start
            if number == self.cycle_limit:
                return
            yield start + self.warmup_steps

    def phase_at(self, t: Number, base: Number) -> str:
        if self._is_constant(base):
            return "stable"
        number = self.number_of(t, host)
        if self.cycle_limit is not None and number >= self.cycle_limit:
            return "stable"
        rises = self.cycle(t, host)[0] < self.warmup_steps
        return "warmup" if rises else way(self._peak(number, base, host), self.eta_min)


def _fractional_cycle(table: cycles.Cycles, t: Value, x: Arithmetic) -> tuple[Value, Value, Value]:
    restarts, find = table.restarts, x.steps
    first, gap = find(restarts, t, table.firsts), find(restarts, t, table.gaps)
    last, rest = find(restarts, t, table.lasts), find(restarts, t, table.rests)
    length = find(restarts, t, table.lengths)
    # Whole epochs first: at a whole epoch nothing cancels.
    return x.maximum((t - first) + gap, 0.0), (last - t) + rest, length


class CosineAnnealingWarmRestarts(LRScheduler):
    """Cosine annealing that starts again from the base learning rate, in cycles that may grow.

    A model at the end of each cycle is a usable one (take it one epoch before the restart), so the
    length of the training can stay open. If it is fixed, CosineAnnealingLR ends lower.

    At epoch t, which is after t calls of ``step()``, with W = warmup_steps::

        T_i   = T_0 * T_mult ** i                    length of cycle i = 0, 1, 2, ..., not rounded
        T_cur = t - (T_0 + T_1 + ... + T_{i-1})      epochs since the restart, in [0, T_i)
        peak  = max(base_lr * cycle_decay ** i, eta_min)     base_lr, where cycle_decay = 1
        lr(t) = peak * T_cur / W                                                      T_cur < W
                eta_min + (peak - eta_min) * (1 + cos(pi * (T_cur - W) / (T_i - W))) / 2
                eta_min                                                       i >= cycle_limit

    ``scheduler.T_cur.value`` and ``scheduler.T_i.value`` show where it is. Assigning `T_cur` jumps
    within the cycle (to the first whole epoch that is not before it), assigning `T_i` selects the
    cycle of that length; both take numbers or those of another scheduler.

    Parameters
    ----------
    base_lr : float or list of float, default 0.001
        Learning rate at each restart, >= 0; a list has one entry for each parameter group.
    T_0 : int, default 10
        Length of the first cycle in epochs, >= 1.
    T_mult : float, default 1
        Factor from the length of one cycle to the next, >= 1. A fractional one must be a known
        number, as must `T_0` with it, and make at most 10 000 cycles before epoch 2 ** 31.
    eta_min : float, default 0
        Learning rate towards which a cycle falls, >= 0, of every parameter group.
    last_epoch : int, default 0
        Epoch to start at, >= 0; -1 means 0.
    cycle_decay : float, default 1.0
        Factor from the peak of one cycle to the next, > 0.
    cycle_limit : int, optional
        Number of cycles, >= 1; None: it has no end.
    warmup_steps : int, default 0
        Epochs at the beginning of each cycle in which it rises from 0, from 0 to `T_0`.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described above; the message names it.

    Examples
    --------
    >>> import lrax, numpy as np
    >>> scheduler = lrax.CosineAnnealingWarmRestarts(base_lr=1.0, T_0=2, T_mult=2)
    >>> print(scheduler(np.arange(8)).round(3))
    [1.    0.5   1.    0.854 0.5   0.146 1.    0.962]

    Notes
    -----
    - torch: the same values, but its ``step(epoch)`` misses some restarts (epoch 121 of T_0=1,
      T_mult=3 gives `eta_min`). Its fractional epochs are ``scheduler(12.5)``.
    - braintools: the same values, but it begins at epoch 0 whatever `last_epoch` is.
    - optax: ``sgdr_schedule`` with one dict for each cycle.

    References
    ----------
    Loshchilov and Hutter, "SGDR", https://arxiv.org/abs/1608.03983
    """

    def __init__(
        self,
        base_lr: RatesLike = 1e-3,
        T_0: int = 10,
        T_mult: float = 1,
        eta_min: float = 0,
        last_epoch: int = 0,
        *,
        cycle_decay: float = 1.0,
        cycle_limit: int | None = None,
        warmup_steps: int = 0,
    ) -> None:
        formula = _WarmRestarts(
            _checks.integer("T_0", T_0, low=1),
            _factor(T_mult),
            _checks.non_negative("eta_min", eta_min),
            _checks.positive("cycle_decay", cycle_decay),
            _checks.number_or_none("cycle_limit", cycle_limit),
            _checks.integer("warmup_steps", warmup_steps),
        )
        _check_lengths(formula)
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
        """Length of the cycle. Assigning the length of another one goes there, at the same `T_cur` if it fits."""
        return View(lambda: self._cycle()[1], self._set_T_i)

    @T_i.setter
    def T_i(self, value: Scalar | View) -> None:
        self._set_T_i(value)

    def _cycle(self) -> tuple[Value, Value]:
        now, formula = self.last_epoch.read(), self._formula()
        if is_concrete(formula) and not _checks.is_traced(now):
            return formula.place(now.item(), host)
        dtype = np.int32 if formula.fractional is None else np.float32
        return traced_numbers(formula, lambda f, t, x: f.place(t, x), now, dtype)

    def _formula(self) -> _WarmRestarts:
        (formula,) = self.formulas
        assert isinstance(formula, _WarmRestarts)
        return formula

    def _set_T_cur(self, value: Scalar | View) -> None:
        value = value.value if isinstance(value, View) else value
        formula = self._formula()
        if (table := formula.unlimited) is not None:
            t_cur = _checks.non_negative("T_cur", value)
            now = host.count(table.restarts, self.last_epoch.read().item())
            self.step(_first_epoch(table, range(now, cycles.MOST), t_cur))
            return
        t_cur = _checks.integer("T_cur", value)
        now_cur, now_i = self._cycle()
        start = self.last_epoch.read().item() - now_cur
        while t_cur >= now_i:
            # A later cycle is meant, and T_i was not assigned yet: the first that is long enough.
            if formula.T_mult == 1:
                raise ValueError(f"T_cur must be a whole number below T_i = {now_i}, got {t_cur}.")
            start, now_i = start + now_i, now_i * formula.T_mult
        self.step(start + t_cur)

    def _set_T_i(self, value: Scalar | View) -> None:
        value = value.value if isinstance(value, View) else value
        formula, table = self._formula(), self._formula().unlimited
        if table is not None:
            t_i = _checks.positive("T_i", value)
        else:
            t_i = _checks.integer("T_i", value, low=1)
        now_cur, now_i = self._cycle()
        lengths = formula.lengths if table is None else table.lengths
        if t_i == now_i:
            return
        number = min(range(len(lengths)), key=lambda i: abs(lengths[i] - t_i))
        # A fractional one that is read inside of a compiled program is float32.
        known = math.isclose(lengths[number], t_i, rel_tol=1e-6 if table else 0.0)
        if formula.T_mult == 1 or not known:
            first = sorted(set(lengths[:4]))
            raise ValueError(
                f"T_i must be the length of a cycle ({', '.join(map(str, first))}, ...), got {t_i}."
            )
        if table is None:
            self.step(formula.starts[number] + (now_cur if now_cur < t_i else 0))
        else:
            epoch = table.epoch(number, now_cur)
            self.step(table.firsts[number] if epoch is None else epoch)


def _first_epoch(table: cycles.Cycles, numbers: range, t_cur: float) -> int:
    """The epoch that is so far in the first of some cycles that is long enough."""
    found = (table.epoch(number, t_cur) for number in numbers if number < len(table.lengths))
    epoch = next((epoch for epoch in found if epoch is not None), None)
    if epoch is None:
        raise ValueError(
            f"T_cur must be below the length of a cycle, got {t_cur}. The longest has {table.lengths[-1]:g}."
        )
    return epoch


def _factor(value: Any) -> Number:
    """From one length to the next; an int if it is whole."""
    number = _checks.real("T_mult", value, low=1)
    if not _checks.is_traced(number):
        return _checks.integer("T_mult", number, low=1) if float(number).is_integer() else number
    if number.dtype.kind == "f":
        raise TypeError(
            f"T_mult must be a known number where it may be fractional, got {number}. Its cycles are worked out while "
            "tracing: pass a Python number, or cast it to int32 if it is whole."
        )
    return number


def _check_lengths(formula: _WarmRestarts) -> None:
    """The first cycle must hold the warmup, and fractional cycles must be known and not too many."""
    length, warmup = formula.T_0, formula.warmup_steps
    if not (_checks.is_traced(length) or _checks.is_traced(warmup)) and warmup > length:
        raise ValueError(
            f"warmup_steps must be <= T_0, the length of the first cycle, got {warmup} > {length}. "
            "Each cycle begins with its warmup: pass a longer T_0, or a shorter warmup."
        )
    if not isinstance(formula.T_mult, float):
        return
    if _checks.is_traced(length):
        raise TypeError(
            f"T_0 must be a known number where T_mult is fractional, got {length} with T_mult={formula.T_mult}. "
            "Its cycles are worked out while tracing: pass a Python number, or a whole T_mult."
        )
    if formula.fractional is None:
        raise ValueError(
            f"T_mult must make at most {cycles.MOST} cycles before epoch 2**31, got {formula.T_mult} with T_0={length}. "
            "Pass T_mult=1, a larger one, a longer T_0, or a cycle_limit."
        )
