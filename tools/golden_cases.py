"""The cases of make_golden.py: which schedulers of torch, braintools and optax to run, with which arguments."""

import math

EPOCHS = 64

# A loss that falls, stalls, creeps just below and just above the default threshold, and rises again.
STALLS = [5, 4, 4, 4, 4, 3, 2, 1, 1, 1, 1, 1, 1, 1.0005, 0.9999, 0.9998, 0.5] + [0.6] * 8
# A loss that falls with a ripple, at three decimals, and one that is lost for two epochs.
RIPPLE = [round(5 * math.exp(-0.08 * t) + 0.4 * math.sin(1.7 * t) + 0.5, 3) for t in range(EPOCHS)]
LOST = [2.0, 1.0, None, None, 1.5, 0.5, None, 0.4] + [0.4] * 8
FLAT_NEGATIVE = [-2.0] * 30
BELOW_ZERO = [round(-1 - 0.05 * t + 0.3 * math.sin(t), 3) for t in range(EPOCHS)]


def case(name, lr=None, length=EPOCHS, metrics=None, **kwargs):
    entry = {"name": name, "kwargs": kwargs}
    if lr is not None:
        entry["lr"] = lr
    if metrics is not None:
        entry["metrics"] = metrics
    return entry, length


def sub(name, **kwargs):
    return {"name": name, "kwargs": kwargs}


def function(name):
    return {"function": name}


# --- torch ----------------------------------------------------------------------------------------------------------


