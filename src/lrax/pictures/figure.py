"""Pictures by matplotlib, which is imported when there is one to draw."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from .._types import Axes, Unchecked
from .curve import Curve, Phase

_COLORS = {
    "warmup": "#f2a65a",
    "rise": "#f2a65a",
    "stable": "#7fb77e",
    "decay": "#6c9bd2",
    "cooldown": "#b07cc6",
    "fall": "#6c9bd2",
    "annihilation": "#8d7fc7",
}
"""Of the phases; any other one is grey."""

_MOST = 16
"""Phases that are shaded: more of them could not be told apart."""

_STYLES = ("-", "--", ":", "-.")


def pyplot() -> Any:
    """``matplotlib.pyplot``, imported when it is needed."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            "plot() needs matplotlib, which is not installed. Install it with pip install matplotlib."
        ) from error
    return plt


def axes_of(ax: Unchecked, curves: Sequence[Curve]) -> Axes:
    """The axes to draw into: those given, or new ones."""
    plt = pyplot()
    if ax is None:
        size = 8, 3.6 + 1.2 * len(_hyper(curves))
        return plt.subplots(figsize=size, layout="constrained")[1]
    if not isinstance(ax, plt.Axes):
        raise TypeError(
            f"ax must be axes of matplotlib, got {ax!r:.80}. Make some: figure, ax = plt.subplots()."
        )
    return ax


def draw(ax: Axes, curves: Sequence[Curve], log: bool, steps_per_epoch: int | None) -> None:
    """The learning rates of some schedules, and below them what else follows their clocks."""
    panels = _panels(ax, curves)
    alone = len(curves) == 1
    for i, each in enumerate(curves):
        many = each.rates.shape[1] > 1
        for group, rates in enumerate(each.rates.T):
            name = f"group {group}" if many else ""
            label = name if alone and many else f"{each.label} {name}".strip()
            color = f"C{group}" if alone else f"C{i}"
            style = "-" if alone else _STYLES[group % len(_STYLES)]
            ax.plot(each.epochs, rates, style, color=color, label=label)
        for name, values in each.hyper:
            panel = panels[name]
            color = f"C{len(panel.lines)}" if alone else f"C{i}"
            panel.plot(each.epochs, values, color=color)
    steps = max(each.steps for each in curves)
    for panel in (ax, *panels.values()):
        panel.set_xlim(0, steps)
        panel.grid(alpha=0.25)
        panel.spines[["top", "right"]].set_visible(False)
        if alone:
            _shade(panel, curves[0].phases, named=panel is ax)
    _scale(ax, curves, log)
    _epochs_on_top(ax, steps_per_epoch)
    if len(ax.lines) > 1:
        ax.legend(frameon=False)


def _panels(ax: Axes, curves: Sequence[Curve]) -> dict[str, Any]:
    """Axes below, for each hyper-parameter; the steps are written at the lowest."""
    names, figure = _hyper(curves), ax.figure
    ax.set_ylabel("learning rate")
    panels: dict[str, Any] = {}
    if names:
        shape, heights = (len(names) + 1, 1), (3, *[1] * len(names))
        spec, place = ax.get_subplotspec(), ax.get_position()
        if spec is None:  # it was put by hand
            sides = {"left": place.x0, "right": place.x1, "bottom": place.y0, "top": place.y1}
            parts = figure.add_gridspec(*shape, height_ratios=heights, **sides)
        else:
            parts = spec.subgridspec(*shape, height_ratios=heights)
        ax.set_subplotspec(parts[0])
        panels = {
            name: figure.add_subplot(parts[i], sharex=ax) for i, name in enumerate(names, start=1)
        }
    for name, panel in panels.items():
        panel.set_ylabel(name)
    *above, last = ax, *panels.values()
    for each in above:
        each.tick_params(labelbottom=False)
    last.set_xlabel("step")
    return panels


def _hyper(curves: Sequence[Curve]) -> list[str]:
    """The names of the hyper-parameters, each once."""
    return list(dict.fromkeys(name for each in curves for name, _ in each.hyper))


def _shade(ax: Axes, phases: Sequence[Phase], named: bool) -> None:
    """A colour and, at the top, a name for each; those of one name in a row have it once."""
    rows = [list(row) for _, row in itertools.groupby(phases, lambda phase: phase.name)]
    if len(rows) > _MOST:
        return
    ends = ax.get_xaxis_transform()
    if len(phases) <= 3 * _MOST:
        starts = [phase.start for phase in phases]
        ax.vlines(starts, 0, 1, color="#80808060", linewidth=0.8, transform=ends)
    for row in rows:
        name, start, end = row[0].name, row[0].start, row[-1].end
        ax.axvspan(start, end, color=_COLORS.get(name, "#999999"), alpha=0.14, linewidth=0)
        share = (end - start) / phases[-1].end
        if named and share > 0.004:
            style: Any = {"ha": "center", "va": "top", "fontsize": 8}
            turn = 90 if share < 0.012 * len(name) else 0
            ax.text((start + end) / 2, 0.97, name, transform=ends, rotation=turn, **style)


def _scale(ax: Axes, curves: Sequence[Curve], log: bool) -> None:
    """Room above the curve for the names; on a log scale a learning rate of 0 is not drawn."""
    rates = np.concatenate([each.rates.ravel() for each in curves])
    positive, top = rates[rates > 0], float(rates.max())
    if not positive.size:
        return
    if log:
        low = max(float(positive.min()), 1e-6 * top)
        ax.set_yscale("log", nonpositive="mask")
        ax.set_ylim(low / 1.3, top * (top / low) ** 0.2 * 1.1)
    else:
        ax.set_ylim(0, 1.2 * top)


def _epochs_on_top(ax: Axes, steps_per_epoch: int | None) -> None:
    if steps_per_epoch is not None:
        both = lambda t: t / steps_per_epoch, lambda t: t * steps_per_epoch
        ax.secondary_xaxis("top", functions=both).set_xlabel("epoch")
