"""State dicts: plain nested dicts with str keys, numbers and arrays, and strict loading.

No strings among the leaves (orbax takes none) and no lists (msgpack makes dicts of them): names
travel as keys, and lists as dicts from "0" on.
"""

from typing import Any

import jax
import numpy as np

from ._checks import is_traced

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
    return value


def restored(value: Any) -> Any:
    """What :func:`plain` was given: lists and strings again."""
    if not isinstance(value, dict):
        return value
    if all(key.isdigit() for key in value):
        return [restored(value[str(i)]) for i in range(len(value))]
    (name,) = value
    return name


def unwrap(tree: Any) -> Any:
    """The same for a dict that came back from disk."""
    if isinstance(tree, dict):
        return {str(key): unwrap(value) for key, value in tree.items()}
    if isinstance(tree, (np.generic, np.ndarray, jax.Array)) and np.ndim(tree) == 0:
        return np.asarray(tree).item()
    return tree


def check_keys(where: str, found: Any, expected: Any) -> None:
    """`found` must be a dict with exactly the keys of `expected`."""
    if not isinstance(found, dict):
        raise ValueError(f"{where} must be a dict, got {type(found).__name__}.")
    expected = set(expected)
    missing, unknown = sorted(expected - set(found)), sorted(set(found) - expected)
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
    if found["version"] != VERSION or isinstance(found["version"], bool):
        raise ValueError(
            f"{where} has version {found['version']!r}; this lrax reads version {VERSION}. Use the lrax that wrote it."
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
    if isinstance(saved, dict) and isinstance(own, dict):
        return [
            line
            for key in sorted(set(saved) | set(own))
            for line in differences(saved.get(key), own.get(key), f"{name}.{key}" if name else key)
        ]
    return (
        []
        if saved == own and isinstance(saved, dict) == isinstance(own, dict)
        else [f"{name}: saved {saved}, here {own}"]
    )
