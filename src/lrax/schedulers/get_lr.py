"""The formula of a scheduler that only defines ``get_lr()``."""

import dataclasses
from typing import Any, NoReturn

from .._checks import is_list
from .._types import Number, Value
from ..formulas.arithmetic import Arithmetic
from ..formulas.formula import Formula
from ..formulas.pieces import check_scalable, ratio
from ..formulas.schedule import spread
from ..states.clock import ShowsEpoch


class _At(ShowsEpoch):
    """A clock that shows one epoch."""

    def __init__(self, epoch: Value) -> None:
        self.value = epoch

    def read(self) -> Value:
        return self.value


class _Unpublished:
    """In place of what is published: a function of the epoch cannot read it."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __getattr__(self, name: str) -> NoReturn:
        raise TypeError(
            f"get_lr() of {self.kind} must be a function of last_epoch, but reads the current learning rates, or steps. "
            "Work them out from self.base_lrs and self.last_epoch.value."
        )


@dataclasses.dataclass(frozen=True, eq=False)
class FromGetLR(Formula):
    """The learning rate of one group, as ``get_lr()`` of `scheduler` works it out at an epoch."""

    scheduler: Any = dataclasses.field(metadata={"fixed": True})
    group: int = dataclasses.field(metadata={"fixed": True})
    base: Number

    def raw(self, t: Value, base: Value, x: Arithmetic) -> Value:
        return x.call(self._lr, t) * ratio(x, base, self.base)

    def check_base(self, base: Number) -> None:
        check_scalable(base, self.base)

    def _lr(self, epoch: Value) -> Value:
        kind = type(self.scheduler)
        reader = object.__new__(kind)
        attributes = vars(self.scheduler)
        vars(reader).update(
            attributes, last_epoch=_At(epoch), publishing=_Unpublished(kind.__name__)
        )
        returned = reader.get_lr()
        values = list(returned) if is_list(returned) else [returned]
        if not values or values[0] is None:
            raise TypeError(
                f"get_lr() of {kind.__name__} must return a list with a learning rate for each group, got {returned!r:.80}. "
                "Work them out from self.base_lrs and self.last_epoch.value, and return them."
            )
        groups = len(self.scheduler.base_lrs)
        if is_list(returned) and len(values) != groups:
            raise ValueError(
                f"get_lr() of {kind.__name__} must return {groups} learning rates, one for each entry of base_lr, got "
                f"{len(values)}. Return [... for base_lr in self.base_lrs]."
            )
        return spread(values, self.group + 1)[self.group]
