"""A jit for functions that use States: donates what it writes, and costs little more than ``jax.jit``."""

import functools
import inspect
import itertools
from collections.abc import Callable, Hashable, Sequence
from typing import Any, TypeAlias, TypeVar

import brainstate
import jax
import numpy as np
from brainstate.graph import Node

from .. import _checks
from .._types import Function, Leaf, PyTree
from ..states.internals import configuration, looks_for_nans, tracing
from .program import Program, Stale, is_about_a_gone_array
from .turns import turn

T = TypeVar("T")

_Table: TypeAlias = dict[Hashable, list[Function]]
"""The calls of the programs for each kind of arguments."""


_NUMBERS = (bool, int, float, complex)


def _is_value(leaf: Leaf) -> bool:
    return isinstance(leaf, (jax.Array, np.ndarray, np.generic, *_NUMBERS))


def _signature_of(leaf: Leaf) -> Hashable:
    """The same for what is one kind of argument to jax, whatever holds it."""
    if isinstance(leaf, (np.ndarray, np.generic)):
        return leaf.shape, jax.dtypes.canonicalize_dtype(leaf.dtype), False, None
    if isinstance(leaf, (jax.Array, *_NUMBERS)):
        aval = leaf.aval if isinstance(leaf, jax.Array) else jax.typeof(leaf)
        spread = None if aval.sharding.mesh.empty else aval.sharding
        return aval.shape, aval.dtype, aval.weak_type, spread
    # A State is refused while tracing.
    if not isinstance(leaf, brainstate.State) and not hasattr(leaf, "__jax_array__"):
        raise TypeError(
            f"An argument is a {type(leaf).__name__}, not an array. Pass numbers as np.asarray(x), compile a method as "
            "lrax.jit(obj.method), or make an object static: lrax.jit(fn, static_argnums=...)."
        )
    return type(leaf)


