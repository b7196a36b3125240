"""Every touch of brainstate's and jax's internals, each with a way to do without.

Most of them only save time. Where one is missing, ``direct`` is never true, and every access takes
the ordinary, slower way through ``State.value``; where brainstate does not say whether it traces,
a jax trace is taken for one of its own.
"""

import dataclasses
import operator
from collections.abc import Callable, Sequence
from typing import Any

import brainstate
import jax

from .._transfers import UNGUARDED, meant
from .._types import PyTree

try:
    from brainstate._state import TRACE_CONTEXT

    def state_traces() -> bool:
        """Whether brainstate is tracing the code that runs now."""
        return bool(TRACE_CONTEXT.state_stack)

except ImportError:

    def state_traces() -> bool:
        return jax_traces()


try:
    from jax._src.core import trace_state_strong_ref as _trace

except ImportError:

    class _Trace:
        """The trace that jax is in, which an older one keeps elsewhere."""

        @property
        def value(self) -> object:
            return trace_ctx.trace

    _trace = _Trace()


try:
    from brainstate._state import TRACE_CONTEXT
    from brainstate._state_global_hooks import GlobalHookRegistry
    from jax._src.config import debug_infs, debug_nans, transfer_guard_host_to_device
    from jax._src.core import eval_trace, trace_ctx

    _ = trace_ctx.trace, GlobalHookRegistry._instance
    _ = [brainstate.State.__annotations__[k] for k in ("_value", "_been_writen")]
    _ = brainstate.State(0)._hooks_manager._has_hooks

    def jax_traces() -> bool:
        """Whether jax is tracing the code that runs now."""
        return _trace.value is not eval_trace

    def direct(state: brainstate.State, beside: brainstate.State | None = None) -> bool:
        """Whether the State, and one `beside` it, may be read and written without the bookkeeping of ``State.value``."""
        return not (
            TRACE_CONTEXT.state_stack
            or _trace.value is not eval_trace
            or state._hooks_manager._has_hooks
            or (beside is not None and beside._hooks_manager._has_hooks)
            or ((registry := GlobalHookRegistry._instance) and registry._has_hooks)
        )

    def unseen() -> bool:
        """Whether a program may read and write States that have no hooks, and nobody and nothing of jax or brainstate sees it."""
        return not (
            TRACE_CONTEXT.state_stack
            or _trace.value is not eval_trace
            or ((registry := GlobalHookRegistry._instance) and registry._has_hooks)
            or debug_nans.value
            or debug_infs.value
            or transfer_guard_host_to_device.value not in UNGUARDED
        )

    def has_hooks(state: brainstate.State) -> bool:
        """Whether somebody watches the State."""
        return state._hooks_manager._has_hooks

    def watched(states: Sequence[brainstate.State]) -> list[brainstate.State]:
        """Those that somebody watches, by hooks of their own or of all States there are."""
        registry = GlobalHookRegistry._instance
        every = registry is not None and registry._has_hooks
        return [state for state in states if every or has_hooks(state)]

except (ImportError, AttributeError, KeyError):
    _top_level = brainstate.util.StateJaxTracer()

    def jax_traces() -> bool:
        return not _top_level.is_valid()

    def direct(state: brainstate.State, beside: brainstate.State | None = None) -> bool:
        return False

    def unseen() -> bool:
        return False

    def has_hooks(state: brainstate.State) -> bool:
        return state.hooks.has_hooks()

    def watched(states: Sequence[brainstate.State]) -> list[brainstate.State]:
        return [state for state in states if has_hooks(state)]


try:
    from jax._src.config import trace_context as configuration

    configuration()

except (ImportError, TypeError):

    def configuration() -> tuple[Any, ...]:
        """What jax is set to, as far as a trace depends on it; equal for equal settings."""
        names = (
            *("enable_x64", "numpy_dtype_promotion", "numpy_rank_promotion"),
            *("default_matmul_precision", "default_device", "disable_jit"),
        )
        settings = (getattr(jax.config, f"jax_{name}", None) for name in names)
        return *settings, jax.sharding.get_abstract_mesh()


