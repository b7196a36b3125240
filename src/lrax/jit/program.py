"""A jit for functions that use States: donates what it writes, and costs little more than ``jax.jit``."""

import functools
import inspect
import itertools
import operator
from collections.abc import Callable, Sequence
from typing import Any

import brainstate
import jax
import jax.numpy as jnp
import numpy as np

from .. import _checks
from ..states.internals import Bundle, tracing
from ..states.lending import NEVER_LENT, writes_as_is
from ..states.placement import key_numbers


class _Stale(Exception):
    """A State has another shape than when the function was traced."""


def _is_about_a_gone_array(error: Exception) -> bool:
    return any(text in str(error) for text in ("has been deleted", "deleted or donated"))


class _Program:
    """The function, traced for one signature of its arguments and compiled on the leaves of its States."""

    def __init__(self, fn: Callable[..., Any], donate: bool, args: Any, kwargs: Any) -> None:
        stateful = brainstate.transform.StatefulFunction(fn, name="jit")
        self._jaxpr = stateful.get_jaxpr(*args, **kwargs)
        out_tree = stateful.get_out_treedef(*args, **kwargs)
        trace = stateful.get_state_trace(*args, **kwargs)
        # States that are written first.
        order = sorted(range(len(trace.states)), key=lambda i: not trace.been_writen[i])
        written = order[: sum(trace.been_writen)]
        self._bundle = Bundle([trace.states[i] for i in order])
        self._written = self._bundle.states[: len(written)]
        self._as_is = all(map(writes_as_is, self._written))

        # The leaves of the States, as places among the inputs and outputs of the jaxpr.
        inputs, outputs = self._jaxpr.jaxpr.invars, self._jaxpr.jaxpr.outvars
        leaves, structure = jax.tree.flatten([state.value for state in trace.states])
        places = range(len(inputs) - len(leaves), len(inputs))
        values = dict(zip(places, leaves, strict=True))
        kinds = {a: _kind(value) for a, value in values.items()}
        before = structure.unflatten(places)
        self._out, after = out_tree.unflatten(range(len(outputs)))
        old, self._before = jax.tree.flatten([before[i] for i in order])
        new, self._after = jax.tree.flatten([after[i] for i in written])
        never = [before[i] for i in written if isinstance(trace.states[i], NEVER_LENT)]
        never = set(jax.tree.leaves(never))
        pairs = list(zip(old, new, strict=False))  # those that are written

        same = [outputs[b] is inputs[a] for a, b in pairs]
        lends = [
            # What has another shape afterwards cannot lend its memory to it.
            donate and not unchanged and a not in never and kinds[a] == _kind(outputs[b].aval)
            for (a, b), unchanged in zip(pairs, same, strict=True)
        ]
        self._unchanged = [n for n, unchanged in enumerate(same) if unchanged]
        self._changed = [b for b, unchanged in zip(new, same, strict=True) if not unchanged]
        self._held = [n for n, lent in enumerate(lends) if not lent][::-1]
        lent, kept = self._split(old)
        self._taken = lent + kept
        self._kinds = [kinds[a] for a in self._taken]
        self._lent_kinds = {_kind(key_numbers(values[a])) for a in lent}
        self._last: list[Any] = []
        self._run = jax.jit(self._flat, donate_argnums=(0,))

    def __call__(self, arguments: list[Any]) -> Any:
        fast = self._bundle.direct()
        leaves = self._leaves(self._bundle.peek() if fast else None)
        lent, kept = self._split(leaves)
        if lent and not self._is_exclusive(leaves, arguments):
            lent = _exclusive(lent, kept + arguments)
        try:
            out, new = self._run(lent, kept, arguments)
        except (RuntimeError, ValueError) as error:
            given = [leaf for leaf in lent if isinstance(leaf, jax.Array)]
            if not _is_about_a_gone_array(error) and any(leaf.is_deleted() for leaf in given):
                error.add_note(
                    "The call failed after it was given the memory of the States that it writes: their values are lost. "
                    "Restore them from a checkpoint, or use lrax.jit(fn, donate=False)."
                )
            raise
        for n in self._unchanged:
            leaf = leaves[n]
            new.insert(n, leaf if isinstance(leaf, jax.Array) else jnp.asarray(leaf))
        self._last = new + leaves[len(new) :]
        values = self._after.unflatten(new)
        if fast and self._as_is:
            self._bundle.poke(values)
        else:
            for state, value in zip(self._written, values, strict=True):
                state.value = value
        return out

    def _leaves(self, values: list[Any] | None = None) -> list[Any]:
        """What the States hold, those that are written first."""
        if values is None:
            values = [state.value for state in self._bundle.states]
        leaves, structure = jax.tree.flatten(values)
        if structure != self._before:
            raise _Stale
        return leaves

    def _split(self, leaves: list[Any]) -> tuple[list[Any], list[Any]]:
        """Leaves that are lent, and others."""
        written = self._after.num_leaves
        lent, kept = leaves[:written], leaves[written:]
        for n in self._held:
            kept.append(lent.pop(n))
        return lent, kept

    def _is_exclusive(self, leaves: list[Any], arguments: list[Any]) -> bool:
        """Whether it is known without looking at memory that nothing shares the buffers of what is lent.

        What a program returns shares nothing with what was there before. So it takes an array that
        has come since, and it shares memory only with one of its own shape and dtype.
        """
        if len(self._last) != len(leaves):
            return False
        come = itertools.compress(leaves, map(operator.is_not, leaves, self._last))
        return not any(
            isinstance(leaf, jax.Array)
            # A random key shares memory with the numbers that it is made of.
            and (
                (leaf.shape, leaf.dtype) in self._lent_kinds or not isinstance(leaf.dtype, np.dtype)
            )
            for leaf in (*come, *arguments)
        )

    def lower(self, arguments: list[Any]) -> jax.stages.Lowered:
        return self._run.lower(*self._split(self._leaves()), arguments)

    def _flat(self, lent: list[Any], kept: list[Any], arguments: list[Any]) -> Any:
        leaves = lent + kept
        if [*map(_kind, leaves)] != self._kinds:
            raise _Stale
        states = [
            leaf
            for _, leaf in sorted(zip(self._taken, leaves, strict=True), key=operator.itemgetter(0))
        ]
        outs = jax.core.eval_jaxpr(  # pyright: ignore
            self._jaxpr.jaxpr, self._jaxpr.consts, *arguments, *states
        )
        return jax.tree.map(outs.__getitem__, self._out), [outs[b] for b in self._changed]


