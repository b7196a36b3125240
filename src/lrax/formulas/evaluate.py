"""Learning rates out of formulas: float64 arithmetic, rounded to float32 once."""

import functools
import operator
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from .._checks import is_known
from .._transfers import fetched
from .._types import Leaf, Number, PyTree, Rates, Value
from . import host
from .arithmetic import LARGEST, SMALLEST, Arithmetic, wide
from .formula import Formula, computed_with, replaced
from .hyper import Hyper
from .pieces import MOST
from .schedule import Member, spread
from .traced import Traced
from .vector import Vector

Scales: TypeAlias = tuple[Number, ...] | None
"""By what the learning rate of each group is multiplied; None: by nothing."""


def evaluate(
    formulas: tuple[Formula, ...],
    bases: tuple[Number, ...],
    epoch: Value,
    kind: type,
    concrete: bool | None = None,
    scales: Scales = None,
) -> Rates:
    """Learning rates at `epoch` (a checked scalar or array), float32, shape ``epoch.shape + (groups,)``.

    NumPy for epochs on the host, jax for jax arrays, tracers and traced hyper-parameters, of which
    there are none if it is `concrete`. A number that is known and is no learning rate is refused;
    the error names `kind`. Of traced ones a negative is 0, and NaN stays.
    """
    if concrete is None:
        concrete = is_concrete((formulas, bases, scales))
    if concrete and not isinstance(epoch, jax.Array):
        if isinstance(epoch, np.ndarray) and epoch.ndim:
            return evaluate_vector(formulas, bases, epoch, kind, scales)
        number = epoch.item() if isinstance(epoch, (np.generic, np.ndarray)) else epoch
        return evaluate_host(formulas, bases, number, kind, scales)
    return evaluate_traced(formulas, bases, epoch, kind, scales)


UP = 1 + 2.0**-44
"""A last factor. What is half-way between two float32 in one mode may be 2**-53 beside it in another,
and few digits make many such numbers (0.5 * 16777217). With it all of them are rounded up."""

ONE = np.float32(1)


def only(rates: Rates) -> Rates:
    """The learning rates of the one group there is, a single one as a scalar."""
    if rates.shape[-1] != 1:
        raise ValueError(
            f"scheduler(epoch) gives one learning rate, but there are {rates.shape[-1]} parameter groups. "
            "Use scheduler.lr_at(epoch), which gives one for each."
        )
    found = rates.squeeze(-1)  # unlike an index, it goes to no device
    return found[()] if isinstance(found, np.ndarray) else found


def _round(module: Any, x: Arithmetic, value: Value) -> Rates:
    clipped = x.where(value < SMALLEST, 0.0, x.minimum(value, LARGEST) * UP)  # NaN is passed on
    return module.asarray(clipped).astype(np.float32)


_FLOAT32 = np.dtype(np.float32)  # np.empty takes it in a third less time than the class

_ROUNDING = 1e-12
"""A learning rate that is negative by no more than this share of its base is negative by rounding."""


def _no_rate(kind: type, formula: Formula, value: float, t: float) -> ValueError:
    epoch = int(t) if float(t).is_integer() else t
    return ValueError(
        f"{_subject(formula, kind)} >= 0, got {float(value)} at epoch {epoch}. "
        "Let the function, formula or get_lr() of its schedule return a number >= 0 there, for example max(0.0, value)."
    )


def _check_number(formula: Formula, value: Any, t: Value) -> None:
    if type(value) in (float, int):  # as mostly
        return
    is_real = hasattr(value, "__float__") and not np.iscomplexobj(value)
    if not is_real or np.ndim(value) > np.ndim(t):
        raise TypeError(
            f"raw() of {type(formula).__name__} must return a number, got {value!r:.80} at epoch {t!s:.80}."
        )


def _subject(formula: Formula, kind: type) -> str:
    if isinstance(formula, Hyper):
        return f"{formula.name} must be"
    kind = formula.kind if isinstance(formula, Member) else kind  # pyright: ignore
    return f"{kind.__name__} must have a learning rate"


def evaluate_host(
    formulas: tuple[Formula, ...],
    bases: tuple[float, ...],
    t: float,
    kind: type,
    scales: Scales = None,
) -> np.ndarray:
    """Learning rates of all groups at one epoch, from Python numbers: float32, shape (groups,)."""
    groups, formula, base = len(bases), formulas[0], bases[0]
    values = np.empty(groups, _FLOAT32)
    same = groups == 1 or (len(formulas) == 1 and bases.count(base) == groups)
    if same and scales is None:  # as mostly
        value = formula.raw(t, base, host)
        fits = type(value) is float and SMALLEST <= value <= LARGEST
        value = value * UP if fits else clipped(value, formula, base, t, kind)
        if groups > 1:
            values.fill(value)
        else:
            values[0] = value  # in two thirds of the time
        return values
    value, known = 0.0, None
    for group, formula in enumerate(spread(formulas, groups)):
        base = bases[group]
        if known != (id(formula), base):
            value, known = formula.raw(t, base, host), (id(formula), base)
            _check_number(formula, value, t)
        scaled = value if scales is None else _scaled(host, value, scales[group])
        values[group] = clipped(scaled, formula, base, t, kind)
    return values


def _scaled(x: Arithmetic, value: Value, scale: Value) -> Value:
    return x.minimum(value, MOST) * scale  # infinity times 0 would be NaN


