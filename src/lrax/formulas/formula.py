"""What a schedule is: a frozen formula, the learning rate as a pure function of the epoch."""

import abc
import dataclasses
import functools
import inspect
import math
import types
from collections.abc import Callable, Hashable, Iterator
from typing import Any, ClassVar, NamedTuple, Protocol, TypeAlias, TypeVar

from .._checks import is_traced
from .._types import Number, Plain, Remembered, Unchecked, Value
from . import host
from .arithmetic import Arithmetic

F = TypeVar("F", bound="Formula")

Range: TypeAlias = tuple[Number, Number]
"""The least and the largest that a learning rate may be."""


@dataclasses.dataclass(frozen=True, eq=False, init=False)
class Formula(abc.ABC):
    """Base class of formulas: a frozen dataclass whose fields are the hyper-parameters.

    Subclass it, give it fields and :meth:`raw`, and hand it to ``LRScheduler(formula=...)``. The
    fields are the one record of what it is: shown, compared, saved, and compared again when a
    checkpoint is loaded. They may be numbers, strings, None, functions, other formulas or
    schedulers, and tuples of them; lists and arrays become tuples.

    Examples
    --------
    >>> import dataclasses, lrax
    >>> @dataclasses.dataclass(frozen=True)
    ... class InverseTime(lrax.Formula):
    ...     rate: float
    ...
    ...     def raw(self, t, base, x):
    ...         return base / (1 + self.rate * t)
    >>> scheduler = lrax.LRScheduler(0.1, formula=InverseTime(0.5))
    >>> print(scheduler(2))
    0.05

    A formula around another one, here a scheduler's:

    >>> @dataclasses.dataclass(frozen=True)
    ... class AtLeast(lrax.Formula):
    ...     inner: lrax.Formula
    ...     low: float
    ...
    ...     def raw(self, t, base, x):
    ...         return x.maximum(self.inner.raw(t, base, x), self.low)
    >>> inner, base_lr = lrax.ExponentialLR(1.0, gamma=0.5).pieces()[0]
    >>> scheduler = lrax.LRScheduler(base_lr, formula=AtLeast(inner, 0.2))
    >>> scheduler
    LRScheduler(base_lr=1.0, formula=AtLeast(inner=ExponentialLR(base_lr=1.0, gamma=0.5), low=0.2))
    >>> print(scheduler(4))
    0.2
    """

    def __init__(self, *values: Any, **named: Any) -> None:
        if values or named:
            raise TypeError(
                f"{type(self).__name__} takes no arguments, since it is no dataclass with fields. "
                "Give it fields, and decorate it with @dataclasses.dataclass(frozen=True)."
            )

    __init__.__signature__ = inspect.Signature(  # pyright: ignore[reportFunctionMemberAccess]
        [inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)]
    )

    @abc.abstractmethod
    def raw(self, t: Value, base: Value, x: Arithmetic) -> Value:
        """The learning rate at epoch `t` for base learning rate `base`, before rounding.

        Called with Python numbers, NumPy arrays and jax tracers alike, so it uses operators and the
        functions of `x` (:class:`lrax.formulas.Arithmetic`), and no ``if`` on `t` or on anything
        that may be traced. It must be finite and not negative for every ``t >= 0``: where numbers are
        known, NaN and negative ones are errors (but for what rounding makes of a 0); in a compiled
        program a negative number is 0 and NaN is published as it is. Infinity is the largest float32.
        """

    def check_base(self, base: Number) -> None:  # noqa: B027 (most can have any)
        """Raise ValueError if no parameter group can have the base learning rate `base` for its own."""

    def constant_from(self, base: Number) -> Number | None:
        """The first epoch from which it is constant, for known numbers; None if there is none."""
        return None

    def range_from(self, base: Number, t: Number) -> Range:
        """Between which numbers its learning rate stays from an epoch on; twice the same only if it is constant."""
        end = self.constant_from(base)
        if end is None or t < end:
            return 0.0, math.inf
        rate = self.raw(end, base, host)
        return rate, rate

    def changes(self, base: Number) -> Iterator[Number]:
        """The epochs from which it is another function, in order, its end included; maybe without end. Those up to 0 are left out."""
        end = self.constant_from(base)
        return iter(() if end is None else (end,))

    def phase_at(self, t: Number, base: Number) -> str:
        """What it does at an epoch: "warmup", "stable", "decay", ..."""
        return "function"

    def parts(self) -> Iterator["Formula"]:
        """The formulas among the fields."""
        for _, value in computed_with(self):
            yield from _formulas_in(value)

    def learners(self) -> tuple["Learner", ...]:
        """The parts that learn from step to step, each with the windows in which it does.

        A formula whose parts have another time than itself says so here; the order is that of the fields.
        """
        return tuple(found for part in self.parts() for found in part.learners())

    def with_learned(self, values: Iterator[Value]) -> "Formula":
        """This formula with what each of its learners has learned filled in."""
        changed = {}
        for name, old in computed_with(self):
            new = with_formulas(old, lambda part: part.with_learned(values))
            if new is not old:
                changed[name] = new
        return replaced(self, **changed) if changed else self

    @functools.cached_property
    def asks_users(self) -> bool:
        """Whether a function or a formula of a user's is in it."""
        return not is_ours(self) or any(holds_users(value) for _, value in _held(self))

    @functools.cached_property
    def foreseeable(self) -> bool:
        """Whether its learning rates are known before anything runs, and the same whenever it is asked."""
        learns = any("learned" in field.metadata for field in dataclasses.fields(self))
        return not learns and is_ours(self) and all(_foreseeable(v) for _, v in _held(self))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Formula) and identity(self) == identity(other)

    def __hash__(self) -> int:
        return hash(identity(self))