def _kind(leaf: Any) -> Any:
    return np.shape(leaf), jax.dtypes.result_type(leaf)


def _signature_of(leaf: Any) -> Any:
    if isinstance(leaf, jax.Array):
        return leaf.aval
    if isinstance(leaf, (np.ndarray, np.generic)):
        return leaf.shape, leaf.dtype
    known = (bool, int, float, complex, brainstate.State)  # a State is refused while tracing
    if not isinstance(leaf, known) and not hasattr(leaf, "__jax_array__"):
        raise TypeError(
            f"An argument is a {type(leaf).__name__}, not an array. Compile a method as lrax.jit(obj.method), "
            "or make the object static: lrax.jit(fn, static_argnums=...)."
        )
    return type(leaf)


def _buffers(leaf: jax.Array) -> set[Any]:
    """What tells two arrays apart that share memory: where it is, on each device of this process."""
    try:
        return {
            (shard.device.id, shard.data.unsafe_buffer_pointer())
            for shard in leaf.addressable_shards
        }
    except (ValueError, RuntimeError, NotImplementedError):
        return {id(leaf)}


def _exclusive(lent: list[Any], others: list[Any]) -> list[Any]:
    """`lent`, which will be donated, with copies of the arrays that appear twice or in `others`."""
    try:
        buffers = [
            leaf.unsafe_buffer_pointer() for leaf in lent + others if isinstance(leaf, jax.Array)
        ]
        if len(set(buffers)) == len(buffers):
            return lent
    except (ValueError, RuntimeError, NotImplementedError):
        pass  # one is gone, or on many devices
    taken: set[Any] = set()
    for leaf in others:
        if isinstance(leaf, jax.Array) and not leaf.is_deleted():
            taken |= _buffers(leaf)
    own: list[Any] = []
    for leaf in lent:
        if isinstance(leaf, jax.Array) and not leaf.is_deleted():
            buffers = _buffers(leaf)
            leaf = jnp.copy(leaf) if buffers & taken else leaf
            taken |= buffers
        own.append(leaf)
    return own


