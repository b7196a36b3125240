"""Parameter groups."""

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..states.view import View

if TYPE_CHECKING:
    from ._base import OptaxOptimizer


@dataclasses.dataclass(frozen=True)
class Group:
    """What is fixed about a parameter group: the names of its weights and their decay."""

    names: tuple[str, ...]
    weight_decay: Any


class ParamGroup:
    """One parameter group: ``group['params']``, ``group['lr']`` and ``group['weight_decay']``.

    ``group['lr'] = x`` sets the group's learning rate until the scheduler's next ``step()``.
    """

    def __init__(self, optimizer: "OptaxOptimizer", index: int) -> None:
        self._optimizer, self._index = optimizer, index

    def __getitem__(self, key: str) -> Any:
        group = self._optimizer._groups[self._index]
        if key == "params":
            return {name: self._optimizer._weights[name] for name in group.names}
        if key == "lr":
            return View(
                lambda: self._optimizer._rates.value["lr"][self._index],
                lambda lr: self._optimizer._set_lr(self._index, lr),
            )
        if key == "weight_decay":
            return group.weight_decay
        raise KeyError(key)

    def __setitem__(self, key: str, value: Any) -> None:
        if key != "lr":
            raise KeyError(
                f"{key} of a parameter group cannot be changed after construction; only 'lr' can."
            )
        self._optimizer._set_lr(self._index, value)

    def keys(self) -> tuple[str, ...]:
        return ("params", "lr", "weight_decay")

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __repr__(self) -> str:
        return f"ParamGroup({', '.join(f'{key}={self[key]!r}' for key in self.keys())})"
