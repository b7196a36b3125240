"""Parameter groups."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import brainstate

from .._types import Number
from ..states.view import View


@dataclasses.dataclass(frozen=True)
class Group:
    """What is fixed about a parameter group."""

    names: tuple[str, ...]
    """The names of its weights."""

    weight_decay: Number
    lr: Number | None = None
    """Its own base learning rate; None: the scheduler's."""


class ParamGroup(Mapping[str, Any]):
    """One parameter group: ``group['params']``, ``group['lr']`` and ``group['weight_decay']``.

    ``group['lr'] = x`` sets the group's learning rate until the scheduler's next ``step()``.
    """

    def __init__(self, params: dict[str, brainstate.State], lr: View, weight_decay: Number) -> None:
        self._values = {"params": params, "lr": lr, "weight_decay": weight_decay}

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __setitem__(self, key: str, value: Any) -> None:
        if key != "lr":
            raise KeyError(
                f"{key} of a parameter group cannot be changed after construction; only 'lr' can."
            )
        self["lr"].value = value

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"ParamGroup({', '.join(f'{key}={value!r}' for key, value in self.items())})"


def check_list_of_rates(listed: list[Number], own: list[Number | None]) -> None:
    """A scheduler's list of base learning rates must fit groups with such rates of their own."""
    groups = max(len(own), 1)
    lacking = 1 < len(listed) < groups and None in own[len(listed) :]
    if lacking or len(listed) > groups:
        raise ValueError(
            f"The scheduler has a list of {len(listed)} learning rates for {len(own)} parameter groups. "
            "A list must have one entry a group; a single number serves every group."
        )
