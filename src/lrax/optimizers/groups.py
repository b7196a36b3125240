"""Parameter groups."""

import dataclasses
from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from .. import _checks
from .._checks import is_traced
from .._types import Number, Unchecked
from ..formulas.formula import Formula, identity
from ..formulas.schedule import Member, spread
from ..schedulers.get_lr import FromGetLR
from ..states.view import View
from .recipe import Recipe, check_scheduled, is_number, is_zero
from .scheduled import as_schedule


@dataclasses.dataclass(frozen=True, eq=False)
class Group:
    """What is fixed about a parameter group."""

    name: str
    leaves: tuple[str, ...]
    """The paths of its weights."""

    values: Mapping[str, Any]
    """Its hyper-parameters: numbers, schedules, and what is neither."""

    lr: Number | None = None
    """Its own base learning rate; None: the scheduler's."""

    schedule: Member | None = None
    """Its own schedule of the learning rate; None: the scheduler's."""

    lr_scale: Number | None = None
    """What its learning rate is multiplied by."""

    own: tuple[str, ...] = ()
    """The names of the hyper-parameters that are its own."""

    def options(self) -> dict[str, Any]:
        """What it has beside, or instead of, what the optimizer was given."""
        lr = self.lr if self.schedule is None else self.schedule
        rates = {"lr": lr, "lr_scale": self.lr_scale}
        own = {name: self.values[name] for name in self.own}
        return {**{name: value for name, value in rates.items() if value is not None}, **own}

    @property
    def base(self) -> Number | None:
        return self.lr if self.schedule is None else self.schedule.base

    @property
    def decays(self) -> bool:
        """Whether there is a weight decay of ours."""
        return not is_zero(self.values.get("weight_decay", 0.0))

    @property
    def clips(self) -> bool:
        return self.values.get("grad_clip_value") is not None

    def numbers(self) -> dict[str, Any]:
        """The hyper-parameters that are numbers."""
        found = self.values.items()
        return {name: v for name, v in found if is_traced(v) or is_number(v)}


def group_of(
    where: str, name: str, leaves: tuple[str, ...], recipe: Recipe, options: Mapping[str, Unchecked]
) -> Group:
    """A group with checked options of its own."""
    rest = {k: v for k, v in options.items() if k not in ("lr", "lr_scale")}
    values, before = recipe.with_options(where, rest), recipe.values
    own = tuple(k for k in values if k not in before or not _same(values[k], before[k]))
    check_scheduled({name: values[name] for name in own})
    lr = scale = schedule = None
    if "lr" in options:
        schedule = as_schedule("lr", options["lr"])
        lr = None if schedule else _checks.non_negative("lr", options["lr"])
    if "lr_scale" in options:
        scale = _checks.non_negative("lr_scale", options["lr_scale"])
    return Group(name, leaves, values, lr, schedule, scale, own)


def _same(value: Any, other: Any) -> bool:
    return value is other or (is_number(value) and is_number(other) and value == other)


class ParamGroup(Mapping[str, Any]):
    """One parameter group: ``group['params']``, ``group['lr']``, ``group['weight_decay']`` and so on.

    Beside the hyper-parameters there are its ``name``, the paths of its ``leaves`` and the number
    of weights, ``size``. ``group['lr'] = x`` sets the group's learning rate until the scheduler's
    next ``step()``.
    """

    def __init__(self, **values: Any) -> None:
        self._values = values

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


def betas_too(values: dict[str, Any]) -> dict[str, Any]:
    """Hyper-parameters with the two of Adam as a pair, too, as torch has them."""
    if "beta1" in values and "beta2" in values:
        return {**values, "betas": (values["beta1"], values["beta2"])}
    return values


def table(groups: Sequence[Mapping[str, Any]], hidden: Container[str] = ()) -> str:
    """The groups as a table: names, numbers of leaves and weights, and the hyper-parameters that are not `hidden`."""
    first, rest = ("name", "leaves", "size"), ("params", "betas")
    names = dict.fromkeys(key for group in groups for key in group)
    more = [key for key in names if key not in (*first, *rest) and key not in hidden]
    rows = [["group", "leaves", "weights", *more]]
    for group in groups:
        counts = [str(len(group["leaves"])), str(group["size"])]
        cells = [_cell(group[key]) if key in group else "-" for key in more]
        rows.append([_short(group["name"]), *counts, *cells])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for name, *cells in rows:
        aligned = map(str.rjust, cells, widths[1:])
        lines.append("  ".join([name.ljust(widths[0]), *aligned]))
    return "\n".join(lines)


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 40 else f"{text[:39]}…"


def _cell(value: Any) -> str:
    if isinstance(value, View):
        value = value.value
    if is_traced(value) or np.ndim(value):
        return _short(str(value))
    return f"{float(value):.4g}"


def check_own_bases(formulas: tuple[Formula, ...], groups: Sequence[Group]) -> None:
    """A scheduler with these formulas must fit groups with such learning rates of their own."""
    by_get_lr = isinstance(formulas[0], FromGetLR)
    lacking = any(group.schedule is None for group in groups[len(formulas) :])
    if not by_get_lr and lacking and len(set(map(identity, formulas))) > 1:
        raise ValueError(
            f"The scheduler has lists with one entry for each of {len(formulas)} parameter groups, "
            f"and this would be group {len(groups)}. Make the lists one longer."
        )
    for group, formula in zip(groups, spread(formulas, len(groups)), strict=True):
        if group.lr is None:
            continue
        try:
            formula.check_base(group.lr)
        except ValueError as error:
            raise ValueError(f"lr={group.lr} of a parameter group does not fit: {error}") from None


def check_list_of_rates(listed: list[Number], groups: tuple[Group, ...]) -> None:
    """A scheduler's list of base learning rates must fit groups with such rates of their own."""
    lacking = 1 < len(listed) < len(groups) and None in [g.base for g in groups[len(listed) :]]
    if lacking or len(listed) > max(len(groups), 1):
        raise ValueError(
            f"The scheduler has a list of {len(listed)} learning rates for {len(groups)} parameter groups. "
            "A list must have one entry a group; a single number serves every group."
        )
