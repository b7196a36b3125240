"""One example of every schedule, as it is typed at the command line."""

from typing import Any

import numpy as np

from ..schedulers import catalogue
from ..schedulers.scheduler import LRScheduler
from .expression import scheduler_of

EXPRESSIONS = (
    "ConstantLR(0.1, factor=0.3, total_iters=15)",
    "LinearLR(0.1, start_factor=1.0, end_factor=0.1, total_iters=40)",
    "WarmupScheduler(0.1, warmup_epochs=15)",
    "StepLR(0.1, step_size=12, gamma=0.6)",
    "MultiStepLR(0.1, milestones=[20, 35], gamma=0.4)",
    "ExponentialLR(0.1, gamma=0.95)",
    "ExponentialDecayLR(0.1, decay_steps=10, decay_rate=0.6)",
    "PolynomialLR(0.1, total_iters=48, power=2.0)",
    "InverseSqrtLR(0.1, warmup_steps=8)",
    "TokenPowerLR(0.5, batch_size=1, a=2.0)",
    "CosineAnnealingLR(0.1, T_max=48)",
    "CosineAnnealingWarmRestarts(0.1, T_0=16)",
    "WSDSchedule(0.1, warmup_steps=8, total_steps=48, decay_steps=14)",
    "WarmupCosineSchedule(0.1, warmup_steps=8, total_steps=48)",
    "CyclicLR(0.01, max_lr=0.1, step_size_up=8)",
    "OneCycleLR(0.1, total_steps=49)",
    "PiecewiseConstantSchedule(boundaries=[16, 32], values=[0.1, 0.03, 0.06])",
    "PiecewiseSchedule(0.1, epochs=[0, 8, 40], values=[0.2, 1.0, 0.0])",
    "SequentialLR([WarmupScheduler(0.1, 8), StepLR(0.1, 15, 0.5)], milestones=[8])",
    "ChainedScheduler([ExponentialLR(0.1, 0.97), StepLR(0.1, 15, 0.5)])",
    "ReduceLROnPlateau(0.1, factor=0.5, patience=4)",
    "GreedyLR(0.1, factor=0.8, patience=3)",
    "CosineAnnealingLR(0.1, 48) + 0.02",
    "CosineAnnealingLR(0.1, 48) * ExponentialLR(1.0, 0.97)",
    "minimum(WarmupScheduler(0.1, 24), ExponentialLR(0.1, 0.98))",
    "maximum(ExponentialLR(0.1, 0.93), 0.03)",
    "PolynomialLR(0.1, 33).delay(15)",
    "CosineAnnealingLR(0.1, 24).stretch(2)",
    "CosineAnnealingLR(0.1, 16).repeat(16, decay=0.7)",
    "CosineAnnealingLR(0.1, 40).with_warmup(8)",
    "ConstantLR(0.1, factor=1.0, total_iters=0).with_cooldown(30, 18, '1-sqrt')",
)

LENGTH = 48
"""Of their curves."""


def examples() -> dict[str, tuple[str, np.ndarray]]:
    """Of every schedule the text and the learning rates of an example, by the name of its class."""
    wave = catalogue.LambdaLR(0.1, lambda t: 0.6 + 0.4 * np.cos(0.4 * t))
    falls = catalogue.MultiplicativeLR(0.1, lambda t: 0.96)
    made = [(text, scheduler_of(text)) for text in EXPRESSIONS]
    made += [(f"{type(s).__name__}(0.1, a function of the step)", s) for s in (wave, falls)]
    return {type(scheduler).__name__: (text, _stepped(scheduler)) for text, scheduler in made}


def _stepped(scheduler: LRScheduler) -> np.ndarray:
    """Its learning rates in a training whose loss falls for a while: also of one that learns."""
    needed, rates = scheduler.learning is not None and scheduler.learning.needs_metric, []
    for epoch in range(LENGTH + 1):
        rates.append(float(scheduler.get_last_lr()[0]))
        more: dict[str, Any] = {"metric": max(1.0 - epoch / 12, 0.3)} if needed else {}
        scheduler.step(**more)
    return np.array(rates)
