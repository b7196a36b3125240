"""Schedules of optax as schedulers of lrax. The other way round nothing is needed: a scheduler is a schedule."""

from typing import Any

from ..schedulers.piecewise import LambdaLR
from ..schedulers.scheduler import LRScheduler


def from_optax(schedule: Any) -> LambdaLR:
    """A schedule of optax, a function of the count, as a scheduler with a clock: ``LambdaLR(1.0, schedule)``.

    It has optax's numbers, with optax's float32 errors, and its function is not saved. Where there
    is a class of ours its numbers are exact, and a checkpoint knows its arguments.

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
    if not callable(schedule) or isinstance(schedule, type) or hasattr(schedule, "update"):
        raise TypeError(
            f"schedule must be a function of the count, got {schedule!r:.80}. {_remedy(schedule)}"
        )
    return LambdaLR(1.0, schedule)


def _remedy(given: Any) -> str:
    if isinstance(given, tuple) and hasattr(given, "update"):
        return "An optimizer of optax is run by lrax.OptaxOptimizer(optax.adam, lr=schedule)."
    if isinstance(given, (int, float)):
        return "A constant is lrax.ConstantLR(lr, factor=1.0, total_iters=0)."
    if hasattr(given, "init") and hasattr(given, "update"):
        return "One with a state of its own has no value at a given count."
    return "Those of optax.schedules are: optax.cosine_decay_schedule(0.1, 1000)."
