"""The operators of schedulers, as the schedulers that they make."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from .. import _checks
from .._types import Scalar
from ..formulas.arithmetic import wide
from .combine import MaximumLR, MinimumLR, ProductLR, SumLR
from .ends import WithCooldownLR, WithWarmupLR
from .operators import Operators
from .scheduler import LRScheduler
from .shift import DelayLR, RepeatLR, StretchLR


def minimum(*schedulers: LRScheduler | Scalar) -> LRScheduler:
    """The smallest of several schedulers and numbers, at each epoch.

    >>> import lrax
    >>> print(lrax.minimum(lrax.ExponentialLR(1.0, gamma=0.5), 0.3)(1))
    0.3
    """
    return _combined(MinimumLR, schedulers)


def maximum(*schedulers: LRScheduler | Scalar) -> LRScheduler:
    """The largest of several schedulers and numbers, at each epoch.

    >>> import lrax
    >>> print(lrax.maximum(lrax.ExponentialLR(1.0, gamma=0.5), 0.3)(2))
    0.3
    """
    return _combined(MaximumLR, schedulers)


def _combined(kind: type[Any], operands: tuple[Any, ...]) -> LRScheduler:
    if len(operands) == 1 and _checks.is_list(operands[0]):
        name = kind.__name__.removesuffix("LR").lower()
        raise TypeError(
            f"schedulers must be given one by one, got a list, {operands[0]!r:.80}. Unpack it: {name}(*schedulers)."
        )
    sources = [value for value in operands if isinstance(value, LRScheduler)]
    return _goes_on(kind(operands), sources)


def _goes_on(new: LRScheduler, sources: list[LRScheduler]) -> LRScheduler:
    """A new scheduler at the epoch of the first it was made of, with what they have learned."""
    new.last_epoch.value = sources[0].last_epoch.read()
    if new.learning is not None:
        new.learning.take_over([s.learning for s in sources if s.learning is not None])
    new.publish()
    return new


def _divided(scheduler: LRScheduler, number: Any) -> LRScheduler:
    divisor = _checks.positive("The divisor of a scheduler", number)
    if _checks.is_traced(divisor):
        with wide():  # the product is rounded, and nothing before
            share = 1 / jnp.asarray(divisor, np.float64)
    else:
        share = _checks.positive("1 / the divisor of a scheduler", 1 / divisor)
    return _combined(ProductLR, (scheduler, share))


def _clipped(scheduler: LRScheduler, low: Any, high: Any) -> LRScheduler:
    known = []
    for name, bound in (("low", low), ("high", high)):
        if not isinstance(bound, LRScheduler):
            number = _checks.non_negative(name, bound)
            known += [] if _checks.is_traced(number) else [number]
    if len(known) == 2 and known[0] > known[1]:
        raise ValueError(f"low must be <= high, got {low!r} > {high!r}. Swap them.")
    return minimum(maximum(scheduler, low), high)


def _of_one(kind: type[Any]) -> Any:
    return lambda scheduler, *arguments: _goes_on(kind(scheduler, *arguments), [scheduler])


Operators.made_by.update(
    {
        "+": lambda a, b: _combined(SumLR, (a, b)),
        "*": lambda a, b: _combined(ProductLR, (a, b)),
        "/": _divided,
        "clip": _clipped,
        "delay": _of_one(DelayLR),
        "stretch": _of_one(StretchLR),
        "repeat": _of_one(RepeatLR),
        "with_warmup": _of_one(WithWarmupLR),
        "with_cooldown": _of_one(WithCooldownLR),
    }
)
