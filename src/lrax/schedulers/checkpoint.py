"""State dicts of schedulers."""

from typing import Any, TypeAlias

import brainstate

from .._types import StateDict, Unchecked
from ..formulas.description import described, differences
from ..formulas.schedule import Schedule
from ..states.clock import LAST_EPOCH, Clock
from ..states.saving import (
    VERSION,
    check_keys,
    check_number,
    check_version,
    load_leaves,
    saved_leaves,
    single,
    unwrap,
    warn,
)
from .learning import Learning

Values: TypeAlias = list[tuple[brainstate.State, Any]]
"""States, each with a value to be written."""

OWN = ("version", "last_epoch", "memory", "states")
"""The keys of a state dict beside the name of the scheduler's class."""


def saved(
    schedule: Schedule,
    clock: Clock,
    learning: Learning | None,
    states: dict[str, brainstate.State],
) -> StateDict:
    """The state dict of a scheduler; `states` are those of a user's subclass, by name."""
    found = {
        "version": VERSION,
        "last_epoch": single("last_epoch", clock.value),
        **described(schedule, whole=False),
    }
    if learning is not None:
        found["memory"] = learning.as_numbers()
    if states:
        found["states"] = unwrap(saved_leaves({name: s.value for name, s in states.items()}))
    return found


def _learned(found: Unchecked, learning: Learning, different: list[str]) -> Values:
    """The memory in a state dict; none if it is another schedule's and does not fit."""
    try:
        return [(learning.memory, learning.from_numbers(found))]
    except ValueError as error:
        if not different:
            raise
        why = str(error).split(". ")[0]
        different.append(f"what was learned does not fit, and begins anew ({why})")
        return []


def checked(
    state_dict: StateDict,
    strict: bool,
    schedule: Schedule,
    clock: Clock,
    learning: Learning | None,
    states: dict[str, brainstate.State],
) -> Values:
    """What a state dict puts into the States of a scheduler."""
    single("last_epoch", clock.value)
    found = unwrap(state_dict)
    check_version("state_dict", found)
    if "lr_scheduler" in found:
        raise ValueError(
            "state_dict must be a scheduler's, got an optimizer's. Load it with optimizer.load_state_dict(...), "
            "or its part, state_dict['lr_scheduler']."
        )
    others = {key: value for key, value in found.items() if key not in OWN}
    different = differences(others, described(schedule, whole=False))
    if different and strict:
        raise ValueError(
            f"state_dict must be of this schedule, but differs: {'; '.join(different)}. Construct the scheduler with the saved "
            "arguments, or pass strict=False to take over the epoch, and what was learned where it fits."
        )
    epoch = check_number("last_epoch", found.get("last_epoch"), low=0, high=LAST_EPOCH, whole=True)
    values: Values = [(clock, epoch)]
    expected = {"version", "last_epoch", *others}
    if learning is not None and (not different or "memory" in found):
        expected.add("memory")
        values += _learned(found.get("memory", {}), learning, different)
    if states and (not different or "states" in found):
        expected.add("states")
        olds = {name: state.value for name, state in states.items()}
        new = load_leaves("states", found.get("states", {}), olds)
        values += [(state, new[name]) for name, state in states.items()]
    if strict or len(expected) > 2 + len(others):
        check_keys("state_dict", found, expected)
    if different:
        warn(f"The schedule has changed, and goes on at epoch {epoch}: {'; '.join(different)}.")
    return values
