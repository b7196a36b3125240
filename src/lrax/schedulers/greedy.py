"""More while a metric improves, and less when it has stopped."""

import dataclasses
import functools
import operator
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .. import _checks
from .._transfers import fetched
from .._types import Number, RatesLike, Remembered, Unchecked, Value
from ..formulas.arithmetic import Arithmetic, wide
from ..formulas.formula import Formula, replaced
from ..formulas.pieces import check_scalable, ratio
from ..states.clock import LAST_EPOCH
from ..states.view import View
from .remembering import Watching, joined, split
from .watching import FollowsMetric, checked_rules, is_better

_HIDDEN = {"learned": True}
_LARGEST_WINDOW = 100_000


@dataclasses.dataclass(frozen=True)
class _Greedy(Watching):
    mode: str
    factor: Number
    patience: Number
    threshold: Number
    threshold_mode: str
    cooldown: Number
    warmup: Number
    min_lr: Number
    max_lr: Number
    eps: Number
    smooth: bool
    window_size: Number
    reset_start: Number
    own: Number = dataclasses.field(default=1.0, metadata=_HIDDEN)
    """The base learning rate of the schedule; that of a group scales it."""

    rate: Value = dataclasses.field(default=None, metadata=_HIDDEN)
    """The learning rate that was learned; None: the first one."""

    may_be_nan = frozenset({"window"})

    def raw(self, t: Value, base: Value, x: Arithmetic) -> Value:
        rate = self.own if self.rate is None else self.rate
        if isinstance(rate, jax.Array) and rate.ndim:  # as it is in the memory
            rate = rate.sum(axis=-1)
        return rate * ratio(x, base, self.own)

    def check_base(self, base: Number) -> None:
        check_scalable(base, self.own)

    def phase_at(self, t: Number, base: Number) -> str:
        return "greedy"

    def with_learned(self, values: Iterator[Value]) -> Formula:
        return replaced(self, rate=next(values))

    def learned(self, memory: Remembered) -> Value:
        """The learning rate of the schedule's own base."""
        parts = memory["rate"]
        if isinstance(parts, (int, float)):
            return parts
        many = not _checks.is_known(parts) or parts.ndim > 1  # traced, or of many trainings
        return parts if many else joined(fetched(parts))

    def memory(self) -> Remembered:
        with wide():
            rate = split(self.own)
        found = {
            "rate": rate,
            "best": split(np.inf if self.mode == "min" else -np.inf),
            "num_bad_epochs": np.int32(0),
            "num_good_epochs": np.int32(0),
            "cooldown_counter": np.int32(0),
            "warmup_counter": np.int32(0),
            "reset_counter": np.int32(0),
        }
        if self.smooth:
            found |= {"window": split(np.zeros(self.window_size)), "window_count": np.int32(0)}
        return found

    def watched(self, memory: Remembered, metric: Value, x: Any) -> Remembered:
        window: Remembered = {}
        if self.smooth:
            metric, window = self._smoothed(memory, metric, x)
        cooling, warming = memory["cooldown_counter"], memory["warmup_counter"]
        awake = (cooling == 0) & (warming == 0)
        better = awake & is_better(self, metric, memory["best"], x)
        good = x.where(better, memory["num_good_epochs"] + 1, 0)
        bad = x.where(awake, x.where(better, 0, memory["num_bad_epochs"] + 1), 0)
        up, down = good > self.patience, bad > self.patience
        rate, reset, waited = self._changed(memory, up, down, x)
        worst = np.inf if self.mode == "min" else -np.inf
        new = {
            "rate": rate,
            "best": x.where(reset, worst, x.where(better, metric, memory["best"])),
            "num_good_epochs": x.where(up, 0, good),
            "num_bad_epochs": x.where(down, 0, bad),
            "cooldown_counter": x.where(down, self.cooldown, x.maximum(cooling - 1, 0)),
            "warmup_counter": x.where(up, self.warmup, x.maximum(warming - 1, 0)),
            "reset_counter": waited,
        }
        emptied = {
            name: x.where(_column(reset, v), np.zeros(np.shape(v)), v) for name, v in window.items()
        }
        return new | emptied

    def _changed(
        self, memory: Remembered, up: Value, down: Value, x: Any
    ) -> tuple[Value, Value, Value]:
        """The learning rate after a rise or a reduction, whether it starts anew, and how long it has been least."""
        old = memory["rate"]
        more = x.minimum(x.divide(old, self.factor), self.max_lr)
        less = x.maximum(old * self.factor, self.min_lr)
        more = x.where(more - old > self.eps, more, old)
        less = x.where(old - less > self.eps, less, old)
        least = down & (less <= self.min_lr)
        waited = memory["reset_counter"] + x.where(least, 1, 0)
        reset = least & (waited >= self.reset_start)
        rate = x.where(up, more, x.where(down, x.where(reset, self.own, less), old))
        return rate, reset, x.where(up | reset, 0, waited)

    def _smoothed(self, memory: Remembered, metric: Value, x: Any) -> tuple[Value, Remembered]:
        """The mean of the last metrics, and these: with zeros in front, while there are few."""
        old, count = memory["window"], x.minimum(memory["window_count"] + 1, self.window_size)
        if isinstance(old, jax.Array):
            last = jnp.broadcast_to(metric, old.shape[:-1])[..., None]
            window = jnp.concatenate([old[..., 1:], last], axis=-1)
            add = lambda i, total: total + window[..., i]  # noqa: E731
            # One after the other, as the host does.
            total = jax.lax.fori_loop(0, self.window_size, add, jnp.zeros_like(window[..., 0]))
        else:
            window = np.append(old[1:], metric)
            total = functools.reduce(operator.add, window.tolist())
        return x.divide(total, count), {"window": window, "window_count": count}


