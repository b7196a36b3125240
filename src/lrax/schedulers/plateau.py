"""Less when a metric has stopped improving."""

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

import numpy as np

from .. import _checks
from .._types import Number, RatesLike, Remembered, Value
from ..formulas import host
from ..formulas.arithmetic import Arithmetic
from ..formulas.formula import Formula, replaced
from ..formulas.pieces import MOST, growth
from ..formulas.schedule import in_groups
from .remembering import Watching, split
from .watching import FollowsMetric, checked_rules, is_better


@dataclasses.dataclass(frozen=True)
class _Plateau(Watching):
    mode: str
    factor: Number
    patience: Number
    threshold: Number
    threshold_mode: str
    cooldown: Number
    min_lr: Number
    eps: Number
    accumulation_size: Number
    reductions: Value = dataclasses.field(default=0, metadata={"learned": True})

    def raw(self, t: Value, base: Value, x: Arithmetic) -> Value:
        """``max(base * factor**reductions, min_lr)``, where a reduction of at most `eps` is not made."""
        if (self.reductions == 0) is True:  # and not traced
            return base
        numbers = base, self.factor, self.min_lr, self.eps
        if x is host:
            return _known_rate(*numbers, int(self.reductions))
        return _rate(x, *numbers, self.reductions)

    may_be_nan = frozenset({"window_sum"})
    apart = ("factor", "min_lr", "eps")

    def phase_at(self, t: Number, base: Number) -> str:
        return "plateau"

    def with_learned(self, values: Iterator[Value]) -> Formula:
        return replaced(self, reductions=next(values))

    def learned(self, memory: Remembered) -> Value:
        """How often the learning rate was reduced."""
        return memory["reductions"]

    def memory(self) -> Remembered:
        found: Remembered = {
            "best": split(np.inf if self.mode == "min" else -np.inf),
            "num_bad_epochs": np.int32(0),
            "cooldown_counter": np.int32(0),
            "reductions": np.int32(0),
        }
        if self._accumulates:
            found |= {"window_sum": split(0.0), "window_count": np.int32(0)}
        return found

    @functools.cached_property
    def _accumulates(self) -> bool:
        return _checks.is_traced(self.accumulation_size) or self.accumulation_size != 1

    def watched(self, memory: Remembered, metric: Value, x: Any) -> Remembered:
        if not self._accumulates:
            return self._observe(memory, metric, x)
        total, count = memory["window_sum"] + metric, memory["window_count"] + 1
        full = count >= self.accumulation_size
        new = self._observe(memory, x.divide(total, self.accumulation_size), x)
        found = {name: x.where(full, value, memory[name]) for name, value in new.items()}
        empty = {"window_sum": x.where(full, 0.0, total), "window_count": x.where(full, 0, count)}
        return found | empty

    def _observe(self, memory: Remembered, metric: Value, x: Any) -> Remembered:
        best = memory["best"]
        better, left = is_better(self, metric, best, x), memory["cooldown_counter"]
        cooling, bad = left > 0, memory["num_bad_epochs"] + 1
        if cooling is False:  # and so no array or tracer: as mostly, on the host
            if better is True:
                return {"best": metric, "num_bad_epochs": 0}
            if better is False and (bad <= self.patience) is True:
                return {"num_bad_epochs": bad}
        bad = x.where(better | cooling, 0, bad)
        reduce = bad > self.patience
        return {
            "best": x.where(better, metric, best),
            "num_bad_epochs": x.where(reduce, 0, bad),
            "cooldown_counter": x.where(reduce, self.cooldown, x.maximum(left - 1, 0)),
            "reductions": memory["reductions"] + reduce,
        }


def _rate(
    x: Arithmetic, base: Value, factor: Value, min_lr: Value, eps: Value, reductions: Value
) -> Value:
    possible, last = _last(x, base, factor, min_lr, eps)
    count = x.where(possible, x.minimum(reductions, last), reductions)
    reduced = x.maximum(base * growth(x, factor, count), min_lr)
    return x.where((count > 0) & (base > 0), reduced, base)


_known_rate = functools.lru_cache(maxsize=64)(functools.partial(_rate, host))
"""The same for numbers: it takes half as long as a step."""