try:
    from jax._src.config import debug_infs, debug_nans

    def looks_for_nans() -> bool:
        """Whether jax looks into what programs return, which is no part of its configuration."""
        return debug_nans.value or debug_infs.value

except ImportError:

    def looks_for_nans() -> bool:
        return jax.config.jax_debug_nans or jax.config.jax_debug_infs  # pyright: ignore[reportAttributeAccessIssue]


try:
    from brainstate._state import _INVALIDATED_TRACE_VALUE as _GONE

except ImportError:
    _GONE = object()


REACHES_VALUES = "_value" in vars(brainstate.State(0))
"""Whether a value can be taken out of a State and given back."""


def tracing() -> bool:
    """Whether brainstate or jax is tracing the code that runs now."""
    return state_traces() or jax_traces()


def refuse_foreign_trace(state: brainstate.State, what: str) -> None:
    """Stop a stateful call under a plain jax transformation, which would run once and be forgotten."""
    if state_traces() or not jax_traces():
        return
    state.check_valid_trace(
        lambda: (
            f"{what} changes States and was called under a plain jax transformation (jax.jit, jax.grad, "
            "jax.lax.scan, ...), which would run it once, while tracing, and never again. Use "
            "lrax.jit or brainstate.transform.jit / grad / for_loop / scan instead, or the pure scheduler(epoch)."
        )
    )


def refuse_inside(state: brainstate.State, what: str) -> None:
    """Stop what changes more than values inside of a compiled function, whose traces it would leave behind."""
    state.check_valid_trace(
        lambda: (
            f"{what} changes what the optimizer is made of, and was called inside of a transformation (jax.jit, lrax.jit, "
            "for_loop, ...) in which it was not made. Call it outside; what has to be compiled again is."
        )
    )


VALUE, WRITTEN = "_value", "_been_writen"
"""Where a State keeps what it holds, and whether it was written."""


class TypedState(brainstate.LongTermState):
    """A State that converts what is written to it, and that the host reads and writes in nanoseconds.

    A weakly typed or Python value in a State makes the next jitted call compile again, although
    brainstate's own trace cache does not notice. So each kind writes one dtype, always strong.
    """

    def converted(self, new: Any, old: Any) -> Any:
        """What is kept when `new` is written in place of `old`."""
        return new

    def _write_value(self, v: Any) -> None:
        self._value = self.converted(v, self._value)

    def held(self) -> Any:
        """The value, without the bookkeeping of a read."""
        return self._value

    def poke(self, value: Any) -> None:
        """Keep `value` as it is, where ``direct(self)``."""
        attributes: Any = self.__dict__
        attributes[VALUE] = value
        attributes[WRITTEN] = True

    def rearrange(self, value: Any) -> None:
        """Keep the same in another place or shape: no write that a trace or a hook would have to see."""
        vars(self)[VALUE] = value


def writes_as_is(state: brainstate.State) -> bool:
    """Whether the State keeps what a program that was traced with it returns, without a conversion."""
    return type(state)._write_value in (brainstate.State._write_value, TypedState._write_value)


def _is_read_as_it_is(state: brainstate.State) -> bool:
    kind, plain = type(state), brainstate.State
    return kind.value is plain.value and kind._read_value is plain._read_value


