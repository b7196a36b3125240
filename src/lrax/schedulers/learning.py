"""What a scheduler learns from metrics: the plateaus in its formulas, and what they remember."""

from collections.abc import Sequence
from typing import Any

from brainstate.graph import Node

from .. import _checks
from .._types import Number, Plain, Remembered, Scalar, Unchecked, Value
from ..formulas.formula import Formula, Plateau, with_formulas
from ..states.memory import Memory
from ..states.saving import check_keys, entries


class Learning(Node):
    """The plateaus of a scheduler, each with the epoch at which it begins, and their memory."""

    graph_invisible_attrs = ("_bound",)
    _bound: tuple[Any, tuple[Formula, ...]] = (None, ())
    """The formulas with the last numbers of reductions that the host has seen filled in."""

    def __init__(
        self, plateaus: Sequence[tuple[Plateau, Number]], names: Sequence[str] | None = None
    ) -> None:
        self.names = tuple(map(str, range(len(plateaus))) if names is None else names)
        named = zip(self.names, plateaus, strict=True)
        self._plateaus = tuple((name, *found) for name, found in named)
        self.memory = Memory({key: plateau.memory() for key, plateau, _ in self._plateaus})

    def observe(self, metric: Scalar, now: Value) -> None:
        """Let the plateaus that have begun learn from `metric`."""
        checked, known = _checks.metric(metric), self.memory.value
        self.memory.value = {
            key: plateau.observe(known[key], checked, now >= start)
            for key, plateau, start in self._plateaus
        }

    def observed_on_host(self, metric: Unchecked, now: int) -> Remembered | None:
        """The memory after the same for a Python number, outside of every trace; None if that cannot be done."""
        known = self.memory.peek()
        plain = type(metric) is float or (type(metric) is int and abs(metric) <= 2**53)
        if known is None or not plain:
            return None
        return {
            key: plateau.observe_on_host(known[key], metric) if now >= start else known[key]
            for key, plateau, start in self._plateaus
        }

    def fill_in(self, formulas: tuple[Formula, ...]) -> tuple[Formula, ...]:
        """The formulas with what was learned."""
        return _with(formulas, self._reductions(self.memory.value))

    def fill_in_order(self, formulas: Any) -> Any:
        """The same for formulas (in nested tuples) of which each has plateaus of its own."""
        counts = iter(self._reductions(self.memory.value))
        return with_formulas(formulas, lambda formula: formula.with_reductions(counts))

    def fill_in_on_host(
        self, formulas: tuple[Formula, ...], memory: Remembered
    ) -> tuple[Formula, ...]:
        """The same with what :meth:`observed_on_host` has learned, which mostly is nothing."""
        counts = self._reductions(memory)
        if counts != self._bound[0]:
            self._bound = counts, _with(formulas, counts)
        return self._bound[1]

    def _reductions(self, memory: Remembered) -> list[Value]:
        """How often each plateau has reduced the learning rate."""
        return [memory[key]["reductions"] for key, _, _ in self._plateaus]

    def as_numbers(self) -> Plain:
        """The memory for a state dict."""
        memory = self.memory.value
        return {key: plateau.as_numbers(memory[key]) for key, plateau, _ in self._plateaus}

    def from_numbers(self, found: Unchecked) -> Remembered:
        """A memory out of a state dict, checked."""
        plateaus = entries(found)
        check_keys("plateaus", plateaus, self.memory.value)
        return {
            key: plateau.from_numbers(f"plateaus.{key}", plateaus[key])
            for key, plateau, _ in self._plateaus
        }


def _with(formulas: tuple[Formula, ...], counts: list[Value]) -> tuple[Formula, ...]:
    return tuple([formula.with_reductions(iter(counts)) for formula in formulas])
