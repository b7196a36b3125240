"""Every scheduler whose learning rate depends on the epoch alone: one table for the numerical tests.

`EVERY` holds each of them at a size that is easy to read; `at_horizon` the ones with a length at any length.
"""

import lrax
from exact import FORMULAS, Spec, spec

WITHOUT_FORMULA = {"LRScheduler", "ReduceLROnPlateau"}
"""Public, but no function of the epoch."""


def missing() -> set[str]:
    """Public schedulers that no test would see."""
    public = {
        name
        for name, found in vars(lrax).items()
        if isinstance(found, type) and issubclass(found, lrax.LRScheduler)
    }
    seen = {s.name for s in EVERY.values()}
    return (public - WITHOUT_FORMULA) ^ seen | (seen ^ FORMULAS.keys())


# Functions for LambdaLR and CyclicLR: plain arithmetic, so that they run on numbers of any kind.
def inverse_time(t):
    return 1 / (1 + t / 128)


def inverse_root(t):
    return (1 + t / 128) ** -0.5


def seven_eighths(cycle):
    return 0.875**cycle


EVERY: dict[str, Spec] = {
    "step": spec("StepLR", base_lr=0.1, step_size=30, gamma=0.3),
    "step, 41": spec("StepLR", base_lr=3e-4, step_size=41, gamma=0.5),
    "multi-step": spec("MultiStepLR", base_lr=0.1, milestones=[7, 50, 50, 2**24 + 1, 10**9], gamma=0.2),
    "exponential": spec("ExponentialLR", base_lr=0.1, gamma=0.97),
    "exponential, slow": spec("ExponentialLR", base_lr=0.7, gamma=0.9999999),
    "exponential, growing": spec("ExponentialLR", base_lr=1e-9, gamma=1.01),
    "exponential decay": spec(
        "ExponentialDecayLR", base_lr=0.1, decay_steps=41, decay_rate=0.9, transition_begin=5
    ),
    "exponential decay, stairs": spec(
        "ExponentialDecayLR", base_lr=0.1, decay_steps=41, decay_rate=0.9, transition_begin=5, staircase=True
    ),
    "exponential decay, end": spec(
        "ExponentialDecayLR", base_lr=0.1, decay_steps=30, decay_rate=0.5, end_value=1e-4
    ),
    "exponential growth, end": spec(
        "ExponentialDecayLR", base_lr=1e-4, decay_steps=30, decay_rate=2.0, end_value=0.1
    ),
    "cosine": spec("CosineAnnealingLR", base_lr=0.1, T_max=1000),
    "cosine, floor": spec("CosineAnnealingLR", base_lr=0.1, T_max=300, eta_min=1e-4),
    "cosine, upwards": spec("CosineAnnealingLR", base_lr=1e-4, T_max=300, eta_min=0.1),
    "polynomial": spec("PolynomialLR", base_lr=0.1, total_iters=1000, power=1.0),
    "polynomial, root": spec("PolynomialLR", base_lr=0.1, total_iters=1000, power=0.5),
    "polynomial, 0.9": spec("PolynomialLR", base_lr=0.02, total_iters=90, power=0.9),
    "polynomial, cubic": spec("PolynomialLR", base_lr=3e-4, total_iters=2000, power=3.0),
    "warmup": spec("WarmupScheduler", base_lr=0.1, warmup_epochs=300),
    "warmup, start": spec("WarmupScheduler", base_lr=0.7, warmup_epochs=41, warmup_start_lr=1e-6),
    "warmup, downwards": spec("WarmupScheduler", base_lr=1e-3, warmup_epochs=41, warmup_start_lr=0.1),
    "cyclic": spec("CyclicLR", base_lr=1e-3, max_lr=0.1, step_size_up=300),
    "cyclic, asymmetric": spec(
        "CyclicLR", base_lr=1e-3, max_lr=0.1, step_size_up=41, step_size_down=7, mode="triangular2"
    ),
    "cyclic, decaying": spec(
        "CyclicLR", base_lr=1e-3, max_lr=0.1, step_size_up=20, step_size_down=55, mode="exp_range", gamma=0.999
    ),
    "cyclic, scaled": spec(
        "CyclicLR", base_lr=1e-3, max_lr=0.1, step_size_up=20, scale_fn=seven_eighths
    ),
    "cyclic, scaled by epoch": spec(
        "CyclicLR", base_lr=1e-3, max_lr=0.1, step_size_up=20, scale_fn=inverse_time, scale_mode="iterations"
    ),
    "one cycle": spec("OneCycleLR", max_lr=0.1, total_steps=1000),
    "one cycle, linear": spec(
        "OneCycleLR", max_lr=0.1, total_steps=300, pct_start=0.25, anneal_strategy="linear", div_factor=10.0
    ),
    "one cycle, three phases": spec(
        "OneCycleLR", max_lr=0.7, total_steps=300, pct_start=0.4, three_phase=True
    ),
    "one cycle, three lines": spec(
        "OneCycleLR", max_lr=0.7, total_steps=256, pct_start=0.375, three_phase=True, anneal_strategy="linear"
    ),
    "linear": spec("LinearLR", base_lr=0.1, start_factor=1 / 3, end_factor=1.0, total_iters=300),
    "linear, to zero": spec("LinearLR", base_lr=0.1, start_factor=1.0, end_factor=0.0, total_iters=1000),
    "constant": spec("ConstantLR", base_lr=0.1, factor=1 / 3, total_iters=5),
    "restarts": spec("CosineAnnealingWarmRestarts", base_lr=0.1, T_0=10, T_mult=2),
    "restarts, equal": spec("CosineAnnealingWarmRestarts", base_lr=0.1, T_0=47, eta_min=1e-4),
    "restarts, tripled": spec("CosineAnnealingWarmRestarts", base_lr=0.1, T_0=1, T_mult=3, eta_min=1e-3),
    "warmup cosine": spec("WarmupCosineSchedule", base_lr=0.1, warmup_steps=10, total_steps=1000),
    "warmup cosine, floor": spec(
        "WarmupCosineSchedule", base_lr=3e-4, warmup_steps=100, total_steps=1100, warmup_start_lr=1e-7, eta_min=3e-5
    ),
    "piecewise": spec(
        "PiecewiseConstantSchedule", boundaries=[10, 30, 2**24 + 3], values=[0.1, 1.0, 0.3, 1e-5]
    ),
    "lambda": spec("LambdaLR", base_lr=0.1, lr_lambda=inverse_root),
    "sequential": spec(
        "SequentialLR",
        schedulers=[
            spec("LinearLR", base_lr=0.1, start_factor=0.1, end_factor=1.0, total_iters=10),
            spec("CosineAnnealingLR", base_lr=0.1, T_max=90, eta_min=1e-3),
            spec("ExponentialLR", base_lr=1e-3, gamma=0.99),
        ],
        milestones=[10, 100],
    ),
    "sequential, far": spec(
        "SequentialLR",
        schedulers=[
            spec("ConstantLR", base_lr=0.1, factor=0.5, total_iters=3),
            spec("CosineAnnealingWarmRestarts", base_lr=0.2, T_0=1000, T_mult=2),
        ],
        milestones=[2**24 + 1],
    ),
    "chained": spec(
        "ChainedScheduler",
        schedulers=[
            spec("WarmupScheduler", base_lr=0.1, warmup_epochs=20, warmup_start_lr=1e-3),
            spec("StepLR", base_lr=0.1, step_size=30, gamma=0.3),
            spec("PolynomialLR", base_lr=0.3, total_iters=300, power=0.9),
        ],
    ),
    "nested": spec(
        "SequentialLR",
        schedulers=[
            spec(
                "ChainedScheduler",
                schedulers=[
                    spec("LinearLR", base_lr=0.1, start_factor=0.1, end_factor=1.0, total_iters=40),
                    spec("ExponentialLR", base_lr=0.1, gamma=0.999),
                ],
            ),
            spec(
                "SequentialLR",
                schedulers=[
                    spec("CosineAnnealingLR", base_lr=0.1, T_max=60, eta_min=1e-3),
                    spec("CyclicLR", base_lr=1e-4, max_lr=1e-3, step_size_up=7),
                ],
                milestones=[60],
            ),
        ],
        milestones=[90],
    ),
}  # fmt: skip


