"""What operators make of schedules: at the same time, or with another time."""

import functools

from hypothesis import strategies as st

import exact
import lrax
from exact import LAST_EPOCH, Spec, number, spec
from registry.entry import Entry, args
from registry.rows import (
    COUNT,
    FLAG,
    MEMBERS,
    NON_NEGATIVE,
    OBJECT,
    POSITIVE,
    SHAPE,
    STEP,
    WHOLE,
    besides,
    refuse,
)

MEMBER = refuse(TypeError, None, 3, "abc", {}, [0.1], lrax.StepLR, abs, OBJECT, [STEP])
OPERANDS = [*besides(MEMBERS, *[r[0] for r in MEMBERS if r[0] == [0.1]])]
OPERANDS += refuse(TypeError, [0.1], [0.1, 0.2], [STEP, "a"], [STEP, True])
OPERANDS += refuse(ValueError, [STEP, -1], [STEP, exact.LARGEST * -1.0], [float("nan"), STEP])
WARM = spec("WarmupScheduler", base_lr=0.1, warmup_epochs=20, warmup_start_lr=1e-3)
STAIRS = spec("StepLR", base_lr=0.2, step_size=30, gamma=0.3)
FALL = spec("CosineAnnealingLR", base_lr=0.1, T_max=90, eta_min=1e-3)


def fall(T):
    return spec("CosineAnnealingLR", base_lr=0.1, T_max=T, eta_min=1e-3)


SHRINK = spec("ExponentialLR", base_lr=0.05, gamma=0.99)


def boundaries_of_all(k, last):
    return {
        b for m in k["schedulers"] if isinstance(m, Spec) for b in exact.boundaries(m, last)
    } | {0}


def of_each(t, schedulers):
    return [exact.value(m, t) if isinstance(m, Spec) else number(m) for m in schedulers]


def combining(name, symbol, combine, kind, cases, **more):
    def at(t, schedulers):
        return functools.reduce(combine, of_each(t, schedulers))

    def end(k):
        found = [exact.end(m) if isinstance(m, Spec) else (0, m) for m in k["schedulers"]]
        return None if None in found else (max(e[0] for e in found), float(at(10**12, **k)))

    return Entry(
        name=name,
        like="" if name == "SumLR" else "SumLR",
        kind=kind,
        refuses={"schedulers": OPERANDS},
        valid={"": {"schedulers": [STEP, 0.5]}},
        exact=at,
        base="schedulers",
        combined=combine,
        boundaries=boundaries_of_all,
        end=end,
        end_is_computed=True,
        cases={f"{symbol}, {label}": args(schedulers=members) for label, members in cases.items()},
        never_at_base=[f"{symbol}, {label}" for label in cases],
        composes=lambda members: st.lists(members, min_size=1, max_size=3).map(
            lambda pieces: Spec(name, {"schedulers": pieces})
        ),
        **more,
    )


def half(b):
    return [rate / 2 for rate in b] if isinstance(b, list) else b / 2


SUM = combining(
    "SumLR",
    "sum",
    lambda a, b: a + b,
    lambda b: lrax.ExponentialLR(half(b), 0.9) + lrax.StepLR(half(b), 10, 0.5),
    {"of three": [FALL, SHRINK, 0.01]},
)
PRODUCT = combining(
    "ProductLR",
    "product",
    lambda a, b: a * b,
    lambda b: 2 * lrax.StepLR(half(b), 10, 0.5) * lrax.WarmupScheduler(1.0, 5, 0.1),
    {"of three": [STAIRS, 3, WARM]},
    extreme=[
        args(
            schedulers=[
                spec("WarmupScheduler", base_lr=1e-30, warmup_epochs=10),
                spec("ExponentialLR", base_lr=1e30, gamma=1.5),
            ]
        )
    ],
)
MINIMUM = combining(
    "MinimumLR",
    "minimum",
    min,
    lambda b: lrax.minimum(lrax.StepLR(b, 9, 0.3), lrax.ExponentialLR(b, 0.95)),
    {"of three": [WARM, STAIRS, 0.09]},
)
MAXIMUM = combining(
    "MaximumLR",
    "maximum",
    max,
    lambda b: lrax.maximum(lrax.StepLR(b, 9, 0.3), lrax.ExponentialLR(b, 0.95)),
    {"of three": [STAIRS, SHRINK, 1e-3]},
)

# --- Another time -----------------------------------------------------------------------------------


def shifted(f, **more):
    """The boundaries of a schedule inside, in the time of the one around."""

    def boundaries(k, last):
        return {f(k, b) for b in exact.boundaries(k["scheduler"], last)} | {0}

    return boundaries


