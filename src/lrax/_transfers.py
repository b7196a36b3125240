"""What lrax moves between host and device where nothing is compiled: meant, and no accident that a guard has to stop.

``jax.transfer_guard("disallow")`` stops what moves by itself. What is put or fetched explicitly it lets through.
"""

import contextlib
import struct
from typing import Any

import jax
import numpy as np

from ._types import Value

UNGUARDED = (None, "allow")
_STOPPING = ("log", "disallow")
_AS_IT_IS = contextlib.nullcontext()
_config: Any = jax.config
_INT32, _ONE_INT32 = np.dtype(np.int32), struct.Struct("=i")


def fetched(value: Value) -> np.ndarray:
    """A known value on the host."""
    if _config.jax_transfer_guard_device_to_host not in UNGUARDED and isinstance(value, jax.Array):
        value = jax.device_get(value)
    return np.asarray(value)


def whole_number(value: Any) -> int | None:
    """The one int32 in a known value, in half the time that NumPy takes; None if there is something else."""
    try:
        (number,) = _ONE_INT32.unpack(value)
        return number if value.dtype is _INT32 and not value.ndim else None
    except (BufferError, TypeError, struct.error):  # on a GPU, on several devices; something else
        number = fetched(value)[()]
        return int(number) if type(number) is np.int32 else None


def guarded() -> bool:
    """Whether a program that is handed a host value would have to say so."""
    return _config.jax_transfer_guard_host_to_device not in UNGUARDED


def meant() -> contextlib.AbstractContextManager[Any]:
    """For code of ours that computes with constants, host numbers and what is on several devices where nothing is compiled."""
    to_device = _config.jax_transfer_guard_host_to_device in _STOPPING
    between = _config.jax_transfer_guard_device_to_device in _STOPPING
    if not (to_device or between):
        return _AS_IT_IS
    allowed = contextlib.ExitStack()
    if to_device:
        allowed.enter_context(jax.transfer_guard_host_to_device("allow"))
    if between:
        allowed.enter_context(jax.transfer_guard_device_to_device("allow"))
    return allowed
