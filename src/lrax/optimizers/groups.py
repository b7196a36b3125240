"""Parameter groups."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import brainstate

from .._checks import is_traced
from .._types import Number
from ..formulas.formula import Formula, identity
from ..formulas.schedule import spread
from ..schedulers.get_lr import FromGetLR
from ..states.view import View


@dataclasses.dataclass(frozen=True)
class Group:
    """What is fixed about a parameter group."""

    names: tuple[str, ...]
    """The names of its weights."""

    weight_decay: Number
    lr: Number | None = None
    """Its own base learning rate; None: the scheduler's."""

    @property
    def decays(self) -> bool:
        return is_traced(self.weight_decay) or self.weight_decay != 0


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


def check_own_bases(formulas: tuple[Formula, ...], own: list[Number | None]) -> None:
    """A scheduler with these formulas must fit groups with such base learning rates of their own; None: the scheduler's."""
    by_get_lr = isinstance(formulas[0], FromGetLR)
    if not by_get_lr and len(formulas) < len(own) and len(set(map(identity, formulas))) > 1:
        raise ValueError(
            f"The scheduler has lists with one entry for each of {len(formulas)} parameter groups, "
            f"and this would be group {len(own)}. Make the lists one longer."
        )
    pairs = zip(own, spread(formulas, len(own)), strict=True)
    for base, formula in [pair for pair in pairs if pair[0] is not None]:
        try:
            formula.check_base(base)
        except ValueError as error:
            raise ValueError(f"lr={base} of a parameter group does not fit: {error}") from None


def check_list_of_rates(listed: list[Number], own: list[Number | None]) -> None:
    """A scheduler's list of base learning rates must fit groups with such rates of their own."""
    groups = max(len(own), 1)
    lacking = 1 < len(listed) < groups and None in own[len(listed) :]
    if lacking or len(listed) > groups:
        raise ValueError(
            f"The scheduler has a list of {len(listed)} learning rates for {len(own)} parameter groups. "
            "A list must have one entry a group; a single number serves every group."
        )
