"""Where a schedule changes, and what it does between."""

import heapq
import itertools
import math
from collections.abc import Iterable, Iterator

import numpy as np

from .._types import Number
from .evaluate import evaluate_host, evaluate_vector
from .formula import Formula, holds_users
from .schedule import Member

_LAST_EPOCH = 2**31 - 1
_MOST = 1000
"""Of the boundaries of a schedule that goes on for ever."""

Piece = tuple[Formula, Number]
"""A formula with its base learning rate."""


def way(start: Number, end: Number) -> str:
    """The name of a way from one learning rate to another."""
    return "warmup" if end > start else "decay"


def merged(changes: Iterable[Iterator[Number]]) -> Iterator[Number]:
    """The epochs of several formulas at the same time, in order, each once."""
    return (epoch for epoch, _ in itertools.groupby(heapq.merge(*changes)))


def last_end(members: Iterable[Member]) -> Number | None:
    """From when on none of them changes; None if one goes on for ever."""
    ends = [member.constant_from(member.base) for member in members]
    return None if None in ends else max(ends, default=0)  # pyright: ignore[reportArgumentType]


def phase_of_first(members: Iterable[Member], t: Number) -> str:
    """The phase of the first that is not at rest."""
    phases = (member.phase_at(t, member.base) for member in members)
    return next((phase for phase in phases if phase != "stable"), "stable")


def end_of(piece: Piece, kind: type) -> int | None:
    """The first whole epoch from which a formula has one learning rate; None if there is none.

    From when its parts are constant on, it is looked for in earlier and earlier epochs: two ends of
    a way may be the same, and a bound may hold before. After a million of them the search ends.
    """
    formula, base = piece
    end = formula.constant_from(base)
    if end is None or end > 2**53:
        return None
    end = math.ceil(end)
    last = evaluate_host((formula,), (base,), end, kind)
    budget = 2**14 if holds_users(formula) else 2**20
    size = 16
    while end and budget > 0:
        epochs = np.arange(max(end - size, 0), end)
        moves = evaluate_vector((formula,), (base,), epochs, kind)[:, 0] != last
        if moves.any():
            return int(epochs[moves][-1]) + 1
        end, budget, size = int(epochs[0]), budget - size, 16 * size
    return end


def boundaries_of(piece: Piece, kind: type) -> tuple[int, ...]:
    """The whole epochs from which a formula is another function, its end included; of very many the first ones."""
    formula, base = piece
    end = end_of(piece, kind)
    found = _whole(formula.changes(base), _LAST_EPOCH if end is None else end)
    return tuple(itertools.islice(found, _MOST))


def _whole(epochs: Iterator[Number], last: int) -> Iterator[int]:
    """The first whole epochs at or after `epochs`, each once, but 0, up to the last."""
    whole = itertools.takewhile(lambda epoch: epoch <= last, map(math.ceil, epochs))
    return (epoch for epoch, _ in itertools.groupby(whole) if epoch > 0)
