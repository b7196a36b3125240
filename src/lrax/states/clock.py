"""The clock of a scheduler."""

from typing import Any

import brainstate
import jax
import jax.numpy as jnp
import numpy as np

from .._checks import is_traced
from .internals import _jax_traces, direct, refuse_foreign_trace
from .placement import on_host, place, strong

LAST_EPOCH = 2**31 - 1

_INT32 = np.int32  # looking it up takes as long as making one


class Clock(brainstate.LongTermState):
    """The epoch: int32."""

    def __init__(self, value: Any) -> None:
        super().__init__(strong(value, np.dtype(np.int32)))

    def _write_value(self, v: Any) -> None:
        if _jax_traces() and not is_traced(v):
            refuse_foreign_trace(self, "Writing last_epoch")
        if isinstance(v, jax.Array):
            if v.dtype.kind not in "iu":
                raise TypeError(f"last_epoch must be a whole number, got {v!r}. Cast it to int32.")
            if v.dtype != np.int32 and not np.can_cast(v.dtype, np.int32):
                v = jnp.minimum(v, LAST_EPOCH)
        else:
            host = np.asarray(v)
            if (
                host.shape != np.shape(self._value)
                or host.dtype.kind not in "iuf"
                or not np.all((host >= 0) & (host <= LAST_EPOCH) & (host == np.floor(host)))
            ):
                raise ValueError(
                    f"last_epoch must be a whole number from 0 to {LAST_EPOCH}, got {v!r}."
                )
        self._value = strong(v, np.dtype(np.int32), self._value)

    def read(self) -> Any:
        return on_host(self._value if direct(self) else self.value)

    def advance(self) -> None:
        """One epoch on; the last one stays."""
        now = self.value
        self.value = now + (now < LAST_EPOCH)

    def peek(self) -> int | None:
        """The epoch, where ``direct(self)``; None for many of them."""
        value = self._value
        if type(value) is _INT32:
            return int(value)
        return np.asarray(value).item() if value.ndim == 0 else None

    def poke(self, epoch: int) -> None:
        """Set the epoch, where ``direct(self)``."""
        attributes: Any = self.__dict__
        old, new = attributes["_value"], _INT32(epoch)
        attributes["_value"] = new if type(old) is _INT32 else place(new, old)
        attributes["_been_writen"] = True
