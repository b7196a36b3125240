"""The ways from one learning rate to another, by name."""

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NewType, TypeAlias

from .. import _checks
from .._types import Function, Number, Value
from . import host
from .arithmetic import Arithmetic

Shape: TypeAlias = str | tuple[str, Number] | Function
"""A name, a name with its number, or a function of the fraction of a fall that is done."""

if not TYPE_CHECKING:
    Shape = NewType("Shape", Shape)

Height: TypeAlias = Callable[[Arithmetic, Value, Value, Any], Value]
"""How high a way is, from 0 to 1: by the fractions of it from the low end and from the high end, and a number."""


def half_cosine(x: Arithmetic, up: Value) -> Value:
    """``(1 - cos(pi * up)) / 2``, at most 8 * 2**-53 off.

    As the square of a sine it keeps its relative accuracy down to 0, where ``1 - cos`` cancels.

    >>> import lrax
    >>> class Mine(lrax.Formula):
    ...     def raw(self, t, base, x):
    ...         return base * lrax.formulas.half_cosine(x, (8 - x.minimum(t, 8)) / 8)
    >>> print(lrax.LRScheduler(1.0, formula=Mine())([0, 4, 8]))
    [1.  0.5 0. ]
    """
    sine = x.quarter_sine(up)
    return sine * sine


def _power(x: Arithmetic, up: Value, down: Value, exponent: Value) -> Value:
    if isinstance(exponent, (int, float)) and exponent >= 1:
        return x.power(up, exponent)
    # At 0 its derivative may be infinite, which a gradient would see even where another branch is taken.
    begun = up > 0
    return x.where(begun, x.power(x.where(begun, up, 1.0), exponent), 0.0)


def _one_minus_sqrt(x: Arithmetic, up: Value, down: Value, _: None) -> Value:
    # The least is nothing beside 1, and keeps gradients from the infinite slope at 0.
    return up / (1 + x.sqrt(x.maximum(down, 1e-37)))


def _exponential(x: Arithmetic, up: Value, down: Value, ratio: Value) -> Value:
    # (r**p - r) / (1 - r) = (r**-q - 1) / (1 / r - 1), where q = 1 - p
    log = x.log(ratio)
    return x.expm1(-up * log) / x.expm1(-log)


def _tanh(x: Arithmetic, up: Value, down: Value, steepness: Value) -> Value:
    # (1 - tanh(a * (2 * p - 1)) / tanh(a)) / 2 without its cancellation
    edge = x.expm1(-4 * steepness * up) / x.expm1(-2 * steepness)
    return edge / (1 + x.exp(2 * steepness * (down - up)))


def _log(x: Arithmetic, up: Value, down: Value, _: None) -> Value:
    # 1 - log(1 + p * (e - 1)) = -log(1 - q * (1 - 1 / e))
    return -x.log1p(up * math.expm1(-1))


_SHAPES: dict[str, Height] = {
    "1-sqrt": _one_minus_sqrt,
    "square": lambda x, up, down, _: up * (1 + down),
    "power": _power,
    "exponential": _exponential,
    "log": _log,
    "rex": lambda x, up, down, _: 2 * up / (1 + up),
    "tanh": _tanh,
    "constant": lambda x, up, down, _: x.where(up > 0, 1.0, 0.0),
}
"""Heights that do not depend on the two learning rates; :func:`ramp` knows those of "linear" and "cosine" itself."""

_HARMONIC = "harmonic"
_NUMBERS = {"power": 2.0, "exponential": 0.5, "tanh": 3.0}
NAMES = ("linear", "cosine", *_SHAPES, _HARMONIC)

FINITE = ("linear", "cosine", "1-sqrt")
"""Shapes that are finite outside of the way, too."""

_LANDING = (*FINITE, "square", "power", "exponential", "log", "rex")
"""Shapes that are exactly 0 where nothing is left of a fall, however long ago."""

_OF_BOTH = ("1-sqrt", "square", "tanh")
"""Shapes that need the fraction from the high end, too."""


def _named(shape: Any) -> tuple[Any, Number | None]:
    """Name and number."""
    return shape if isinstance(shape, tuple) else (shape, _NUMBERS.get(shape))


def lands_by_itself(shape: Shape) -> bool:
    """Whether a fall along it ends without a comparison."""
    return _named(shape)[0] in _LANDING


def height(
    x: Arithmetic, shape: Shape, up: Value, down: Value, span: Value, low: Value, high: Value
) -> Value:
    """How much of the height from `low` to `high` a way has, `up` from its low end and `down` from its high end."""
    if callable(shape):
        return x.call(shape, down / span)
    name, number = _named(shape)
    if name != _HARMONIC:
        return _SHAPES[name](x, up / span, down / span if name in _OF_BOTH else up, number)
    up, down = up / span, down / span
    weight = down * high + up * low
    return up * low / x.where(weight > 0, weight, 1.0)


SOON = 2.0**-20
"""How much later a change is that comes right after an epoch: no less, so that sums of epochs keep it."""


def changes_of(shape: Shape, start: Number, length: Number, rises: bool) -> Iterator[Number]:
    """Where a way begins to be another function: its start, its end, and a jump of its own between them."""
    yield start
    if shape == "constant" and rises and length > 0:  # the mirror of a fall that jumps at its end
        yield start + SOON
    yield start + length


def checked(name: str, value: Any) -> Shape:
    """A shape out of what a user has passed."""
    if callable(value) and not (isinstance(value, type) or hasattr(type(value), "get_lr")):
        return _checked_function(name, value)
    if isinstance(value, str) and value in NAMES:
        return value
    if isinstance(value, (tuple, list)) and len(value) == 2 and value[0] in [*_NUMBERS]:
        return value[0], _checked_number(f"{name}[1]", *value)
    names = ", ".join(map(repr, NAMES))
    kind = ValueError if isinstance(value, (str, tuple, list)) else TypeError
    raise kind(
        f"{name} must be one of {names}, a pair like ('power', 3.0) (of {', '.join(_NUMBERS)}), or a function of the "
        f"fraction that falls from 1 to 0, got {value!r:.80}."
    )


def _checked_number(name: str, shape: str, value: Any) -> Number:
    if shape == "tanh":
        return _checks.real(name, value, low=1e-6, high=300)
    number = _checks.positive(name, value)
    if shape == "exponential" and not _checks.is_traced(number) and number == 1:
        raise ValueError(
            f"{name} must not be 1 for 'exponential', whose limit there is a straight line, got {value!r}. Use 'linear'."
        )
    return number


def _checked_function(name: str, function: Function) -> Function:
    first, last = host.call(function, 0.0), host.call(function, 1.0)
    if not (abs(first - 1) < 1e-6 and abs(last) < 1e-6):
        remedy = "A rise is its mirror in time: pass lambda p: f(1 - p)."
        if first > last:
            remedy = "Where it ends is an argument of its own, as eta_min; scale the function."
        raise ValueError(
            f"{name} must be a function that falls from 1 to 0 while the fraction that is done grows from 0 to 1, got "
            f"{function!r:.80}, which goes from {first:g} to {last:g}. {remedy}"
        )
    return function


def check_ends(name: str, shape: Shape, **rates: Number) -> None:
    """Raise ValueError where a shape cannot lead to or from one of `rates`."""
    for rate, value in rates.items():
        if shape == _HARMONIC and not _checks.is_traced(value) and value == 0:
            raise ValueError(
                f"{rate} must be > 0 with {name}='harmonic', which runs between two learning rates above 0, got {value}. "
                "Choose another shape."
            )
