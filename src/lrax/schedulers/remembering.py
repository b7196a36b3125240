"""Formulas with a memory: what they keep between steps, and in state dicts."""

import abc
import dataclasses
import math
from collections.abc import Hashable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from .. import _checks
from .._transfers import fetched, whole_number
from .._types import Array, Plain, Remembered, Unchecked, Value
from ..formulas import host
from ..formulas.arithmetic import LARGEST, wide
from ..formulas.formula import Formula, Learner, hyper_parameters
from ..formulas.traced import Traced
from ..states.clock import LAST_EPOCH
from ..states.saving import check_keys, check_number, entries


class Remembering(Formula):
    """A formula that learns from step to step.

    Its memory holds whole numbers as int32, and each real one as a sum of three float32: exact, in any
    mode, for all that one float32 can come near; what is larger is infinite.
    """

    needs_metric: ClassVar[bool] = True
    why: ClassVar[str] = "it depends on the metrics it was given"
    """Why there is no learning rate at a given epoch."""

    unit: ClassVar[float] = 1.0
    """By what real numbers are divided in the memory, which is where float32 is accurate."""

    may_be_nan: ClassVar[frozenset[str]] = frozenset()

    apart: ClassVar[tuple[str, ...]] = ()
    """The fields that may differ from group to group, and matter to nothing that is remembered."""

    def rule(self) -> Hashable:
        """What it learns: the same for the groups of a scheduler, which have one memory."""
        own = (pair for pair in hyper_parameters(self) if pair[0] not in self.apart)
        return type(self), *own

    @abc.abstractmethod
    def memory(self) -> Remembered:
        """What is remembered at first."""

    @abc.abstractmethod
    def learned(self, memory: Remembered) -> Value:
        """What it takes from the memory to work out a learning rate."""

    @abc.abstractmethod
    def observe(self, memory: Remembered, metric: Value, begun: Value, epoch: Value) -> Remembered:
        """The memory after a step to `epoch`, by its own count: unchanged where it does not learn."""

    @abc.abstractmethod
    def observed(self, numbers: Remembered, metric: Any, epoch: Any) -> Remembered:
        """Those of the :meth:`numbers` that are others then, where everything is known and it learns."""

    def observe_on_host(self, memory: Remembered, metric: Any, epoch: Any) -> Remembered:
        """The same where everything is known."""
        numbers = self.numbers(memory)
        return self.kept(memory, numbers, self.observed(numbers, metric, epoch))

    def numbers(self, memory: Remembered) -> Remembered:
        """What a memory holds."""
        return {
            name: self.exact(fetched(v)) if is_real(v) else counted(v) for name, v in memory.items()
        }

    def kept(self, memory: Remembered, old: Remembered, changed: Remembered) -> Remembered:
        """The memory after `changed`, made of that with the `old` numbers; then `changed` is what it holds exactly."""
        found = memory.copy()
        for name, value in changed.items():
            before = old[name]
            if value is before:
                continue
            if type(before) is int:
                value = changed[name] = int(value)
                found[name] = ZERO + value  # in a quarter of the time that a conversion takes
            elif isinstance(value, np.ndarray):
                found[name] = split(value, self.unit)
                changed[name] = self.exact(found[name])
            elif value == before:
                changed[name] = before  # and not an int, which is what counts
            else:
                found[name], changed[name] = self._split(value)
        return found

    def _split(self, value: float) -> tuple[Array, float]:
        """A real number for the memory, and what it is there: the same unless it is very large or small."""
        number = value / self.unit
        parts = _split_number(number)
        same = 2.0**-96 <= abs(number) <= LARGEST
        return parts, number * self.unit if same else self.exact(parts)

    def learners(self) -> tuple[Learner, ...]:
        return (Learner(self),)

    def exact(self, parts: Array) -> Value:
        """A real number, or an array of them, out of the memory."""
        return joined(parts) * self.unit

    def as_numbers(self, memory: Remembered) -> Remembered:
        """The memory for a state dict."""
        return {name: self._number(value) for name, value in known(memory).items()}

    def _number(self, value: Array) -> Plain:
        if not is_real(value):
            return int(value)
        found = self.exact(value)
        return found if np.ndim(found) == 0 else _listed(found.tolist())

    def from_numbers(self, where: str, found: Unchecked) -> Remembered:
        """The memory out of a state dict, checked."""
        first = self.memory()
        check_keys(where, found, first)
        return {
            name: self._checked(f"{where}.{name}", found[name], old, name in self.may_be_nan)
            for name, old in first.items()
        }

    def _checked(self, where: str, found: Unchecked, old: Array, may_be_nan: bool) -> Any:
        if not is_real(old):
            return np.int32(check_number(where, found, low=0, high=LAST_EPOCH, whole=True))
        if old.ndim == 1:
            nan = may_be_nan and isinstance(found, float) and found != found
            return split(found if nan else check_number(where, found), self.unit)
        numbers = entries(found)
        check_keys(where, numbers, map(str, range(len(old))))
        return np.stack(
            [
                self._checked(f"{where}.{i}", numbers[str(i)], row, may_be_nan)
                for i, row in enumerate(old)
            ]
        )


