"""Where a schedule changes, and what it does between."""

import heapq
import itertools
import math
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from .._checks import LAST_EPOCH
from .._types import Number
from .evaluate import evaluate_host, evaluate_vector
from .formula import Formula, holds_users
from .ranges import settled
from .schedule import Member

MOST = 1000
"""Of the boundaries of a schedule that goes on for ever."""

Piece = tuple[Formula, Number]
"""A formula with its base learning rate."""


def way(start: Number, end: Number) -> str:
    """The name of a way from one learning rate to another."""
    return "warmup" if end > start else "decay"


def merged(changes: Iterable[Iterator[Number]]) -> Iterator[Number]:
    """The epochs of several formulas at the same time, in order, each once."""
    return (epoch for epoch, _ in itertools.groupby(heapq.merge(*changes)))


def phase_of_first(members: Iterable[Member], t: Number) -> str:
    """The phase of the first that is not at rest."""
    phases = (member.phase_at(t, member.base) for member in members)
    return next((phase for phase in phases if phase != "stable"), "stable")


def end_of(piece: Piece, kind: type) -> int | None:
    """The first whole epoch from which a formula has one learning rate; None if there is none.

    From when it is known to be constant, it is looked for in earlier epochs: two ends of a way may be
    the same, rates that differ may be one float32. The last million is looked at epoch by epoch, what
    is before it in samples; with functions of a user's, which are slow, some ten thousand of each.
    """
    formula, base = piece
    end = settled(formula, base)
    if end is None:
        return None
    if formula.learners():  # what they will have learned is not known
        return end
    last = evaluate_host((formula,), (base,), end, kind)

    def moving(epochs: np.ndarray) -> np.ndarray:
        rates = evaluate_vector((formula,), (base,), epochs, kind)[:, 0]
        return epochs[rates != last]

    near, samples = (2**14, 2**14) if holds_users(formula) else (2**20, 2**16)
    nearest, size = max(end - near, 0), 16
    while end > nearest:
        start = max(end - size, nearest)
        found = moving(np.arange(start, end))
        if found.size:
            return int(found[-1]) + 1
        end, size = start, 16 * size
    changes = itertools.takewhile(lambda epoch: epoch < end, formula.changes(base))
    marks = np.array([math.ceil(epoch) for epoch in itertools.islice(changes, samples)], np.int64)
    return _after_last(moving, end, np.concatenate([marks, marks - 1]), samples)


def _after_last(
    moving: Callable[[np.ndarray], np.ndarray], end: int, marks: np.ndarray, samples: int
) -> int:
    """The epoch after the last that moves before `end`, by samples and `marks`, and by samples of what is between two."""
    start = 0
    while end > start:
        grid = np.linspace(start, end - 1, samples).astype(np.int64)
        epochs = np.unique(np.clip(np.concatenate([grid, marks]), start, end - 1))
        found = moving(epochs)
        if not found.size:
            return start
        following = epochs[epochs > found[-1]]
        start, end = int(found[-1]) + 1, int(following[0]) if following.size else end
    return end


def boundaries_of(piece: Piece, kind: type) -> tuple[int, ...]:
    """The whole epochs from which a formula is another function, its end included; of very many the first ones."""
    formula, base = piece
    end = end_of(piece, kind)
    found = _whole(formula.changes(base), LAST_EPOCH if end is None else end)
    return tuple(itertools.islice(merged((found, iter([end] if end else []))), MOST))


def _whole(epochs: Iterator[Number], last: int) -> Iterator[int]:
    """The first whole epochs at or after `epochs`, each once, but 0, up to the last; of a million of them."""
    found = map(math.ceil, itertools.islice(epochs, 1_000_000))
    whole = itertools.takewhile(lambda epoch: epoch <= last, found)
    return (epoch for epoch, _ in itertools.groupby(whole) if epoch > 0)
