"""What a scheduler learns from metrics: the learners in its formulas, and what they remember."""

from collections.abc import Sequence
from typing import Any

from brainstate.graph import Node

from .. import _checks
from .._types import Plain, Remembered, Scalar, Unchecked, Value
from ..formulas.formula import Formula, Learner, with_formulas
from ..states.memory import Memory
from ..states.saving import check_keys, entries


class Learning(Node):
    """The learners of a scheduler, by name, and their memory."""

    graph_invisible_attrs = ("_bound",)
    _bound: tuple[Any, tuple[Formula, ...]] = (None, ())
    """The formulas with the last that the host has learned filled in."""

    def __init__(self, learners: Sequence[Learner], names: Sequence[str] | None = None) -> None:
        self.names = tuple(map(str, range(len(learners))) if names is None else names)
        self._learners = tuple(zip(self.names, learners, strict=True))
        self.memory = Memory({key: found.formula.memory() for key, found in self._learners})

    def observe(self, metric: Scalar, now: Value) -> None:
        """Let those learn from `metric` that do now."""
        checked, known = _checks.metric(metric), self.memory.value
        self.memory.value = {
            key: found.formula.observe(known[key], checked, found.learns(now))
            for key, found in self._learners
        }

    def observed_on_host(self, metric: Unchecked, now: int) -> Remembered | None:
        """The memory after the same for a Python number, outside of every trace; None if that cannot be done."""
        known = self.memory.peek()
        plain = type(metric) is float or (type(metric) is int and abs(metric) <= 2**53)
        if known is None or not plain:
            return None
        return {
            key: found.formula.observe_on_host(known[key], metric)
            if found.learns(now)
            else known[key]
            for key, found in self._learners
        }

    def fill_in(self, formulas: tuple[Formula, ...]) -> tuple[Formula, ...]:
        """The formulas with what was learned."""
        return _with(formulas, self._learned(self.memory.value))

    def fill_in_order(self, formulas: Any) -> Any:
        """The same for formulas (in nested tuples) of which each has learners of its own."""
        values = iter(self._learned(self.memory.value))
        return with_formulas(formulas, lambda formula: formula.with_learned(values))

    def fill_in_on_host(
        self, formulas: tuple[Formula, ...], memory: Remembered
    ) -> tuple[Formula, ...]:
        """The same with what :meth:`observed_on_host` has learned, which mostly is nothing."""
        values = self._learned(memory)
        if values != self._bound[0]:
            self._bound = values, _with(formulas, values)
        return self._bound[1]

    def _learned(self, memory: Remembered) -> list[Value]:
        return [found.formula.learned(memory[key]) for key, found in self._learners]

    def take_over(self, others: Sequence["Learning"]) -> None:
        """Know what others have learned, whose learners are ours, one after the other."""
        known = [part for other in others for part in other.memory.value.values()]
        self.memory.value = dict(zip(self.names, known, strict=True))

    def as_numbers(self) -> Plain:
        """The memory for a state dict."""
        memory = self.memory.value
        return {key: found.formula.as_numbers(memory[key]) for key, found in self._learners}

    def from_numbers(self, found: Unchecked) -> Remembered:
        """A memory out of a state dict, checked."""
        plateaus = entries(found)
        check_keys("plateaus", plateaus, self.memory.value)
        return {
            key: found.formula.from_numbers(f"plateaus.{key}", plateaus[key])
            for key, found in self._learners
        }


def _with(formulas: tuple[Formula, ...], values: list[Value]) -> tuple[Formula, ...]:
    return tuple([formula.with_learned(iter(values)) for formula in formulas])
