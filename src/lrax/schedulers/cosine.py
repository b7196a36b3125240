"""Cosine annealing, with and without restarts."""

import dataclasses
import functools
import itertools
from typing import Any

from .. import _checks
from .._checks import Number
from .._formula import Formula
from .._numerics import HOST, Arithmetic, half_cosine, ramp, traced_integers
from .._state import View
from ._base import LRScheduler

_CYCLES = 32
"""Growing cycles at least double, so that this many reach past every epoch of the clock."""


@dataclasses.dataclass(frozen=True)
class _Cosine(Formula):
    T_max: Number
    eta_min: Number

    def raw(self, t: Any, base: Any, x: Arithmetic) -> Any:
        return ramp(x, base, self.eta_min, t, self.T_max, half_cosine)


class CosineAnnealingLR(LRScheduler):
    """Anneal along half a cosine from the base learning rate to `eta_min`, and stay there."""

    def __init__(
        self, base_lr: Any = 1e-3, T_max: int = 50, eta_min: float = 0, last_epoch: int = 0
    ) -> None:
        formula = _Cosine(
            _checks.integer("T_max", T_max, low=1), _checks.non_negative("eta_min", eta_min)
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
        return tuple(
            itertools.accumulate(
                range(_CYCLES - 1), lambda length, _: length * self.T_mult, initial=self.T_0
            )
        )

    @functools.cached_property
    def starts(self) -> tuple[Number, ...]:
        """First epochs of these cycles."""
        return tuple(itertools.accumulate(self.lengths[:-1], initial=0))

    def cycle(self, t: Any, x: Arithmetic) -> tuple[Any, Any]:
        """Epochs since the last restart, and the length of the cycle: T_cur and T_i."""

        def equal() -> tuple[Any, Any]:
            return t - x.floor_divide(t, self.T_0) * self.T_0, self.T_0

        def growing() -> tuple[Any, Any]:
            index = x.count(self.starts, t) - 1
            return t - x.take(self.starts, index), x.take(self.lengths, index)

        if not isinstance(self.T_mult, int):
            pairs = zip(equal(), growing(), strict=True)
            return tuple(x.where(self.T_mult == 1, one, many) for one, many in pairs)  # type: ignore[return-value]
        return equal() if self.T_mult == 1 else growing()

    def raw(self, t: Any, base: Any, x: Arithmetic) -> Any:
        t_cur, t_i = self.cycle(t, x)
        return ramp(x, base, self.eta_min, t_cur, t_i, half_cosine)


class CosineAnnealingWarmRestarts(LRScheduler):
    """Cosine annealing that starts again from the base learning rate, in cycles that may grow."""

    _formulas: tuple[_WarmRestarts, ...]

    def __init__(
        self,
        base_lr: Any = 1e-3,
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
    def T_cur(self, value: Any) -> None:
        self._set_T_cur(value)

    @property
    def T_i(self) -> View:
        """Length of the current cycle. Assigning the length of another cycle jumps to that one."""
        return View(lambda: self._cycle()[1], self._set_T_i)

    @T_i.setter
    def T_i(self, value: Any) -> None:
        self._set_T_i(value)

    def _cycle(self) -> tuple[Any, Any]:
        now, formula = self.last_epoch.read(), self._formulas[0]
        if self._concrete and not _checks.is_traced(now):
            return formula.cycle(now.item(), HOST)
        return traced_integers(formula, lambda f, t, x: f.cycle(t, x), now)

    def _set_T_cur(self, value: Any) -> None:
        t_cur = _checks.integer("T_cur", value.value if isinstance(value, View) else value)
        formula, (now_cur, now_i) = self._formulas[0], self._cycle()
        start = self.last_epoch.read().item() - now_cur
        while t_cur >= now_i:
            # A later cycle is meant, and T_i was not assigned yet: the first that is long enough.
            if formula.T_mult == 1:
                raise ValueError(f"T_cur must be a whole number below T_i = {now_i}, got {t_cur}.")
            start, now_i = start + now_i, now_i * formula.T_mult
        self.step(start + t_cur)

    def _set_T_i(self, value: Any) -> None:
        t_i = _checks.integer("T_i", value.value if isinstance(value, View) else value, low=1)
        formula, (now_cur, now_i) = self._formulas[0], self._cycle()
        if t_i == now_i:
            return
        if formula.T_mult == 1 or t_i not in formula.lengths:
            first = sorted(set(formula.lengths[:4]))
            raise ValueError(
                f"T_i must be the length of a cycle ({', '.join(map(str, first))}, ...), got {t_i}."
            )
        start = formula.starts[formula.lengths.index(t_i)]
        self.step(start + (now_cur if now_cur < t_i else 0))
