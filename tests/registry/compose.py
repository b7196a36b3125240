"""Schedules that are made of others."""

import bisect
import math

from hypothesis import strategies as st

import exact
import lrax
from exact import Spec, spec
from golden import Difference, case, cases, from_optax, held, sub
from registry import draws
from registry.entry import Entry, args
from registry.rows import EPOCHS, MEMBERS, refuse

# --- SequentialLR -----------------------------------------------------------------------------------


def sequential(t, schedulers, milestones):
    index = bisect.bisect_right(milestones, t)
    return exact.value(schedulers[index], t - ([0, *milestones][index]))


def boundaries_in_turn(k, last):
    starts = [0, *k["milestones"]]
    members = zip(starts, k["schedulers"], strict=True)
    return {*starts} | {start + b for start, m in members for b in exact.boundaries(m, last)}


def end_of_last(k):
    inner, start = exact.end(k["schedulers"][-1]), max(k["milestones"], default=0)
    return None if inner is None else (start + inner[0], inner[1])


def joined(pieces, milestones):
    milestones = sorted(milestones[: len(pieces) - 1])
    return Spec("SequentialLR", {"schedulers": pieces, "milestones": milestones})


def cosine_end(c):
    """The epoch at which a cosine at the end arrives at its minimum."""
    last = c.kwargs["schedulers"][-1]
    if last["name"] != "CosineAnnealingLR":
        return 10**9
    return c.kwargs["milestones"][-1] + last["kwargs"]["T_max"]


def nested(c):
    return any("schedulers" in member["kwargs"] for member in c.kwargs["schedulers"])


def flattened(c):
    """The case that runs the same schedulers without nesting: a sequence in a sequence, in first place."""
    (inner, *rest), milestones = c.kwargs["schedulers"], c.kwargs["milestones"]
    kwargs = {
        "milestones": inner["kwargs"]["milestones"] + milestones,
        "schedulers": inner["kwargs"]["schedulers"] + rest,
    }
    return next(f for f in cases().values() if (f.name, f.kwargs) == (c.name, kwargs))


def like_warmup_exponential(
    init_value, peak_value, warmup_steps, transition_steps, decay_rate, **options
):
    warmup = lrax.WarmupScheduler(peak_value, warmup_steps, init_value)
    decay = lrax.ExponentialDecayLR(peak_value, transition_steps, decay_rate, **options)
    return lrax.SequentialLR([warmup, decay], [warmup_steps])


def like_join(schedules, boundaries):
    return lrax.SequentialLR([from_optax(s["name"], s["kwargs"]) for s in schedules], boundaries)


def after(lr, milestones, *schedulers, **options):
    return case(lr, milestones=milestones, schedulers=list(schedulers), **options)


