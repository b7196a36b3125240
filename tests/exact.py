"""The oracle: learning rates from formulas that are written out once more, in 50-digit arithmetic.

The formula of each scheduler stands in its entry of the registry, written with the functions here.
Nothing is shared with the library. Hyper-parameters are what a user passes, Python ints and floats
taken as the numbers they are (0.1 is 0.1000000000000000055...). Epochs are ints, or Fractions for
fractional epochs, so that boundaries are decided by exact arithmetic. Textbook forms are enough:
``1 + cos(pi * t / T)`` loses 20 of the 50 digits where it cancels most.
"""

import dataclasses
import functools
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np

import lrax

mp = mpmath.MPContext()
mp.dps = 50

SMALLEST = 2.0**-126  # the smallest normal float32; learning rates below it are zero
LARGEST = float(np.finfo(np.float32).max)
LAST_EPOCH = 2**31 - 1


@dataclasses.dataclass(frozen=True)
class Spec:
    """A scheduler by name and arguments; the members of a composite are Specs, too."""

    name: str
    kwargs: dict[str, Any]

    def build(self, **changed: Any) -> Any:
        kwargs = {k: built(value) for k, value in {**self.kwargs, **changed}.items()}
        return getattr(lrax, self.name)(**kwargs)

    @property
    def members(self) -> list["Spec"]:
        """Those that it is made of; none of a simple one."""
        found = [*self.kwargs.get("schedulers", ()), self.kwargs.get("scheduler")]
        return [member for member in found if isinstance(member, Spec)]

    def changed(self, **kwargs: Any) -> "Spec":
        return Spec(self.name, {**self.kwargs, **kwargs})

    def __str__(self) -> str:
        def shown(value: Any) -> str:
            if isinstance(value, list):
                inner = [shown(v) for v in value[:4]] + (["..."] if len(value) > 4 else [])
                return f"[{', '.join(inner)}]"
            return getattr(value, "__name__", None) or str(value)

        return f"{self.name}({', '.join(f'{k}={shown(v)}' for k, v in self.kwargs.items())})"

    __repr__ = __str__


def built(value: Any) -> Any:
    """An argument, with the members in it constructed."""
    if isinstance(value, list):
        return [built(entry) for entry in value]
    return value.build() if isinstance(value, Spec) else value


def spec(name: str, **kwargs: Any) -> Spec:
    return Spec(name, kwargs)


# --- Arithmetic ---------------------------------------------------------------------------------


def number(value: Any) -> Any:
    if isinstance(value, Fraction):
        return mp.mpf(value.numerator) / value.denominator
    return mp.mpf(value)


def cosine(start: Any, end: Any, fraction: Any) -> Any:
    return end + (start - end) * (1 + mp.cos(mp.pi * fraction)) / 2


def line(start: Any, end: Any, fraction: Any) -> Any:
    return start + (end - start) * fraction


def between(shape: Callable, start: Any, end: Any, done: Any, length: Any) -> Any:
    """From `start` to `end` in `length` epochs; in no epochs at all, `end` at once."""
    start, end, done, length = map(number, (start, end, done, length))
    return end if done >= length else shape(start, end, done / length)


def fall(shape: Any, p: Any, high: Any, low: Any) -> Any:
    """The share of the height that is left when the fraction `p` of a fall is done: its formula, written out."""
    if callable(shape):
        return shape(p)
    name, k = shape if isinstance(shape, tuple) else (shape, None)
    k = mp.mpf(k if k is not None else {"exponential": 0.5, "tanh": 3}.get(name, 2))
    match name:
        case "linear":
            return 1 - p
        case "cosine":
            return (1 + mp.cos(mp.pi * p)) / 2
        case "1-sqrt":
            return 1 - mp.sqrt(p)
        case "square":
            return 1 - p**2
        case "power":
            return (1 - p) ** k
        case "exponential":
            return (k**p - k) / (1 - k)
        case "log":
            return 1 - mp.log(1 + p * (mp.e - 1))
        case "rex":
            return (1 - p) / (1 - p / 2)
        case "tanh":
            return (1 - mp.tanh(k * (2 * p - 1)) / mp.tanh(k)) / 2
        case "constant":
            return mp.mpf(p < 1)
        case "harmonic":
            return (1 / (p / low + (1 - p) / high) - low) / (high - low)
    raise LookupError(name)


