"""What a scheduler learns from step to step: the learners in its formulas, and what they remember."""

from collections.abc import Sequence
from typing import Any

from brainstate.graph import Node

from .. import _checks
from .._types import Plain, Remembered, Scalar, Unchecked, Value
from ..formulas.arithmetic import wide
from ..formulas.formula import Formula, Learner, with_formulas
from ..states.internals import has_hooks
from ..states.memory import Memory
from ..states.published import Learns
from ..states.saving import check_keys, entries


class Learning(Node):
    """The learners of a scheduler, by name, and their memory."""

    graph_invisible_attrs = ("_bound", "_numbers")
    _bound: tuple[Any, tuple[Formula, ...]] = (None, ())
    """The formulas with the last that the host has learned filled in."""

    _numbers: tuple[Any, Remembered] = (None, {})
    """The last memory that the host has read or made, and the numbers in it."""

    def __init__(self, learners: Sequence[Learner], names: Sequence[str] | None = None) -> None:
        self.names = tuple(map(str, range(len(learners))) if names is None else names)
        self._learners = tuple(zip(self.names, learners, strict=True))
        self.needs_metric = any(found.formula.needs_metric for found in learners)
        self.memory = Memory({key: found.formula.memory() for key, found in self._learners})

    @property
    def why(self) -> str:
        """Why there is no learning rate at a given epoch."""
        return self._learners[0][1].formula.why

    def observe(self, metric: Scalar | None, now: Value, then: Value) -> None:
        """Let those learn that do in the step from one epoch to the next."""
        checked = _checks.metric(metric) if self.needs_metric else None
        known = self.memory.value
        with wide():  # the epochs by a stretched time
            now, then = (v * 1.0 for v in (now, then))  # windows may reach beyond int32
            learn = {key: found.learns(now, then) for key, found in self._learners}
        self.memory.value = {
            key: found.formula.observe(known[key], checked, *learn[key])
            for key, found in self._learners
        }

    def observed_on_host(
        self, metric: Unchecked, now: int, then: int, formulas: tuple[Formula, ...]
    ) -> tuple[Remembered, tuple[Formula, ...]] | None:
        """The memory after the same outside of every trace, and the formulas with it; None if that cannot be done."""
        known = self._numbers
        if (metric is not None) != self.needs_metric or has_hooks(self.memory):
            return None
        if self.memory.held() is not known[0]:
            known = self._read()
            if known is None:
                return None
        memory, numbers = known
        if self.needs_metric and type(metric) is not float:
            metric = _checks.metric(metric)
            if _checks.is_traced(metric):
                return None
        new, kept, values = {}, {}, []
        for key, learner in self._learners:
            formula, windows = learner
            old, part = numbers[key], memory[key]
            learns, epoch = learner.learns(now, then) if windows else (True, then)
            if learns:
                changed = formula.observed(old, metric, epoch)
                part, old = formula.kept(part, old, changed), {**old, **changed}
            kept[key], new[key] = part, old
            values.append(formula.learned(old))
        self._numbers = kept, new  # which counts once it is written
        bound = self._bound
        if values != bound[0]:
            bound = self._bound = values, _with(formulas, values)
        return kept, bound[1]

    def _read(self) -> tuple[Remembered, Remembered] | None:
        """The memory and the numbers in it, if it is on the host."""
        memory = self.memory.peek()
        if memory is None:
            return None
        return memory, {key: found.formula.numbers(memory[key]) for key, found in self._learners}

    def fill_in(self, formulas: tuple[Formula, ...]) -> tuple[Formula, ...]:
        """The formulas with what was learned."""
        return _with(formulas, self._learned(self.memory.value))

    def fill_in_order(self, formulas: Any) -> Any:
        """The same for formulas (in nested tuples) of which each has learners of its own."""
        values = iter(self._learned(self.memory.value))
        return with_formulas(formulas, lambda formula: formula.with_learned(values))

    def _learned(self, memory: Remembered) -> list[Value]:
        return [found.formula.learned(memory[key]) for key, found in self._learners]

    def take_over(self, others: Sequence["Learning"]) -> None:
        """Know what others have learned, whose learners are ours, one after the other."""
        known = [part for other in others for part in map(other.memory.value.get, other.names)]
        self.memory.value = dict(zip(self.names, known, strict=True))

    def as_numbers(self) -> Plain:
        """The memory for a state dict."""
        memory = self.memory.value
        return {key: found.formula.as_numbers(memory[key]) for key, found in self._learners}

    def from_numbers(self, found: Unchecked) -> Remembered:
        """A memory out of a state dict, checked."""
        parts = entries(found)
        check_keys("memory", parts, self.memory.value)
        return {
            key: found.formula.from_numbers(f"memory.{key}", parts[key])
            for key, found in self._learners
        }


def _with(formulas: tuple[Formula, ...], values: list[Value]) -> tuple[Formula, ...]:
    return tuple([formula.with_learned(iter(values)) for formula in formulas])


def check_metric(
    kind: str, own: Learning | None, learning: Sequence[Learns], metric: Unchecked
) -> None:
    """Raise where a step has a metric that nobody needs, or lacks one: what learns is the scheduler's own or its followers'."""
    needed = any(learns.needs_metric for learns in learning)
    if not needed and metric is not None:
        raise TypeError(
            f"{kind} takes no metric, since its learning rate depends on the epoch alone, got metric={metric!r:.80}. "
            "Use ReduceLROnPlateau."
        )
    if needed and metric is None:
        what = (
            kind if own is not None and own.needs_metric else "A hyper-parameter of the optimizer"
        )
        raise ValueError(
            f"{what} needs a metric: call step(metric=...), for example with the validation loss."
        )
