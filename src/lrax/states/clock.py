"""The clock of a scheduler."""

import abc
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
import numpy as np

from .._checks import LAST_EPOCH, holds_real_numbers, is_known, is_traced
from .._transfers import fetched, whole_number
from .._types import Leaf, Number, Unchecked
from .internals import TypedState, direct, refuse_foreign_trace
from .placement import on_host, place, strong

_INT32 = np.int32  # looking it up takes as long as making one
_ONE = np.int32(1)


def _are_epochs(value: Unchecked) -> bool:
    numbers = value if isinstance(value, (np.ndarray, jax.Array)) else np.asarray(value)
    if not holds_real_numbers(numbers):
        return False
    if not is_known(numbers):
        return True
    epochs = fetched(numbers).astype(np.float64)
    return bool(np.all((epochs >= 0) & (epochs <= LAST_EPOCH) & (epochs == np.floor(epochs))))


def _no_epoch(value: Unchecked) -> ValueError:
    return ValueError(
        f"last_epoch must be a whole number from 0 to {LAST_EPOCH}, got {value!r:.80}."
    )


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float, np.number, jax.Array)) and not np.ndim(value)


def _refuse(*_: object) -> NoReturn:
    raise TypeError("last_epoch is a State, and no number. Write last_epoch.value for the epoch.")


class ShowsEpoch(abc.ABC):
    """What is compared with numbers as the epoch that it shows, and taken for a number nowhere else."""

    @abc.abstractmethod
    def read(self) -> Number:
        """The epoch."""

    def __eq__(self, other: object) -> Any:
        return self.read() == other if _is_number(other) else NotImplemented

    def __ne__(self, other: object) -> Any:  # that of object asks what is traced for its truth
        return self.read() != other if _is_number(other) else NotImplemented

    def __repr__(self) -> str:
        return str(self.read())

    def __format__(self, spec: str) -> str:
        return format(self.read(), spec)

    __hash__ = _refuse  # pyright: ignore[reportAssignmentType]
    __bool__ = __int__ = __float__ = __index__ = _refuse
    __lt__ = __le__ = __gt__ = __ge__ = __neg__ = __pow__ = __rpow__ = _refuse
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _refuse
    __truediv__ = __rtruediv__ = __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = _refuse


class Clock(ShowsEpoch, TypedState):
    """The epoch: int32."""

    def __init__(self, value: Number) -> None:
        super().__init__(strong(value, np.dtype(np.int32)))

    def converted(self, new: Leaf, old: Leaf) -> Leaf:
        if is_traced(new):
            if new.dtype.kind not in "iu":
                raise TypeError(
                    f"last_epoch must be a whole number, got {new!r}. Cast it to int32."
                )
            new = jnp.maximum(new, 0)
            if not np.can_cast(new.dtype, np.int32):
                new = jnp.minimum(new, LAST_EPOCH)
            return strong(new, np.dtype(np.int32), old)
        refuse_foreign_trace(self, "Writing last_epoch")
        # An array of jax may hold the epochs of many trainings, and be spread over many hosts.
        fits = isinstance(new, jax.Array) or np.shape(new) == np.shape(old)
        if not (fits and _are_epochs(new)):
            raise _no_epoch(new)
        return strong(new, np.dtype(np.int32), old)

    def restore_value(self, v: Leaf) -> None:
        """Write a value of a checkpoint by way of brainstate."""
        is_number = isinstance(v, (int, float, np.generic, np.ndarray, jax.Array))
        if is_number and not is_traced(v) and not _are_epochs(v):
            raise _no_epoch(v)
        super().restore_value(v)

    __hash__ = TypedState.__hash__

    def read(self) -> Number:
        """The epoch, on the host unless it is traced."""
        return on_host(self.held() if direct(self) else self.value)

    def advance(self) -> None:
        """One epoch on; the last one stays."""
        self.value = self.next()

    def next(self) -> Number:
        """The epoch after this one."""
        now = self.read()
        return now + (now < LAST_EPOCH).astype(np.int32)

    def ahead(self) -> tuple[int, int, Leaf] | None:
        """The epoch, the next one, and what to keep for that, where ``direct(self)``; None for many of them."""
        old = self._value
        on_host = type(old) is _INT32
        now = int(old) if on_host else whole_number(old)
        if now is None:
            return None
        if now == LAST_EPOCH:
            return now, now, old
        new = _ONE + now  # in an eighth of the time that a conversion takes
        return now, now + 1, new if on_host else place(new, old)
