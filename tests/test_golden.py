"""Every learning rate that torch, braintools and optax produce, except where ours differ by decision."""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import jax
import numpy as np
import pytest

from golden import Case, read
from helpers import assert_close, assert_same_bits, looped, stepped

CASES = {str(case): case for library in ("torch", "braintools", "optax") for case in read(library)}
# torch is float64 and ours is one rounding away; the others round at every operation
TOLERANCE = {"torch": (1.3e-7, 1e-13), "braintools": (1e-6, 1e-7), "optax": (1e-6, 1e-7)}


@dataclass(frozen=True)
class Difference:
    library: str
    name: str
    why: str
    when: Callable[[Case], bool]
    expected: Callable[[Case], list]

    def covers(self, case):
        return case.library == self.library and case.name == self.name and self.when(case)


def held(last):
    """The case's values, of which the one at epoch `last` is held."""
    return lambda case: [
        *case.values[: last(case)],
        *[case.values[last(case)]] * (len(case.values) - last(case)),
    ]


def constant(value):
    return lambda case: [value(case)] * len(case.values)


def same_as(library):
    """The values of the case of another library that has the same arguments."""

    def find(case):
        renamed = {"base_lr": case.lr, **case.kwargs} if case.lr is not None else case.kwargs
        for other in CASES.values():
            theirs = {"base_lr": other.lr, **other.kwargs} if other.lr is not None else other.kwargs
            if (other.library, other.name, other.metrics) == (
                library,
                case.name,
                case.metrics,
            ) and theirs == renamed:
                return held(last_step)(other) if past_total(other) else other.values
        raise LookupError(f"no case of {library} is like {case}")

    def extended(case):
        values = find(case)[: len(case.values)]
        return values + [values[-1]] * (len(case.values) - len(values))

    return extended


def last_step(case):
    return (
        case.kwargs.get(
            "total_steps", case.kwargs.get("epochs", 0) * case.kwargs.get("steps_per_epoch", 0)
        )
        - 1
    )


def past_total(case):
    return case.name == "OneCycleLR" and len(case.values) > last_step(case) + 1


def cosine_end(case):
    """The epoch at which a cosine, or the cosine at the end of a sequence, arrives at its minimum."""
    if case.name == "CosineAnnealingLR":
        return case.kwargs["T_max"]
    last = case.kwargs["schedulers"][-1]
    return (
        case.kwargs["milestones"][-1] + last["kwargs"]["T_max"]
        if last["name"] == "CosineAnnealingLR"
        else 10**9
    )


def nested(case):
    return any("schedulers" in member["kwargs"] for member in case.kwargs["schedulers"])


def flattened(case):
    """The case that runs the same schedulers without nesting: a sequence in a sequence, in first place."""
    (inner, *rest), milestones = case.kwargs["schedulers"], case.kwargs["milestones"]
    kwargs = {
        "milestones": inner["kwargs"]["milestones"] + milestones,
        "schedulers": inner["kwargs"]["schedulers"] + rest,
    }
    return next(c for c in CASES.values() if (c.name, c.kwargs) == (case.name, kwargs))


def reduced_at(*epochs):
    """Learning rate 1, times `factor` after each of these metrics."""
    return lambda case: [
        case.kwargs["factor"] ** sum(e <= t for e in epochs) for t in range(len(case.values))
    ]


def flat_negative(case):
    return case.metrics is not None and set(case.metrics) == {-2.0}


def falling_negative(mode):
    return lambda case: (
        case.metrics is not None
        and case.metrics[0] == -1.0
        and case.kwargs.get("mode", "min") == mode
        and case.kwargs.get("threshold_mode") != "abs"
    )


NEGATIVE = "the relative threshold is a part of |best|, so that negative metrics work"
FLAT = (4, 8, 12, 16, 20, 24, 28)
FALLING = (
    2,
    6,
    8,
    13,
    15,
    19,
    21,
    25,
    27,
    31,
    33,
    35,
    38,
    40,
    42,
    44,
    46,
    50,
    52,
    54,
    57,
    59,
    61,
    63,
)

