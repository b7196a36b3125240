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
