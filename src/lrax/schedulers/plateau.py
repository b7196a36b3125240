"""Learning from a metric: the one scheduler with memory."""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .. import _checks
from .._transfers import fetched
from .._types import Array, Number, RatesLike, Remembered, Scalar, Unchecked, Value
from ..formulas.arithmetic import HOST, LARGEST, Arithmetic, wide
from ..formulas.formula import Formula, Learner, replaced
from ..formulas.pieces import MOST, growth
from ..formulas.schedule import spread
from ..states.clock import LAST_EPOCH
from ..states.placement import on_host
from ..states.saving import check_keys, check_number
from ..states.view import View
from .scheduler import LRScheduler


@dataclasses.dataclass(frozen=True)
class _Plateau(Formula):
    mode: str
    factor: Number
    patience: Number
    threshold: Number
    threshold_mode: str
    cooldown: Number
    min_lr: Number
    eps: Number
    reductions: Value = dataclasses.field(default=0, metadata={"learned": True})

    def raw(self, t: Value, base: Value, x: Arithmetic) -> Value:
        """``max(base * factor**reductions, min_lr)``, where a reduction of at most `eps` is not made.

        A reduction from u = base * factor**n is larger than eps if u > eps / (1 - factor) and
        u > min_lr + eps, and u only falls: so there is a last one, found by a logarithm and put
        right by at most one in either direction.
        """
        least = x.maximum(self.eps / (1 - self.factor), self.min_lr + self.eps)
        least = x.minimum(least, MOST)  # not infinite
        possible = (least > 0) & (base > 0)
        # As a difference of logarithms, which no two floats make infinite.
        exact = x.log(x.where(possible, base, 1)) - x.log(x.where(possible, least, 1))
        near = x.maximum(x.floor(exact / -x.log(self.factor)), 1)
        u = base * growth(x, self.factor, near - 1)
        v, w = u * self.factor, u * self.factor * self.factor
        last = near - 1 + (u > least) + (v > least) + (w > least)
        count = x.where(possible, x.minimum(self.reductions, last), self.reductions)
        reduced = x.maximum(base * growth(x, self.factor, count), self.min_lr)
        return x.where((count > 0) & (base > 0), reduced, base)

    def learners(self, start: Number = 0, end: Number = math.inf) -> tuple[Learner, ...]:
        return (Learner(self, start, end),)

    def with_learned(self, values: Iterator[Value]) -> Formula:
        return replaced(self, reductions=next(values))

    def learned(self, memory: Remembered) -> Value:
        """How often the learning rate was reduced."""
        return memory["reductions"]

    def memory(self) -> Remembered:
        return {
            "best": _split_host(np.inf if self.mode == "min" else -np.inf),
            "num_bad_epochs": np.int32(0),
            "cooldown_counter": np.int32(0),
            "reductions": np.int32(0),
        }

    def observe(self, memory: Remembered, metric: Value, begun: Value) -> Remembered:
        """The memory after one more metric: unchanged until the plateau has begun."""
        known = (metric, begun, self.factor, self.patience, self.threshold, *memory.values())
        if any(map(_checks.is_traced, known)):
            with wide():
                best = jnp.asarray(memory["best"], float).sum(axis=-1)
                new = self._observe(memory, metric, best, jnp)
                new["best"] = _split_traced(new["best"])
                return {
                    name: jnp.where(begun, new[name], old).astype(old.dtype)
                    for name, old in memory.items()
                }
        return self.observe_on_host(_known(memory), metric) if begun else memory

    def observe_on_host(self, memory: Remembered, metric: float) -> Remembered:
        """The same where everything is known and the plateau has begun."""
        best = _joined(memory["best"])
        counts = {name: int(value) for name, value in memory.items() if name != "best"}
        new = self._observe(counts, metric, best, HOST)
        found: Remembered = {name: np.int32(value) for name, value in new.items() if name != "best"}
        found["best"] = memory["best"] if new["best"] == best else _split_host(new["best"])
        return found

    def as_numbers(self, memory: Remembered) -> Remembered:
        """The memory for a state dict."""
        numbers = _known(memory).items()
        return {name: _joined(v) if name == "best" else int(v) for name, v in numbers}

    def from_numbers(self, where: str, found: Unchecked) -> Remembered:
        """The memory out of a state dict, checked."""
        check_keys(where, found, self.memory())
        best = check_number(f"{where}.best", found["best"])
        counts = {
            name: np.int32(
                check_number(f"{where}.{name}", value, low=0, high=LAST_EPOCH, whole=True)
            )
            for name, value in found.items()
            if name != "best"
        }
        return {"best": _split_host(best), **counts}

    def _observe(self, memory: Remembered, metric: Value, best: Value, x: Any) -> Remembered:
        better = self._better(metric, best, x)
        bad = x.where(better, 0, memory["num_bad_epochs"] + 1)
        cooling = memory["cooldown_counter"] > 0
        cooldown = x.where(cooling, memory["cooldown_counter"] - 1, 0)
        bad = x.where(cooling, 0, bad)
        reduce = bad > self.patience
        return {
            "best": x.where(better, metric, best),
            "num_bad_epochs": x.where(reduce, 0, bad),
            "cooldown_counter": x.where(reduce, self.cooldown, cooldown),
            "reductions": memory["reductions"] + x.where(reduce, 1, 0),
        }

    def _better(self, metric: Value, best: Value, x: Any) -> Value:
        sign = -1 if self.mode == "min" else 1
        if self.threshold_mode == "abs":
            bar = best + sign * self.threshold
        else:
            # A share of |best|: best * (1 - threshold) would lie above a negative best.
            bar = x.where(
                best < 0, best * (1 - sign * self.threshold), best * (1 + sign * self.threshold)
            )
        return metric < bar if self.mode == "min" else metric > bar


