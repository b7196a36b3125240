"""Curves and tables as text."""

import itertools
import string
from collections.abc import Sequence

import numpy as np

from ..pictures.curve import Curve, Phase

BLOCKS = " ▁▂▃▄▅▆▇█"
_HEIGHT = 12


def sparkline(rates: np.ndarray, unicode: bool) -> str:
    """One row: a block for each learning rate, as high as it is; of a 0 there is none."""
    top, blocks = rates.max() or 1.0, BLOCKS if unicode else " __..--=#"
    return "".join(blocks[int(np.ceil(rate / top * 8))] for rate in rates)


def drawing(curves: Sequence[Curve], width: int, log: bool, unicode: bool) -> str:
    """A picture with axes, as wide as it may be: one curve as an area, several as letters."""
    columns = width - 12
    lines = [_in_columns(each.epochs, rates, columns) for each in curves for rates in each.rates.T]
    top = max(float(line.max()) for line in lines) or 1.0
    low = _lowest(lines, top) if log else 0.0
    heights = [_height(line, low, top, log) for line in lines]
    if len(lines) == 1:
        rows = _area(heights[0], unicode)
    else:
        rows = _letters(heights)
    bar, corner, dash = ("│", "└", "─") if unicode else ("|", "+", "-")
    labels = {0: f"{top:.4g}", _HEIGHT - 1: f"{low:.4g}" if log else "0"}
    found = [f"{labels.get(i, ''):>10} {bar}{row}".rstrip() for i, row in enumerate(rows)]
    steps = max(each.steps for each in curves)
    found.append(f"{'':>10} {corner}{dash * columns}")
    found.append(f"{'':>12}0{f'step {steps}':>{columns - 1}}")
    if len(curves) == 1:
        found.append(" " * 12 + _named(curves[0].phases, columns).rstrip())
    return "\n".join(found)


def _in_columns(epochs: np.ndarray, rates: np.ndarray, columns: int) -> np.ndarray:
    """The highest learning rate in each column, so that no peak is lost; between two epochs, of both."""
    edges = np.linspace(0, epochs[-1], columns + 1)
    found = np.interp((edges[:-1] + edges[1:]) / 2, epochs, rates)
    places = np.minimum(np.searchsorted(edges, epochs, side="right") - 1, columns - 1)
    if len(epochs) > columns:
        found[:] = 0
    np.maximum.at(found, places, rates)
    return found


def _lowest(lines: Sequence[np.ndarray], top: float) -> float:
    positive = np.concatenate(lines)
    positive = positive[positive > 0]
    return max(float(positive.min(initial=top)), 1e-6 * top) / 2


def _height(line: np.ndarray, low: float, top: float, log: bool) -> np.ndarray:
    """From 0 to 1."""
    if not log:
        return line / top
    return np.log(np.maximum(line, low) / low) / np.log(top / low)


def _area(heights: np.ndarray, unicode: bool) -> list[str]:
    eighths = np.ceil(heights * _HEIGHT * 8 - 1e-9).astype(int)
    blocks = BLOCKS if unicode else "     ####"
    return [
        "".join(blocks[min(max(eighth - 8 * below, 0), 8)] for eighth in eighths)
        for below in reversed(range(_HEIGHT))
    ]


def marks(lines: int) -> list[str]:
    """A letter for each of several lines."""
    return list(itertools.islice(itertools.cycle(string.ascii_letters), lines))


def _letters(heights: Sequence[np.ndarray]) -> list[str]:
    rows = [[" "] * len(heights[0]) for _ in range(_HEIGHT)]
    for mark, line in zip(marks(len(heights)), heights, strict=True):
        for column, height in enumerate(line):
            rows[_HEIGHT - 1 - round(height * (_HEIGHT - 1))][column] = mark
    return ["".join(row) for row in rows]


def _named(phases: Sequence[Phase], columns: int) -> str:
    """The names of the phases, each where it begins or right after the one before; those without room are left out."""
    text, free = [" "] * columns, 0
    for name, row in itertools.groupby(phases, lambda phase: phase.name):
        found = list(row)
        start, end = (round(t / phases[-1].end * columns) for t in (found[0].start, found[-1].end))
        at = max(start, free)
        if at + len(name) <= max(end, free + 1, len(name)) and at + len(name) <= columns:
            text[at : at + len(name)] = name
            free = at + len(name) + 1
    return "".join(text)


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows of text, the last column to the left and all others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.rjust, row[:-1], widths)) + "  " + row[-1] for row in rows)
