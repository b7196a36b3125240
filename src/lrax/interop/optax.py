"""Schedules of optax as schedulers of lrax. The other way round nothing is needed: a scheduler is a schedule."""

from typing import Any

from .._checks import has, is_of_optax
from .._types import Function
from ..schedulers.piecewise import LambdaLR
from ..schedulers.scheduler import LRScheduler


def from_optax(schedule: Function) -> LambdaLR:
    """A schedule of optax, a function of the count, as a scheduler with a clock: ``LambdaLR(1.0, schedule)``.

    It is computed in float64, as every function of the epoch here, and so lacks most of the errors
    that optax has in float32: it is as exact as its own formula is. The function is not saved.
    Where there is a class of ours, its end is exact, too, and a checkpoint knows its arguments.

    Parameters
    ----------
    schedule : callable
        A function of the count, from ``optax.schedules`` or of your own.

    Raises
    ------
    TypeError
        If `schedule` is no function.

    Examples
    --------
    >>> import lrax, optax
    >>> scheduler = lrax.interop.from_optax(optax.linear_schedule(0.0, 0.5, transition_steps=4))
    >>> scheduler.step()
    >>> print(scheduler.current_lrs.value)
    [0.125]
    """
    if isinstance(schedule, LRScheduler):
        raise TypeError(
            f"schedule must be a function of optax, got {schedule!r:.80}. It is a scheduler of lrax already."
        )
    if _is_factory(schedule):
        raise TypeError(
            f"schedule must be a function of the count, got {schedule!r:.80}, which makes one or an optimizer. "
            f"{_remedy(schedule)}"
        )
    if not callable(schedule) or isinstance(schedule, type) or has(schedule, "update"):
        raise TypeError(
            f"schedule must be a function of the count, got {schedule!r:.80}. {_remedy(schedule)}"
        )
    return LambdaLR(1.0, schedule)


def _is_factory(given: Any) -> bool:
    """Whether it is a function that optax names: what those return is local to them."""
    name = getattr(given, "__qualname__", "<locals>")
    return str(getattr(given, "__module__", "")).startswith("optax.") and "<" not in name


def _remedy(given: Any) -> str:
    if _is_factory(given) and given.__module__.endswith("schedule"):
        return f"Call it: optax.{given.__name__}(...)."
    if _is_factory(given) or (isinstance(given, tuple) and hasattr(given, "update")):
        return "An optimizer of optax is run by lrax.OptaxOptimizer(optax.adam, lr=schedule)."
    if isinstance(given, (int, float)):
        return "A constant is lrax.ConstantLR(lr, factor=1.0, total_iters=0)."
    if is_of_optax(given):
        return "One with a state of its own has no value at a given count."
    return "Those of optax.schedules are: optax.cosine_decay_schedule(0.1, 1000)."
