"""The few accurate pieces that every formula is made of.

Error bounds are relative, in float64 (2**-53 = 1.1e-16); float32 needs 6e-8.
"""

import math
import sys
from collections.abc import Callable
from typing import TypeAlias

from .._checks import is_traced
from .._types import Number, Value
from .arithmetic import Arithmetic

LEAST, MOST = sys.float_info.min, sys.float_info.max
"""Of float64: the smallest number with which compiled programs compute, and the largest that is finite."""

_NO_RECIPROCAL = 1 / LEAST
"""What is larger has a reciprocal that is 0 in compiled programs."""

Shape: TypeAlias = Callable[[Arithmetic, Value], Value]
"""From the fraction of a way that is done, 0 to 1, to the fraction of the height, 0 to 1."""


def straight(x: Arithmetic, fraction: Value) -> Value:
    """A straight line from 0 to 1. Exact."""
    return fraction


def half_cosine(x: Arithmetic, fraction: Value) -> Value:
    """``(1 - cos(pi * fraction)) / 2``, at most 8 * 2**-53 off.

    As the square of a sine it keeps its relative accuracy down to 0, where ``1 - cos`` cancels.
    """
    sine = x.quarter_sine(fraction)
    return sine * sine


def ramp(
    x: Arithmetic, start: Value, end: Value, done: Value, length: Value, shape: Shape
) -> Value:
    """From `start` (``done == 0``) to `end` (``done >= length``), at most 12 * 2**-53 off.

    Built up from the smaller of the two values, so nothing cancels; at the end a comparison picks
    `end` itself. A ramp of length 0 is at its end at once.
    """
    span = x.where(length > 0, length, 1)
    falls = start > end
    low = x.where(falls, end, start)
    height = x.where(falls, start - end, end - start)
    fraction = x.where(falls, length - done, done) / span
    return x.where(done < length, low + height * shape(x, fraction), end)


def growth(x: Arithmetic, gamma: Value, exponent: Value) -> Value:
    """``gamma ** exponent``, at most 2 * 2**-53 off, and finite.

    A float64 power is accurate for every exponent up to 2**31 (in float32 0.9999999 ** 1e9 is 100 %
    off). Growth stops at e**600, far above any float32, since infinity would turn gradients to NaN.
    """
    if isinstance(gamma, float) and gamma <= 1:
        if gamma < LEAST:
            gamma, exponent = math.sqrt(gamma), 2 * exponent
        return x.power(gamma, exponent)
    return x.power(gamma, x.minimum(exponent, 600 / x.maximum(x.log(gamma), 1e-9)))


def remainder_power(x: Arithmetic, done: Value, length: Value, power: Value) -> Value:
    """``(1 - done / length) ** power`` from whole epochs; 0 from `length` on. ``(2 + power) * 2**-53`` off.

    The inner `where` keeps the base of the power positive: below zero it would be NaN, and at zero
    its derivative is infinite, which a gradient would see even in the branch that is not taken.
    """
    left = length - done
    running = left > 0
    return x.where(running, x.power(x.where(running, left, 1) / length, power), 0.0)


def check_scalable(base: Number, own: Number) -> None:
    """Raise ValueError where :func:`ratio` would leave a group's base learning rate unused."""
    if not (is_traced(base) or is_traced(own)) and own == 0 != base:
        raise ValueError(
            "it scales the schedule by lr / base_lr, and base_lr is 0 here. "
            "To begin at 0, use a factor: ConstantLR(base_lr=1e-3, factor=0, ...), or a warmup."
        )


def ratio(x: Arithmetic, base: Value, own: Value) -> Value:
    """``base / own``, finite: how far a group's base learning rate scales a schedule; 1 where `own` is 0."""
    if base is own:  # as mostly
        return 1.0
    if isinstance(own, float) and own > 0:
        if own > _NO_RECIPROCAL:
            # XLA multiplies with the reciprocal, and joins a product to that; not across a comparison.
            base, own = x.maximum(base / 4, 0.0), own / 4
        return x.minimum(base / own, MOST)
    known = own > 0
    return x.where(known, x.minimum(base / x.where(known, own, 1), MOST), 1.0)
