"""How a scheduler is constructed: what a user's class is given, and when it publishes first."""

import inspect
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import brainstate
import numpy as np

from .._names import check_keywords
from ..formulas.schedule import Items, frozen
from ..states.node import ShowsArguments


class Constructs(ShowsArguments):
    """Constructs a scheduler.

    1. The arguments of a user's class are copied, so that nobody can change them afterwards, and
       checked: its description is made of them. A class of ours is described by its formula.
    2. ``__init__`` runs, with the copies.
    3. From now on attributes are guarded, and the scheduler knows how it compares.
    4. The first learning rate is published, once the last line of ``__init__`` has run: a user's
       ``get_lr()`` reads what it has set.
    """

    if not TYPE_CHECKING:

        def __call__(cls, *args: Any, **kwargs: Any) -> Any:
            arguments = None
            if not cls.ours:
                check_keywords(cls, kwargs, args)
                bound = _bound(cls, args, kwargs)
                args, kwargs, arguments = bound.args[1:], bound.kwargs, _arguments(bound)
            scheduler = super().__call__(*args, **kwargs)
            if not hasattr(scheduler, "publishing"):
                raise TypeError(
                    f"{cls.__name__}.__init__ must call super().__init__(base_lr, last_epoch), which makes the clock."
                )
            scheduler.__constructed__(arguments)
            scheduler.publish()
            return scheduler


def _bound(cls: type, args: Any, kwargs: Any) -> inspect.BoundArguments:
    bound = inspect.signature(cls.__init__).bind(None, *args, **kwargs)
    for name, value in bound.arguments.items():
        bound.arguments[name] = _copied(value)
    return bound


def _copied(value: Any) -> Any:
    """A copy of what a caller could still change, or use up."""
    if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
        return type(value)(map(_copied, value))
    if isinstance(value, dict):
        return {key: _copied(entry) for key, entry in value.items()}
    if isinstance(value, np.ndarray):
        return value.copy()
    return list(value) if isinstance(value, Iterator) else value


def _arguments(bound: inspect.BoundArguments) -> tuple[tuple[str, Any], ...]:
    """What a user's scheduler is described by: all but the clock and the States, which are saved by value."""
    full = inspect.BoundArguments(bound.signature, dict(bound.arguments))  # pyright: ignore[reportArgumentType]
    full.apply_defaults()
    found: dict[str, Any] = {}
    for name, value in list(full.arguments.items())[1:]:
        parameter = bound.signature.parameters[name]
        if value is not None or parameter.default is not None:
            variable = parameter.kind is inspect.Parameter.VAR_KEYWORD
            more = dict(value or {}) if variable else {name: value}
            if more.keys() & found.keys():
                raise TypeError(
                    f"{name} must not have the names of other arguments, got {value!r:.80}."
                )
            found |= more
    described = {
        name: frozen(name, value)
        for name, value in found.items()
        if name != "last_epoch" and not isinstance(value, brainstate.State)
    }
    return tuple(described.items())


class Argument:
    """An argument of the constructor, as an attribute: ``scheduler.step_size``.

    No data descriptor: a user's class that keeps an argument under its name has that one.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, scheduler: Any, _: type | None = None) -> Any:
        if scheduler is None:
            return self
        found = scheduler.schedule.fields() | scheduler.schedule.arguments()
        if self.name not in found:
            raise AttributeError(
                f"{type(scheduler).__name__!r} object has no attribute {self.name!r}"
            )
        value = found[self.name]
        return dict(value.pairs) if isinstance(value, Items) else value


class Derived(Argument):
    """What is worked out of a scheduler, unless its class has an argument of that name."""

    def __init__(self, name: str, worked_out: Callable[[Any], Any]) -> None:
        super().__init__(name)
        self.worked_out = worked_out

    def __get__(self, scheduler: Any, kind: type | None = None) -> Any:
        if scheduler is None or self.name in type(scheduler).parameters:
            return super().__get__(scheduler, kind)
        return self.worked_out(scheduler)
