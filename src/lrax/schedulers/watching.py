"""What schedulers that follow a metric have in common."""

from typing import Any

from .. import _checks
from .._types import Number, Scalar, Unchecked, Value
from ..states.clock import LAST_EPOCH
from ..states.placement import on_host
from ..states.view import View
from .remembering import joined
from .scheduler import LRScheduler


def is_better(watching: Any, metric: Value, best: Value, x: Any) -> Value:
    """Whether `metric` is better than `best` by more than the threshold."""
    falls, more = watching.mode == "min", watching.threshold
    if falls:
        more = -more
    if watching.threshold_mode == "abs":
        bar = best + more
    else:
        # A share of |best|: best * (1 - threshold) would lie above a negative best.
        bar = best * x.where(best < 0, 1 - more, 1 + more)
    return metric < bar if falls else metric > bar


def _checked_factor(factor: Unchecked) -> Number:
    """A number in (0, 1)."""
    number = _checks.positive("factor", factor)
    if not _checks.is_traced(number) and number >= 1:
        raise ValueError(
            f"factor must be a number in (0, 1), got {factor}. The learning rate is multiplied by it."
        )
    return number


def _checked_threshold(threshold: Unchecked, threshold_mode: Unchecked) -> Number:
    """A number >= 0, below 1 where it is a share."""
    _checks.choice("threshold_mode", threshold_mode, ("rel", "abs"))
    number = _checks.non_negative("threshold", threshold)
    if threshold_mode == "rel" and not _checks.is_traced(number) and number >= 1:
        raise ValueError(
            f"threshold must be below 1 in threshold_mode='rel', where it is a share of the best metric, got {threshold}. "
            "Use threshold_mode='abs' for an absolute one."
        )
    return number


def checked_rules(
    mode: Unchecked,
    factor: Unchecked,
    patience: Unchecked,
    threshold: Unchecked,
    threshold_mode: Unchecked,
    cooldown: Unchecked,
) -> tuple[str, Number, Number, Number, str, Number]:
    """What says when a metric has stopped improving, checked, in this order."""
    return (
        _checks.choice("mode", mode, ("min", "max")),
        _checked_factor(factor),
        _checks.integer("patience", patience, high=LAST_EPOCH),
        _checked_threshold(threshold, threshold_mode),
        threshold_mode,
        _checks.integer("cooldown", cooldown, high=LAST_EPOCH),
    )


class FollowsMetric(LRScheduler):
    """A scheduler whose learning rate depends on the metrics it is given."""

    def step(self, metric: Scalar | None = None, epoch: Scalar | None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Learn from `metric`, advance the clock by one or jump to `epoch`, and publish."""
        LRScheduler.step(self, epoch, metric=metric)

    @property
    def best(self) -> View:
        """Best metric so far."""
        return View(lambda: joined(on_host(self._remembers("best"))))

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