def torch_cases():
    yield case("StepLR", 0.1, step_size=3, gamma=0.5)
    yield case("StepLR", 0.1, step_size=1, gamma=0.9)
    yield case("StepLR", 0.05, step_size=30)
    yield case("StepLR", 0.1, step_size=100)
    yield case("StepLR", 0.3, step_size=7, gamma=1.0)
    yield case("StepLR", 1e-3, step_size=20, gamma=2.0)

    yield case("MultiStepLR", 0.1, milestones=[2, 5, 5, 9], gamma=0.5)
    yield case("MultiStepLR", 0.05, milestones=[30, 60])
    yield case("MultiStepLR", 0.1, milestones=[0, 10], gamma=0.5)
    yield case("MultiStepLR", 0.1, milestones=[1], gamma=0.1)
    yield case("MultiStepLR", 0.1, milestones=[], gamma=0.1)
    yield case("MultiStepLR", 0.1, milestones=[4, 4, 4, 40], gamma=0.8)

    yield case("ConstantLR", 0.1, factor=0.25, total_iters=3)
    yield case("ConstantLR", 0.1)
    yield case("ConstantLR", 0.05, factor=0.5, total_iters=40)
    yield case("ConstantLR", 0.1, factor=1.0, total_iters=7)
    yield case("ConstantLR", 0.1, factor=0.5, total_iters=1)
    yield case("ConstantLR", 0.1, factor=0.5, total_iters=0)

    yield case("LinearLR", 0.1, start_factor=0.2, end_factor=0.8, total_iters=5)
    yield case("LinearLR", 0.1)
    yield case("LinearLR", 0.05, start_factor=0.05, total_iters=40)
    yield case("LinearLR", 0.1, start_factor=1.0, end_factor=0.0, total_iters=50)
    yield case("LinearLR", 0.1, start_factor=1e-6, end_factor=1.0, total_iters=13)
    yield case("LinearLR", 0.1, start_factor=0.5, total_iters=1)
    yield case("LinearLR", 0.1, total_iters=0)

    yield case("ExponentialLR", 0.1, gamma=0.9)
    yield case("ExponentialLR", 1e-5, gamma=1.2)
    yield case("ExponentialLR", 0.1, gamma=0.999)
    yield case("ExponentialLR", 0.1, gamma=0.5)
    yield case("ExponentialLR", 0.1, gamma=1.0)

    yield case("PolynomialLR", 0.1, total_iters=6, power=1.7)
    yield case("PolynomialLR", 0.1)
    yield case("PolynomialLR", 0.05, total_iters=50, power=0.9)
    yield case("PolynomialLR", 0.1, total_iters=41, power=1.0)
    yield case("PolynomialLR", 0.1, total_iters=47, power=2.0)
    yield case("PolynomialLR", 0.1, total_iters=60, power=0.5)
    yield case("PolynomialLR", 0.1, total_iters=1)

    yield case("CosineAnnealingLR", 0.1, T_max=5, eta_min=0.01)
    yield case("CosineAnnealingLR", 0.1, T_max=50)
    yield case("CosineAnnealingLR", 0.1, T_max=63, eta_min=1e-5)
    yield case("CosineAnnealingLR", 0.1, T_max=1, eta_min=0.02)
    yield case("CosineAnnealingLR", 0.01, T_max=40, eta_min=0.05)

    yield case("CosineAnnealingWarmRestarts", 0.1, T_0=3, T_mult=2, eta_min=0.01)
    yield case("CosineAnnealingWarmRestarts", 0.1, T_0=4)
    yield case("CosineAnnealingWarmRestarts", 0.1, T_0=1)
    yield case("CosineAnnealingWarmRestarts", 0.5, T_0=1, T_mult=2)
    yield case("CosineAnnealingWarmRestarts", 0.1, T_0=1, T_mult=3, length=130)
    yield case("CosineAnnealingWarmRestarts", 0.1, T_0=10, T_mult=2, eta_min=1e-4, length=80)
    yield case("CosineAnnealingWarmRestarts", 0.1, T_0=5, T_mult=4)

    for up, down in ((4, None), (3, 6), (6, 3)):
        for mode in ("triangular", "triangular2", "exp_range"):
            gamma = 0.9 if mode == "exp_range" else 1.0
            yield case(
                "CyclicLR",
                base_lr=0.1,
                max_lr=0.5,
                step_size_up=up,
                step_size_down=down,
                mode=mode,
                gamma=gamma,
            )
    yield case("CyclicLR", base_lr=1e-3, max_lr=1e-2, step_size_up=2000)
    yield case("CyclicLR", base_lr=1.0, max_lr=5.0, step_size_up=4, step_size_down=6)
    yield case("CyclicLR", base_lr=0.1, max_lr=0.5, step_size_up=1, step_size_down=1)
    yield case(
        "CyclicLR", base_lr=0.0, max_lr=0.3, step_size_up=7, step_size_down=13, mode="triangular2"
    )
    yield case("CyclicLR", base_lr=0.1, max_lr=0.5, step_size_up=5, scale_fn=function("inverse"))
    yield case(
        "CyclicLR",
        base_lr=0.1,
        max_lr=0.5,
        step_size_up=5,
        scale_fn=function("inverse"),
        scale_mode="cycle",
    )
    yield case(
        "CyclicLR",
        base_lr=0.1,
        max_lr=0.5,
        step_size_up=5,
        step_size_down=8,
        scale_fn=function("three_quarters"),
        scale_mode="iterations",
    )

    for strategy in ("cos", "linear"):
        for three_phase in (False, True):
            options = {"anneal_strategy": strategy, "three_phase": three_phase}
            yield case("OneCycleLR", max_lr=0.5, total_steps=20, pct_start=0.3, **options)
            yield case("OneCycleLR", max_lr=0.5, total_steps=13, pct_start=0.25, **options)
            yield case("OneCycleLR", max_lr=0.01, total_steps=60, pct_start=0.4, **options)
            yield case("OneCycleLR", max_lr=1.0, total_steps=61, pct_start=0.5, **options)
        yield case(
            "OneCycleLR", max_lr=0.5, total_steps=60, pct_start=0.9, anneal_strategy=strategy
        )
        yield case(
            "OneCycleLR", max_lr=0.5, total_steps=60, pct_start=0.05, anneal_strategy=strategy
        )
        yield case("OneCycleLR", max_lr=0.5, total_steps=20, anneal_strategy=strategy)
    yield case("OneCycleLR", max_lr=0.5, epochs=6, steps_per_epoch=10)
    yield case(
        "OneCycleLR",
        max_lr=25.0,
        total_steps=10,
        pct_start=0.3,
        anneal_strategy="linear",
        final_div_factor=2.0,
    )
    yield case("OneCycleLR", max_lr=0.1, total_steps=60, div_factor=10.0, final_div_factor=100.0)
    yield case("OneCycleLR", max_lr=0.1, total_steps=5)
    yield case("OneCycleLR", max_lr=0.1, total_steps=4, pct_start=0.5)

    def plateau(metrics, lr=1.0, **kwargs):
        return case("ReduceLROnPlateau", lr, metrics=metrics, **kwargs)

    for metrics in (STALLS, RIPPLE):
        yield plateau(metrics, factor=0.5, patience=2, cooldown=3)
        yield plateau(metrics, factor=0.5, patience=1)
        yield plateau(metrics, factor=0.1, patience=0, min_lr=1e-3)
        yield plateau(metrics, factor=0.5, patience=2, threshold=0.2, threshold_mode="abs")
        yield plateau(metrics, factor=0.5, patience=2, mode="max")
        yield plateau(
            metrics,
            factor=0.5,
            patience=2,
            mode="max",
            threshold=0.1,
            threshold_mode="abs",
            cooldown=2,
        )
        yield plateau(metrics, factor=0.5, patience=0, cooldown=1, threshold=0.05)
    yield plateau(STALLS)
    yield plateau(STALLS, factor=0.5, patience=0, eps=0.1)
    yield plateau(STALLS, factor=0.5, patience=1, min_lr=0.3, eps=0.15)
    yield plateau(STALLS, factor=0.5, patience=1, min_lr=0.3, eps=0.22)
    yield plateau(STALLS, lr=0.1, factor=0.5, patience=0, threshold=0.0)
    yield plateau(LOST, factor=0.5, patience=1)
    yield plateau(LOST, factor=0.5, patience=1, mode="max", cooldown=1)
    yield plateau(FLAT_NEGATIVE, factor=0.5, patience=3)
    yield plateau(BELOW_ZERO, factor=0.9, patience=1, threshold=0.1)
    yield plateau(BELOW_ZERO, factor=0.9, patience=1, threshold=0.1, mode="max")
    yield plateau(BELOW_ZERO, factor=0.9, patience=1, threshold=0.1, threshold_mode="abs")

    yield case("LambdaLR", 0.1, lr_lambda=function("inverse_sqrt"))
    yield case("LambdaLR", 0.1, lr_lambda=function("ramp_8"))
    yield case("LambdaLR", 0.1, lr_lambda=function("three_quarters"))

    def chained(lr, *schedulers):
        return case("ChainedScheduler", lr, schedulers=list(schedulers))

    def sequential(lr, milestones, *schedulers, length=EPOCHS):
        return case("SequentialLR", lr, length, milestones=milestones, schedulers=list(schedulers))

    constant = sub("ConstantLR", factor=0.1, total_iters=20)
    yield chained(0.05, constant, sub("ExponentialLR", gamma=0.9))
    yield chained(
        0.1,
        sub("LinearLR", start_factor=0.25, total_iters=8),
        sub("StepLR", step_size=10, gamma=0.5),
    )
    yield chained(
        0.1,
        sub("MultiStepLR", milestones=[10, 30], gamma=0.3),
        sub("ExponentialLR", gamma=0.99),
        sub("ConstantLR", factor=0.5, total_iters=5),
    )
    yield chained(0.1, sub("CosineAnnealingLR", T_max=100), sub("StepLR", step_size=9, gamma=0.7))
    yield chained(
        0.1, sub("PolynomialLR", total_iters=50, power=2.0), sub("LinearLR", total_iters=3)
    )
    yield chained(0.1, sub("StepLR", step_size=9, gamma=0.7))
    yield chained(
        0.1,
        sub(
            "ChainedScheduler",
            schedulers=[sub("StepLR", step_size=9, gamma=0.7), sub("ExponentialLR", gamma=0.98)],
        ),
        sub("ConstantLR", factor=0.5, total_iters=12),
    )

    warmup = sub("LinearLR", start_factor=0.1, total_iters=3)
    halves = sub("ExponentialLR", gamma=0.5)
    yield sequential(0.1, [3], warmup, sub("CosineAnnealingLR", T_max=5), length=9)
    yield sequential(0.1, [3], warmup, sub("CosineAnnealingLR", T_max=5))
    yield sequential(0.1, [3], warmup, sub("CosineAnnealingLR", T_max=61, eta_min=1e-3))
    yield sequential(0.1, [0], constant, halves)
    yield sequential(0.05, [20], constant, sub("ExponentialLR", gamma=0.9))
    yield sequential(1.0, [3], warmup, halves)
    yield sequential(
        0.1,
        [4, 20],
        sub("LinearLR", start_factor=0.25, total_iters=4),
        sub("StepLR", step_size=5, gamma=0.5),
        sub("ExponentialLR", gamma=0.9),
    )
    yield sequential(
        0.1,
        [5, 5],
        sub("ConstantLR", factor=0.5, total_iters=3),
        halves,
        sub("PolynomialLR", total_iters=40),
    )
    yield sequential(
        0.1,
        [10],
        sub("LinearLR", total_iters=10),
        sub("CosineAnnealingWarmRestarts", T_0=6, T_mult=2),
    )
    yield sequential(0.1, [], sub("StepLR", step_size=9, gamma=0.7))
    yield sequential(0.1, [60], sub("MultiStepLR", milestones=[7, 50], gamma=0.5), halves)
    yield sequential(
        0.1,
        [3, 8],
        warmup,
        sub("StepLR", step_size=2, gamma=0.5),
        sub("ExponentialLR", gamma=0.9),
        length=30,
    )
    yield sequential(  # the same, nested
        0.1,
        [8],
        sub(
            "SequentialLR",
            milestones=[3],
            schedulers=[warmup, sub("StepLR", step_size=2, gamma=0.5)],
        ),
        sub("ExponentialLR", gamma=0.9),
        length=30,
    )


