"""Where a schedule changes, and what it does between."""

import heapq
import itertools
import math
from collections.abc import Iterable, Iterator

from .._types import Number
from .evaluate import evaluate_host
from .formula import Formula
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
    """The first whole epoch from which a formula has one learning rate; None if there is none."""
    formula, base = piece
    end = formula.constant_from(base)
    if end is None:
        return None

    def rate(t: int) -> float:
        return evaluate_host((formula,), (base,), t, kind).item()

    end = math.ceil(end)
    last, marks = rate(end), [0, *_whole(formula.changes(base), end - 1)]
    for mark in reversed(marks):  # two ends of a way may be the same
        if any(rate(t) != last for t in {mark, (mark + end) // 2, max(end - 1, mark)}):
            break
        end = mark
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