def at_horizon(T: int) -> dict[str, Spec]:
    """The schedules that have a length, with length `T`."""
    third, half = T // 3, (T + 1) // 2
    return {
        "step": spec("StepLR", base_lr=0.1, step_size=T, gamma=0.3),
        "multi-step": spec("MultiStepLR", base_lr=0.1, milestones=[third, half, T], gamma=0.3),
        "decay": spec("ExponentialDecayLR", base_lr=0.1, decay_steps=T, decay_rate=0.1),
        "stairs": spec(
            "ExponentialDecayLR", base_lr=0.1, decay_steps=T, decay_rate=0.1, staircase=True, transition_begin=third
        ),
        "cosine": spec("CosineAnnealingLR", base_lr=0.1, T_max=T),
        "cosine, floor": spec("CosineAnnealingLR", base_lr=0.1, T_max=T, eta_min=1e-4),
        "polynomial": spec("PolynomialLR", base_lr=0.1, total_iters=T, power=1.0),
        "root": spec("PolynomialLR", base_lr=0.1, total_iters=T, power=0.5),
        "square": spec("PolynomialLR", base_lr=0.1, total_iters=T, power=2.0),
        "0.9": spec("PolynomialLR", base_lr=0.1, total_iters=T, power=0.9),
        "warmup": spec("WarmupScheduler", base_lr=0.1, warmup_epochs=T),
        "warmup, start": spec("WarmupScheduler", base_lr=0.1, warmup_epochs=T, warmup_start_lr=1e-5),
        "cyclic": spec("CyclicLR", base_lr=1e-4, max_lr=0.1, step_size_up=T, step_size_down=half),
        "cyclic, halved": spec("CyclicLR", base_lr=1e-4, max_lr=0.1, step_size_up=T, mode="triangular2"),
        "one cycle": spec("OneCycleLR", max_lr=0.1, total_steps=T),
        "one cycle, linear": spec("OneCycleLR", max_lr=0.1, total_steps=T, anneal_strategy="linear"),
        "three phases": spec("OneCycleLR", max_lr=0.1, total_steps=T, three_phase=True),
        "linear": spec("LinearLR", base_lr=0.1, start_factor=1 / 3, end_factor=1.0, total_iters=T),
        "linear, to zero": spec("LinearLR", base_lr=0.1, start_factor=1.0, end_factor=0.0, total_iters=T),
        "constant": spec("ConstantLR", base_lr=0.1, factor=1 / 3, total_iters=T),
        "restarts": spec("CosineAnnealingWarmRestarts", base_lr=0.1, T_0=T, eta_min=1e-5),
        "restarts, doubled": spec("CosineAnnealingWarmRestarts", base_lr=0.1, T_0=T, T_mult=2),
        "warmup cosine": spec("WarmupCosineSchedule", base_lr=0.1, warmup_steps=T // 10, total_steps=T),
        "piecewise": spec("PiecewiseConstantSchedule", boundaries=[third, T], values=[0.1, 0.7, 1e-3]),
        "sequential": spec(
            "SequentialLR",
            schedulers=[
                spec("WarmupScheduler", base_lr=0.1, warmup_epochs=third),
                spec("CosineAnnealingLR", base_lr=0.1, T_max=max(half, 1)),
                spec("ExponentialLR", base_lr=1e-3, gamma=0.999),
            ],
            milestones=[third, T],
        ),
        "chained": spec(
            "ChainedScheduler",
            schedulers=[
                spec("WarmupScheduler", base_lr=0.1, warmup_epochs=third, warmup_start_lr=1e-4),
                spec("CosineAnnealingLR", base_lr=0.7, T_max=T, eta_min=1e-3),
            ],
        ),
    }  # fmt: skip