def end_inside(f):
    def end(k):
        inner = exact.end(k["scheduler"])
        return None if inner is None else (f(k, inner[0]), inner[1])

    return end


DELAY = Entry(
    name="DelayLR",
    like="WithCooldownLR",
    kind=lambda b: lrax.StepLR(b, 9, 0.3).delay(4),
    refuses={"scheduler": MEMBER, "epochs": WHOLE},
    valid={"": {"scheduler": STEP, "epochs": 3}},
    exact=lambda t, scheduler, epochs: exact.value(scheduler, max(t - epochs, 0)),
    base="scheduler",
    boundaries=shifted(lambda k, b: b + k["epochs"]),
    end=end_inside(lambda k, b: b + k["epochs"]),
    end_is_computed=True,
    cases={"delayed": args(scheduler=FALL, epochs=17)},
    at_horizon=lambda T: {"delayed": args(scheduler=fall(T), epochs=T // 3)},
    composes=lambda members: st.builds(
        lambda m, n: Spec("DelayLR", {"scheduler": m, "epochs": n}),
        members,
        st.integers(0, 1000),
    ),
)


def quotient(t, factor):
    """Of two floats, or of a number to be differentiated by."""
    if isinstance(factor, (int, float)):
        return exact.Fraction(float(t) / factor)
    return number(t) / factor


def first_epoch(k, b):
    """The first whole epoch whose quotient is not below `b`."""
    t = max(round(b * k["factor"]) - 2, 0)
    while t / k["factor"] < b:
        t += 1
    return t


STRETCH = Entry(
    name="StretchLR",
    like="WithCooldownLR",
    kind=lambda b: lrax.StepLR(b, 3, 0.3).stretch(3),
    refuses={"scheduler": MEMBER, "factor": POSITIVE},
    valid={"": {"scheduler": STEP, "factor": 3}},
    # The quotient of two floats, rounded to one: so it is defined.
    exact=lambda t, scheduler, factor: exact.value(scheduler, quotient(t, factor)),
    kinks=("factor",),
    base="scheduler",
    boundaries=shifted(first_epoch),
    end=end_inside(first_epoch),
    end_is_computed=True,
    cases={
        "stretched": args(scheduler=FALL, factor=49),
        "stretched, fractional": args(scheduler=FALL, factor=1.7),
        "shrunk": args(
            scheduler=spec(
                "WarmupCosineSchedule", base_lr=0.1, warmup_steps=9995, total_steps=99_995
            ),
            factor=0.1,
        ),
    },
    never_at_base=("shrunk",),
    composes=lambda members: st.builds(
        lambda m, n: Spec("StretchLR", {"scheduler": m, "factor": n}),
        members,
        st.integers(1, 100),
    ),
)


def repeated(t, scheduler, period, decay=1.0, limit=None):
    cycle = t // period if limit is None else min(t // period, limit - 1)
    inside = min(t - cycle * period, period)
    return number(decay) ** number(cycle) * exact.value(scheduler, inside)


def end_of_repeats(k):
    if k.get("limit") is None:
        return None
    end = k["limit"] * k["period"]
    return end, float(repeated(end, **k))


def boundaries_of_repeats(k, last):
    inside = [b for b in exact.boundaries(k["scheduler"], last) if b < k["period"]][:3]
    found = exact.repeated(last, k["period"], *inside)
    return found if k.get("limit") is None else found | {k["limit"] * k["period"]}


REPEAT = Entry(
    name="RepeatLR",
    like="WithCooldownLR",
    kind=lambda b: lrax.LinearLR(b, 1.0, 0.1, 7).repeat(7, 0.8, 4),
    refuses={
        "scheduler": MEMBER,
        "period": COUNT,
        "decay": POSITIVE,
        "limit": besides(COUNT, None),
    },
    valid={"": {"scheduler": STEP, "period": 3}},
    exact=repeated,
    base="scheduler",
    boundaries=boundaries_of_repeats,
    end=end_of_repeats,
    end_is_computed=True,
    cases={
        "repeated": args(scheduler=FALL, period=47),
        "repeated, falling": args(scheduler=FALL, period=90, decay=0.9, limit=12),
    },
    composes=lambda members: st.builds(
        lambda m, n, d, limit: Spec(
            "RepeatLR", {"scheduler": m, "period": n, "decay": d, "limit": limit}
        ),
        members,
        st.integers(1, 1000),
        st.sampled_from([1.0, 0.5, 0.9]),
        st.one_of(st.none(), st.integers(1, 50)),
    ),
)

# --- A warmup in front, a cooldown behind -----------------------------------------------------------


def warmed(t, scheduler, steps, shape="linear", start_lr=0.0, running=False):
    if t >= steps:
        return exact.value(scheduler, t if running else t - steps)
    first = exact.value(scheduler, 0)
    if not running:
        return exact.way(shape, start_lr, first, t, steps)
    share = number(start_lr) / first if start_lr else 0
    return exact.value(scheduler, t) * exact.way(shape, share, 1, t, steps)


def cooled(t, scheduler, start, steps, shape="linear", eta_min=0.0):
    if t < start:
        return exact.value(scheduler, t)
    return exact.way(shape, exact.value(scheduler, start), eta_min, t - start, steps)


SHAPES = st.sampled_from(["linear", "cosine", "1-sqrt", "rex", ("power", 3.0)])
WITH_WARMUP = Entry(
    name="WithWarmupLR",
    like="WithCooldownLR",
    kind=lambda b: lrax.StepLR(b, 9, 0.3).with_warmup(5, "cosine"),
    more_kinds={
        "a warmup while it runs": lambda b: lrax.StepLR(b, 3, 0.5).with_warmup(5, running=True)
    },
    refuses={
        "scheduler": MEMBER,
        "steps": WHOLE,
        "shape": SHAPE,
        "start_lr": NON_NEGATIVE,
        "running": FLAG,
    },
    valid={"": {"scheduler": STEP, "steps": 3}},
    exact=warmed,
    base="scheduler",
    rates=("start_lr",),
    boundaries=lambda k, last: {
        k["steps"],
        *(
            b + (0 if k.get("running") else k["steps"])
            for b in exact.boundaries(k["scheduler"], last)
        ),
    },
    end=end_inside(lambda k, b: max(k["steps"], b if k.get("running") else b + k["steps"])),
    end_is_computed=True,
    cases={
        "warmed": args(scheduler=FALL, steps=41, shape="1-sqrt", start_lr=1e-4),
        "warmed, running": args(scheduler=STAIRS, steps=47, start_lr=1e-3, running=True),
    },
    never_at_base=("warmed, running",),
    at_horizon=lambda T: {"warmed": args(scheduler=fall(T), steps=T)},
    empty={"no warmup in front": (args(scheduler=FALL, steps=0, start_lr=0.05), 0, 0.1)},
    composes=lambda members: st.builds(
        lambda m, n, shape, start, running: Spec(
            "WithWarmupLR",
            {
                "scheduler": m,
                "steps": n,
                "shape": shape,
                "start_lr": 0.0 if running else start,  # some of them begin at 0
                "running": running,
            },
        ),
        members,
        st.integers(0, 1000),
        SHAPES,
        st.sampled_from([0.0, 1e-3]),
        st.booleans(),
    ),
)
WITH_COOLDOWN = Entry(
    name="WithCooldownLR",
    kind=lambda b: lrax.StepLR(b, 9, 0.3).with_cooldown(20, 10),
    refuses={
        "scheduler": MEMBER,
        "start": WHOLE,
        "steps": WHOLE,
        "shape": SHAPE,
        "eta_min": NON_NEGATIVE,
    },
    valid={"": {"scheduler": STEP, "start": 3, "steps": 3}},
    exact=cooled,
    base="scheduler",
    rates=("eta_min",),
    boundaries=lambda k, last: {
        k["start"],
        k["start"] + k["steps"],
        *(b for b in exact.boundaries(k["scheduler"], last) if b < k["start"]),
    },
    end=lambda k: (k["start"] + k["steps"], k.get("eta_min", 0.0)),
    cases={
        "cooled": args(scheduler=STAIRS, start=100, steps=47, shape="rex", eta_min=1e-5),
        "cooled, upwards": args(
            scheduler=SHRINK, start=1000, steps=9, shape="cosine", eta_min=0.01
        ),
    },
    at_horizon=lambda T: {"cooled": args(scheduler=fall(T), start=T // 2, steps=T)},
    empty={"no cooldown": (args(scheduler=FALL, start=10, steps=0, eta_min=0.01), 10, 0.01)},
    composes=lambda members: st.builds(
        lambda m, start, n, shape, low: Spec(
            "WithCooldownLR",
            {"scheduler": m, "start": start, "steps": n, "shape": shape, "eta_min": low},
        ),
        members,
        st.integers(0, LAST_EPOCH),
        st.integers(0, 1000),
        SHAPES,
        st.sampled_from([0.0, 1e-3]),
    ),
)
