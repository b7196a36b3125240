"""What a scheduler is without its clock: one frozen record, from which everything else is derived."""

import dataclasses
import inspect
import math
import numbers
from collections.abc import Iterator
from typing import Any, Protocol, TypeVar

import numpy as np

from .._checks import group_count, holds_real_numbers, is_traced
from .._types import Number, Value
from .arithmetic import Arithmetic
from .formula import Described, Formula, Range, hyper_parameters, identity, is_ours, replaced
from .ranges import settled

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

    def check_base(self, base: Number) -> None:
        self.formula.check_base(base)

    def constant_from(self, base: Number) -> Number | None:
        return settled(self.formula, base)

    def range_from(self, base: Number, t: Number) -> Range:
        return self.formula.range_from(base, t)

    def changes(self, base: Number) -> Iterator[Number]:
        return self.formula.changes(base)

    def phase_at(self, t: Number, base: Number) -> str:
        return self.formula.phase_at(t, base)

    def __repr__(self) -> str:
        return repr(Schedule((self,)))


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Schedule(Described):
    """A scheduler's class, base learning rates and formulas, one for each parameter group."""

    members: tuple[Member, ...]

    @property
    def kind(self) -> Kind:
        return self.members[0].kind

    def arguments(self) -> dict[str, Any]:
        """The arguments from which the scheduler can be constructed again, functions included."""
        first = self.members[0]
        return self.fields() if first.arguments is None else dict(first.arguments)

    def fields(self) -> dict[str, Any]:
        """Base learning rate and the fields of the formulas, which are the arguments of our own classes."""
        bases = tuple(member.base for member in self.members)
        formulas = tuple(member.formula for member in self.members)
        found = {}
        if self.kind.base_argument is not None:
            found[self.kind.base_argument] = bases[0] if len(bases) == 1 else bases
        if "formula" in self.kind.parameters:
            same = len(set(map(identity, formulas))) == 1
            return {**found, "formula": formulas[0] if same else formulas}
        for name, _ in hyper_parameters(formulas[0]):
            found[name] = _of_all_groups(tuple(getattr(f, name) for f in formulas))
        return found

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


def in_groups(lists: dict[str, tuple[T, ...]]) -> list[tuple[T, ...]]:
    """Of lists with one entry a group (or one for all), by name, what each group has."""
    groups = group_count(**lists)
    return list(zip(*(spread(values, groups) for values in lists.values()), strict=True))


@dataclasses.dataclass(frozen=True, repr=False)
class Items(Described):
    """A dict among the arguments of a user's scheduler."""

    pairs: tuple[tuple[Any, Any], ...]

    def __repr__(self) -> str:
        return repr(dict(self.pairs))


def frozen(name: str, value: Any) -> Any:
    """`value` as something that nobody can change and that a description can hold."""
    if value is None or is_traced(value) or isinstance(value, (Member, Schedule)):
        return value
    if holds_real_numbers(value) or getattr(value, "dtype", None) == np.bool_:
        value = np.asarray(value).tolist()
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)  # that of an enumeration
    if isinstance(value, numbers.Real):
        number = int(value) if isinstance(value, int) else float(value)
        if number != number:
            raise ValueError(f"{name} must be a number, got {math.nan}, which equals nothing.")
        return number
    if isinstance(value, (list, tuple, range)) and not hasattr(value, "_fields"):
        return tuple(frozen(f"{name}[{i}]", entry) for i, entry in enumerate(value))
    if isinstance(value, dict) and all(isinstance(k, (int, float, str)) for k in value):
        pairs = (
            (frozen(name, key), frozen(f"{name}[{key!r}]", entry)) for key, entry in value.items()
        )
        return Items(tuple(pairs))
    if isinstance(value, Formula):
        return _frozen_formula(name, value)
    pieces = getattr(value, "pieces", None)
    if pieces is not None and not isinstance(value, type):  # a scheduler
        return Schedule(tuple(member for member, _ in pieces()))
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
        if new is not old:
            changed[field.name] = new
    return replaced(formula, **changed) if changed else formula