def _column(condition: Value, values: Value) -> Value:
    """A condition for several trainings, with an axis for what each has of them."""
    return condition[..., None] if np.ndim(values) > np.ndim(condition) > 0 else condition


class GreedyLR(FollowsMetric):
    """Raise the learning rate while a metric improves, and reduce it when it has stopped.

    For trainings that find their own learning rate: ``step(metric)`` in every epoch.
    With best = inf (-inf for "max") and lr = base_lr at first, each ``step(m)`` does::

        smooth=True:      m = mean of the last window_size metrics
        cooling > 0:      cooling, good, bad = cooling - 1, 0, 0
        else warming > 0: warming, good, bad = warming - 1, 0, 0
        else m better:    best, good, bad = m, good + 1, 0        (as in ReduceLROnPlateau)
        else:             good, bad = 0, bad + 1
        good > patience:  lr, good, warming, waited = min(lr / factor, max_lr), 0, warmup, 0
        bad > patience:   lr, bad, cooling = max(lr * factor, min_lr), 0, cooldown
                          lr <= min_lr: waited += 1, and at reset_start it begins anew

    A change by `eps` or less is not made. To begin anew: lr, best, waited, window as at first. A
    parameter group with a base learning rate of its own, g, gets lr * g / base_lr. NaN is never
    better. ``scheduler(epoch)`` raises.

    Parameters
    ----------
    base_lr : float or list of float, default 0.001
        First learning rate, >= 0; of a list, that of the first group, > 0, is the one above.
    mode, factor, patience : str, float and int, default "min" and 0.95 and 10
    threshold, threshold_mode : float and str, default 1e-6 and "abs"
        All five as in ReduceLROnPlateau.
    cooldown, warmup : int, default 0 and 0
        Metrics that count for nothing after a reduction, and after a rise, >= 0.
    min_lr, max_lr, eps : float, default 1e-3 and 1.0 and 1e-8
        Limits, 0 <= min_lr <= max_lr, and smallest change, >= 0. A smaller base_lr never falls.
    last_epoch : int, default 0
        Epoch to start at, >= 0; -1 means 0.
    smooth, window_size : bool and int, default False and 50
        Whether to take the mean of so many metrics, >= 1.
    reset_start : int, default 500
        Reductions in vain at `min_lr` after which it begins anew, >= 0; 0 is 1.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described above, or a step has no metric.

    Examples
    --------
    >>> import lrax
    >>> scheduler = lrax.GreedyLR(base_lr=0.1, factor=0.5, patience=0)
    >>> for loss in (3.0, 2.0, 1.0, 1.0):
    ...     scheduler.step(loss)
    >>> print(scheduler.current_lrs.value, scheduler.best.value)
    [0.4] 1.0

    Notes
    -----
    - transformers, Hugging Face's: the same numbers; each group has limits of its own there. A
      relative threshold fails below 0, and NaN stays in its mean for ever.
    - torch, optax and braintools have no such class.

    References
    ----------
    "GreedyLR: A Novel Adaptive Learning Rate Scheduler", https://arxiv.org/abs/2512.14527
    """

    def __init__(
        self,
        base_lr: RatesLike = 1e-3,
        mode: str = "min",
        factor: float = 0.95,
        patience: int = 10,
        threshold: float = 1e-6,
        threshold_mode: str = "abs",
        cooldown: int = 0,
        warmup: int = 0,
        min_lr: float = 1e-3,
        max_lr: float = 1.0,
        eps: float = 1e-8,
        last_epoch: int = 0,
        *,
        smooth: bool = False,
        window_size: int = 50,
        reset_start: int = 500,
    ) -> None:
        bases = _checks.learning_rates("base_lr", base_lr)
        formula = _Greedy(
            *checked_rules(mode, factor, patience, threshold, threshold_mode, cooldown),
            _checks.integer("warmup", warmup, high=LAST_EPOCH),
            *_limits(min_lr, max_lr),
            _checks.non_negative("eps", eps),
            _checks.flag("smooth", smooth),
            _window_size(window_size, smooth),
            _checks.integer("reset_start", reset_start, high=LAST_EPOCH),
            own=bases[0],
        )
        for group, base in enumerate(bases):
            _check_group(formula, group, base)
        super().__init__(bases, last_epoch, formula=formula)

    @property
    def num_good_epochs(self) -> View:
        """Metrics in a row that were better than the best."""
        return self._remembered("num_good_epochs")

    @property
    def warmup_counter(self) -> View:
        """Epochs that are left in which nothing counts, after a rise."""
        return self._remembered("warmup_counter")


def _check_group(formula: _Greedy, group: int, base: Number) -> None:
    """Raise ValueError where the learning rate of the first group, which is learned, cannot be scaled to another's."""
    try:
        formula.check_base(base)
    except ValueError as error:
        raise ValueError(
            f"base_lr[0] must be > 0 where base_lr[{group}] is, got {formula.own} and {base}: {error}"
        ) from None


def _limits(min_lr: Unchecked, max_lr: Unchecked) -> tuple[Number, Number]:
    """The smallest and the largest learning rate, in order where they are known."""
    low, high = _checks.non_negative("min_lr", min_lr), _checks.non_negative("max_lr", max_lr)
    if not (_checks.is_traced(low) or _checks.is_traced(high)) and low > high:
        raise ValueError(f"min_lr must be at most max_lr, got {low} > {high}. Swap them.")
    return low, high


def _window_size(size: Unchecked, smooth: bool) -> Number:
    """A number that is known where the memory has its size."""
    checked = _checks.integer("window_size", size, low=1, high=_LARGEST_WINDOW)
    if smooth and _checks.is_traced(checked):
        raise TypeError(
            f"window_size must be a known number, since the memory has its size, got {size!r:.80}. Pass an int."
        )
    return checked
