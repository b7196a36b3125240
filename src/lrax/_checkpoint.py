"""State dicts: plain nested dicts with str keys, numbers and arrays, and strict loading.

No strings among the leaves (orbax takes none) and no lists (msgpack makes dicts of them): names
travel as keys, and lists as dicts from "0" on.
"""

import numbers
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ._checks import is_traced
from .states.placement import is_key, key_numbers, place, strong

VERSION = 1


def plain(name: str, value: Any) -> Any:
    """A hyper-parameter as numbers in nested dicts."""
    if isinstance(value, str):
        return {value: 1}
    if isinstance(value, (list, tuple)) or (
        isinstance(value, (np.ndarray, jax.Array)) and np.ndim(value) == 1
    ):
        return {str(i): plain(name, entry) for i, entry in enumerate(value)}
    if is_traced(value):
        raise TypeError(
            f"{name} is traced, so its value is not known here. Take the state dict outside the transformation."
        )
    if isinstance(value, (np.generic, np.ndarray, jax.Array)):
        return np.asarray(value).item()
    if isinstance(value, numbers.Real):
        return value if isinstance(value, (int, float)) else float(value)
    raise TypeError(
        f"{name} must be numbers or strings to go into a configuration, got {value!r:.80}."
    )


def single(name: str, value: Any) -> Any:
    """A count, of which the States of a single training hold one."""
    if np.ndim(value):
        raise ValueError(
            f"{name} must be one number for a state dict, but has the shape {np.shape(value)} of many trainings. "
            "Save and restore the values of brainstate.graph.states(...) instead."
        )
    return plain(name, value)


def restored(value: Any) -> Any:
    """What :func:`plain` was given: lists and strings again."""
    if not isinstance(value, dict):
        return value
    keys = list(value)
    if set(keys) == set(map(str, range(len(keys)))):
        return [restored(value[key]) for key in map(str, range(len(keys)))]
    if len(keys) == 1 and isinstance(keys[0], str) and not keys[0].isdigit():
        return keys[0]
    raise ValueError(
        f"config must hold a list as a dict with the keys '0', '1', ..., got {value!r:.80}."
    )


def unwrap(tree: Any) -> Any:
    """The same for a dict that came back from disk."""
    if isinstance(tree, list):
        return [unwrap(value) for value in tree]
    if isinstance(tree, dict):
        return {str(key): unwrap(value) for key, value in tree.items()}
    if isinstance(tree, (np.generic, np.ndarray, jax.Array)) and np.ndim(tree) == 0:
        return np.asarray(tree).item()
    return tree


def as_dict(value: Any) -> Any:
    """What :func:`plain` made of a list, where whoever read the file has made a list of it again."""
    return {str(i): entry for i, entry in enumerate(value)} if isinstance(value, list) else value


def check_keys(where: str, found: Any, expected: Any) -> None:
    """`found` must be a dict with exactly the keys of `expected`."""
    if not isinstance(found, dict):
        raise ValueError(f"{where} must be a dict, got {type(found).__name__}.")
    expected = set(expected)
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


def check_version(where: str, found: Any) -> None:
    if not isinstance(found, dict) or "version" not in found:
        raise ValueError(
            f"{where} must be a dict with a version, as state_dict() returns it, got {found!r:.80}."
        )
    version = unwrap(found["version"])
    if type(version) is not int or version != VERSION:
        raise ValueError(
            f"{where} has version {version!r}; this lrax reads version {VERSION}. Use the lrax that wrote it."
        )


def check_number(
    where: str,
    value: Any,
    *,
    low: float = -float("inf"),
    high: float = float("inf"),
    whole: bool = False,
) -> Any:
    """A number in ``[low, high]``; NaN is none."""
    kinds = (int,) if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high:
        kind = "whole number" if whole else "number"
        raise ValueError(f"{where} must be a {kind} from {low:g} to {high:g}, got {value!r}.")
    return value