# The best metric is kept as a sum of three float32: exact, in any mode, for all that one float32 can
# come near; what is larger is infinite.


def _split_host(value: float) -> np.ndarray:
    parts = np.zeros(3, np.float32)
    value = value if abs(value) <= LARGEST else math.copysign(math.inf, value)
    for i in range(3):
        parts[i] = value
        value = value - parts[i].item() if math.isfinite(value) else 0.0
    return parts


def _split_traced(value: Value) -> Value:
    parts, rest = [], jnp.asarray(value, float)
    rest = jnp.where(jnp.abs(rest) <= LARGEST, rest, jnp.copysign(jnp.inf, rest))
    for _ in range(3):
        # Not a cast there and back, which XLA would drop.
        parts.append(jax.lax.reduce_precision(rest, exponent_bits=8, mantissa_bits=23))
        rest = jnp.where(jnp.isfinite(rest), rest - parts[-1], 0)
    return jnp.stack(parts, axis=-1).astype(np.float32)


def _known(memory: Remembered) -> Remembered:
    return {name: fetched(value) for name, value in memory.items()}


def _joined(parts: Array) -> Value:
    if _checks.is_traced(parts) or parts.ndim > 1:  # traced, or of many trainings
        return parts.sum(axis=-1)
    return sum(np.asarray(parts).tolist())


class ReduceLROnPlateau(LRScheduler):
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
             max(base_lr * factor ** n, min_lr)    n > 0; a reduction by eps or less is not made

    NaN is never better. There is no learning rate at a given epoch: ``scheduler(epoch)`` raises.

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
    - torch, braintools, optax: never reduce for a flat negative metric, as their bar is
      ``best * (1 - threshold)``. Otherwise the numbers are torch's.
    - braintools: ignores `eps`, and metrics during the cooldown.
    - optax: ``contrib.reduce_on_plateau(patience=p)`` reduces one metric earlier.
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
    ) -> None:
        factor = _checks.positive("factor", factor)
        threshold = _checks.non_negative("threshold", threshold)
        _checks.choice("threshold_mode", threshold_mode, ("rel", "abs"))
        if not _checks.is_traced(factor) and factor >= 1:
            raise ValueError(
                f"factor must be a number in (0, 1), got {factor}. The learning rate is multiplied by it."
            )
        if threshold_mode == "rel" and not _checks.is_traced(threshold) and threshold >= 1:
            raise ValueError(
                f"threshold must be below 1 in threshold_mode='rel', where it is a share of the best metric, got {threshold}. "
                "Use threshold_mode='abs' for an absolute one."
            )
        first = (
            _checks.choice("mode", mode, ("min", "max")),
            factor,
            _checks.integer("patience", patience),
            threshold,
            threshold_mode,
            _checks.integer("cooldown", cooldown),
        )
        min_lrs = _checks.learning_rates("min_lr", min_lr)
        epsilons = _checks.per_group("eps", eps, _checks.non_negative, of="a number")
        groups = _checks.group_count(min_lr=min_lrs, eps=epsilons)
        bounds = zip(spread(min_lrs, groups), spread(epsilons, groups), strict=True)
        formulas = [_Plateau(*first, low, least) for low, least in bounds]
        super().__init__(base_lr, last_epoch, formula=formulas)

    def step(self, metric: Scalar | None = None, epoch: Scalar | None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Learn from `metric`, advance the clock by one or jump to `epoch`, and publish."""
        super().step(epoch, metric=metric)

    @property
    def best(self) -> View:
        """Best metric so far."""
        return View(lambda: _joined(on_host(self._remembers("best"))))

    @property
    def num_bad_epochs(self) -> View:
        """Metrics in a row that were not better than the best."""
        return self._remembered("num_bad_epochs")

    @property
    def cooldown_counter(self) -> View:
        """Epochs of cooldown that are left."""
        return self._remembered("cooldown_counter")

    def _remembered(self, name: str) -> View:
        return View(lambda: self._remembers(name))

    def _remembers(self, name: str) -> Value:
        assert self.learning is not None
        return self.learning.memory.value["0"][name]
