"""Argument checks: one place for all messages.

Every message names the argument, the requirement, the value received and, where it is not obvious,
the remedy. Tracers pass: what they hold is not known, and sweeps rely on it.
"""

import math
import numbers
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from ._names import NOT_NEEDED
from ._transfers import fetched
from ._types import Function, Number, Unchecked, Value

T = TypeVar("T")

LAST_EPOCH = 2**31 - 1
"""Where a clock stops, and every counter of 32 bits."""


def is_traced(value: Unchecked) -> bool:
    return isinstance(value, Tracer)


def refuse_traced(name: str, value: Unchecked) -> None:
    """Raise TypeError where a state dict would have to hold the number."""
    if is_traced(value):
        raise TypeError(
            f"{name} is traced, so its value is not known here. Take the state dict outside the transformation."
        )


def is_known(value: Unchecked) -> bool:
    """Whether this process can read it: it is not traced, and not spread over other hosts."""
    return not isinstance(value, jax.Array) or not (
        is_traced(value) or not value.is_fully_addressable
    )


def _shown(value: Unchecked) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _fail(
    kind: type[Exception], name: str, requirement: str, value: Unchecked, remedy: str = ""
) -> Exception:
    return kind(
        f"{name} must be {requirement}, got {_shown(value)}.{' ' + remedy if remedy else ''}"
    )


def holds_real_numbers(value: Unchecked) -> bool:
    """Whether it is an array or scalar, of NumPy or jax, of real numbers: no time spans, random keys, masked entries."""
    if not isinstance(value, (np.ndarray, np.generic, jax.Array)):
        return False
    real = any(jnp.issubdtype(value.dtype, kind) for kind in (np.floating, np.integer))
    return real and value.dtype.kind != "m" and not isinstance(value, np.ma.MaskedArray)


def host_number(value: Unchecked) -> Unchecked:
    """A Python number for a known real scalar of NumPy or jax; anything else as it is."""
    if is_traced(value) or not holds_real_numbers(value) or np.ndim(value):
        return value
    array = fetched(value)
    return int(array) if jnp.issubdtype(array.dtype, np.integer) else float(array)


def _scalar(name: str, requirement: str, value: Unchecked, remedy: str = "") -> Number:
    """A Python int or float (or tracer) from any kind of real scalar."""
    if is_traced(value):
        if value.shape != () or not holds_real_numbers(value):
            raise _fail(
                TypeError, name, requirement, value, "A traced value must be a real scalar."
            )
        return value
    value = host_number(value)
    if isinstance(value, (np.ndarray, np.generic, jax.Array)):
        raise _fail(TypeError, name, requirement, value)
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        kind = "a class" if isinstance(value, type) else type(value).__name__
        remedy = _instead(name, value, remedy)
        raise _fail(TypeError, name, f"{requirement} (not {kind})", value, remedy)
    try:
        return value if isinstance(value, int) else float(value)
    except OverflowError:  # a fraction
        return math.inf if value > 0 else -math.inf  # pyright: ignore[reportOperatorIssue]


_OF_GROUPS = ("lr", "weight_decay", "momentum", "beta1", "beta2", "betas", "eps", "grad_clip_value")


def _instead(name: str, value: Unchecked, remedy: str) -> str:
    """What to do who has passed that as a number; `remedy` is that for any number that is none of these."""
    kind, is_dict = type(value), isinstance(value, Mapping)
    entries = [*value.values()] if is_dict else []
    of_numbers = entries and all(isinstance(host_number(v), numbers.Real) for v in entries)
    if isinstance(value, type):
        return f"Construct it: {value.__name__}(...)."
    if has(value, "param_groups") or is_of_optax(value):
        return NOT_NEEDED["optimizer"]
    if of_numbers and (option := name.partition("[")[0]) in _OF_GROUPS:
        return f"What some weights have is an option of groups={{pattern: {{{option!r}: ...}}}}."
    if of_numbers:
        return f"Pass one number of it. {remedy}".rstrip()
    if is_dict or isinstance(value, Iterator) or _is_model(value):
        return "Weights are registered: optimizer.register_trainable_weights(model.states(brainstate.ParamState))."
    if kind.__name__ == "Quantity":
        return "Numbers of a schedule or an optimizer have no unit: strip it first."
    if kind.__module__.startswith("braintools."):
        return "It is one of braintools: import that class from lrax.optim."
    if hasattr(kind, "get_lr"):
        return "Pass a number here; combine schedulers with SequentialLR or ChainedScheduler."
    if callable(value):
        return "A function of the epoch becomes a scheduler as LambdaLR(1.0, function)."
    return ""