def clipped(value: Any, formula: Formula, base: float, t: float, kind: type) -> float:
    """What a formula has returned at an epoch, as a float64 that NumPy rounds to float32 as :func:`_round` does."""
    _check_number(formula, value, t)
    if value >= SMALLEST:
        return value * UP if value <= LARGEST else LARGEST
    if value >= 0 or value >= -_ROUNDING * base:
        return 0.0
    raise _no_rate(kind, formula, value, t)


def evaluate_vector(
    formulas: tuple[Formula, ...],
    bases: tuple[float, ...],
    t: np.ndarray,
    kind: type,
    scales: Scales = None,
) -> np.ndarray:
    """The same for a NumPy array of epochs: float32, shape ``t.shape + (groups,)``."""
    x = Vector(t.dtype.kind in "iu")
    with np.errstate(over="ignore", under="ignore"):  # in a branch that is not taken
        return _evaluate_array(np, x, formulas, bases, scales, t.astype(np.float64), kind)


def evaluate_traced(
    formulas: tuple[Formula, ...],
    bases: tuple[Number, ...],
    t: Value,
    kind: type,
    scales: Scales = None,
) -> jax.Array:
    """The same for a jax array or tracer, or for traced hyper-parameters."""
    with wide(), np.errstate(over="ignore"):  # in what is known while tracing
        t = jnp.asarray(t)
        x = Traced(jnp.issubdtype(t.dtype, jnp.integer))
        return _evaluate_array(jnp, x, formulas, bases, scales, x.epoch(t), kind)


def traced_numbers(
    formula: Formula, function: Callable[..., PyTree], t: Value, dtype: type
) -> PyTree:
    """``function(formula, t, x)`` in a type of 32 bits."""
    with wide():
        x = Traced(True)
        values = function(map_leaves(x.number, formula), jnp.asarray(t).astype(x.dtype), x)
        return jax.tree.map(lambda v: jnp.asarray(v).astype(dtype), values)


def map_leaves(function: Callable[[Leaf], Leaf], tree: PyTree) -> PyTree:
    """`tree` (a formula, or a tuple) with `function` applied to all that it is made of; itself if nothing changes."""
    if isinstance(tree, tuple):
        entries = tuple(map_leaves(function, entry) for entry in tree)
        return tree if all(map(operator.is_, tree, entries)) else entries
    if isinstance(tree, Formula):
        changed = {k: (v, map_leaves(function, v)) for k, v in computed_with(tree)}
        changed = {k: new for k, (old, new) in changed.items() if new is not old}
        return replaced(tree, **changed) if changed else tree
    return function(tree)


def is_concrete(tree: PyTree) -> bool:
    """Whether `tree` holds no jax arrays."""
    left = [tree]
    while left:  # no recursion, which would end Python's where schedules are nested deeply
        entry = left.pop()
        if isinstance(entry, tuple):
            left.extend(entry)
        elif isinstance(entry, Formula):
            left.extend(value for _, value in computed_with(entry))
        elif isinstance(entry, jax.Array):
            return False
    return True


def _evaluate_array(
    module: Any,
    x: Vector | Traced,
    formulas: tuple[Formula, ...],
    bases: tuple[Number, ...],
    scales: Scales,
    t: Value,
    kind: type,
) -> Rates:
    """A formula that serves several groups in a row does so for all of them at once."""

    def rates(formula: Formula, place: int | slice, t: Value) -> Rates:
        base = x.array(bases[place])
        value = known(formula).raw(t, base, x)
        _check_number(formula, value, t)
        if scales is not None:
            value = _scaled(x, value, x.array(scales[place]))
        _refuse_no_rates(kind, formula, value, base, t)
        shape = (*t.shape[:-1], len(base)) if base.ndim else t.shape
        return module.broadcast_to(_round(module, x, value), shape)

    known = functools.partial(map_leaves, x.number) if isinstance(x, Traced) else lambda f: f
    runs = list(_runs(spread(formulas, len(bases))))
    if len(runs) == len(bases):
        return side_by_side(module, [rates(f, place.start, t) for f, place in runs])
    parts = [rates(formula, place, t[..., None]) for formula, place in runs]
    return parts[0] if len(parts) == 1 else module.concatenate(parts, axis=-1)


def side_by_side(module: Any, rates: Iterable[Rates]) -> Rates:
    """The learning rates of each group, in a last axis; stack would put that in front of the one of vmap."""
    return module.concatenate([module.asarray(rate)[..., None] for rate in rates], axis=-1)


def _runs(formulas: tuple[Formula, ...]) -> Iterator[tuple[Formula, slice]]:
    """Each formula with the groups, in a row, that it serves."""
    start = 0
    for i, formula in enumerate(formulas, start=1):
        if i == len(formulas) or formulas[i] is not formula:
            yield formula, slice(start, i)
            start = i


def _refuse_no_rates(kind: type, formula: Formula, value: Value, base: Value, t: Value) -> None:
    """Raise for the first value that is no learning rate, where this process knows them all."""
    if not all(map(is_known, (value, base, t))):
        return
    value, base, t = map(fetched, (value, base, t))
    good = value >= -_ROUNDING * base
    if not good.all():
        good, value, t = np.broadcast_arrays(good, value, t)
        first = np.unravel_index(good.argmin(), good.shape)
        raise _no_rate(kind, formula, value[first], t[first])