class Watching(Remembering):
    """One that learns from metrics: :meth:`watched` says how, for Python numbers and for tracers."""

    @abc.abstractmethod
    def watched(self, memory: Remembered, metric: Value, x: Any) -> Remembered:
        """The memory, as numbers, after one more metric."""

    def observe(self, memory: Remembered, metric: Value, begun: Value, epoch: Value) -> Remembered:
        """The memory after one more metric: unchanged where it does not learn."""
        fields = (getattr(self, field.name) for field in dataclasses.fields(self))
        if any(map(_checks.is_traced, (metric, begun, *fields, *memory.values()))):
            with wide():
                numbers = {
                    k: jnp.asarray(joined(v), float) if is_real(v) else v for k, v in memory.items()
                }
                new = self.watched(numbers, jnp.asarray(metric, float), Traced(False))
                return {
                    name: jnp.where(begun, split(new[name]) if is_real(old) else new[name], old).astype(old.dtype)
                    for name, old in memory.items()
                }  # fmt: skip
        return self.observe_on_host(memory, metric, epoch) if begun else memory

    def observed(self, numbers: Remembered, metric: float, epoch: int) -> Remembered:
        return self.watched(numbers, metric, host)


_FLOAT32 = np.dtype(np.float32)
ZERO = np.int32(0)


def is_real(value: Array) -> bool:
    """Whether something remembered is a real number, or several, and no whole one."""
    return value.dtype == _FLOAT32


def counted(value: Array) -> int:
    """A whole number out of the memory."""
    number = whole_number(value)
    if number is None:
        raise TypeError(
            f"Outside of vmap a scheduler must have learned in one training, got {np.size(value)} that vmap has made. "
            "Call step() inside of it."
        )
    return number


def known(memory: Remembered) -> Remembered:
    """The memory on the host: arrays, and np.int32."""
    return {name: fetched(value)[()] for name, value in memory.items()}


def joined(parts: Array) -> Value:
    """The real numbers that are kept in `parts`: inside ``wide()`` where they are traced."""
    if type(parts) is np.ndarray:
        if parts.ndim == 1:
            return sum(parts.tolist())
        return parts.astype(np.float64).sum(axis=-1)
    return jnp.asarray(parts, float).sum(axis=-1)


def split(value: Value, unit: float = 1.0) -> Array:
    """Three float32 whose sum is `value` divided by `unit`, a power of 2; the inverse of :func:`joined`."""
    if isinstance(value, jax.Array):
        return _split_array(jnp, value / unit)
    if isinstance(value, np.ndarray):
        return _split_array(np, value / unit)
    return _split_number(value / unit)


def _split_number(value: float) -> Array:
    parts = np.empty(3, _FLOAT32)
    if not abs(value) <= LARGEST:
        parts[0] = math.copysign(math.inf, value) if value == value else value
        parts[1] = parts[2] = 0.0
        return parts
    parts[0] = value
    value -= parts.item(0)
    parts[1] = value
    parts[2] = value - parts.item(1)
    return parts


def _split_array(module: Any, value: Value) -> Array:
    parts, rest = [], module.asarray(value, float)
    rest = module.where(module.abs(rest) > LARGEST, module.copysign(module.inf, rest), rest)
    with np.errstate(invalid="ignore", under="ignore"):
        for _ in range(3):
            if module is np:
                part = rest.astype(np.float32).astype(float)
            else:
                # Not a cast there and back, which XLA would drop.
                part = jax.lax.reduce_precision(rest, exponent_bits=8, mantissa_bits=23)
            parts.append(part)
            rest = module.where(module.isfinite(rest), rest - part, 0)
        return module.stack(parts, axis=-1).astype(np.float32)


def _listed(values: list[Any]) -> Plain:
    """A list for a state dict, in which there are none."""
    return {
        str(i): _listed(value) if isinstance(value, list) else value
        for i, value in enumerate(values)
    }