DIFFERENCES = [
    Difference(
        "torch",
        "CosineAnnealingLR",
        "eta_min is held after T_max",
        lambda case: cosine_end(case) < len(case.values) - 1,
        held(cosine_end),
    ),
    Difference(
        "torch",
        "SequentialLR",
        "eta_min is held after T_max",
        lambda case: cosine_end(case) < len(case.values) - 1,
        held(cosine_end),
    ),
    Difference(
        "torch",
        "SequentialLR",
        "a composite inside is not stepped once too often",
        nested,
        lambda case: flattened(case).values,
    ),
    Difference(
        "torch",
        "LinearLR",
        "a ramp of no length has arrived",
        lambda case: case.kwargs.get("total_iters") == 0,
        constant(lambda case: case.lr),
    ),
    Difference(
        "torch",
        "ConstantLR",
        "a factor for no time does not apply",
        lambda case: case.kwargs.get("total_iters") == 0,
        constant(lambda case: case.lr),
    ),
    Difference("torch", "OneCycleLR", "the last value is held", past_total, held(last_step)),
    Difference("torch", "ReduceLROnPlateau", NEGATIVE, flat_negative, reduced_at(*FLAT)),
    Difference(
        "torch", "ReduceLROnPlateau", NEGATIVE, falling_negative("min"), reduced_at(*FALLING)
    ),
    Difference(
        "torch",
        "ReduceLROnPlateau",
        NEGATIVE,
        falling_negative("max"),
        reduced_at(*range(3, 64, 2)),
    ),
    Difference(
        "braintools",
        "CyclicLR",
        "cycles whose halves differ in length are as in torch",
        lambda case: case.kwargs.get("step_size_down") is not None,
        same_as("torch"),
    ),
    Difference(
        "braintools",
        "OneCycleLR",
        "phases and values are torch's",
        lambda case: True,
        same_as("torch"),
    ),
    Difference(
        "braintools",
        "ReduceLROnPlateau",
        "metrics count during the cooldown, as in torch",
        lambda case: "cooldown" in case.kwargs,
        same_as("torch"),
    ),
    Difference(
        "braintools",
        "ReduceLROnPlateau",
        "eps is obeyed, as in torch",
        lambda case: "eps" in case.kwargs,
        same_as("torch"),
    ),
    Difference("braintools", "ReduceLROnPlateau", NEGATIVE, flat_negative, reduced_at(*FLAT)),
    Difference(
        "optax",
        "linear_schedule",
        "a ramp of no length has arrived",
        lambda case: case.kwargs["transition_steps"] == 0,
        constant(lambda case: case.kwargs["end_value"]),
    ),
    Difference(
        "optax",
        "warmup_constant_schedule",
        "a warmup of no length has arrived",
        lambda case: case.kwargs["warmup_steps"] == 0,
        constant(lambda case: case.kwargs["peak_value"]),
    ),
    Difference(
        "optax",
        "reduce_on_plateau",
        NEGATIVE,
        flat_negative,
        reduced_at(3, 6, 9, 12, 15, 18, 21, 24, 27),
    ),
]


def difference(case):
    found = [d for d in DIFFERENCES if d.covers(case)]
    assert len(found) <= 1, f"{case} is listed twice"
    return found[0] if found else None


def expected(case):
    listed = difference(case)
    return listed.expected(case) if listed else case.values


@functools.cache
def loop_results(library, name, dtype=np.float64):
    """All cases of one class, stepped in one compiled loop; `dtype` is that of the metrics."""
    cases = {key: c for key, c in CASES.items() if (c.library, c.name) == (library, name)}
    length = max(len(case.values) for case in cases.values())
    schedulers = {key: case.build() for key, case in cases.items()}
    if not any(case.metrics for case in cases.values()):
        return looped(schedulers, length)
    metrics = {
        key: np.array(case.metric_values + [0.0] * (length - len(case.metrics)), dtype)
        for key, case in cases.items()
    }
    with jax.enable_x64(dtype == np.float64):
        return looped(schedulers, length, metrics)


@functools.cache
def eager_results(key, dtype=float):
    case = CASES[key]
    metrics = case.metrics and [dtype(metric) for metric in case.metric_values]
    return stepped(case.build(), len(case.values), metrics)


def cases(keep=lambda case: True):
    return pytest.mark.parametrize(
        "key", [key for key, case in CASES.items() if keep(case)], ids=str
    )


@cases()
def test_eager_steps(key):
    case = CASES[key]
    assert_close(eager_results(key), expected(case), *TOLERANCE[case.library])


@cases(lambda case: case.metrics is None)
def test_pure_call(key):
    case = CASES[key]
    rates = case.build()(np.arange(len(case.values)))
    assert isinstance(rates, np.ndarray)
    assert_close(rates, expected(case), *TOLERANCE[case.library])
    assert_same_bits(rates, eager_results(key))


@cases()
def test_steps_in_a_compiled_loop(key):
    case = CASES[key]
    rates = loop_results(case.library, case.name)[key][: len(case.values)]
    assert_close(rates, expected(case), *TOLERANCE[case.library])
    assert_same_bits(rates, eager_results(key))


@cases(lambda case: case.metrics is not None)
def test_float32_metrics_in_a_compiled_loop(key):
    """A metric like 0.9999, on the border of a threshold, may fall on the other side in float32."""
    case = CASES[key]
    rates = loop_results(case.library, case.name, np.float32)[key][: len(case.values)]
    assert_same_bits(rates, eager_results(key, np.float32))


@pytest.mark.parametrize("listed", DIFFERENCES, ids=lambda d: f"{d.library}-{d.name}-{d.why}")
def test_differences_are_real_and_documented(listed):
    covered = [case for case in CASES.values() if listed.covers(case)]
    assert covered
    same = [c for c in covered if np.allclose(expected(c), c.values, rtol=1e-3, atol=0)]
    assert not same
    for case in covered:
        mentioned = listed.library in case.lrax_class.__doc__.lower()
        assert mentioned, (
            f"the docstring of {case.lrax_class.__name__} must tell of {listed.library}"
        )


def test_files_are_complete():
    counts = {lib: sum(c.library == lib for c in CASES.values()) for lib in TOLERANCE}
    assert counts == {"torch": 140, "braintools": 77, "optax": 36}
    assert sum(len(case.values) for case in CASES.values()) > 13_000
