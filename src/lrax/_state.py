"""brainstate States with a fixed strong dtype.

A weakly typed or Python value in a State makes the next jitted call compile again, although
brainstate's own trace cache does not notice. The States here write one dtype, always strong.
On the host they hold NumPy scalars, which cost nanoseconds where a device array costs microseconds.

This is the only file that touches brainstate's (and jax's) internals. Without those that only save
time ``direct`` is never true, and every access takes the ordinary, slower way through ``State.value``.
"""

import operator
from collections.abc import Callable, Sequence
from typing import Any

import brainstate
import jax
import jax.numpy as jnp
import numpy as np
from brainstate._state import TRACE_CONTEXT

from ._checks import is_traced

try:
    from brainstate._state_global_hooks import GlobalHookRegistry
    from jax._src.core import eval_trace, trace_ctx

    _ = trace_ctx.trace, GlobalHookRegistry._instance
    _ = [brainstate.State.__annotations__[k] for k in ("_value", "_been_writen")]
    _ = brainstate.State(0).hooks.__dict__["_has_hooks"]

    def _jax_traces() -> bool:
        return trace_ctx.trace is not eval_trace

    def direct(state: brainstate.State) -> bool:
        """Whether the State may be read and written without the bookkeeping of ``State.value``."""
        return not (
            TRACE_CONTEXT.state_stack
            or trace_ctx.trace is not eval_trace
            or state.hooks.has_hooks()
            or ((registry := GlobalHookRegistry._instance) and registry.has_hooks())
        )

except (ImportError, AttributeError, KeyError):
    _top_level = brainstate.util.StateJaxTracer()

    def _jax_traces() -> bool:
        return not _top_level.is_valid()

    def direct(state: brainstate.State) -> bool:
        return False


LAST_EPOCH = 2**31 - 1

_INT32 = np.int32  # looking it up takes as long as making one


def tracing() -> bool:
    """Whether brainstate or jax is tracing the code that runs now."""
    return bool(TRACE_CONTEXT.state_stack) or _jax_traces()


class Bundle:
    """Several States that are read and written together, at a fraction of the cost outside a trace."""

    def __init__(self, states: Sequence[brainstate.State]) -> None:
        self.states = states
        self._attributes: list[Any] = [vars(state) for state in states]
        self._hooks = [getattr(state.hooks, "__dict__", {}) for state in states]

    def direct(self) -> bool:
        """:func:`direct` for all of them."""
        return (
            bool(self.states)
            and direct(self.states[0])
            and not any(map(operator.itemgetter("_has_hooks"), self._hooks))
        )

    def peek(self) -> list[Any]:
        """Their values, where :meth:`direct` holds."""
        return [attributes["_value"] for attributes in self._attributes]

    def poke(self, values: Sequence[Any]) -> None:
        """Write the first of them, where :meth:`direct` and :func:`writes_as_is` hold."""
        for attributes, value in zip(self._attributes, values, strict=False):
            attributes["_value"] = value
            attributes["_been_writen"] = True


def refuse_foreign_trace(state: brainstate.State, what: str) -> None:
    """Stop a stateful call under a plain jax transformation, which would run once and be forgotten."""
    if TRACE_CONTEXT.state_stack or not _jax_traces():
        return
    state.check_valid_trace(
        lambda: (
            f"{what} changes States and was called under a plain jax transformation (jax.jit, jax.grad, "
            "jax.lax.scan, ...), which would run it once, while tracing, and never again. Use "
            "brainstate.transform.jit / grad / for_loop / scan instead, or the pure scheduler(epoch)."
        )
    )


def place(value: Any, old: Any) -> Any:
    """A host value where `old` lives: on its mesh or device if it was put there, else left on the host."""
    if not is_traced(old) and getattr(old, "committed", False):
        return jax.device_put(value, old.sharding)
    return value


def strong(value: Any, dtype: np.dtype, old: Any = None) -> Any:
    """`value` with that dtype, never weakly typed, and where `old` was put."""
    if not isinstance(value, jax.Array):
        return place(np.asarray(value, dtype)[()], old)
    if value.dtype != dtype or value.weak_type:
        value = value.astype(dtype)
    if is_traced(value) or value.committed:
        return value
    return place(value, old)


