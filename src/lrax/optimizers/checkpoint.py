"""State dicts of optimizers."""

from typing import Any, NamedTuple

import numpy as np

from .._transfers import fetched
from .._types import PyTree, StateDict
from ..formulas.arithmetic import LARGEST
from ..states.clock import LAST_EPOCH
from ..states.published import Published
from ..states.saving import (
    VERSION,
    check_keys,
    check_number,
    check_version,
    load_leaves,
    saved_leaves,
    single,
    unwrap,
)


class Checked(NamedTuple):
    """What a state dict says of an optimizer."""

    step_count: int
    states: list[PyTree]
    """The optax state of each group."""

    rates: np.ndarray
    scheduler: StateDict


def saved(
    step_count: Any, states: list[PyTree], published: Published, scheduler: StateDict
) -> StateDict:
    """The state dict of an optimizer."""
    return {
        "version": VERSION,
        "step_count": single("step_count", step_count),
        "lr": {str(i): float(lr) for i, lr in enumerate(fetched(published.rates))},
        "opt_state": saved_leaves(states),
        "lr_scheduler": scheduler,
    }


def checked(state_dict: StateDict, states: list[PyTree], groups: int) -> Checked:
    """A state dict for an optimizer with such optax states, and learning rates for so many groups."""
    check_version("state_dict", state_dict)
    if not states and state_dict.get("opt_state"):
        raise ValueError(
            "register_trainable_weights(...) must be called before load_state_dict(...)."
        )
    check_keys(
        "state_dict", state_dict, ("version", "step_count", "lr", "opt_state", "lr_scheduler")
    )
    count = unwrap(state_dict["step_count"])
    check_number("step_count", count, low=0, high=LAST_EPOCH, whole=True)
    rates = unwrap(state_dict["lr"])
    check_keys("lr", rates, map(str, range(groups)))
    lrs = [check_number(f"lr.{i}", rates[str(i)], low=0, high=LARGEST) for i in range(groups)]
    loaded = load_leaves("opt_state", state_dict["opt_state"], states)
    return Checked(count, loaded, np.array(lrs, np.float32), state_dict["lr_scheduler"])