def jit(
    fn: Function | None = None,
    *,
    static_argnums: int | Sequence[int] = (),
    static_argnames: str | Sequence[str] = (),
    donate: bool = True,
) -> Function:
    """Compile a function that reads and writes States, as ``brainstate.transform.jit`` does, and donate the States it writes.

    The buffers of the written States are reused for their new values, so that a training step needs
    no second copy of weights and moments, and a call costs little more than one of ``jax.jit``. It is
    traced anew for what ``jax.jit`` is: other arguments, other settings of jax. Calls from several
    threads take turns, so a callback must not wait for another thread's. Inside another transformation
    it is ``brainstate.transform.jit``. Under ``jax.transfer_guard`` numbers that States hold on the
    host, as after a ``step()`` there, are put on the device explicitly; those among the arguments are
    yours to put. What States held after its last call stays in memory until the next one.

    Parameters
    ----------
    fn : callable
        The function. None: ``jit(donate=False)`` is a decorator.
    static_argnums, static_argnames : int or str, or a sequence of them
        Arguments that are constants; every new value is compiled for.
    donate : bool
        Give up the old buffers of the States that are written. An array that anything else refers to
        (``w = weight.value``, a clone, a view of NumPy) is copied first and stays; another array on the
        same memory (``jax.device_put(w, its_device)``) is gone. A call that fails or is interrupted
        while XLA runs may lose the values, and says so; with False it cannot. On a GPU, and on several
        devices, it returns before it fails: reading the States then raises. While a call runs,
        callbacks, signal handlers and other threads must not read what it writes. On a CPU all this
        does not go for clocks and learning rates, which are not given up.

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
    numbers, names = _static(fn, static_argnums, static_argnames)
    programs = _Programs(fn, numbers, names, _checks.flag("donate", donate))

    @functools.wraps(fn)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            if (only := programs.only) is not None:
                try:
                    with turn.lock:
                        return only(args, kwargs, True)
                except Stale:
                    pass  # it is not made for this call
                except TypeError:
                    if all(map(_is_value, jax.tree.leaves((args, kwargs)))):
                        raise  # as what a State refuses to keep: the function has been called
            return programs.run(args, kwargs)
        except (RuntimeError, ValueError) as error:
            if is_about_a_gone_array(error):
                raise RuntimeError(
                    "An array in a State, among the arguments or in the function is gone: it was deleted, or a call gave memory "
                    "that it shared to a new value. Copy such an array with jnp.copy, or use lrax.jit(fn, donate=False)."
                ) from error
            raise

    call.lower = programs.lower  # type: ignore[attr-defined]
    call.clear_cache = programs.clear  # type: ignore[attr-defined]
    return call


def _settings() -> Hashable:
    """What a program depends on beside its arguments: how jax is set."""
    return configuration(), looks_for_nans()


def _own(value: Any) -> Hashable:
    """1 == 1.0 == True; and schedulers are equal whatever their clocks show, but each has its own."""
    if isinstance(value, tuple):
        return type(value), *map(_own, value)
    return type(value), id(value) if isinstance(value, (Node, brainstate.State)) else value


class _Fixed:
    """A static argument: equal to one for which a program is the same."""

    def __init__(self, place: int | str, value: Any) -> None:
        self.value = value
        self._key = place, _own(value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Fixed) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)


def _at(
    table: dict[Hashable, T], key: Hashable, fixed: Sequence[_Fixed], make: Callable[[], T]
) -> T:
    """What a table has for a key, of which the static arguments are a part; made the first time."""
    try:
        found = table.get(key)
    except TypeError:
        values = [argument.value for argument in fixed]
        raise ValueError(f"Static arguments must be hashable, got {values!r:.200}.") from None
    if found is None:
        found = table[key] = make()
    return found


class _Programs:
    """The programs of a function, some for each kind of arguments."""

    def __init__(
        self,
        fn: Function,
        numbers: tuple[int, ...],
        names: tuple[str, ...],
        donate: bool,
    ) -> None:
        self.fn, self.numbers, self.names, self.donate = fn, numbers, names, donate
        self._known: dict[Hashable, _Table] = {}
        self._current: tuple[Hashable, _Table] = (None, {})
        self.only: Function | None = None
        """The call of the one program there is, which finds out by itself whether it is made for it."""
        self._nested: dict[Hashable, Function] = {}

    def run(self, args: PyTree, kwargs: PyTree) -> PyTree:
        if tracing():
            return self._run_nested(args, kwargs)
        settings, table = self._current
        if _settings() != settings:
            table = self._other_table()
        if table is None:
            return self._run_nested(args, kwargs)
        with turn.lock:
            known, arguments, trace = self._prepare(table, args, kwargs)
            for i, program in enumerate(known):
                try:
                    out = program(*arguments)
                except Stale:
                    continue
                if i:
                    known.insert(0, known.pop(i))
                return out
            program = trace().caller()
            try:
                out = program(*arguments)
            except Stale:
                raise TypeError(
                    "A State of the function gives other values than it keeps, as with a _read_value of its own that has another "
                    "shape or dtype. lrax.jit takes what is kept: convert it in the function."
                ) from None
            known.insert(0, program)
            lasts = not looks_for_nans() and self._is_only(program)
            self.only = program if lasts else None
            return out

    def _run_nested(self, args: PyTree, kwargs: PyTree) -> PyTree:
        """As a part of another program, or of none."""
        fixed, bound, args, kwargs = self._bound(args, kwargs)
        nested = _at(self._nested, fixed, fixed, lambda: brainstate.transform.jit(bound))
        return nested(*args, **kwargs)

    def _is_only(self, program: Function) -> bool:
        """Whether a call that it is not made for is told by its arguments, or by how jax is set."""
        tables = self._known.values()
        found = [known for table in tables for programs in table.values() for known in programs]
        return found == [program] and not (self.numbers or self.names)

    def lower(self, *args: Any, **kwargs: Any) -> jax.stages.Lowered:
        """The program for such arguments, before it is compiled."""
        with turn.lock:
            _, bound, *arguments = self._bound(args, kwargs)
            return self._traced(bound, *arguments).lower(*arguments)

    def clear(self) -> None:
        self._known, self._current, self._nested, self.only = {}, (None, {}), {}, None

    def _other_table(self) -> _Table | None:
        """The programs for what jax is set to now; None if it is not to compile."""
        if jax.config.jax_disable_jit:  # pyright: ignore[reportAttributeAccessIssue]
            return None
        settings = _settings()
        table = self._known.setdefault(settings, {})
        self._current = settings, table
        return table

    def _prepare(
        self, table: _Table, args: PyTree, kwargs: PyTree
    ) -> tuple[list[Function], tuple[PyTree, PyTree], Callable[[], Program]]:
        """Programs for arguments of this kind, the arguments that are not static, and how to trace one more."""
        fixed, bound, args, kwargs = self._bound(args, kwargs)
        leaves, structure = jax.tree.flatten((args, kwargs))
        key = (structure, fixed, *map(_signature_of, leaves))
        known = _at(table, key, fixed, list)
        return known, (args, kwargs), lambda: self._traced(bound, args, kwargs)

    def _traced(self, bound: Function, args: PyTree, kwargs: PyTree) -> Program:
        # Where jax finds a NaN, it runs the program again, on the same arrays.
        return Program(bound, self.donate and not looks_for_nans(), args, kwargs)

    def _bound(
        self, args: PyTree, kwargs: PyTree
    ) -> tuple[tuple["_Fixed", ...], Function, PyTree, PyTree]:
        """The static arguments, the function with them, and the arguments that are left."""
        if not (self.numbers or self.names):
            return (), self.fn, args, kwargs
        fixed = {i: args[i] for i in self.numbers if i < len(args)}
        fixed |= {name: kwargs[name] for name in self.names if name in kwargs}
        args = tuple(arg for i, arg in enumerate(args) if i not in fixed)
        kwargs = {name: value for name, value in kwargs.items() if name not in fixed}
        return tuple(itertools.starmap(_Fixed, fixed.items())), _bind(self.fn, fixed), args, kwargs


def _static(
    fn: Function,
    static_argnums: int | Sequence[int],
    static_argnames: str | Sequence[str],
) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """The static arguments, checked, by position and by name."""
    one = not isinstance(static_argnums, (list, tuple))
    numbers = _checks.sequence(
        "static_argnums", [static_argnums] if one else static_argnums, _checks.integer, of="numbers"
    )
    names = (static_argnames,) if isinstance(static_argnames, str) else static_argnames
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        raise TypeError(
            f"static_argnames must be a str or a list of them, got {static_argnames!r}."
        )
    return _both_ways(fn, numbers, tuple(names))


def _both_ways(
    fn: Function, numbers: tuple[int, ...], names: tuple[str, ...]
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


def _bind(fn: Function, fixed: dict[Any, Any]) -> Function:
    """`fn` with some arguments fixed, by position (int keys) or by name."""

    def bound(*args: Any, **kwargs: Any) -> Any:
        rest = iter(args)
        count = len(args) + sum(isinstance(key, int) for key in fixed)
        positional = [fixed[i] if i in fixed else next(rest) for i in range(count)]
        return fn(*positional, **{k: v for k, v in fixed.items() if isinstance(k, str)}, **kwargs)

    return bound