def has(value: Unchecked, name: str) -> bool:
    """``hasattr`` for whatever a user may pass: dicts of brainstate raise a KeyError."""
    try:
        return hasattr(value, name)
    except Exception:
        return False


def is_of_optax(value: Unchecked) -> bool:
    """Whether it is a transformation, or what optax takes for one."""
    return has(value, "init") and has(value, "update")


def _is_model(value: Unchecked) -> bool:
    return hasattr(type(value), "states") and not hasattr(type(value), "get_lr")


def _finite(number: float) -> bool:
    """Whether it is one that float64 can hold (``math.isfinite`` fails for a huge int)."""
    return -sys.float_info.max <= number <= sys.float_info.max


def real(
    name: str,
    value: Unchecked,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    open_low: bool = False,
) -> Number:
    """A finite real number in ``[low, high]``, or in ``(low, high]``.

    One below all normal float64 is 0, where that is allowed: no compiled program computes with it.
    """
    if high == math.inf:
        bound = (
            "a finite number"
            if low == -math.inf
            else f"a finite number {'>' if open_low else '>='} {low:g}"
        )
    else:
        bound = f"a number in {'(' if open_low else '['}{low:g}, {high:g}]"
    number = _scalar(name, bound, value)
    if isinstance(number, float) and 0 < number < sys.float_info.min and not open_low:
        number = 0.0
    if not is_traced(number) and not (
        _finite(number) and low <= number <= high and not (open_low and number == low)
    ):
        raise _fail(ValueError, name, bound, value)
    return number


def positive(name: str, value: Unchecked) -> Number:
    return real(name, value, low=0, open_low=True)


def non_negative(name: str, value: Unchecked) -> Number:
    return real(name, value, low=0)


def share(name: str, value: Unchecked) -> Number:
    """A number in [0, 1), as float32 has it."""
    number = non_negative(name, value)
    if not is_traced(number) and np.float32(min(number, 2.0)) >= 1:
        remedy = "As a float32 it is 1." if number < 1 else ""
        raise _fail(ValueError, name, "a number in [0, 1)", value, remedy)
    return number


def integer(
    name: str, value: Unchecked, *, low: int = 0, high: int = 2**53, remedy: str = ""
) -> Number:
    """A whole number in ``[low, high]``; ``1000.0`` is one, ``3.25`` is not."""
    requirement = f"a whole number >= {low}"
    number = _scalar(name, requirement, value, remedy)
    if is_traced(number):
        return number
    if isinstance(number, float):
        if not number.is_integer():
            rounding = "Round it first, for example with int()." if math.isfinite(number) else ""
            remedy = remedy or rounding
            raise _fail(ValueError, name, requirement, value, remedy)
        number = int(number)
    if number > high:
        requirement = f"a whole number from {low} to {high}"
    if not low <= number <= high:
        raise _fail(ValueError, name, requirement, value)
    return number


def number_or_none(name: str, value: Unchecked) -> Number | None:
    """How many there are, at least one; None where it is left open."""
    return None if value is None else integer(name, value, low=1)


def flag(name: str, value: Unchecked) -> bool:
    if not isinstance(value, (bool, np.bool_)):
        raise _fail(TypeError, name, "True or False", value)
    return bool(value)


def choice(name: str, value: Unchecked, allowed: Sequence[str]) -> str:
    if not isinstance(value, str) or value not in allowed:
        kind = ValueError if isinstance(value, str) else TypeError
        raise _fail(kind, name, "one of " + ", ".join(map(repr, allowed)), value)
    return value


def function(name: str, value: Unchecked, of: str = "the epoch") -> Function:
    if not callable(value):
        raise _fail(TypeError, name, f"a function of {of}", value)
    if hasattr(type(value), "attach_optimizer"):
        remedy = "Multiply schedules: a * b; or pass lambda x: scheduler(x)."
        raise _fail(TypeError, name, f"a function of {of}", value, remedy)
    return value


def counted(name: str, value: Unchecked) -> Number:
    """How many count as one."""
    return integer(name, value, low=1, high=LAST_EPOCH)