RAMP = sub("LinearLR", start_factor=0.1, total_iters=3)
TENTH = sub("ConstantLR", factor=0.1, total_iters=20)
HALVES = sub("ExponentialLR", gamma=0.5)
WARM = [spec("WarmupScheduler", base_lr=b, warmup_epochs=4) for b in (0.1, 0.2, 0.3, 0.4)]
SEQUENTIAL = Entry(
    name="SequentialLR",
    kind=lambda b: lrax.SequentialLR(
        [lrax.LinearLR(b, 0.1, 1.0, 10), lrax.CosineAnnealingWarmRestarts(b, 6, 2)], [10]
    ),
    variants={
        "plateaus in a composite": lambda: lrax.SequentialLR(
            [
                lrax.WarmupScheduler(0.1, 4),
                lrax.ChainedScheduler(
                    [
                        lrax.StepLR(0.1, 9),
                        lrax.ReduceLROnPlateau(0.2, factor=0.5, patience=1),
                        lrax.ReduceLROnPlateau(0.3, "max", factor=0.9, patience=0),
                    ]
                ),
            ],
            [4],
        ),
    },
    refuses={"schedulers": MEMBERS, "milestones": EPOCHS + refuse(ValueError, [], [1, 2])},
    valid={"": {"schedulers": [lrax.StepLR(), lrax.StepLR()], "milestones": [3]}},
    exact=sequential,
    base="schedulers",
    boundaries=boundaries_in_turn,
    end=end_of_last,
    cases={
        "sequential": args(
            schedulers=[
                spec("LinearLR", base_lr=0.1, start_factor=0.1, end_factor=1.0, total_iters=10),
                spec("CosineAnnealingLR", base_lr=0.1, T_max=90, eta_min=1e-3),
                spec("ExponentialLR", base_lr=1e-3, gamma=0.99),
            ],
            milestones=[10, 100],
        ),
        "sequential, far": args(
            schedulers=[
                spec("ConstantLR", base_lr=0.1, factor=0.5, total_iters=3),
                spec("CosineAnnealingWarmRestarts", base_lr=0.2, T_0=1000, T_mult=2),
            ],
            milestones=[2**24 + 1],
        ),
        "nested": args(
            schedulers=[
                spec(
                    "ChainedScheduler",
                    schedulers=[
                        spec(
                            "LinearLR",
                            base_lr=0.1,
                            start_factor=0.1,
                            end_factor=1.0,
                            total_iters=40,
                        ),
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
    },
    never_at_base=("sequential, far",),
    at_horizon=lambda T: {
        "sequential": args(
            schedulers=[
                spec("WarmupScheduler", base_lr=0.1, warmup_epochs=T // 3),
                spec("CosineAnnealingLR", base_lr=0.1, T_max=(T + 1) // 2),
                spec("ExponentialLR", base_lr=1e-3, gamma=0.999),
            ],
            milestones=[T // 3, T],
        ),
    },
    empty={
        "all skipped": (args(schedulers=WARM, milestones=[0, 0, 0]), 4, 0.4),
        "one skipped": (args(schedulers=WARM, milestones=[3, 6, 6]), 10, 0.4),
        "one member": (args(schedulers=WARM[:1], milestones=[]), 4, 0.1),
    },
    composes=lambda members: st.builds(
        joined,
        st.lists(members, min_size=1, max_size=4),
        st.lists(draws.lengths, min_size=3, max_size=3),
    ),
    torch=[
        after(0.1, [3], RAMP, sub("CosineAnnealingLR", T_max=5), length=9),
        after(0.1, [3], RAMP, sub("CosineAnnealingLR", T_max=5)),
        after(0.1, [3], RAMP, sub("CosineAnnealingLR", T_max=61, eta_min=1e-3)),
        after(0.1, [0], TENTH, HALVES),
        after(0.05, [20], TENTH, sub("ExponentialLR", gamma=0.9)),
        after(1.0, [3], RAMP, HALVES),
        after(
            0.1,
            [4, 20],
            sub("LinearLR", start_factor=0.25, total_iters=4),
            sub("StepLR", step_size=5, gamma=0.5),
            sub("ExponentialLR", gamma=0.9),
        ),
        after(
            0.1,
            [5, 5],
            sub("ConstantLR", factor=0.5, total_iters=3),
            HALVES,
            sub("PolynomialLR", total_iters=40),
        ),
        after(
            0.1,
            [10],
            sub("LinearLR", total_iters=10),
            sub("CosineAnnealingWarmRestarts", T_0=6, T_mult=2),
        ),
        after(0.1, [], sub("StepLR", step_size=9, gamma=0.7)),
        after(0.1, [60], sub("MultiStepLR", milestones=[7, 50], gamma=0.5), HALVES),
        after(
            0.1,
            [3, 8],
            RAMP,
            sub("StepLR", step_size=2, gamma=0.5),
            sub("ExponentialLR", gamma=0.9),
            length=30,
        ),
        after(  # the same, nested
            0.1,
            [8],
            sub(
                "SequentialLR",
                milestones=[3],
                schedulers=[RAMP, sub("StepLR", step_size=2, gamma=0.5)],
            ),
            sub("ExponentialLR", gamma=0.9),
            length=30,
        ),
    ],
    braintools=[
        case(  # a jump is 0.2 s in braintools, so few epochs
            length=8,
            milestones=[3],
            schedulers=[
                sub("LinearLR", base_lr=1.0, start_factor=0.1, total_iters=3),
                sub("ExponentialLR", base_lr=1.0, gamma=0.5),
            ],
        ),
        case(
            length=20,
            milestones=[4, 10],
            schedulers=[
                sub("WarmupScheduler", base_lr=0.1, warmup_epochs=4, warmup_start_lr=0.01),
                sub("StepLR", base_lr=0.1, step_size=2, gamma=0.5),
                sub("CosineAnnealingLR", base_lr=0.1, T_max=8, eta_min=0.01),
            ],
        ),
    ],
    optax={
        "warmup_exponential_decay_schedule": (
            like_warmup_exponential,
            [
                case(
                    init_value=0.1,
                    peak_value=1.0,
                    warmup_steps=warmup,
                    transition_steps=2,
                    decay_rate=0.5,
                    transition_begin=1,
                    staircase=True,
                    end_value=0.05,
                )
                for warmup in (0, 3)
            ],
        ),
        "join_schedules": (
            like_join,
            [
                case(
                    boundaries=[5, 30],
                    schedules=[
                        sub("linear_schedule", init_value=0.0, end_value=0.1, transition_steps=5),
                        sub("cosine_decay_schedule", init_value=0.1, decay_steps=40),
                        sub("constant_schedule", value=0.01),
                    ],
                )
            ],
        ),
    },
    differs=[
        Difference(
            "torch",
            "eta_min is held after T_max",
            lambda c: cosine_end(c) < len(c.values) - 1,
            held(cosine_end),
        ),
        Difference(
            "torch",
            "a composite inside is not stepped once too often",
            nested,
            lambda c: flattened(c).values,
        ),
    ],
)


# --- ChainedScheduler -------------------------------------------------------------------------------


def chained(t, schedulers):
    lr = exact.base(schedulers[0])
    for member in schedulers:
        own = exact.base(member)
        lr *= exact.value(member, t) / own if own else 1
    return lr


def end_of_all(k):
    members = k["schedulers"]
    inner = [exact.end(member) for member in members]
    if None in inner:
        return None
    factors = [e[1] / float(exact.base(m)) for e, m in zip(inner, members, strict=True)]
    return max(e[0] for e in inner), float(exact.base(members[0])) * math.prod(factors)


def times(lr, *schedulers):
    return case(lr, schedulers=list(schedulers))


CHAINED = Entry(
    name="ChainedScheduler",
    kind=lambda b: lrax.ChainedScheduler(
        [lrax.WarmupScheduler(b, 5, b / 10), lrax.StepLR(b, 15, 0.3), lrax.ExponentialLR(b, 0.99)]
    ),
    variants={
        "more than ten entries": lambda: lrax.ChainedScheduler(
            [lrax.MultiStepLR(0.1, milestones=[3 * i for i in range(12)], gamma=0.9)]
            + [lrax.ConstantLR(0.1, 1 - i / 20, i) for i in range(11)]
        ),
    },
    refuses={"schedulers": MEMBERS},
    valid={"": {"schedulers": [lrax.StepLR(), lrax.StepLR()]}},
    exact=chained,
    base="schedulers",
    boundaries=lambda k, last: {b for m in k["schedulers"] for b in exact.boundaries(m, last)},
    end=end_of_all,
    end_is_computed=True,
    cases={
        "chained": args(
            schedulers=[
                spec("WarmupScheduler", base_lr=0.1, warmup_epochs=20, warmup_start_lr=1e-3),
                spec("StepLR", base_lr=0.1, step_size=30, gamma=0.3),
                spec("PolynomialLR", base_lr=0.3, total_iters=300, power=0.9),
            ],
        ),
    },
    never_at_base=("chained",),
    at_horizon=lambda T: {
        "chained": args(
            schedulers=[
                spec("WarmupScheduler", base_lr=0.1, warmup_epochs=T // 3, warmup_start_lr=1e-4),
                spec("CosineAnnealingLR", base_lr=0.7, T_max=T, eta_min=1e-3),
            ],
        ),
    },
    extreme=[
        args(
            schedulers=[
                spec("WarmupScheduler", base_lr=1e-30, warmup_epochs=10),
                spec("CosineAnnealingLR", base_lr=1e30, T_max=40),
            ],
        ),
    ],
    not_smooth={
        "chain from 0": args(
            schedulers=[
                spec("WarmupScheduler", base_lr=0.0, warmup_epochs=5),
                spec("PolynomialLR", base_lr=0.1, total_iters=9, power=0.5),
            ],
        ),
    },
    composes=lambda members: st.lists(members, min_size=1, max_size=3).map(
        lambda pieces: Spec("ChainedScheduler", {"schedulers": pieces})
    ),
    torch=[
        times(0.05, TENTH, sub("ExponentialLR", gamma=0.9)),
        times(
            0.1,
            sub("LinearLR", start_factor=0.25, total_iters=8),
            sub("StepLR", step_size=10, gamma=0.5),
        ),
        times(
            0.1,
            sub("MultiStepLR", milestones=[10, 30], gamma=0.3),
            sub("ExponentialLR", gamma=0.99),
            sub("ConstantLR", factor=0.5, total_iters=5),
        ),
        times(0.1, sub("CosineAnnealingLR", T_max=100), sub("StepLR", step_size=9, gamma=0.7)),
        times(0.1, sub("PolynomialLR", total_iters=50, power=2.0), sub("LinearLR", total_iters=3)),
        times(0.1, sub("StepLR", step_size=9, gamma=0.7)),
        times(
            0.1,
            sub(
                "ChainedScheduler",
                schedulers=[
                    sub("StepLR", step_size=9, gamma=0.7),
                    sub("ExponentialLR", gamma=0.98),
                ],
            ),
            sub("ConstantLR", factor=0.5, total_iters=12),
        ),
    ],
    braintools=[
        case(
            schedulers=[
                sub("WarmupScheduler", base_lr=0.1, warmup_epochs=5),
                sub("StepLR", base_lr=0.1, step_size=30, gamma=0.1),
            ],
        ),
        case(
            schedulers=[
                sub("ExponentialLR", base_lr=0.2, gamma=0.95),
                sub("CosineAnnealingLR", base_lr=0.1, T_max=50, eta_min=0.01),
            ],
        ),
    ],
)
