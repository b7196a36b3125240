"""State dicts: nested dicts as in ``formulas/description.py``, with arrays among the leaves, and strict loading."""

import inspect
import sys
import warnings
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._checks import host_number, is_known, refuse_traced
from .._transfers import fetched, meant
from .._types import Leaf, Plain, PyTree, StateDict, Unchecked
from .placement import is_key, key_numbers, place, strong

VERSION = 1


def single(name: str, value: Unchecked) -> Any:
    """A count, of which the States of a single training hold one."""
    if np.ndim(value):
        raise ValueError(
            f"{name} must be one number for a state dict, but has the shape {np.shape(value)} of many trainings. "
            "Save and restore the values of brainstate.graph.states(...) instead."
        )
    refuse_traced(name, value)
    return fetched(value).item()


def unwrap(tree: Unchecked) -> Plain:
    """A dict with Python numbers in place of arrays of one number, and str keys."""
    if isinstance(tree, list):
        return [unwrap(value) for value in tree]
    if isinstance(tree, dict):
        return {str(key): unwrap(value) for key, value in tree.items()}
    if not isinstance(tree, (np.generic, np.ndarray, jax.Array)):
        return tree
    if tree.shape == () and tree.dtype == np.bool_:
        return bool(tree)
    found = host_number(tree)
    # Out of a file that keeps nothing but floats.
    whole = isinstance(found, float) and found.is_integer() and abs(found) <= 2**53
    return int(found) if whole else found


def entries(value: Unchecked) -> Plain:
    """The dict that a list was saved as, where whoever read the file has made a list of it again."""
    return {str(i): entry for i, entry in enumerate(value)} if isinstance(value, list) else value


def check_dict(where: str, found: Unchecked) -> dict[str, Any]:
    """`found`, which must be a dict."""
    if not isinstance(found, dict):
        raise ValueError(f"{where} must be a dict, got {type(found).__name__}.")
    return found


def check_keys(where: str, found: Unchecked, expected: Iterable[str]) -> None:
    """`found` must be a dict with exactly the keys of `expected`."""
    found, expected = check_dict(where, found), set(expected)
    missing, unknown = sorted(expected - set(found)), sorted(set(found) - expected, key=repr)
    if missing or unknown:
        parts = [
            f"{what} {keys}"
            for what, keys in (("lacks", missing), ("has unknown keys", unknown))
            if keys
        ]
        raise ValueError(
            f"{where} {' and '.join(parts)}. Was it written by another class or for other parameter groups?"
        )


def check_version(where: str, found: Unchecked) -> None:
    if not isinstance(found, dict) or "version" not in found:
        remedy = ""
        if isinstance(found, dict) and "_step_count" in found:
            remedy = (
                " Load one of torch there: lrax.interop.from_torch(scheduler) goes on where it is."
            )
        elif isinstance(found, dict) and "param_groups" in found:
            remedy = " One of a torch optimizer cannot be loaded, as it numbers its weights."
        raise ValueError(
            f"{where} must be a dict with a version, as state_dict() returns it, got {found!r:.80}.{remedy}"
        )
    version = unwrap(found["version"])
    if type(version) is not int or version != VERSION:
        raise ValueError(
            f"{where} has version {version!r}; this lrax reads version {VERSION}. Use the lrax that wrote it."
        )


def check_number(
    where: str,
    value: Unchecked,
    *,
    low: float = -float("inf"),
    high: float = float("inf"),
    whole: bool = False,
) -> Plain:
    """A number in ``[low, high]``; NaN is none."""
    kinds = (int,) if whole else (int, float)
    fits = isinstance(value, kinds) and low <= value <= high
    too_large = isinstance(value, int) and abs(value) > sys.float_info.max
    if isinstance(value, bool) or not fits or too_large:
        kind = "whole number" if whole else "number"
        raise ValueError(f"{where} must be a {kind} from {low:g} to {high:g}, got {value!r}.")
    return value


def warn(message: str) -> None:
    """Warn of something in a user's program: at the line that called lrax, however deep it is noticed."""
    level, package = 1, __name__.partition(".")[0]
    frame = inspect.currentframe()
    while frame and frame.f_globals.get("__name__", "").partition(".")[0] == package:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, stacklevel=level)


def plain_key(key: Any) -> Any:
    """The dict key, index or attribute name in a jax key path entry."""
    for attribute in ("key", "idx", "name"):
        if hasattr(key, attribute):
            return getattr(key, attribute)
    return key