def sequence(
    name: str, value: Unchecked, check: Callable[[str, Unchecked], T], *, of: str
) -> tuple[T, ...]:
    """A tuple of checked entries, from a sequence, an iterator or a one-dimensional array."""
    if is_list(value):
        value = list(value)
    elif isinstance(value, (str, bytes)) or not isinstance(value, (Sequence, Iterator)):
        raise _fail(TypeError, name, f"a list or tuple of {of}", value)
    return tuple(check(f"{name}[{i}]", entry) for i, entry in enumerate(value))


def is_list(value: Unchecked) -> bool:
    """Whether it holds one entry for each of several: a list, tuple, range, iterator or array of one dimension."""
    if isinstance(value, (np.ndarray, jax.Array)):
        return np.ndim(value) == 1
    return isinstance(value, (list, tuple, range, Iterator))


def milestones(name: str, value: Unchecked) -> tuple[Number, ...]:
    """Whole epochs in non-decreasing order."""
    epochs = sequence(name, value, integer, of="whole epochs")
    known = [e for e in epochs if not is_traced(e)]
    if known != sorted(known):
        raise _fail(ValueError, name, "in increasing order", list(known), f"Use {sorted(known)}.")
    return epochs


def per_group(
    name: str, value: Unchecked, check: Callable[[str, Unchecked], T], *, of: str
) -> tuple[T, ...]:
    """One entry for all groups, or a list with one entry a group."""
    if not is_list(value) or is_of_optax(value):
        return (check(name, value),)
    entries = sequence(name, value, check, of=of)
    if not entries:
        raise _fail(ValueError, name, f"{of} or a list with one entry a parameter group", value)
    return entries


def learning_rates(name: str, value: Unchecked) -> tuple[Number, ...]:
    return per_group(name, value, non_negative, of="a number")


def group_count(**lists: Sequence[object]) -> int:
    """The common length of per-group lists, where 1 means the same for every group."""
    lengths = {name: len(values) for name, values in lists.items() if len(values) > 1}
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        raise ValueError(
            f"Lists must have one entry a parameter group, all the same number; {found}."
        )
    return max(lengths.values(), default=1)


def next_epoch(value: Unchecked) -> Number:
    """The epoch to which a clock jumps."""
    remedy = "step() takes a whole epoch; scheduler(3.25) evaluates between epochs, and a metric is passed to ReduceLROnPlateau as step(metric=...)."
    return _epoch("epoch", value, remedy)


def _epoch(name: str, value: Unchecked, remedy: str = "") -> Number:
    number = integer(name, value, high=LAST_EPOCH, remedy=remedy)
    if is_traced(number) and number.dtype.kind not in "iu":
        raise _fail(TypeError, name, "a whole number >= 0", value, "Cast a traced epoch to int32.")
    return number


def first_epoch(value: Unchecked) -> Number:
    """The epoch at which a clock starts: -1, torch's habit, means 0."""
    number = host_number(value)
    return _epoch("last_epoch", 0 if isinstance(number, (int, float)) and number == -1 else value)


def metric(value: Unchecked) -> Number:
    """A scalar to watch; NaN and infinity are allowed and count as bad, or as very good."""
    if isinstance(value, np.floating):  # as mostly, where it is none of Python's
        return float(value)
    number = _scalar("metric", "a number", value)
    if isinstance(value, numbers.Rational) and not _finite(number):
        raise _fail(ValueError, "metric", "a number that a float can hold", value)
    return number


def epochs(value: Unchecked) -> Value:
    """A number or an array (of Python, NumPy or jax; a list becomes an array) of epochs >= 0."""
    if type(value) is int or type(value) is float:
        fine = 0 <= value <= sys.float_info.max
    else:
        requirement = "a number or an array of numbers"
        if not isinstance(value, jax.Array):
            if isinstance(value, bool) or callable(value):
                raise _fail(TypeError, "epoch", requirement, value)
            try:
                value = value if isinstance(value, np.ma.MaskedArray) else np.asarray(value)
            except ValueError:  # lists of different lengths
                raise _fail(ValueError, "epoch", requirement, value) from None
        if not holds_real_numbers(value):
            raise _fail(TypeError, "epoch", requirement, value)
        if isinstance(value, np.ndarray) and value.dtype.itemsize > 8:
            with np.errstate(over="ignore"):
                value = value.astype(np.float64)
        fine = not is_known(value)
        fine = fine or bool(np.all((fetched(value) >= 0) & np.isfinite(fetched(value))))
    if not fine:
        remedy = (
            "optax.join_schedules asks before a schedule begins: use SequentialLR, or compile it."
        )
        raise _fail(ValueError, "epoch", "finite and >= 0", value, remedy)
    return value