def _last(
    x: Arithmetic, base: Value, factor: Value, min_lr: Value, eps: Value
) -> tuple[Value, Value]:
    """Whether there is a last reduction that is made, and its number.

    A reduction from u = base * factor**n is larger than eps if u > eps / (1 - factor) and
    u > min_lr + eps, and u only falls: so there is a last one, found by a logarithm and put
    right by at most one in either direction.
    """
    least = x.maximum(eps / (1 - factor), min_lr + eps)
    least = x.minimum(least, MOST)  # not infinite
    possible = (least > 0) & (base > 0)
    # As a difference of logarithms, which no two floats make infinite.
    exact = x.log(x.where(possible, base, 1)) - x.log(x.where(possible, least, 1))
    near = x.maximum(x.floor(exact / -x.log(factor)), 1)
    u = base * growth(x, factor, near - 1)
    v, w = u * factor, u * factor * factor
    return possible, near - 1 + (u > least) + (v > least) + (w > least)


class ReduceLROnPlateau(FollowsMetric):
    """Multiply the learning rate by `factor` when a metric has stopped improving.

    For trainings of unknown length: ``step(metric)`` after each validation. Else prefer a cosine.
    With best = inf (-inf for "max") at first, each ``step(m)`` does::

        better = m < best - threshold * |best|     mode="min", threshold_mode="rel"
                 m < best - threshold              mode="min", threshold_mode="abs"
                 m > best + threshold * |best|     mode="max", threshold_mode="rel"
                 m > best + threshold              mode="max", threshold_mode="abs"
        if better:        best, bad = m, 0         otherwise: bad += 1
        if cooling > 0:   cooling, bad = cooling - 1, 0
        if bad > patience:  n, cooling, bad = n + 1, cooldown, 0

        lr = base_lr                               n = 0
             max(base_lr * factor ** n, min_lr)    n > 0; n stays where that falls by <= eps

    NaN is never better. ``scheduler(epoch)`` raises: there is no learning rate at a given epoch.

    Parameters
    ----------
    base_lr : float or list of float, default 0.001
        First learning rate, >= 0; a list has one entry for each parameter group.
    mode : {"min", "max"}, default "min"
        Whether a small or a large metric is good.
    factor : float, default 0.1
        Factor of a reduction, in (0, 1).
    patience : int, default 10
        Bad metrics in a row that are put up with, >= 0.
    threshold : float, default 1e-4
        Least improvement that counts, >= 0, and < 1 as a share.
    threshold_mode : {"rel", "abs"}, default "rel"
        Whether `threshold` is a share of the best metric or a difference.
    cooldown : int, default 0
        Metrics after a reduction that do not count as bad, >= 0.
    min_lr, eps : float or list of float, default 0 and 1e-8
        Smallest learning rate and smallest reduction, >= 0; one entry for each parameter group.
    last_epoch : int, default 0
        Epoch to start at, >= 0; -1 means 0.
    accumulation_size : int, default 1
        So many metrics count as one, m, their mean, >= 1; until then nothing happens.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described above, or a step has no metric.

    Examples
    --------
    >>> import lrax
    >>> scheduler = lrax.ReduceLROnPlateau(base_lr=1.0, factor=0.5, patience=1)
    >>> for loss in (3.0, 2.0, 2.0, 2.0):
    ...     scheduler.step(loss)
    >>> print(scheduler.current_lrs.value, scheduler.best.value)
    [0.5] 2.0

    Notes
    -----
    - torch, braintools, optax: no reduction for a flat negative metric. Else torch's numbers.
    - braintools: ignores `eps`, and metrics during the cooldown; like torch, it takes no means.
    - optax: ``contrib.reduce_on_plateau(patience=p)`` reduces one metric earlier; the same means.
    """

    def __init__(
        self,
        base_lr: RatesLike = 1e-3,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: RatesLike = 0,
        eps: RatesLike = 1e-8,
        last_epoch: int = 0,
        *,
        accumulation_size: int = 1,
    ) -> None:
        rules = checked_rules(mode, factor, patience, threshold, threshold_mode, cooldown)
        min_lrs = _checks.learning_rates("min_lr", min_lr)
        epsilons = _checks.per_group("eps", eps, _checks.non_negative, of="a number")
        bases = _checks.learning_rates("base_lr", base_lr)
        _checks.group_count(base_lr=bases, min_lr=min_lrs, eps=epsilons)
        bounds = in_groups({"min_lr": min_lrs, "eps": epsilons})
        size = _checks.counted("accumulation_size", accumulation_size)
        formulas = [_Plateau(*rules, low, least, size) for low, least in bounds]
        super().__init__(bases, last_epoch, formula=formulas)
