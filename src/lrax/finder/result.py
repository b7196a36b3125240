"""What a range test has found."""

import dataclasses

import numpy as np

from .._types import Axes
from ..pictures.figure import pyplot


@dataclasses.dataclass(frozen=True, eq=False)
class RangeTest:
    """The losses of a range test, and the learning rates that they suggest."""

    lrs: np.ndarray
    """The learning rates that were tried."""

    losses: np.ndarray
    """The loss at each of them, before its update."""

    smoothed: np.ndarray
    """Their exponential average, corrected for its beginning."""

    suggestions: dict[str, float]
    """Learning rates by the name of the rule: valley, steepest, minimum / 10."""

    @property
    def suggestion(self) -> float:
        """The valley: the middle of the longest descent."""
        return self.suggestions["valley"]

    def plot(self) -> Axes:
        """Draw the losses over the learning rates, suggestions marked, in a new figure; its axes."""
        _, axes = pyplot().subplots()
        axes.plot(self.lrs, self.losses, color="0.75", label="loss")
        axes.plot(self.lrs, self.smoothed, color="C0", label="smoothed")
        for i, (name, lr) in enumerate(self.suggestions.items(), start=1):
            height = np.interp(np.log(lr), np.log(self.lrs), self.smoothed)
            axes.plot(lr, height, "o", color=f"C{i}", label=f"{name}: {lr:.1e}")
        axes.set(xscale="log", xlabel="learning rate", ylabel="loss")
        low, high = np.min(self.losses), np.max(self.smoothed[:-1], initial=self.smoothed[0])
        if high > low:  # the last one may be as large as can be, and so may losses
            axes.set_ylim(low - 0.1 * (high - low), high + 0.1 * (high - low))
        axes.legend()
        return axes

    def __repr__(self) -> str:
        found = ", ".join(f"{name} {lr:.2e}" for name, lr in self.suggestions.items())
        return f"RangeTest({len(self.lrs)} learning rates up to {self.lrs[-1]:.2e}: {found})"
