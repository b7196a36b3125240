"""The few accurate pieces that every formula is made of.

Error bounds are relative, in float64 (2**-53 = 1.1e-16); float32 needs 6e-8.
"""

import math
import sys

import jax
import numpy as np

from .._checks import is_traced
from .._types import Number, Value
from .arithmetic import Arithmetic
from .shapes import FINITE, Shape, half_cosine, height, lands_by_itself

LEAST, MOST = sys.float_info.min, sys.float_info.max
"""Of float64: the smallest number with which compiled programs compute, and the largest that is finite."""

_NO_RECIPROCAL = 1 / LEAST
"""What is larger has a reciprocal that is 0 in compiled programs."""


def ramp(
    x: Arithmetic,
    start: Value,
    end: Value,
    done: Value,
    length: Value,
    shape: Shape = "linear",
    left: Value | None = None,
    after: Value | None = None,
) -> Value:
    """From `start` (``done == 0``) to `end` (``done >= length``) along a shape, some 20 * 2**-53 off.

    Built up from the smaller of the two values, so nothing cancels; at the end a comparison picks
    `end` itself. A ramp of length 0 is at its end at once. A rise is the mirror in time of a fall.
    What is `left` of the length may be known to more digits than the difference of the two has. What
    follows may go on from there: `after`, in place of `end`.

    >>> import lrax
    >>> class Mine(lrax.Formula):
    ...     def raw(self, t, base, x):
    ...         return lrax.formulas.ramp(x, 0.0, base, t, 4)
    >>> print(lrax.LRScheduler(1.0, formula=Mine())([0, 1, 4, 9]))
    [0.   0.25 1.   1.  ]
    """
    after = end if after is None else after
    running = done < length if left is None else left > 0
    if running is False:  # and so no array or tracer
        return after
    span = length if (some := length > 0) is True else x.where(some, length, 1)
    known = running is True  # on the host
    falls = start > end if known else _falls(start, end)
    lands = not known and falls is some is True and after is end and lands_by_itself(shape)
    if left is None:
        if shape not in FINITE:
            done = x.maximum(done, 0) if lands else x.minimum(x.maximum(done, 0), span)
        left = span - done
    if lands:
        left = x.maximum(left, 0)
    if falls is True:
        low, high, up, down = end, start, left, done
    elif falls is False:
        low, high, up, down = start, end, done, left
    elif shape == "linear" and not (isinstance(start, float) and isinstance(end, float)):
        # Two positive terms: a shorter program where it is not known which way it goes.
        return x.where(running, start * (left / span) + end * (done / span), after)
    else:
        pairs = (end, start), (start, end), (left, done), (done, left)
        low, high, up, down = (x.where(falls, a, b) for a, b in pairs)
    if shape in ("linear", "cosine"):
        share = up / span if shape == "linear" else half_cosine(x, up / span)
    else:
        share = height(x, shape, up, down, span, low, high)
    lr = high * share if not known and _is_zero(low) else low + (high - low) * share
    return lr if known or lands else x.where(running, lr, after)


def _falls(start: Value, end: Value) -> Value:
    """Whether it goes down: known where one of them is 0, since none is below."""
    return _is_zero(end) or (not _is_zero(start) and start > end)


def _is_zero(value: Value) -> bool:
    """Whether it is known to be 0, so that it need not be added."""
    return isinstance(value, (int, float)) and value == 0


def powered(
    x: Arithmetic, start: Value, end: Value, kept: Value, lost: Value, power: Value
) -> Value:
    """``end + (start - end) * kept ** power`` for two fractions of which ``kept + lost == 1``.

    ``(6 + power) * 2**-53`` off, whichever is larger: nothing cancels. Where `kept` is 0 it is `end`
    itself, and no gradient sees the infinite slope that a root has there.

    >>> import lrax
    >>> class Mine(lrax.Formula):
    ...     def raw(self, t, base, x):
    ...         left = (8 - x.minimum(t, 8)) / 8
    ...         return lrax.formulas.powered(x, base, 0.0, left, 1 - left, 2.0)
    >>> print(lrax.LRScheduler(1.0, formula=Mine())([0, 4, 8, 9]))
    [1.   0.25 0.   0.  ]
    """
    some = kept > 0
    known = kept if some is True else x.where(some, kept, 1.0)
    falls = start >= end
    if falls is True or (not isinstance(falls, (bool, jax.Array)) and np.all(falls)):
        lr = (start - end) * x.power(known, power)
        lr = lr if _is_zero(end) else end + lr
        return lr if some is True else x.where(some, lr, end)
    lr = start * x.power(known, power)
    if not _is_zero(end):
        # Of the two fractions the smaller one has all the digits.
        log = x.where(lost < 0.5, x.log1p(-x.minimum(lost, 0.5)), x.log(known))
        lr = lr - end * x.expm1(power * log)
    return lr if some is True else x.where(some, lr, end)


def growth(x: Arithmetic, gamma: Value, exponent: Value) -> Value:
    """``gamma ** exponent``, at most 2 * 2**-53 off, and finite.

    A float64 power is accurate for every exponent up to 2**31 (in float32 0.9999999 ** 1e9 is 100 %
    off). Growth stops at e**600, far above any float32, since infinity would turn gradients to NaN.

    >>> import lrax
    >>> class Mine(lrax.Formula):
    ...     def raw(self, t, base, x):
    ...         return base * lrax.formulas.growth(x, 0.5, t)
    >>> print(lrax.LRScheduler(1.0, formula=Mine())([0, 1, 2]))
    [1.   0.5  0.25]
    """
    if isinstance(gamma, float):
        if LEAST <= gamma < 1:  # as mostly
            return x.power(gamma, exponent)
        if gamma <= 1:
            return 1.0 if gamma == 1 else x.power(math.sqrt(gamma), 2 * exponent)
    return x.power(gamma, x.minimum(exponent, 600 / x.maximum(x.log(gamma), 1e-9)))


def check_scalable(base: Number, own: Number) -> None:
    """Raise ValueError where :func:`ratio` would leave a group's base learning rate unused."""
    if not (is_traced(base) or is_traced(own)) and own == 0 != base:
        raise ValueError(
            "it scales the schedule by lr / base_lr, and base_lr is 0 here. "
            "To begin at 0, use a factor: ConstantLR(base_lr=1e-3, factor=0, ...), or a warmup."
        )


def scaled(x: Arithmetic, rate: Value, base: Value, own: Value) -> Value:
    """A learning rate at base learning rate `own`, for a group with `base`."""
    return rate if base is own else x.minimum(rate, MOST) * ratio(x, base, own)


def ratio(x: Arithmetic, base: Value, own: Value) -> Value:
    """``base / own``, finite: how far a group's base learning rate scales a schedule; 1 where `own` is 0.

    >>> import lrax
    >>> class Mine(lrax.Formula):
    ...     def raw(self, t, base, x):
    ...         return 0.5 * lrax.formulas.ratio(x, base, 1.0)
    >>> print(lrax.LRScheduler([1.0, 0.1], formula=Mine()).lr_at(0))
    [0.5  0.05]
    """
    if base is own:  # as mostly
        return 1.0
    if isinstance(own, float) and own > 0:
        if own > _NO_RECIPROCAL:
            # XLA multiplies with the reciprocal, and joins a product to that; not across a comparison.
            base, own = x.maximum(base / 4, 0.0), own / 4
        return x.minimum(base / own, MOST)
    known = own > 0
    return x.where(known, x.minimum(base / x.where(known, own, 1), MOST), 1.0)