class LearningFormula(Protocol):
    """A formula that learns from step to step."""

    needs_metric: ClassVar[bool]
    """Whether it learns from metrics."""

    why: ClassVar[str]
    """Why it has no learning rate at a given epoch."""

    def rule(self) -> Hashable: ...
    def memory(self) -> Remembered: ...
    def learned(self, memory: Remembered) -> Value: ...
    def observe(
        self, memory: Remembered, metric: Value, begun: Value, epoch: Value
    ) -> Remembered: ...
    def observed(self, numbers: Remembered, metric: Any, epoch: Any) -> Remembered: ...
    def numbers(self, memory: Remembered) -> Remembered: ...
    def kept(self, memory: Remembered, old: Remembered, changed: Remembered) -> Remembered: ...
    def as_numbers(self, memory: Remembered) -> Plain: ...
    def from_numbers(self, where: str, found: Unchecked) -> Remembered: ...


class Window(NamedTuple):
    """When a part of a formula runs, and its own time: from `start` on, slower by `factor`, in periods."""

    start: Number = 0
    end: Number = math.inf
    factor: Number = 1
    period: Number | None = None

    def inside(self, t: Value) -> tuple[Value, Value]:
        """The epoch by the time of the part, and whether it runs."""
        own = t - self.start
        if is_traced(self.factor) or self.factor != 1:
            own = own / self.factor
        if self.period is not None:
            own = own - own // self.period * self.period
        return own, (t >= self.start) & (t < self.end)

    @property
    def counts_on(self) -> bool:
        """Whether a step outside is one inside."""
        return not is_traced(self.factor) and self.factor == 1 and self.period is None


class Learner(NamedTuple):
    """What learns, and the windows that are around it, the outermost first."""

    formula: LearningFormula
    windows: tuple[Window, ...] = ()

    def within(self, window: Window) -> "Learner":
        return Learner(self.formula, (window, *self.windows))

    def learns(self, now: Value, then: Value) -> tuple[Value, Value]:
        """Whether it does in the step from one epoch to the next, which is the second of the two by its own count.

        A metric is of the epoch that was trained; without one, it is the next that something is learned for.
        What counts epochs learns nothing where time runs differently, and works it out when asked.
        """
        needs_metric = self.formula.needs_metric
        learns: Value = needs_metric or all(window.counts_on for window in self.windows)
        own = now if needs_metric else then
        for window in self.windows:
            own, inside = window.inside(own)
            learns = learns & inside
        return learns, own


