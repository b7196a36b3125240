"""Where a scheduler changes, and what it does between."""

from typing import TYPE_CHECKING, Any

from .. import _checks
from .._types import Number, Scalar
from ..formulas.evaluate import is_concrete
from ..formulas.formula import Formula
from ..formulas.phases import Piece, boundaries_of, end_of, merged
from ..formulas.schedule import spread
from .construction import Derived


class HasPhases:
    """The phases of a schedule of known numbers."""

    if TYPE_CHECKING:

        @property
        def formulas(self) -> tuple[Formula, ...]: ...
        @property
        def base_lrs(self) -> list[Number]: ...

    boundaries = Derived("boundaries", lambda scheduler: _boundaries(scheduler))
    """The epochs from which it is another function, its end included; of very many the first thousand."""

    total_steps = Derived("total_steps", lambda scheduler: _end(scheduler))
    """The first epoch from which it is constant; None if it goes on for ever, or is not known to end."""

    def phase_at(self, epoch: Scalar) -> str:
        """What it does at an epoch: "warmup", "stable", "decay", ...; "end" from `total_steps` on."""
        formula, base = _pieces(self)[0]
        t, end = _checks.real("epoch", epoch, low=0), self.total_steps
        return "end" if end is not None and t >= end else formula.phase_at(t, base)


def _pieces(scheduler: HasPhases) -> list[Piece]:
    """Formula and base learning rate of each group, as numbers."""
    formulas, bases = scheduler.formulas, scheduler.base_lrs
    if not is_concrete((formulas, tuple(bases))):
        raise TypeError(
            f"{type(scheduler).__name__} must have known arguments to tell its phases, but has traced ones. "
            "Ask outside of the transformation."
        )
    return list(zip(spread(formulas, len(bases)), bases, strict=True))


def _boundaries(scheduler: Any) -> tuple[int, ...]:
    found = [boundaries_of(piece, type(scheduler)) for piece in _pieces(scheduler)]
    return tuple(merged(map(iter, found)))


def _end(scheduler: Any) -> int | None:
    ends = [end_of(piece, type(scheduler)) for piece in _pieces(scheduler)]
    known = [end for end in ends if end is not None]
    return max(known) if len(known) == len(ends) else None
