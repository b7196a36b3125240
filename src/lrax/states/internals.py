"""brainstate States with a fixed strong dtype.

A weakly typed or Python value in a State makes the next jitted call compile again, although
brainstate's own trace cache does not notice. The States here write one dtype, always strong.
On the host they hold NumPy scalars, which cost nanoseconds where a device array costs microseconds.

This is the only file that touches brainstate's (and jax's) internals. Without those that only save
time ``direct`` is never true, and every access takes the ordinary, slower way through ``State.value``.
"""

import operator
from collections.abc import Sequence
from typing import Any

import brainstate
from brainstate._state import TRACE_CONTEXT

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