def replaced(formula: F, /, **changed: Any) -> F:
    """A copy with other values in some fields; no ``__post_init__`` checks them a second time."""
    kind = type(formula)
    copy = object.__new__(kind)
    worked_out, slots = _layout(kind)
    held = vars(copy)
    held.update(vars(formula), **changed)
    for name in worked_out:
        held.pop(name, None)
    for name in slots:
        object.__setattr__(copy, name, held.pop(name, getattr(formula, name)))
    return copy


@functools.lru_cache(maxsize=256)
def _layout(kind: type[Formula]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names that are worked out from the fields of a formula, and the fields that it has slots for."""
    there = {name: getattr(kind, name, None) for name in dir(kind)}
    worked_out = [n for n, v in there.items() if isinstance(v, functools.cached_property)]
    fields = {field.name for field in dataclasses.fields(kind)}
    slots = [n for n in fields if isinstance(there.get(n), types.MemberDescriptorType)]
    return tuple(worked_out), tuple(slots)


def hyper_parameters(formula: "Formula") -> Iterator[tuple[str, Any]]:
    """The fields that a formula is constructed from, and described by."""
    for field in dataclasses.fields(formula):
        if field.init and "learned" not in field.metadata:
            yield field.name, getattr(formula, field.name)


def computed_with(formula: Formula) -> Iterator[tuple[str, Any]]:
    """The fields of a formula that it computes with."""
    for field in dataclasses.fields(formula):
        if "fixed" not in field.metadata:
            yield field.name, getattr(formula, field.name)


def _held(value: Any) -> Iterator[tuple[str, Any]]:
    """All that ``raw`` may read: the fields, and what ``__post_init__`` has put beside them."""
    names = [field.name for field in dataclasses.fields(value)]
    for name in (*names, *sorted(getattr(value, "__dict__", {}).keys() - {*names})):
        if not isinstance(getattr(type(value), name, None), functools.cached_property):
            yield name, getattr(value, name)


def _formulas_in(value: Any) -> Iterator[Formula]:
    if isinstance(value, Formula):
        yield value
    elif isinstance(value, tuple):
        for entry in value:
            yield from _formulas_in(entry)


def with_formulas(value: Any, change: Callable[[Formula], Formula]) -> Any:
    """`value` with its formulas changed; itself if none of them is another one afterwards."""
    if isinstance(value, Formula):
        return change(value)
    if not isinstance(value, tuple):
        return value
    entries = tuple(with_formulas(entry, change) for entry in value)
    return value if all(a is b for a, b in zip(entries, value, strict=True)) else entries


def is_ours(formula: Formula) -> bool:
    return type(formula).__module__.startswith(__name__.partition(".")[0] + ".")


def holds_users(value: Any) -> bool:
    """Whether there is a function or a formula of a user's in it."""
    if isinstance(value, Formula):
        return value.asks_users
    if isinstance(value, tuple):
        return any(map(holds_users, value))
    return callable(value) and not isinstance(value, type)


def _foreseeable(value: Any) -> bool:
    if isinstance(value, Formula):
        return value.foreseeable
    if isinstance(value, tuple):
        return all(map(_foreseeable, value))
    return not is_traced(value) and (isinstance(value, type) or not callable(value))


class _Same:
    """Equal to what is the very same object."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)


class Described:
    """A frozen dataclass of lrax's own that is the sum of its fields."""


def identity(value: Any) -> Hashable:
    """Equal for two values if formulas with them give the same learning rates: functions and tracers by identity."""
    if isinstance(value, (Formula, Described)):
        return (type(value), *((name, identity(held)) for name, held in _held(value)))
    if isinstance(value, tuple):
        return tuple(map(identity, value))
    return value if isinstance(value, (bool, int, float, str, type(None))) else _Same(value)
