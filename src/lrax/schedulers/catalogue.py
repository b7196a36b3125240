"""Every scheduler by its name, and schedulers out of plain data."""

from collections.abc import Sequence
from typing import Any

from .. import _checks
from .._types import Plain
from ..formulas.description import constructed
from ..formulas.formula import Formula
from .algebra import maximum, minimum
from .combine import MaximumLR, MinimumLR, ProductLR, SumLR
from .compose import ChainedScheduler, SequentialLR
from .cosine import CosineAnnealingLR
from .cyclic import CyclicLR, OneCycleLR
from .decay import (
    ExponentialDecayLR,
    ExponentialLR,
    MultiStepLR,
    StepLR,
)
from .ends import WithCooldownLR, WithWarmupLR
from .greedy import GreedyLR
from .linear import ConstantLR, LinearLR
from .piecewise import LambdaLR, PiecewiseConstantSchedule, PiecewiseSchedule
from .plateau import ReduceLROnPlateau
from .powers import InverseSqrtLR, PolynomialLR, TokenPowerLR
from .product import MultiplicativeLR
from .restarts import CosineAnnealingWarmRestarts
from .scheduler import LRScheduler
from .shift import DelayLR, RepeatLR, StretchLR
from .warmup import WarmupCosineSchedule, WarmupScheduler, WSDSchedule

__all__ = [
    "ChainedScheduler",
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "CyclicLR",
    "DelayLR",
    "ExponentialDecayLR",
    "ExponentialLR",
    "GreedyLR",
    "InverseSqrtLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "MaximumLR",
    "MinimumLR",
    "MultiStepLR",
    "MultiplicativeLR",
    "OneCycleLR",
    "PiecewiseConstantSchedule",
    "PiecewiseSchedule",
    "PolynomialLR",
    "ProductLR",
    "ReduceLROnPlateau",
    "RepeatLR",
    "SequentialLR",
    "StepLR",
    "StretchLR",
    "SumLR",
    "TokenPowerLR",
    "WSDSchedule",
    "WarmupCosineSchedule",
    "WarmupScheduler",
    "WithCooldownLR",
    "WithWarmupLR",
    "from_config",
    "maximum",
    "minimum",
]

CLASSES: dict[str, Any] = {
    name: globals()[name] for name in __all__ if isinstance(globals().get(name), type)
}


def from_config(
    config: dict[str, Plain], classes: Sequence[type[LRScheduler] | type[Formula]] = ()
) -> LRScheduler:
    """The scheduler that ``scheduler.config`` describes, at epoch 0.

    Schedulers and formulas of your own are constructed, too, if their classes are passed along.

    >>> import lrax
    >>> lrax.from_config({"StepLR": {"base_lr": 0.1, "step_size": 30, "gamma": 0.1}})
    StepLR(base_lr=0.1, step_size=30, gamma=0.1)
    >>> class Halving(lrax.ExponentialLR):
    ...     def __init__(self, base_lr, last_epoch=0):
    ...         super().__init__(base_lr, gamma=0.5, last_epoch=last_epoch)
    >>> lrax.from_config(Halving(0.1).config, classes=[Halving])
    Halving(base_lr=0.1)
    """
    own = _checks.sequence("classes", classes, _scheduler_or_formula, of="classes")
    if not isinstance(config, dict) or len(config) != 1:
        raise ValueError(f"config must be a dict {{class name: arguments}}, got {config!r:.80}.")
    ((name, arguments),) = config.items()
    known = CLASSES | {kind.__name__: kind for kind in own}
    found = constructed(name, arguments, known)
    if not isinstance(found, LRScheduler):
        raise ValueError(f"config must describe a scheduler, got the formula {found!r:.80}.")
    return found


def _scheduler_or_formula(name: str, value: Any) -> type:
    if isinstance(value, type) and issubclass(value, (LRScheduler, Formula)):
        return value
    raise TypeError(f"{name} must be a class of schedulers or formulas, got {value!r:.80}.")