class _InUse:
    """What a State refers to while a call has its value."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(
            "This State was read while a call of lrax.jit writes it, by a callback, a signal handler or another thread. Read it "
            "before or after the call (a handler sets a flag), return from the function what a callback shall have, or use "
            "lrax.jit(fn, donate=False)."
        )

    def _refuse(self, *_: Any) -> Any:
        return self.value

    # Of these Python asks the class.
    __getitem__ = __len__ = __iter__ = __bool__ = __int__ = __float__ = __index__ = _refuse
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __neg__ = _refuse
    __lt__ = __le__ = __gt__ = __ge__ = __eq__ = __ne__ = _refuse
    __repr__ = __str__ = __format__ = _refuse
    __hash__ = object.__hash__


IN_USE = _InUse()
HAS_HOOKS = operator.itemgetter("_has_hooks")


class Bundle:
    """Several States that are read and written together, at a fraction of the cost outside a trace."""

    def __init__(self, states: Sequence[brainstate.State]) -> None:
        self.states = states
        self.cells: list[dict[str, Any]] = [vars(state) for state in states]
        """What each of them is made of, its value among it."""
        self.hooks = [getattr(state.hooks, "__dict__", {}) for state in states]
        # A random key is made when it is read for the first time after its seed was set.
        plain = brainstate.State.check_if_deleted
        self.made = [i for i, s in enumerate(states) if type(s).check_if_deleted is not plain]

    def peek(self) -> list[Any]:
        """Their values, where :func:`unseen` holds and none has hooks."""
        values = [cell[VALUE] for cell in self.cells]
        for i in self.made:
            values[i] = self.states[i].value
        return values

    def read(self) -> list[Any]:
        """Their values."""
        values = self.peek() if self._free() else []
        known = values and not any(value is _GONE for value in values)
        return values if known else [state.value for state in self.states]

    def write(self, values: Sequence[Any]) -> None:
        """Write all of them, or none if one of them refuses."""
        if self._free() and all(map(writes_as_is, self.states)):
            self.poke(values)
            return
        before = [cell[VALUE] for cell in self.cells]
        try:
            for state, value in zip(self.states, values, strict=True):
                state.value = value
        except BaseException:
            self.give_back(before)
            raise

    def _free(self) -> bool:
        """Whether no bookkeeping is needed, and no State has a way of its own."""
        free = unseen() and not any(map(HAS_HOOKS, self.hooks))
        return free and all(map(_is_read_as_it_is, self.states))

    def watched(self) -> list[Any]:
        """The values that hooks are shown as the old ones, and which must not be given away before."""
        return [vars(state)[VALUE] for state in watched(self.states)]

    def give_back(self, values: Sequence[Any]) -> None:
        """Have the first of them hold these values: no write that a hook would have to see."""
        for cell, value in zip(self.cells, values, strict=False):
            cell[VALUE] = value

    def poke(self, values: Sequence[Any]) -> None:
        """Write the first of them, where they can be peeked at and :func:`writes_as_is` holds."""
        for cell, value in zip(self.cells, values, strict=False):
            cell[VALUE] = value
            cell[WRITTEN] = True


@dataclasses.dataclass(frozen=True)
class Trace:
    """A function of States as a jaxpr of its arguments and of what the States hold."""

    jaxpr: Any
    states: list[brainstate.State]
    written: list[bool]
    """Which of the States it writes."""

    results: PyTree
    """The places of its results among the outputs of the jaxpr."""

    after: list[PyTree]
    """For each State, the places of what it holds afterwards among the outputs."""

    def run(self, arguments: Sequence[Any], leaves: Sequence[Any]) -> list[Any]:
        """All outputs, for flat arguments and the leaves of the States."""
        return evaluate_jaxpr(self.jaxpr.jaxpr, self.jaxpr.consts, [*arguments, *leaves])


def evaluate_jaxpr(jaxpr: Any, consts: Sequence[Any], inputs: Sequence[Any]) -> list[Any]:
    return jax.core.eval_jaxpr(jaxpr, consts, *inputs)  # pyright: ignore


def trace(fn: Callable[..., Any], args: Any, kwargs: Any) -> Trace:
    """`fn`, traced for arguments of this kind."""
    with meant():
        brainstate.random.DEFAULT.check_if_deleted()  # makes the key
    stateful = brainstate.transform.StatefulFunction(fn, name="jit")
    stateful.get_jaxpr(*args, **kwargs)
    # Which other keys it takes is known only now, and that made them: then it is traced once more.
    key = stateful.get_arg_cache_key(*args, **kwargs, compile_if_miss=True)
    jaxpr = stateful.get_jaxpr_by_cache(key)
    found = stateful.get_state_trace_by_cache(key)
    places = range(len(jaxpr.jaxpr.outvars))
    results, after = stateful.get_out_treedef_by_cache(key).unflatten(places)
    return Trace(jaxpr, list(found.states), list(found.been_writen), results, list(after))
