"""A jit for functions that use States: donates what it writes, and costs what ``jax.jit`` costs."""

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import brainstate
import jax
import jax.numpy as jnp
import numpy as np

from . import _checks
from ._state import read_all, tracing, write_all

F = TypeVar("F", bound=Callable[..., Any])


class _Stale(Exception):
    """A State has another shape than when the function was traced."""


class _Program:
    """The function, traced for one signature of its arguments and compiled on flat lists of arrays."""

    def __init__(self, fn: Callable[..., Any], donate: bool, args: Any, kwargs: Any) -> None:
        stateful = brainstate.transform.StatefulFunction(fn, name="jit")
        self._jaxpr = stateful.get_jaxpr(*args, **kwargs)
        self._out_tree = stateful.get_out_treedef(*args, **kwargs)
        trace = stateful.get_state_trace(*args, **kwargs)
        self._is_written = list(trace.been_writen)
        pairs = list(zip(trace.states, self._is_written, strict=True))
        self._written = [state for state, written in pairs if written]
        self._read = [state for state, written in pairs if not written]
        leaves, self._written_tree = jax.tree.flatten(read_all(self._written))
        more, self._read_tree = jax.tree.flatten(read_all(self._read))
        self._avals = [_aval(leaf) for leaf in leaves + more]
        self._donate = donate
        self._run = jax.jit(self._flat, donate_argnums=(0,) if donate else ())

    def __call__(self, arguments: list[Any]) -> Any:
        written, written_tree = jax.tree.flatten(read_all(self._written))
        read, read_tree = jax.tree.flatten(read_all(self._read))
        if written_tree != self._written_tree or read_tree != self._read_tree:
            raise _Stale
        if self._donate:
            written = _exclusive(written, read + arguments)
        try:
            out, new = self._run(written, read, arguments)
        except (RuntimeError, ValueError) as error:
            leaves = (leaf for leaf in written + read + arguments if isinstance(leaf, jax.Array))
            if any(leaf.is_deleted() for leaf in leaves):
                raise RuntimeError(
                    "An array in a State or among the arguments is gone: an earlier call gave its memory to a new value. "
                    "Copy arrays that you take out of a State, or use lrax.jit(fn, donate=False)."
                ) from error
            raise
        write_all(self._written, written_tree.unflatten(new))
        return out

    def lower(self, arguments: list[Any]) -> jax.stages.Lowered:
        written, read = (
            jax.tree.leaves(read_all(self._written)),
            jax.tree.leaves(read_all(self._read)),
        )
        return self._run.lower(written, read, arguments)

    def _flat(self, written: list[Any], read: list[Any], arguments: list[Any]) -> Any:
        if [_aval(leaf) for leaf in written + read] != self._avals:
            raise _Stale
        new, old = self._written_tree.unflatten(written), self._read_tree.unflatten(read)
        values = [(new if w else old).pop(0) for w in self._is_written]
        leaves = [*arguments, *jax.tree.leaves(values)]
        outs = jax.core.eval_jaxpr(self._jaxpr.jaxpr, self._jaxpr.consts, *leaves)  # pyright: ignore
        out, states = jax.tree.unflatten(self._out_tree, outs)
        pairs = zip(states, self._is_written, strict=True)
        return out, jax.tree.leaves([value for value, w in pairs if w])


def _aval(leaf: Any) -> Any:
    return np.shape(leaf), jnp.result_type(leaf)


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


def _buffer(leaf: jax.Array) -> int:
    """What tells two arrays apart that share their memory; arrays on many devices go by identity."""
    try:
        return leaf.unsafe_buffer_pointer()
    except (ValueError, RuntimeError, NotImplementedError):
        return id(leaf)


def _exclusive(written: list[Any], others: list[Any]) -> list[Any]:
    """`written`, which will be donated, with copies of the arrays that appear twice or in `others`."""
    taken = {
        _buffer(leaf) for leaf in others if isinstance(leaf, jax.Array) and not leaf.is_deleted()
    }
    own: list[Any] = []
    for leaf in written:
        if isinstance(leaf, jax.Array) and not leaf.is_deleted():
            buffer = _buffer(leaf)
            leaf = jnp.copy(leaf) if buffer in taken else leaf
            taken.add(buffer)
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
    no second copy of weights and moments, and the cost per call is that of ``jax.jit``. Inside
    another transformation it is ``brainstate.transform.jit``.

    Parameters
    ----------
    fn : callable
        The function. None: ``jit(donate=False)`` is a decorator.
    static_argnums, static_argnames : int or str, or a sequence of them
        Arguments that are constants; every new value is compiled for.
    donate : bool
        Give up the old buffers of the States that are written. An array that you took out of such a
        State before the call (``w = weight.value``) is gone after it; copy it, or pass False.

    Raises
    ------
    ValueError
        If a State is an argument or a return value, or a static argument is not hashable.

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
        bound = fn
        if numbers or names:
            fixed = (*((i, args[i]) for i in numbers if i < len(args)),)
            fixed += (*((name, kwargs[name]) for name in names if name in kwargs),)
            bound = _bind(fn, dict(fixed))
            args = tuple(arg for i, arg in enumerate(args) if i not in numbers)
            kwargs = {name: value for name, value in kwargs.items() if name not in names}
        leaves, structure = jax.tree.flatten((args, kwargs))
        key = (structure, fixed, jax.config.jax_enable_x64, *map(_signature_of, leaves))  # pyright: ignore
        try:
            known = programs.setdefault(key, [])
        except TypeError:
            raise ValueError(f"Static arguments must be hashable, got {fixed!r}.") from None
        return known, leaves, lambda: _Program(bound, donate, args, kwargs)

    @functools.wraps(fn)
    def call(*args: Any, **kwargs: Any) -> Any:
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
        parameters = list(inspect.signature(fn).parameters)
    except (TypeError, ValueError):
        return numbers, names
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
