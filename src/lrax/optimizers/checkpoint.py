"""State dicts of optimizers."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .._transfers import fetched
from .._types import PyTree, StateDict
from ..formulas.arithmetic import LARGEST
from ..formulas.description import differences, named
from ..states.clock import LAST_EPOCH
from ..states.published import Published
from ..states.saving import (
    VERSION,
    check_keys,
    check_number,
    check_version,
    load_leaves,
    plain_key,
    saved_leaves,
    single,
    unwrap,
    warn,
)
from .groups import Group

KEYS = ("version", "step_count", "lr", "optimizer", "opt_state", "lr_scheduler")


class Checked(NamedTuple):
    """What a state dict says of an optimizer."""

    step_count: int
    states: list[PyTree]
    """The optax state of each group."""

    rates: np.ndarray
    scheduler: StateDict


def described(kind: str, arguments: dict[str, Any], groups: Sequence[Group]) -> StateDict:
    """The hyper-parameters of an optimizer, without its scheduler, and what later groups have of their own."""
    found = named(kind, arguments.items(), whole=False)
    for i, group in enumerate(groups[1:], start=1):
        own = {"lr": group.lr, "weight_decay": group.weight_decay}
        found[kind] |= named(f"group {i}", own.items(), whole=False)
    return found


def saved(
    step_count: Any,
    states: list[PyTree],
    published: Published,
    optimizer: StateDict,
    scheduler: StateDict,
) -> StateDict:
    """The state dict of an optimizer."""
    return {
        "version": VERSION,
        "step_count": single("step_count", step_count),
        "lr": {str(i): float(lr) for i, lr in enumerate(fetched(published.rates))},
        "optimizer": optimizer,
        "opt_state": saved_leaves(states),
        "lr_scheduler": scheduler,
    }


def checked(
    state_dict: StateDict, strict: bool, states: list[PyTree], optimizer: StateDict, groups: int
) -> Checked:
    """A state dict for an optimizer with such optax states, and learning rates for so many groups."""
    check_version("state_dict", state_dict)
    if not states and state_dict.get("opt_state"):
        raise ValueError(
            "register_trainable_weights(...) must be called before load_state_dict(...)."
        )
    check_keys("state_dict", state_dict, KEYS)
    different = differences(unwrap(state_dict["optimizer"]), optimizer)
    if different and strict:
        raise ValueError(
            f"state_dict must be of this optimizer, but differs: {'; '.join(different)}. Construct the optimizer with the "
            "saved arguments, or pass strict=False to go on with these."
        )
    count = unwrap(state_dict["step_count"])
    check_number("step_count", count, low=0, high=LAST_EPOCH, whole=True)
    rates = unwrap(state_dict["lr"])
    check_keys("lr", rates, map(str, range(groups)))
    lrs = [check_number(f"lr.{i}", rates[str(i)], low=0, high=LARGEST) for i in range(groups)]
    loaded = load_leaves("opt_state", state_dict["opt_state"], states)
    _check_signs(loaded)
    if different:
        warn(f"The optimizer has changed, and goes on as it is here: {'; '.join(different)}.")
    return Checked(count, loaded, np.array(lrs, np.float32), state_dict["lr_scheduler"])


_COUNTS = ("count", "step", "notfinite")
"""In the names of what optax counts."""

_SQUARES = ("nu", "nu_max", "sum_of_squares")
"""The names of what optax takes the root of."""


def _check_signs(states: list[PyTree]) -> None:
    """What optax counts, and squares, is never less than 0."""
    for keys, leaf in jax.tree_util.tree_flatten_with_path(states)[0]:
        fields = [key.name for key in keys if isinstance(key, jax.tree_util.GetAttrKey)]
        name = ".".join(["opt_state", *map(str, map(plain_key, keys))])
        last = fields[-1] if fields else ""
        whole = np.shape(leaf) == () and jnp.issubdtype(leaf.dtype, np.integer)
        if whole and any(part in last for part in _COUNTS):
            check_number(name, int(leaf), low=0, whole=True)
        if last in _SQUARES and bool(jnp.any(jnp.real(leaf) < 0)):
            raise ValueError(f"{name} must be numbers >= 0, got {float(jnp.real(leaf).min())}.")