def nested(tree: PyTree) -> StateDict:
    """The leaves of any pytree in nested dicts with str keys."""
    nested: dict[str, Any] = {}
    for keys, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        *parents, last = (str(plain_key(key)) for key in keys)
        place = nested
        for key in parents:
            place = place.setdefault(key, {})
        place[last] = leaf
    return nested


def copied(leaf: Leaf) -> Leaf:
    """Another array with the same numbers, or another key; not weakly typed, which no step would give back."""
    numbers = key_numbers(leaf)
    return _like(jnp.array(numbers, jnp.result_type(numbers)), leaf)


def _like(numbers: Leaf, old: Leaf) -> Leaf:
    """What :func:`key_numbers` was given, if it was like `old`."""
    if not is_key(old):
        return numbers
    return jax.random.wrap_key_data(numbers, impl=jax.random.key_impl(old))


def saved_leaves(tree: PyTree) -> StateDict:
    """The leaves of a pytree for a state dict: copies, since a donating step would take the arrays away."""
    with meant():
        return nested(jax.tree.map(lambda leaf: jnp.copy(key_numbers(leaf)), tree))


def load_leaves(where: str, saved: Unchecked, own: PyTree) -> PyTree:
    """The pytree `own` with the leaves that :func:`saved_leaves` put into `saved`."""
    with meant():
        numbers = _load_numbers(where, saved, jax.tree.map(key_numbers, own))
    return jax.tree.map(_like, numbers, own)


def _load_numbers(where: str, saved: Unchecked, own: PyTree) -> PyTree:
    leaves, structure = jax.tree_util.tree_flatten_with_path(own)
    _check_structure(where, saved, nested(own))
    loaded = []
    for keys, old in leaves:
        name, value = where, saved
        for key in map(str, map(plain_key, keys)):
            name, value = f"{name}.{key}", value[key]
        loaded.append(_loaded(name, value, old))
    return jax.tree.unflatten(structure, loaded)


def _check_structure(where: str, saved: Unchecked, own: PyTree) -> None:
    if isinstance(own, dict):
        check_keys(where, saved, own)
        for key in own:
            _check_structure(f"{where}.{key}", saved[key], own[key])


def _loaded(name: str, value: Unchecked, old: Leaf) -> Leaf:
    """A saved leaf with the dtype and in the place of the old one."""
    dtype = jnp.result_type(old)
    _check_leaf(name, value, np.shape(old), dtype)
    if isinstance(value, jax.Array) and isinstance(old, jax.Array):
        if value.committed == old.committed and (
            not old.committed or value.sharding == old.sharding
        ):
            return jnp.copy(strong(value, dtype))
        if old.committed:
            return jax.device_put(value.astype(dtype), old.sharding)
    return jnp.asarray(place(np.asarray(value, dtype), old))


_KINDS = (np.floating, np.integer, np.complexfloating, np.bool_)


def _check_leaf(name: str, value: Unchecked, shape: tuple[int, ...], dtype: np.dtype) -> None:
    array = isinstance(value, (jax.Array, np.ndarray, np.generic))
    if not (array or isinstance(value, (int, float, complex))) or isinstance(
        value, np.ma.MaskedArray
    ):
        raise ValueError(f"{name} must be an array of shape {shape}, got {value!r:.80}.")
    found = value.dtype if array else np.result_type(type(value))
    alike = all(jnp.issubdtype(found, k) == jnp.issubdtype(dtype, k) for k in _KINDS)
    # Some files do not tell 3.0 from 3.
    alike = alike or (type(value) is int and jnp.issubdtype(dtype, np.floating))
    if np.shape(value) != shape or not alike or found.kind == "m":
        raise ValueError(
            f"{name} must be {dtype} of shape {shape}, got {found} of shape {np.shape(value)}."
        )
    if is_known(value):
        _check_range(name, value, found, dtype)


def _check_range(name: str, value: Unchecked, found: np.dtype, dtype: np.dtype) -> None:
    """Whether all numbers fit into the dtype."""
    if found == dtype:
        return
    if type(value) is int:
        check_number(name, value, low=-(2**63), high=2**63 - 1)
    numbers = np.asarray(value)
    if jnp.issubdtype(dtype, np.integer):
        bounds = jnp.iinfo(dtype)
        for number in (numbers.min(), numbers.max()) if numbers.size else ():
            check_number(name, int(number), low=bounds.min, high=bounds.max, whole=True)
        return
    with np.errstate(over="ignore"):
        lost = np.isfinite(numbers) & ~np.isfinite(numbers.astype(dtype))
    if np.any(lost):
        raise ValueError(f"{name} must fit into {dtype}, got {numbers[lost][0]}.")
