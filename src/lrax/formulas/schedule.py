"""What a scheduler is without its clock: one frozen record, from which everything else is derived."""

import dataclasses
import math
import numbers
from typing import Any, Protocol, TypeVar

import jax
import numpy as np

from .._checks import is_traced
from .._types import Number, Value
from .arithmetic import Arithmetic
from .formula import Formula, identity, replaced

T = TypeVar("T")


class Kind(Protocol):
    """A class of schedulers."""

    __name__: str

    @property
    def parameters(self) -> tuple[str, ...]:
        """The arguments of its constructor."""
        ...

    @property
    def base_argument(self) -> str | None:
        """Which of them is the base learning rate; None if it follows from the others."""
        ...


@dataclasses.dataclass(frozen=True, eq=False)
class Member(Formula):
    """One group of a scheduler, as a part of another's formula."""

    kind: Kind = dataclasses.field(metadata={"fixed": True})
    base: Number
    formula: Formula
    arguments: tuple[tuple[str, Any], ...] | None = dataclasses.field(
        default=None, metadata={"fixed": True}
    )
    """What a user's class was constructed with. One of ours is described by base and formula."""

    def raw(self, t: Value, base: Value, x: Arithmetic) -> Value:
        return self.formula.raw(t, base, x)

    def __repr__(self) -> str:
        return repr(Schedule((self,)))


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Schedule:
    """A scheduler's class, base learning rates and formulas, one for each parameter group."""

    members: tuple[Member, ...]

    @property
    def kind(self) -> Kind:
        return self.members[0].kind

    def arguments(self) -> dict[str, Any]:
        """The arguments from which the scheduler can be constructed again, functions included."""
        first = self.members[0]
        if first.arguments is not None:
            return dict(first.arguments)
        bases = tuple(member.base for member in self.members)
        formulas = tuple(member.formula for member in self.members)
        found = {}
        if self.kind.base_argument is not None:
            found[self.kind.base_argument] = bases[0] if len(bases) == 1 else bases
        if "formula" in self.kind.parameters:
            return {**found, "formula": _of_all_groups(formulas)}
        for field in dataclasses.fields(first.formula):
            if "learned" not in field.metadata:
                column = tuple(getattr(formula, field.name) for formula in formulas)
                found[field.name] = _of_all_groups(column)
        return found

    def pieces(self) -> tuple[tuple[Member, Number], ...]:
        """Formula and base learning rate of each parameter group."""
        return tuple((member, member.base) for member in self.members)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Schedule) and identity(self) == identity(other)

    def __hash__(self) -> int:
        return hash(identity(self))

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self.arguments().items())
        return f"{self.kind.__name__}({shown})"


def _of_all_groups(values: tuple[Any, ...]) -> Any:
    """One argument out of its values in each group."""
    first = values[0]
    if isinstance(first, Member):
        return Schedule(values)
    if isinstance(first, tuple) and any(isinstance(entry, Member) for entry in first):
        return tuple(map(_of_all_groups, zip(*values, strict=True)))
    return first if len(set(map(identity, values))) == 1 else values


def spread(values: tuple[T, ...] | list[T], groups: int) -> tuple[T, ...]:
    """One entry for each group; the last one serves those that have none."""
    return (*values[:groups], *[values[-1]] * (groups - len(values)))


@dataclasses.dataclass(frozen=True, repr=False)
class Items:
    """A dict among the arguments of a user's scheduler."""

    pairs: tuple[tuple[Any, Any], ...]

    def __repr__(self) -> str:
        return repr(dict(self.pairs))


def frozen(name: str, value: Any) -> Any:
    """`value` as something that nobody can change and that a description can hold."""
    if value is None or is_traced(value) or isinstance(value, (Member, Schedule)):
        return value
    if isinstance(value, (np.generic, np.ndarray, jax.Array)) and value.dtype.kind in "biuf":
        value = np.asarray(value).tolist()
    if isinstance(value, (bool, str)):
        return value
    if isinstance(value, numbers.Real):
        number = value if isinstance(value, int) else float(value)
        if number != number:
            raise ValueError(f"{name} must be a number, got {math.nan}, which equals nothing.")
        return number
    if isinstance(value, (list, tuple, range)) and not hasattr(value, "_fields"):
        return tuple(frozen(f"{name}[{i}]", entry) for i, entry in enumerate(value))
    if isinstance(value, dict):
        pairs = (
            (frozen(name, key), frozen(f"{name}[{key!r}]", entry)) for key, entry in value.items()
        )
        return Items(tuple(pairs))
    if isinstance(value, Formula):
        return _frozen_formula(name, value)
    schedule = getattr(value, "schedule", None)
    if isinstance(schedule, Schedule):  # a scheduler
        return schedule
    if callable(value) and not isinstance(value, type):
        return value
    raise TypeError(
        f"{name} must be made of numbers, strings, functions, formulas and schedulers, which a checkpoint can describe, "
        f"got {value!r:.80}. Pass the numbers that are needed of it, or a function."
    )


def _frozen_formula(name: str, formula: Formula) -> Formula:
    changed = {}
    for field in dataclasses.fields(formula):
        path = f"{name}.{field.name}"
        old = getattr(formula, field.name)
        new = _as_member(path, frozen(path, old))
        if isinstance(new, Items):
            raise TypeError(
                f"{path} must not be a dict, got {old!r:.80}. Make it a tuple of pairs."
            )
        if new is not old:
            changed[field.name] = new
    return replaced(formula, **changed) if changed else formula


def _as_member(name: str, value: Any) -> Any:
    """A scheduler in a field is a formula: that of its one group."""
    if isinstance(value, tuple):
        return tuple(_as_member(name, entry) for entry in value)
    if not isinstance(value, Schedule):
        return value
    member, *others = value.members
    if others:
        raise ValueError(
            f"{name} must be a scheduler with one base_lr, got {value!r:.80}. "
            "Give a list of formulas, each with a formula of scheduler.pieces()."
        )
    return member


def checked_formulas(kind: str, formula: Any) -> tuple[Formula, ...]:
    """The formulas of the groups; one if all are the same."""
    if formula is None:
        raise TypeError(
            f"{kind} has no schedule: pass formula=..., or define get_lr() in a subclass."
        )
    formulas = tuple(formula) if isinstance(formula, (list, tuple)) else (formula,)
    if not formulas:
        raise ValueError("formula must be an lrax.Formula or a list of at least one, got [].")
    for f in formulas:
        if not isinstance(f, Formula):
            raise TypeError(f"formula must be an lrax.Formula with a raw(), got {f!r}.")
        if "__init__" in vars(type(f)) and "__dataclass_params__" not in vars(type(f)):
            raise TypeError(
                f"formula must be a frozen dataclass, but {type(f).__name__} has its own __init__. "
                "Give it fields, and decorate it with @dataclasses.dataclass(frozen=True)."
            )
    return tuple(frozen("formula", f) for f in formulas)
