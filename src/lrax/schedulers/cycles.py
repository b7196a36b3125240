"""Cycles whose length grows by a fractional factor: where each begins, exactly.

Their starts are no whole numbers and need more digits than float64 has, so they are cumulated in
units of 2**-128 epochs and kept as whole epochs and fractions of one.
"""

import functools
import math
from fractions import Fraction
from typing import NamedTuple

_UNITS = 128
_ONE = 1 << _UNITS
_END = 2**31 << _UNITS
MOST = 10_000


class Cycles(NamedTuple):
    """Tables with one entry for each cycle that begins before the clock ends."""

    exact: tuple[Fraction, ...]
    """The start."""
    firsts: tuple[int, ...]
    """The first whole epoch."""
    gaps: tuple[float, ...]
    """The fraction of an epoch from the start to that one."""
    lasts: tuple[int, ...]
    """The last whole epoch that is not after the end."""
    rests: tuple[float, ...]
    """The fraction of an epoch from that one to the end."""
    lengths: tuple[float, ...]
    restarts: tuple[float, ...]
    """The starts but for the first: of each the smallest float64 that is not before it."""

    def epoch(self, cycle: int, since: float) -> int | None:
        """The first whole epoch of a cycle that is so many epochs after its start; None if it has none."""
        # What is read from a scheduler at a whole epoch has been rounded.
        later = max(math.ceil(since - self.gaps[cycle] - 1e-6), 0)
        epoch = self.firsts[cycle] + later
        last = self.lasts[cycle] - (self.rests[cycle] == 0)
        return epoch if epoch <= last else None


@functools.lru_cache(maxsize=64)
def growing(length: int, factor: float, most: int | None) -> Cycles | None:
    """Cycles of lengths ``length * factor**i`` (of which only the first `most` count); None if there are too many."""
    numerator, denominator = factor.as_integer_ratio()
    start, size, rows = 0, length << _UNITS, []
    while start < _END and (most is None or len(rows) <= most):
        if len(rows) == MOST:
            return None
        end = start + size
        first = -(-start >> _UNITS)
        rows.append(
            (
                _not_before(start),
                Fraction(start, _ONE),
                first,
                ((first << _UNITS) - start) / _ONE,
                end >> _UNITS,
                (end & (_ONE - 1)) / _ONE,
                size / _ONE,
            )
        )
        start, size = end, size * numerator // denominator
    starts, *others = zip(*rows, strict=True)
    return Cycles(*others, restarts=starts[1:])


def _not_before(start: int) -> float:
    nearest = start / _ONE
    return (
        nearest if Fraction(nearest) >= Fraction(start, _ONE) else math.nextafter(nearest, math.inf)
    )