def is_key(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def key_numbers(leaf: Any) -> Any:
    """A leaf, or what a typed random key is made of."""
    return jax.random.key_data(leaf) if is_key(leaf) else leaf


def on_host(value: Any) -> Any:
    """A NumPy value for one that is known, the tracer for one that is not."""
    return value if is_traced(value) else np.asarray(value)[()]


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


_HOST_TYPES = {np.ndarray, np.int32}


class Memory(brainstate.LongTermState):
    """A nested dict of numbers and arrays, each with the dtype it had at first."""

    def _write_value(self, v: Any) -> None:
        self._value = jax.tree.map(lambda new, old: strong(new, old.dtype, old), v, self._value)

    def peek(self) -> dict[str, Any] | None:
        """The value, if it is on the host and nobody watches it."""
        kinds = {type(leaf) for part in self._value.values() for leaf in part.values()}
        known = kinds <= _HOST_TYPES and not self.hooks.has_hooks()
        return self._value if known else None

    def poke(self, value: dict[str, Any]) -> None:
        """Write what has the same structure and dtypes, after a :meth:`peek`."""
        vars(self).update(_value=value, _been_writen=True)


class LearningRates(brainstate.LongTermState):
    """The published learning rate of each parameter group: float32, beside the slot of its owner.

    The owner is the one scheduler that may write. A compiled step that still calls another one finds
    another number there and leaves the learning rates alone. Python keeps it, never a checkpoint.
    """

    base_lrs: tuple[Any, ...]
    """A group's own base learning rate, or None where the scheduler's applies."""

    no_own: bool
    """Whether the scheduler's apply everywhere."""

    def __init__(self, groups: int) -> None:
        value = {"lr": np.zeros(groups, np.float32), "owner": np.int32(0)}
        super().__init__(value, base_lrs=(None,) * groups, no_own=True)

    def _write_value(self, v: Any) -> None:
        old = self._value
        owner, kept = v["owner"], old["owner"]
        if not (is_traced(owner) or is_traced(kept)) and np.shape(owner) == np.shape(kept):
            owner = kept
        self._value = {"lr": strong(v["lr"], np.dtype(np.float32), old["lr"]), "owner": owner}

    def publish(self, lr: Any, slot: int | None) -> None:
        """Write the learning rates of the scheduler in `slot`; None is the one and only writer."""
        old = self.value
        if slot is not None and tracing():
            lr = jnp.where(old["owner"] == slot, lr, old["lr"])
        self.value = {"lr": lr, "owner": old["owner"]}

    def poke(self, lr: np.ndarray) -> None:
        """Publish, where ``direct(self)``."""
        attributes: Any = self.__dict__
        old = attributes["_value"]
        if type(old["lr"]) is not np.ndarray:
            lr = place(lr, old["lr"])
        attributes["_value"] = {"lr": lr, "owner": old["owner"]}
        attributes["_been_writen"] = True

    def own(self, slot: int) -> None:
        """Make the scheduler in `slot` the owner."""
        old = self._value["owner"]
        owner = place(np.full(np.shape(old), slot, np.int32)[()], old)
        if not tracing():
            owner = jnp.asarray(owner)  # a compiled step takes it in a fraction of the time
        vars(self)["_value"] = {**self._value, "owner": owner}

    def move(self, put: Callable[[Any], Any]) -> None:
        """Put the value, owner included, somewhere else."""
        vars(self)["_value"] = jax.tree.map(put, self._value)

    def resize(self, base_lrs: tuple[Any, ...], groups: int) -> None:
        """Room for `groups` learning rates, of which the first have the given bases of their own."""
        old = self._value["lr"]
        vars(self)["base_lrs"] = base_lrs + (None,) * (groups - len(base_lrs))
        vars(self)["no_own"] = all(lr is None for lr in base_lrs)
        vars(self)["_value"] = {**self._value, "lr": place(np.zeros(groups, np.float32), old)}


NEVER_LENT = (Clock, Memory, LearningRates)
"""A few bytes that people log, and that a step reads to its end: given away, they had to be copied first."""

_WRITERS = {c._write_value for c in (brainstate.State, Clock, Memory, LearningRates)}


def writes_as_is(state: brainstate.State) -> bool:
    """Whether the State keeps what a program that was traced with it returns, without a conversion."""
    return type(state)._write_value in _WRITERS


class View:
    """A number that lives in a State: read it with ``.value`` or as a number, write it with ``.value = x``.

    Copied or pickled it becomes the plain number.
    """

    def __init__(self, get: Callable[[], Any], put: Callable[[Any], None] | None = None) -> None:
        self._get, self._put = get, put

    @property
    def value(self) -> Any:
        return self._get()

    @value.setter
    def value(self, new: Any) -> None:
        if self._put is None:
            raise AttributeError("This value is counted, and cannot be set.")
        self._put(new)

    def __repr__(self) -> str:
        return str(self.value)

    def __format__(self, spec: str) -> str:
        return format(self.value, spec)

    def __bool__(self) -> bool:
        return bool(self.value)

    __hash__ = None  # type: ignore[assignment]

    def __int__(self) -> int:
        return int(self.value)

    __index__ = __int__

    def __float__(self) -> float:
        return float(self.value)

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return np.asarray(self.value, dtype)

    def __reduce__(self) -> tuple[Any, ...]:
        value = np.asarray(self.value)
        return (int if value.dtype.kind in "iu" else float), (value.item(),)


def _of_values(function: Callable[[Any, Any], Any]) -> Callable[[View, Any], Any]:
    return lambda view, other: function(
        view.value, other.value if isinstance(other, View) else other
    )


for _name in ("eq", "ne", "lt", "le", "gt", "ge"):
    setattr(View, f"__{_name}__", _of_values(getattr(operator, _name)))
for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow"):
    _function = getattr(operator, _name)
    setattr(View, f"__{_name}__", _of_values(_function))
    setattr(View, f"__r{_name}__", _of_values(lambda a, b, f=_function: f(b, a)))