def way(shape: Any, start: Any, end: Any, t: Any, length: Any) -> Any:
    """From `start` to `end` along a shape; in no epochs at all, `end` at once."""
    start, end = number(start), number(end)
    if t >= length or start == end:
        return end
    p, high, low = number(t) / length, max(start, end), min(start, end)
    left = fall(shape, p if start > end else 1 - p, high, low)
    return low + (high - low) * left


def repeated(last: int, size: int, *within: int) -> set[int]:
    """Of boundaries every `size` epochs, and `within` each period: the first ones, some, and the last ones."""
    cycles = {0, 1, 2, 3, 40, 99, 12345, last // size - 1, last // size}
    return {c * size + w for c in cycles for w in (0, *within)}


def grown(last: int, length: int, factor: int) -> set[int]:
    """The starts of periods that are each `factor` times as long as the one before, the first ones of many."""
    found, start = set(), 0
    while start <= last and len(found) < 64:
        found.add(start)
        start, length = start + length, length * factor
    return found


# --- What the registry knows ------------------------------------------------------------------


def entry_of(spec: Spec) -> Any:
    import registry  # whose entries are written with the functions above

    return registry.ENTRIES[spec.name]


def value(spec: Spec, t: int | Fraction) -> Any:
    """The learning rate at `t`, to 50 digits, before any rounding."""
    return entry_of(spec).exact(t, **spec.kwargs)


def base(spec: Spec) -> Any:
    """The base learning rate, which a chain divides by: of a composite, that of its first member, or of all combined."""
    entry = entry_of(spec)
    found = spec.kwargs[entry.base]
    if entry.combined is not None:
        return functools.reduce(
            entry.combined, [base(m) if isinstance(m, Spec) else number(m) for m in found]
        )
    first = found[0] if isinstance(found, list) else found
    return base(first) if isinstance(first, Spec) else number(first)


def boundaries(spec: Spec, last: int = LAST_EPOCH) -> list[int]:
    """Epochs up to `last` at which something happens; of many equal ones, some."""
    return sorted(b for b in entry_of(spec).boundaries(spec.kwargs, last) if 0 <= b <= last)


def end(spec: Spec) -> tuple[int, float] | None:
    """The epoch at which the last value is reached, and that value as a Python float; or None."""
    find = entry_of(spec).end
    return None if find is None else find(spec.kwargs)


def values(spec: Spec, epochs: Any) -> np.ndarray:
    """What lrax must return at `epochs`, but for the rounding to float32: in float64.

    Rounding 50 digits to float64 changes an error measured in float32 ulp by a billionth.
    """

    def limited(t: Any) -> float:
        exact = value(spec, Fraction(t) if isinstance(t, float) and t % 1 else int(t))
        return 0.0 if exact < SMALLEST else LARGEST if exact > LARGEST else float(exact)

    return np.array([limited(t) for t in np.asarray(epochs).tolist()], np.float64)


# --- Measuring --------------------------------------------------------------------------------

BOUND = 0.5001
"""In ulp: half of one for the rounding to float32, a ten-thousandth for the float64 arithmetic before it."""


def ulp(exact: Any) -> Any:
    """The distance between the float32 numbers around a value."""
    return np.ldexp(1.0, np.maximum(np.frexp(exact)[1] - 24, -149))


def ulps(got: Any, exact: Any) -> np.ndarray:
    """Distance in float32 ulp of the exact value; zero is met exactly or missed by infinity."""
    got, exact = np.asarray(got, np.float64), np.asarray(exact, np.float64)
    assert got.shape == exact.shape, (got.shape, exact.shape)
    assert got.size, "nothing to compare"
    error = np.where(exact == 0, np.where(got == 0, 0, np.inf), np.abs(got - exact) / ulp(exact))
    return np.where(np.isfinite(got), error, np.inf)


def ulps_apart(a: Any, b: Any) -> np.ndarray:
    """How many float32 numbers two arrays of non-negative float32 are apart."""
    a, b = np.asarray(a), np.asarray(b)
    assert a.dtype == b.dtype == np.float32, (a.dtype, b.dtype)
    assert a.shape == b.shape, (a.shape, b.shape)
    # Subnormals do not occur: the neighbour of zero is the smallest normal number.
    bits = [np.where(v > 0, v.view(np.int32).astype(np.int64) - (1 << 23) + 1, 0) for v in (a, b)]
    return np.abs(bits[0] - bits[1])