# --- braintools -----------------------------------------------------------------------------------------------------


def braintools_cases():
    yield case("StepLR", base_lr=0.1, step_size=3, gamma=0.5)
    yield case("StepLR", base_lr=0.05, step_size=10)
    yield case("StepLR")

    yield case("MultiStepLR", base_lr=0.1, milestones=[2, 5, 5, 9], gamma=0.5)
    yield case("MultiStepLR", base_lr=0.1, milestones=[0, 10], gamma=0.5)
    yield case("MultiStepLR")

    yield case("ExponentialLR", base_lr=0.1, gamma=0.9)
    yield case("ExponentialLR")

    for begin in (0, 2):
        for staircase in (False, True):
            yield case(
                "ExponentialDecayLR",
                base_lr=0.1,
                decay_steps=3,
                decay_rate=0.5,
                transition_begin=begin,
                staircase=staircase,
                end_value=0.02,
            )
    yield case("ExponentialDecayLR", base_lr=0.1, decay_steps=7, decay_rate=0.5)
    yield case("ExponentialDecayLR", base_lr=1e-3, decay_steps=10, decay_rate=1.5, end_value=5e-3)
    yield case("ExponentialDecayLR")

    yield case("CosineAnnealingLR", base_lr=0.1, T_max=5, eta_min=0.01)
    yield case("CosineAnnealingLR", base_lr=0.1, T_max=41)
    yield case("CosineAnnealingLR")

    yield case("PolynomialLR", base_lr=0.1, total_iters=6, power=1.7)
    yield case("PolynomialLR", base_lr=0.1, total_iters=50, power=2.0)
    yield case("PolynomialLR")

    yield case("WarmupScheduler", base_lr=0.1, warmup_epochs=4, warmup_start_lr=0.01)
    yield case("WarmupScheduler", base_lr=0.1, warmup_epochs=0)
    yield case("WarmupScheduler", base_lr=0.1, warmup_epochs=1)
    yield case("WarmupScheduler", base_lr=0.1, warmup_epochs=47)
    yield case("WarmupScheduler", base_lr=0.01, warmup_epochs=20, warmup_start_lr=0.1)
    yield case("WarmupScheduler")

    for up, down in ((4, None), (3, 6), (6, 3)):
        for mode in ("triangular", "triangular2", "exp_range"):
            gamma = 0.9 if mode == "exp_range" else 1.0
            yield case(
                "CyclicLR",
                base_lr=0.1,
                max_lr=0.5,
                step_size_up=up,
                step_size_down=down,
                mode=mode,
                gamma=gamma,
            )
    yield case(
        "CyclicLR",
        base_lr=0.1,
        max_lr=0.5,
        step_size_up=5,
        scale_fn=function("inverse"),
        scale_mode="cycle",
    )
    yield case("CyclicLR")

    for strategy in ("cos", "linear"):
        yield case("OneCycleLR", length=23, max_lr=0.5, total_steps=20, anneal_strategy=strategy)
        yield case(
            "OneCycleLR", max_lr=0.5, total_steps=60, pct_start=0.9, anneal_strategy=strategy
        )
    yield case("OneCycleLR", max_lr=0.1, total_steps=60, div_factor=10.0, final_div_factor=100.0)

    yield case("LinearLR", base_lr=0.1, start_factor=0.2, end_factor=0.8, total_iters=5)
    yield case("LinearLR", base_lr=0.1, start_factor=0.0, end_factor=1.0, total_iters=10)
    yield case("LinearLR", base_lr=0.1, total_iters=0)
    yield case("LinearLR", base_lr=0.1, start_factor=1.0, end_factor=0.0, total_iters=50)
    yield case("LinearLR")

    yield case("ConstantLR", base_lr=0.1, factor=0.25, total_iters=3)
    yield case("ConstantLR", base_lr=0.1, factor=0.5, total_iters=0)
    yield case("ConstantLR", base_lr=0.1, factor=0.0, total_iters=4)
    yield case("ConstantLR")

    yield case("CosineAnnealingWarmRestarts", base_lr=0.1, T_0=3, T_mult=2, eta_min=0.01)
    yield case("CosineAnnealingWarmRestarts", base_lr=0.1, T_0=7)
    yield case("CosineAnnealingWarmRestarts", base_lr=0.1, T_0=2, T_mult=3)
    yield case("CosineAnnealingWarmRestarts")

    yield case(
        "WarmupCosineSchedule",
        base_lr=0.1,
        warmup_steps=3,
        total_steps=8,
        warmup_start_lr=0.01,
        eta_min=0.002,
    )
    yield case("WarmupCosineSchedule", base_lr=0.1, warmup_steps=0, total_steps=50)
    yield case("WarmupCosineSchedule", base_lr=0.1, warmup_steps=10, total_steps=60)
    yield case("WarmupCosineSchedule", base_lr=0.1, warmup_steps=10, total_steps=11, eta_min=0.05)
    yield case("WarmupCosineSchedule")

    yield case("PiecewiseConstantSchedule", base_lr=9.0, boundaries=[2, 4], values=[1.0, 0.1, 0.01])
    yield case("PiecewiseConstantSchedule", boundaries=[0, 30], values=[1.0, 0.2, 0.3])
    yield case("PiecewiseConstantSchedule", boundaries=[], values=[0.125])
    yield case("PiecewiseConstantSchedule")

    def plateau(metrics, **kwargs):
        return case("ReduceLROnPlateau", metrics=metrics, base_lr=1.0, **kwargs)

    yield plateau(STALLS, factor=0.5, patience=2, cooldown=3)
    yield plateau(STALLS, factor=0.5, patience=1)
    yield plateau(RIPPLE, factor=0.5, patience=0, cooldown=1, threshold=0.05)
    yield plateau(RIPPLE, factor=0.5, patience=2, threshold=0.2, threshold_mode="abs")
    yield plateau(RIPPLE, factor=0.1, patience=0, min_lr=1e-3)
    yield plateau(RIPPLE, factor=0.5, patience=2, mode="max")
    yield plateau(STALLS, factor=0.5, patience=0, eps=0.1)
    yield plateau(FLAT_NEGATIVE, factor=0.5, patience=3)

    yield case(
        "ChainedScheduler",
        schedulers=[
            sub("WarmupScheduler", base_lr=0.1, warmup_epochs=5),
            sub("StepLR", base_lr=0.1, step_size=30, gamma=0.1),
        ],
    )
    yield case(
        "ChainedScheduler",
        schedulers=[
            sub("ExponentialLR", base_lr=0.2, gamma=0.95),
            sub("CosineAnnealingLR", base_lr=0.1, T_max=50, eta_min=0.01),
        ],
    )
    yield case(  # a jump is 0.2 s in braintools, so few epochs
        "SequentialLR",
        length=8,
        milestones=[3],
        schedulers=[
            sub("LinearLR", base_lr=1.0, start_factor=0.1, total_iters=3),
            sub("ExponentialLR", base_lr=1.0, gamma=0.5),
        ],
    )
    yield case(
        "SequentialLR",
        length=20,
        milestones=[4, 10],
        schedulers=[
            sub("WarmupScheduler", base_lr=0.1, warmup_epochs=4, warmup_start_lr=0.01),
            sub("StepLR", base_lr=0.1, step_size=2, gamma=0.5),
            sub("CosineAnnealingLR", base_lr=0.1, T_max=8, eta_min=0.01),
        ],
    )