def jit(
    fn: Callable[..., Any] | None = None,
    *,
    static_argnums: int | Sequence[int] = (),
    static_argnames: str | Sequence[str] = (),
    donate: bool = True,
) -> Any:
    """Compile a function that reads and writes States, as ``brainstate.transform.jit`` does, and donate the States it writes.

    The buffers of the written States are reused for their new values, so that a training step needs
    no second copy of weights and moments, and a call costs little more than one of ``jax.jit``. Inside
    another transformation it is ``brainstate.transform.jit``.

    Parameters
    ----------
    fn : callable
        The function. None: ``jit(donate=False)`` is a decorator.
    static_argnums, static_argnames : int or str, or a sequence of them
        Arguments that are constants; every new value is compiled for.
    donate : bool
        Give up the old buffers of the States that are written. An array that you took out of such a
        State before the call (``w = weight.value``) is gone after it; copy it, or pass False. Clocks
        and learning rates are a few bytes that people log, and stay.

    Raises
    ------
    ValueError
        If a State is an argument or a return value, a static argument is not hashable, or one that
        the function does not have is said to be static.

    Examples
    --------
    >>> import brainstate, lrax
    >>> import jax.numpy as jnp
    >>> count = brainstate.State(jnp.zeros(()))
    >>> @lrax.jit
    ... def add(x):
    ...     count.value = count.value + x
    ...     return 2 * count.value
    >>> float(add(1.0)), float(add(1.0))
    (2.0, 4.0)
    """
    if fn is None:
        return functools.partial(
            jit, static_argnums=static_argnums, static_argnames=static_argnames, donate=donate
        )
    if not callable(fn):
        raise TypeError(f"fn must be a function, got {fn!r}.")
    donate = _checks.flag("donate", donate)
    one = not isinstance(static_argnums, (list, tuple))
    numbers = _checks.sequence(
        "static_argnums", [static_argnums] if one else static_argnums, _checks.integer, of="numbers"
    )
    names = (static_argnames,) if isinstance(static_argnames, str) else static_argnames
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        raise TypeError(
            f"static_argnames must be a str or a list of them, got {static_argnames!r}."
        )
    names = tuple(names)
    numbers, names = _both_ways(fn, numbers, names)
    nested = brainstate.transform.jit(fn, static_argnums=numbers, static_argnames=names)
    programs: dict[Any, list[_Program]] = {}

    def prepare(args: Any, kwargs: Any) -> tuple[list[_Program], list[Any], Callable[[], _Program]]:
        """Programs for arguments of this kind, the arguments as a flat list, and how to trace one more."""
        fixed: tuple[Any, ...] = ()
        kinds: tuple[type, ...] = ()
        bound = fn
        if numbers or names:
            fixed = (*((i, args[i]) for i in numbers if i < len(args)),)
            fixed += (*((name, kwargs[name]) for name in names if name in kwargs),)
            kinds = tuple(type(value) for _, value in fixed)  # 1 == 1.0 == True
            bound = _bind(fn, dict(fixed))
            args = tuple(arg for i, arg in enumerate(args) if i not in numbers)
            kwargs = {name: value for name, value in kwargs.items() if name not in names}
        leaves, structure = jax.tree.flatten((args, kwargs))
        key = (structure, fixed, kinds, jax.config.jax_enable_x64, *map(_signature_of, leaves))  # pyright: ignore
        try:
            known = programs.setdefault(key, [])
        except TypeError:
            raise ValueError(f"Static arguments must be hashable, got {fixed!r}.") from None
        return known, leaves, lambda: _Program(bound, donate, args, kwargs)

    def run(args: Any, kwargs: Any) -> Any:
        if tracing() or jax.config.jax_disable_jit:  # pyright: ignore[reportAttributeAccessIssue]
            return nested(*args, **kwargs)
        known, leaves, trace = prepare(args, kwargs)
        for i, program in enumerate(known):
            try:
                out = program(leaves)
            except _Stale:
                continue
            if i:
                known.insert(0, known.pop(i))
            return out
        program = trace()
        out = program(leaves)
        known.insert(0, program)
        return out

    @functools.wraps(fn)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return run(args, kwargs)
        except (RuntimeError, ValueError) as error:
            if _is_about_a_gone_array(error):
                raise RuntimeError(
                    "An array in a State, among the arguments or in the function is gone: an earlier call gave its memory to a "
                    "new value. Copy arrays that you take out of a State, or use lrax.jit(fn, donate=False)."
                ) from error
            raise

    def lower(*args: Any, **kwargs: Any) -> jax.stages.Lowered:
        _, leaves, trace = prepare(args, kwargs)
        return trace().lower(leaves)

    call.lower = lower  # type: ignore[attr-defined]
    call.clear_cache = programs.clear  # type: ignore[attr-defined]
    return call


def _both_ways(
    fn: Callable[..., Any], numbers: tuple[int, ...], names: tuple[str, ...]
) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Static arguments by position and by name, whichever way they were given."""
    try:
        found = inspect.signature(fn).parameters
    except (TypeError, ValueError):
        return numbers, names
    parameters, kinds = list(found), {p.kind for p in found.values()}
    if inspect.Parameter.VAR_KEYWORD not in kinds and not {*names} <= {*parameters}:
        raise ValueError(
            f"static_argnames must name arguments of the function, {parameters}, got {list(names)}."
        )
    if inspect.Parameter.VAR_POSITIONAL not in kinds and max(numbers, default=-1) >= len(
        parameters
    ):
        raise ValueError(
            f"static_argnums must be less than the number of arguments, {len(parameters)}, got {list(numbers)}."
        )
    all_names = {*names, *(parameters[i] for i in numbers if i < len(parameters))}
    all_numbers = {*numbers, *(parameters.index(name) for name in names if name in parameters)}
    return tuple(sorted(all_numbers)), tuple(sorted(all_names))


def _bind(fn: Callable[..., Any], fixed: dict[Any, Any]) -> Callable[..., Any]:
    """`fn` with some arguments fixed, by position (int keys) or by name."""

    def bound(*args: Any, **kwargs: Any) -> Any:
        rest = iter(args)
        count = len(args) + sum(isinstance(key, int) for key in fixed)
        positional = [fixed[i] if i in fixed else next(rest) for i in range(count)]
        return fn(*positional, **{k: v for k, v in fixed.items() if isinstance(k, str)}, **kwargs)

    return bound
