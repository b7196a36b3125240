"""The losses of a range test: smoothed, watched for divergence, and the learning rates that they suggest."""

import dataclasses
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from .._types import Leaf


class Curve(NamedTuple):
    """The losses so far, float32, as they go through a compiled loop; NaN is none yet."""

    count: Leaf
    """The number of batches seen."""

    total: Leaf
    """The loss of the present learning rate so far."""

    losses: Leaf
    smoothed: Leaf
    average: Leaf
    """The exponential average that begins at 0."""

    weight: Leaf
    """The same average of ones, by which it is corrected."""

    best: Leaf
    going: Leaf
    """Whether the losses are finite, and have not diverged."""


@dataclasses.dataclass(frozen=True)
class Rule:
    """How losses are smoothed, and when a test is over."""

    steps: int
    every: int
    """The number of batches for each learning rate."""

    smoothing: float
    diverge: float

    def begin(self) -> Curve:
        number, none = np.float32(0), np.full(self.steps, np.nan, np.float32)
        best = np.float32(np.inf)
        return Curve(np.int32(0), number, none, none, number, number, best, np.bool_(True))

    def after(self, curve: Curve, loss: Leaf) -> Curve:
        """The curve with one more loss."""
        at, beta = curve.count // self.every, np.float32(self.smoothing)
        ended = (curve.count + 1) % self.every == 0
        total = curve.total + jnp.asarray(loss, np.float32) / np.float32(self.every)
        average = beta * curve.average + (1 - beta) * total
        weight = beta * curve.weight + (1 - beta)
        smoothed = average / weight
        best = jnp.minimum(curve.best, smoothed)
        # Of positive losses diverge times the best; a likelihood may be negative.
        diverged = smoothed > best + np.float32(self.diverge - 1) * jnp.abs(best)
        new = Curve(
            curve.count + 1,
            jnp.zeros_like(total),
            curve.losses.at[at].set(total),
            curve.smoothed.at[at].set(smoothed),
            average,
            weight,
            best,
            jnp.isfinite(total) & ~diverged,
        )
        more = curve._replace(count=new.count, total=total)
        return Curve(*(jnp.where(ended, a, b) for a, b in zip(new, more, strict=True)))


def suggestions(lrs: np.ndarray, losses: np.ndarray, steps: int) -> dict[str, float]:
    """Learning rates by the name of the rule, without the first tenth and the last five, as fastai has it."""
    kept = slice(steps // 10, -5)
    if lrs[kept].size:
        lrs, losses = lrs[kept], losses[kept]
    found = {
        "valley": lrs[_valley(losses)],
        "steepest": lrs[np.argmin(np.diff(losses)) if losses.size > 1 else 0],
        "minimum / 10": lrs[np.argmin(losses)] / 10,
    }
    return {name: float(lr) for name, lr in found.items()}


def _valley(losses: np.ndarray) -> int:
    """The middle of the longest decreasing subsequence that ends first, as fastai counts it."""
    lengths = np.ones(losses.size, np.int64)
    for i in range(1, losses.size):
        lengths[i] += lengths[:i].max(initial=0, where=losses[:i] > losses[i])
    end = int(np.argmax(lengths))
    if not end:
        return 0
    start = end - int(lengths[end])
    third = (end - start) / 3
    return max(start + int(third) + int(third / 2), 0)