def _as_member(name: str, value: Any) -> Any:
    """A scheduler in a field is a formula: that of its one group."""
    if isinstance(value, tuple):
        return tuple(_as_member(name, entry) for entry in value)
    if isinstance(value, Items):
        raise TypeError(
            f"{name} must not hold a dict, got {value!r:.80}. Make it a tuple of pairs."
        )
    if isinstance(value, Formula) and _is_inside(value):
        raise TypeError(
            f"{name} must be a scheduler or a formula of scheduler.pieces(), got {value!r:.80}, which no description can name."
        )
    if not isinstance(value, Schedule):
        return value
    member, *others = value.members
    if others:
        raise ValueError(
            f"{name} must be a scheduler with one base_lr, got {value!r:.80}. "
            "Give a list of formulas, each with a formula of scheduler.pieces()."
        )
    return member


def _is_inside(formula: Formula) -> bool:
    """Whether it is the inside of one of our schedulers."""
    return is_ours(formula) and not isinstance(formula, Member)


def checked_formulas(kind: Kind, formula: Any) -> tuple[Formula, ...]:
    """The formulas of the groups; one if it serves all."""
    if formula is None:
        raise TypeError(
            f"{kind.__name__} has no schedule: pass formula=..., or define get_lr() in a subclass."
        )
    formulas = tuple(formula) if isinstance(formula, (list, tuple)) else (formula,)
    if not formulas:
        raise ValueError("formula must be an lrax.Formula or a list of at least one, got [].")
    for f in formulas:
        if not isinstance(f, Formula) or ("formula" in kind.parameters and _is_inside(f)):
            remedy = ""
            if hasattr(f, "pieces") or isinstance(f, Formula):
                remedy = " The formulas of a scheduler are in scheduler.pieces()."
            elif isinstance(f, type):
                remedy = f" Construct it: {f.__name__}(...)."
            elif callable(f):
                remedy = (
                    " A function of the epoch becomes a scheduler as LambdaLR(base_lr, function)."
                )
            raise TypeError(f"formula must be an lrax.Formula with a raw(), got {f!r}.{remedy}")
        _check_fields(type(f))
    return tuple(frozen("formula", f) for f in formulas)


def check_choice(formulas: tuple[Formula, ...], bases: tuple[Number, ...]) -> None:
    """Raise where formulas that a user has put together fit neither each other nor the base learning rates."""
    if all(map(_is_inside, formulas)):
        return
    for formula, base in zip(spread(formulas, len(bases)), bases, strict=True):
        try:
            formula.check_base(base)
        except ValueError as error:
            raise ValueError(
                f"base_lr={base} does not fit formula={formula!r:.200}: {error}"
            ) from None
    rules = [[(own.rule(), windows) for own, windows in f.learners()] for f in formulas]
    if any(other != rules[0] for other in rules):
        raise ValueError(
            "formula must be formulas that learn the same, since there is one memory for all groups. "
            "Give the groups of the optimizer schedulers: groups={pattern: {'lr': scheduler}}."
        )


def _check_fields(kind: type[Formula]) -> None:
    """A formula must be the sum of its fields, or it would not be described by them."""
    own = vars(kind)
    if ("__init__" in own or own.get("__annotations__")) and "__dataclass_params__" not in own:
        what = "has its own __init__" if "__init__" in own else "is not decorated"
        raise TypeError(
            f"formula must be a frozen dataclass, but {kind.__name__} {what}. "
            "Give it fields, and decorate it with @dataclasses.dataclass(frozen=True)."
        )
    fields = {field.name for field in dataclasses.fields(kind)}
    more = [name for name in inspect.signature(kind).parameters if name not in fields]
    if more:
        raise TypeError(
            f"formula must be constructed from its fields alone, but {kind.__name__} takes {', '.join(more)}. "
            "Make it a field: an InitVar could not be saved."
        )
