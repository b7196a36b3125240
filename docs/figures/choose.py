"""The pictures of choose.md, of what examples/study.py has found."""

import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

FOLDER = Path(globals().get("__file__", "choose.py")).resolve().parent
"""The plot directive runs this in its folder, without a __file__."""

STYLES = {
    "constant": ("C1", "o:"),
    "inverse square root": ("C1", "s--"),
    "plateau": ("C1", "^-"),
    "warm restarts": ("C3", "v-"),
    "step": ("C3", "D--"),
    "one-cycle": ("C2", "v--"),
    "cosine": ("C2", "s-"),
    "linear": ("C2", "o-"),
    "WSD, linear": ("C0", "o-"),
    "WSD, 1-sqrt": ("C0", "s--"),
    "WSD, square": ("C0", "^:"),
}
"""A color for each family: without an end, in pieces, a fall all the way, a fall at the end."""


def losses(results: dict, task: str, schedule: str) -> np.ndarray:
    """By length, peak and seed; infinite where the training diverged."""
    runs = [r for r in results["runs"] if (r["task"], r["schedule"]) == (task, schedule)]
    runs.sort(key=lambda run: run["steps"])
    return np.nan_to_num(np.array([run["losses"] for run in runs], float), nan=np.inf)


def best(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean of the best peak and its standard deviation over the seeds, by length."""
    peaks = table.mean(axis=2).argmin(axis=1)
    seeds = table[np.arange(len(table)), peaks]
    return seeds.mean(axis=1), seeds.std(axis=1, ddof=1)


def panels() -> tuple:
    results = json.loads((FOLDER.parent / "data" / "study.json").read_text(encoding="utf-8"))
    figure, axes = plt.subplots(2, figsize=(4.6, 7.5))
    for panel, task in zip(axes, results["settings"], strict=True):
        panel.set(title=task, xscale="log")
    return results, figure, axes


def finish(axes: np.ndarray, xlabel: str, ylabel: str) -> None:
    for panel in axes:
        panel.set_ylabel(ylabel)
        panel.minorticks_off()
    axes[-1].set_xlabel(xlabel)


def label_ends(panel: Axes, ends: dict[str, float], x: float) -> None:
    """Names to the right of the lines, in the order of their ends."""
    names = sorted(ends, key=lambda name: ends[name])
    for i, name in enumerate(names):
        color = STYLES[name][0]
        panel.annotate(
            name,
            xy=(x, ends[name]),
            xytext=(1.13, i / (len(names) - 1)),
            textcoords="axes fraction",
            color=color,
            fontsize=9,
            va="center",
            arrowprops={"arrowstyle": "-", "color": color, "linewidth": 0.6, "relpos": (0, 0.5)},
        )


TICKS = {"digits": [0.05, 0.07, 0.1, 0.14, 0.2], "text": [2.1, 2.2, 2.3, 2.4, 2.5, 2.6, 2.7]}


def loss_over_budget() -> None:
    """The validation loss at the end, of the best peak, over the length of the training; bars of one deviation."""
    results, _, axes = panels()
    for panel, (task, settings) in zip(axes, results["settings"].items(), strict=True):
        lengths = np.array(settings["lengths"])
        ends = {}
        for i, (schedule, (color, style)) in enumerate(STYLES.items()):
            mean, deviation = best(losses(results, task, schedule))
            x = lengths * 1.015 ** (i - 5)  # side by side, so that no bar hides another
            look = {"fmt": style, "color": color, "markersize": 4, "linewidth": 1, "elinewidth": 1}
            panel.errorbar(x, mean, deviation, label=schedule, **look)
            ends[schedule] = mean[-1]
        label_ends(panel, ends, lengths[-1] * 1.08)
        panel.set_yscale("log")
        panel.set_yticks(TICKS[task], [f"{tick:g}" for tick in TICKS[task]])
        panel.set_xticks(lengths, [str(n) for n in lengths])
    finish(axes, "updates in all", "validation loss, best peak")


HIGHEST = {"digits": 150, "text": 10}


def wrong_peak() -> None:
    """How much higher the loss of each peak is than that of the best, in percent, at the longest training."""
    results, figure, axes = panels()
    for panel, (task, settings) in zip(axes, results["settings"].items(), strict=True):
        for schedule, (color, style) in STYLES.items():
            mean = losses(results, task, schedule)[-1].mean(axis=1)
            look = {"color": color, "markersize": 4, "linewidth": 1}
            higher = 100 * (mean / mean.min() - 1)
            panel.plot(settings["peaks"], higher, style, label=schedule, **look)
        panel.set_ylim(-HIGHEST[task] / 30, HIGHEST[task])
        panel.set_xticks(settings["peaks"], [f"{x:g}" for x in settings["peaks"]], rotation=60)
    finish(axes, "peak learning rate", "above the best peak, %")
    handles = axes[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=2, fontsize=9)
