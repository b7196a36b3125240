"""One scheduler of every kind, for tests that must hold for all of them."""

import dataclasses

import numpy as np

import lrax


class Halving(lrax.LRScheduler):
    """A schedule of the user's own: a subclass that defines ``get_lr()`` only."""

    def get_lr(self):
        return [lr * 0.5 ** (self.last_epoch.value / 20) for lr in self.base_lrs]


@dataclasses.dataclass(frozen=True)
class InverseTime(lrax.Formula):
    """A schedule of the user's own: a formula."""

    rate: float

    def raw(self, t, base, x):
        return base / (1 + self.rate * t)


BASE = 0.05
KINDS = {
    "StepLR": lambda b=BASE: lrax.StepLR(b, step_size=10, gamma=0.5),
    "MultiStepLR": lambda b=BASE: lrax.MultiStepLR(b, milestones=[7, 20, 20, 40], gamma=0.6),
    "ExponentialLR": lambda b=BASE: lrax.ExponentialLR(b, gamma=0.95),
    "ExponentialDecayLR": lambda b=BASE: lrax.ExponentialDecayLR(b, 10, 0.7, 3, staircase=True),
    "CosineAnnealingLR": lambda b=BASE: lrax.CosineAnnealingLR(b, T_max=41, eta_min=1e-4),
    "PolynomialLR": lambda b=BASE: lrax.PolynomialLR(b, total_iters=45, power=1.5),
    "WarmupScheduler": lambda b=BASE: lrax.WarmupScheduler(b, warmup_epochs=13),
    "CyclicLR": lambda b=BASE: lrax.CyclicLR(b, 4 * b, 7, 11, "exp_range", 0.97),
    "OneCycleLR": lambda b=BASE: lrax.OneCycleLR(2 * b, total_steps=48, three_phase=True),
    "ReduceLROnPlateau": lambda b=BASE: lrax.ReduceLROnPlateau(b, factor=0.5, patience=3),
    "LinearLR": lambda b=BASE: lrax.LinearLR(b, 0.1, 1.0, total_iters=30),
    "ConstantLR": lambda b=BASE: lrax.ConstantLR(b, factor=0.3, total_iters=20),
    "ChainedScheduler": lambda b=BASE: lrax.ChainedScheduler(
        [lrax.WarmupScheduler(b, 5, b / 10), lrax.StepLR(b, 15, 0.3), lrax.ExponentialLR(b, 0.99)]
    ),
    "SequentialLR": lambda b=BASE: lrax.SequentialLR(
        [lrax.LinearLR(b, 0.1, 1.0, 10), lrax.CosineAnnealingWarmRestarts(b, 6, 2)], [10]
    ),
    "CosineAnnealingWarmRestarts": lambda b=BASE: lrax.CosineAnnealingWarmRestarts(b, 7, 2, 1e-3),
    "WarmupCosineSchedule": lambda b=BASE: lrax.WarmupCosineSchedule(b, 10, 45, 1e-4, 1e-3),
    "PiecewiseConstantSchedule": lambda b=BASE: lrax.PiecewiseConstantSchedule(
        boundaries=[10, 30], values=[b, b / 3, 2 * b]
    ),
    "LambdaLR": lambda b=BASE: lrax.LambdaLR(
        b, lr_lambda=lambda t: t / 10 if t < 10 else (10 / t) ** 0.5
    ),
    "a subclass": lambda b=BASE: Halving(b),
    "a formula": lambda b=BASE: lrax.LRScheduler(b, formula=InverseTime(0.1)),
}
METRICS = np.float32([1.0, 0.9, 0.8] + [0.8] * 22 + [0.5] + [0.6] * 40)


def step(scheduler, epoch):
    """One step; the plateau is given the metric of this epoch."""
    if isinstance(scheduler, lrax.ReduceLROnPlateau):
        scheduler.step(METRICS[epoch])
    else:
        scheduler.step()