def differences(saved: Any, own: Any, name: str = "") -> list[str]:
    """Where two configurations differ, with both values."""
    if isinstance(own, dict) and isinstance(saved := as_dict(saved), dict):
        return [
            line
            for key in sorted(set(saved) | set(own), key=repr)
            for line in differences(
                saved.get(key, "nothing"), own.get(key, "nothing"), f"{name}.{key}" if name else key
            )
        ]
    kinds = (int, float, type(None))
    same = isinstance(saved, kinds) and isinstance(own, kinds) and saved == own
    return [] if same else [f"{name}: saved {saved!r:.80}, here {own!r:.80}"]


def plain_key(key: Any) -> Any:
    """The dict key, index or attribute name in a jax key path entry."""
    for attribute in ("key", "idx", "name"):
        if hasattr(key, attribute):
            return getattr(key, attribute)
    return key


def nested(tree: Any) -> dict[str, Any]:
    """The leaves of any pytree in nested dicts with str keys."""
    nested: dict[str, Any] = {}
    for keys, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        *parents, last = (str(plain_key(key)) for key in keys)
        place = nested
        for key in parents:
            place = place.setdefault(key, {})
        place[last] = leaf
    return nested


def copied(leaf: Any) -> Any:
    """Another array with the same numbers, or another key."""
    return _like(jnp.copy(key_numbers(leaf)), leaf)


def _like(numbers: Any, old: Any) -> Any:
    """What :func:`key_numbers` was given, if it was like `old`."""
    if not is_key(old):
        return numbers
    return jax.random.wrap_key_data(numbers, impl=jax.random.key_impl(old))


def saved_leaves(tree: Any) -> dict[str, Any]:
    """The leaves of a pytree for a state dict: copies, since a donating step would take the arrays away."""
    return nested(jax.tree.map(lambda leaf: jnp.copy(key_numbers(leaf)), tree))


def load_leaves(saved: Any, own: Any) -> Any:
    """The pytree `own` with the leaves that :func:`saved_leaves` put into `saved`."""
    return jax.tree.map(_like, _load_numbers(saved, jax.tree.map(key_numbers, own)), own)


def _load_numbers(saved: Any, own: Any) -> Any:
    leaves, structure = jax.tree_util.tree_flatten_with_path(own)
    _check_shapes("opt_state", saved, nested(own))
    loaded = []
    for keys, old in leaves:
        value = saved
        for key in keys:
            value = value[str(plain_key(key))]
        if isinstance(value, jax.Array) and isinstance(old, jax.Array):
            if value.committed == old.committed and (
                not old.committed or value.sharding == old.sharding
            ):
                loaded.append(jnp.copy(strong(value, old.dtype)))
                continue
            if old.committed:
                loaded.append(jax.device_put(value.astype(old.dtype), old.sharding))
                continue
        loaded.append(jnp.asarray(place(np.asarray(value, old.dtype), old)))
    return jax.tree.unflatten(structure, loaded)


def _check_shapes(where: str, saved: Any, own: Any) -> None:
    if isinstance(own, dict):
        check_keys(where, saved, own)
        for key in own:
            _check_shapes(f"{where}.{key}", saved[key], own[key])
        return
    arrays = (jax.Array, np.ndarray, np.generic)
    if not isinstance(saved, (*arrays, int, float, complex)):
        raise ValueError(f"{where} must be an array of shape {np.shape(own)}, got {saved!r:.80}.")
    dtype = saved.dtype if isinstance(saved, arrays) else np.asarray(saved).dtype
    kinds = (np.floating, np.integer, np.complexfloating, np.bool_)
    alike = [jnp.issubdtype(dtype, k) == jnp.issubdtype(own.dtype, k) for k in kinds]
    if np.shape(saved) != np.shape(own) or not all(alike):
        raise ValueError(
            f"{where} must be {own.dtype} of shape {np.shape(own)}, got {dtype} of shape {np.shape(saved)}."
        )
    if isinstance(saved, int) and own.dtype.kind in "iu":
        bounds = jnp.iinfo(own.dtype)
        check_number(where, saved, low=bounds.min, high=bounds.max)
