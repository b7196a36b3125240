"""Learning rates out of formulas: float64 arithmetic, rounded to float32 once."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .arithmetic import HOST, LARGEST, SMALLEST, Traced, Vector, wide
from .formula import Formula


def evaluate(
    formulas: Sequence[Formula], bases: Sequence[Any], epoch: Any, *, concrete: bool
) -> Any:
    """Learning rates at `epoch` (a checked scalar or array), float32, shape ``epoch.shape + (groups,)``.

    NumPy for epochs on the host, jax for jax arrays, tracers and traced hyper-parameters (which
    `concrete` denies).
    """
    if concrete and not isinstance(epoch, jax.Array):
        if isinstance(epoch, np.ndarray) and epoch.ndim:
            return evaluate_vector(formulas, bases, epoch)
        number = epoch.item() if isinstance(epoch, (np.generic, np.ndarray)) else epoch
        return evaluate_host(formulas, bases, number)
    return evaluate_traced(formulas, bases, epoch)


def _round(module: Any, x: Any, value: Any) -> Any:
    clipped = x.where(value >= SMALLEST, x.minimum(value, LARGEST), 0.0)
    return module.asarray(clipped).astype(np.float32)


_FLOAT32 = np.dtype(np.float32)  # np.empty takes it in a third less time than the class


def evaluate_host(formulas: Sequence[Any], bases: Sequence[float], t: float) -> np.ndarray:
    """Learning rates of all groups at one epoch, from Python numbers: float32, shape (groups,)."""
    groups = len(bases)
    values = np.empty(groups, _FLOAT32)
    if len(formulas) == 1 and (groups == 1 or bases.count(bases[0]) == groups):  # as mostly
        value = formulas[0].raw(t, bases[0], HOST)
        values[0] = value if SMALLEST <= value <= LARGEST else _clip(value)
        if groups > 1:
            values.fill(values[0])
        return values
    last = len(formulas) - 1
    for group, base in enumerate(bases):
        values[group] = _clip(formulas[min(group, last)].raw(t, base, HOST))
    return values


def _clip(value: float) -> float:
    """A float64 that NumPy rounds to float32 as :func:`_round` does."""
    return value if SMALLEST <= value <= LARGEST else LARGEST if value > LARGEST else 0.0


def evaluate_vector(formulas: Sequence[Any], bases: Sequence[float], t: np.ndarray) -> np.ndarray:
    """The same for a NumPy array of epochs: float32, shape ``t.shape + (groups,)``."""
    x = Vector(t.dtype.kind in "iu")
    with np.errstate(over="ignore"):  # in a branch that is not taken
        return _evaluate_array(np, x, formulas, bases, t.astype(np.float64))


def evaluate_traced(formulas: Sequence[Any], bases: Sequence[Any], t: Any) -> jax.Array:
    """The same for a jax array or tracer, or for traced hyper-parameters."""
    with wide():
        t = jnp.asarray(t)
        x = Traced(jnp.issubdtype(t.dtype, jnp.integer))
        formulas = [map_leaves(x.number, formula) for formula in formulas]
        return _evaluate_array(jnp, x, formulas, bases, jnp.maximum(t.astype(x.dtype), 0))


def traced_integers(formula: Any, function: Callable[..., Any], t: Any) -> Any:
    """``function(formula, t, x)``, whole numbers, as int32."""
    with wide():
        x = Traced(True)
        values = function(map_leaves(x.number, formula), jnp.asarray(t).astype(x.dtype), x)
        return jax.tree.map(lambda v: jnp.asarray(v).astype(np.int32), values)


def map_leaves(function: Callable[[Any], Any], tree: Any) -> Any:
    """`tree` (a formula, or a tuple) with `function` applied to all that it is made of."""
    if isinstance(tree, tuple):
        return tuple(map_leaves(function, entry) for entry in tree)
    if dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        fields = {
            f.name: map_leaves(function, getattr(tree, f.name)) for f in dataclasses.fields(tree)
        }
        return dataclasses.replace(tree, **fields)
    return function(tree)


def is_concrete(tree: Any) -> bool:
    """Whether `tree` holds no jax arrays."""
    found: list[Any] = []
    map_leaves(found.append, tree)
    return not any(isinstance(leaf, jax.Array) for leaf in found)


def _evaluate_array(
    module: Any, x: Any, formulas: Sequence[Any], bases: Sequence[Any], t: Any
) -> Any:
    """One formula serves all groups at once; formulas that differ by group run one after the other."""
    if len(formulas) == 1 and len(bases) > 1:
        value = formulas[0].raw(t[..., None], x.array(tuple(bases)), x)
        return module.broadcast_to(_round(module, x, value), (*t.shape, len(bases)))
    columns = []
    for group, base in enumerate(bases):
        value = formulas[min(group, len(formulas) - 1)].raw(t, x.array(base), x)
        columns.append(module.broadcast_to(_round(module, x, value), t.shape))
    return module.stack(columns, axis=-1)
