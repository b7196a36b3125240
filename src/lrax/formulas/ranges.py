"""Between which numbers a learning rate stays from some epoch on, and so from when on it is constant."""

import bisect
import itertools
import math
from collections.abc import Callable, Iterable, Sequence

from .._types import Number
from . import host
from .formula import Formula, Range
from .pieces import ratio, scaled

NEVER = 2**53
"""An epoch after all others; from here on not every whole number is a float64."""

FOREVER = 1e100
"""An epoch after all that a member is asked for, however time is stretched around it."""

ANY: Range = (0.0, math.inf)


def settled(formula: Formula, base: Number) -> int | None:
    """A whole epoch from which a formula is known to be constant; None if it goes on for ever.

    It is the first one up to what formulas leave open, and up to rounding: see :func:`end_of`.
    """

    def is_constant(t: int) -> bool:
        low, high = formula.range_from(base, t)
        return low == high

    if not is_constant(NEVER):
        return None
    # By doubling: mostly it is over long before the clock is.
    late = next(t for t in (2**n for n in itertools.count()) if is_constant(t))
    return bisect.bisect_left(range(late), True, lo=late // 2, key=is_constant)


def widened(low: Number, high: Number, moves: bool) -> Range:
    """A range that is a single number only for what does not move, even by less than float64 can tell."""
    if moves and low == high:
        return math.nextafter(low, 0), math.nextafter(high, math.inf)
    return low, high


def hull(*ranges: Range) -> Range:
    """The range of what may be in any of some ranges."""
    lows, highs = zip(*ranges, strict=True)
    return min(lows), max(highs)


def between(rates: Iterable[Number]) -> Range:
    return hull(*((rate, rate) for rate in rates))


def range_of(
    combine: Callable[[Sequence[Number]], Number], ranges: Sequence[Range], computes: bool = True
) -> Range:
    """The range of a sum or product, or of another function that grows with each of its arguments.

    One that `computes` rounds, and something small that moves may vanish in what it is added to.
    """
    low, high = map(combine, zip(*ranges, strict=True))
    nothing = high == 0 and (0, 0) in ranges  # a product with 0
    return widened(low, high, computes and not nothing and any(a < b for a, b in ranges))


def scaled_range(found: Range, base: Number, own: Number) -> Range:
    """The range of :func:`scaled`."""
    low, high = (scaled(host, rate, base, own) for rate in found)
    return widened(low, high, moves=found[0] < found[1] and ratio(host, base, own) > 0)


class Turning(Formula):
    """A formula that between its finitely many changes only rises or only falls.

    What it has of a user's functions may do as it likes.
    """

    def range_from(self, base: Number, t: Number) -> Range:
        if self.asks_users:
            return super().range_from(base, t)
        later = [epoch for epoch in self.changes(base) if epoch > t]
        before = [math.nextafter(epoch, 0) for epoch in later]  # where it may jump from
        return between(self.raw(epoch, base, host) for epoch in (t, *before, *later))


class Monotone(Formula):
    """A formula that only rises or only falls: to its end, or nearer and nearer to a limit."""

    def range_from(self, base: Number, t: Number) -> Range:
        end = self.constant_from(base)
        last = FOREVER if end is None else max(t, end)
        rates = between(self.raw(epoch, base, host) for epoch in (t, last))
        return widened(*rates, moves=end is None)
