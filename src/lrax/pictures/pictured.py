"""Schedulers that show themselves."""

import textwrap
from collections.abc import Sequence
from typing import Any

from .. import _checks
from .._types import Axes, Unchecked
from . import notebook
from .curve import curve, labels, length
from .figure import axes_of, draw


class Pictured:
    """The pictures of a scheduler."""

    def plot(
        self,
        steps: int | None = None,
        ax: Axes | None = None,
        *,
        log: bool = False,
        steps_per_epoch: int | None = None,
    ) -> Axes:
        """Draw the learning rate from step 0 to `steps` with matplotlib, and return the axes.

        Phases are shaded and named. Below stands what else follows the clock: a cycled momentum, and
        the scheduled hyper-parameters of the optimizers that follow the scheduler. None: to its own
        end; if it has none, as long as is telling. `log` draws powers of ten, `steps_per_epoch`
        writes the epochs above the picture.

        >>> import lrax, matplotlib
        >>> matplotlib.use("Agg")
        >>> ax = lrax.WSDSchedule(1e-3, warmup_steps=100, total_steps=1000).plot()
        >>> ax.figure.savefig("wsd.png")  # doctest: +SKIP
        """
        return plot([self], steps, ax, log=log, steps_per_epoch=steps_per_epoch)

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return notebook.html(self)


def plot(
    schedulers: Sequence[Pictured],
    steps: int | None = None,
    ax: Axes | None = None,
    *,
    log: bool = False,
    steps_per_epoch: int | None = None,
) -> Axes:
    """Draw the learning rates of several schedulers into one picture, and return the axes.

    Parameters
    ----------
    schedulers : list of LRScheduler
        Each has a colour, and a line for each parameter group. Of a single one the phases are shaded.
    steps : int, optional
        The last step, >= 1. None: until the last of them has ended, or as long as is telling.
    ax : matplotlib.axes.Axes, optional
        Where to draw; hyper-parameters take the lower part of it. None: into a new figure.
    log : bool, default False
        Powers of ten upwards; a learning rate of 0 is not drawn.
    steps_per_epoch : int, optional
        Write epochs of so many steps above the picture, >= 1.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described above, or a scheduler has no learning rate at a given step.
    ImportError
        If there is no matplotlib.

    Examples
    --------
    >>> import lrax, matplotlib
    >>> matplotlib.use("Agg")
    >>> cosine, linear = lrax.CosineAnnealingLR(0.1, T_max=100), lrax.PolynomialLR(0.1, 100)
    >>> ax = lrax.plot([cosine, linear])
    >>> [line.get_label() for line in ax.lines]
    ['CosineAnnealingLR', 'PolynomialLR']
    """
    found: Any = _checks.sequence("schedulers", schedulers, _scheduler, of="schedulers")
    if not found:
        raise ValueError(f"schedulers must hold at least one scheduler, got {schedulers!r}.")
    steps, log = length(found, steps), _checks.flag("log", log)
    per_epoch = _checks.number_or_none("steps_per_epoch", steps_per_epoch)
    curves = [curve(each, steps, label) for each, label in zip(found, labels(found), strict=True)]
    ax = axes_of(ax, curves)
    draw(ax, curves, log, per_epoch)
    if len(found) == 1:
        text = textwrap.shorten(repr(found[0]), 180, placeholder=" ...")
        points = ax.bbox.width / ax.figure.dpi * 72
        ax.set_title(textwrap.fill(text, max(int(points / 4.6), 20)), fontsize=8, loc="left")
    return ax


def _scheduler(name: str, value: Unchecked) -> Pictured:
    if not isinstance(value, Pictured):
        raise TypeError(
            f"{name} must be a scheduler, got {value!r:.80}. An optimizer's is optimizer.lr."
        )
    return value