# --- optax ----------------------------------------------------------------------------------------------------------


def optax_cases():
    yield case("constant_schedule", value=0.1)

    yield case(
        "linear_schedule", init_value=0.0, end_value=1.0, transition_steps=4, transition_begin=1
    )
    yield case("linear_schedule", init_value=0.3, end_value=1.0, transition_steps=0)
    yield case("linear_schedule", init_value=0.1, end_value=0.001, transition_steps=50)

    yield case(
        "polynomial_schedule",
        init_value=1.0,
        end_value=0.1,
        power=2.0,
        transition_steps=4,
        transition_begin=1,
    )
    yield case("polynomial_schedule", init_value=0.1, end_value=0.0, power=2.0, transition_steps=50)
    yield case("polynomial_schedule", init_value=0.1, end_value=0.0, power=0.5, transition_steps=41)

    for begin in (0, 2):
        for staircase in (False, True):
            yield case(
                "exponential_decay",
                init_value=1.0,
                transition_steps=3,
                decay_rate=0.5,
                transition_begin=begin,
                staircase=staircase,
                end_value=0.1,
            )
    yield case(
        "exponential_decay", init_value=1.0, transition_steps=2, decay_rate=2.0, end_value=3.0
    )
    yield case("exponential_decay", init_value=0.1, transition_steps=10, decay_rate=0.5)

    yield case("cosine_decay_schedule", init_value=0.1, decay_steps=50)
    yield case("cosine_decay_schedule", init_value=0.1, decay_steps=47, alpha=0.1)

    yield case(
        "piecewise_constant_schedule", init_value=1.0, boundaries_and_scales={"3": 0.5, "6": 0.1}
    )
    yield case(
        "piecewise_constant_schedule", init_value=0.1, boundaries_and_scales={"20": 0.1, "40": 0.1}
    )

    yield case(
        "piecewise_interpolate_schedule",
        interpolate_type="linear",
        init_value=1.0,
        boundaries_and_scales={"3": 0.5, "6": 0.1},
    )

    for steps in (0, 3, 40):
        yield case("warmup_constant_schedule", init_value=0.1, peak_value=1.0, warmup_steps=steps)

    yield case(
        "warmup_cosine_decay_schedule",
        init_value=0.0,
        peak_value=1e-3,
        warmup_steps=10,
        decay_steps=60,
    )
    yield case(
        "warmup_cosine_decay_schedule",
        init_value=0.0,
        peak_value=1e-3,
        warmup_steps=10,
        decay_steps=100,
        length=110,
    )
    yield case(
        "warmup_cosine_decay_schedule",
        init_value=0.1,
        peak_value=1.0,
        warmup_steps=3,
        decay_steps=9,
        end_value=0.05,
    )
    yield case(
        "warmup_cosine_decay_schedule",
        init_value=0.1,
        peak_value=1.0,
        warmup_steps=0,
        decay_steps=50,
    )

    for warmup in (0, 3):
        yield case(
            "warmup_exponential_decay_schedule",
            init_value=0.1,
            peak_value=1.0,
            warmup_steps=warmup,
            transition_steps=2,
            decay_rate=0.5,
            transition_begin=1,
            staircase=True,
            end_value=0.05,
        )

    yield case(
        "sgdr_schedule",
        cosine_kwargs=[
            {"init_value": 0.0, "peak_value": 1.0, "warmup_steps": 1, "decay_steps": 4},
            {
                "init_value": 0.5,
                "peak_value": 0.8,
                "warmup_steps": 0,
                "decay_steps": 3,
                "end_value": 0.1,
            },
        ],
    )
    yield case(
        "join_schedules",
        boundaries=[5, 30],
        schedules=[
            sub("linear_schedule", init_value=0.0, end_value=0.1, transition_steps=5),
            sub("cosine_decay_schedule", init_value=0.1, decay_steps=40),
            sub("constant_schedule", value=0.01),
        ],
    )

    def plateau(metrics, **kwargs):
        return case("reduce_on_plateau", metrics=metrics, **kwargs)

    yield plateau(STALLS, factor=0.5, patience=2, cooldown=3)
    yield plateau(STALLS, factor=0.5, patience=1)
    yield plateau(STALLS, factor=0.1, patience=1, min_scale=0.01)
    yield plateau(RIPPLE, factor=0.5, patience=2, cooldown=3)
    yield plateau(RIPPLE, factor=0.5, patience=3, rtol=0.1)
    yield plateau(RIPPLE, factor=0.5, patience=3, rtol=0.0, atol=0.2)
    yield plateau(FLAT_NEGATIVE, factor=0.5, patience=3)
