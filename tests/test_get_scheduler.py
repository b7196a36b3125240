"""`lrax.get_scheduler`: Hugging Face's names and arguments.

Their learning rates are in tests/data/coming_from/transformers.json; here each case is read as the call
that it is. What they do not do, several groups for instance, is beside a formula.
"""

import enum
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lrax
from helpers import assert_close, last_lr, stepped

DATA = Path(__file__).parent / "data" / "coming_from" / "transformers.json"
CASES = {case["key"]: case for case in json.loads(DATA.read_text())["cases"]}
ENDS = {"cosine": 13, "cosine_two_waves": 15, "cosine_with_min_lr": 13}
"""Theirs rise again after it."""
LENGTHS = {"num_warmup_steps": 3, "num_training_steps": 13}


def call(text):
    """Their call as ours: the learning rate in place of the optimizer."""

    def get_scheduler(name, optimizer, *lengths, scheduler_specific_kwargs=None, **more):
        return lrax.get_scheduler(name, 0.1, *lengths, **more, **(scheduler_specific_kwargs or {}))

    return eval(text, {"get_scheduler": get_scheduler, "optimizer": None})


@pytest.mark.parametrize("key", CASES)
def test_has_their_learning_rates(key):
    case = CASES[key]
    scheduler, values = call(case["call"]), case["values"]
    if "metrics" in case:
        found = []
        for metric in case["metrics"]:
            scheduler.step(metric)
            found.append(last_lr(scheduler))
    else:
        found = stepped(scheduler, len(values))
    until = ENDS.get(key, len(values)) + 1
    assert_close(found[:until], values[:until])


@pytest.mark.parametrize("key", ENDS)
def test_holds_the_last_one(key):
    scheduler, last = call(CASES[key]["call"]), ENDS[key]
    assert_close(scheduler(np.arange(last, last + 9)), [CASES[key]["values"][last]] * 9)


def test_all_names_are_in_the_data():
    names = {case["call"].split("'")[1] for case in CASES.values()}
    with pytest.raises(ValueError, match="name must be one of") as caught:
        lrax.get_scheduler("nothing", 0.1)
    listed = str(caught.value).removeprefix("name must be one of ").partition(", got ")[0]
    assert set(listed.replace("'", "").split(", ")) == names
    assert len(names) == 12


# --- Where theirs is no guide ------------------------------------------------------------------------

T = np.arange(13)


def cosine(p):
    return (1 + np.cos(np.pi * p)) / 2


def test_their_enum_is_a_name():
    kind = enum.Enum("SchedulerType", {"LINEAR": "linear"}, type=str)
    made = lrax.get_scheduler(kind.LINEAR, 0.1, **LENGTHS)
    assert made == lrax.get_scheduler("linear", 0.1, **LENGTHS)


def test_several_groups():
    scheduler = lrax.get_scheduler("cosine", [0.1, 0.02], **LENGTHS)
    alone = lrax.get_scheduler("cosine", 0.1, **LENGTHS)(T)
    assert_close(scheduler.lr_at(T), np.stack([alone, alone / 5], axis=-1))


@pytest.mark.parametrize(
    "name, kwargs",
    [
        ("cosine", {"num_cycles": 1.5}),
        ("cosine_with_restarts", {"num_cycles": 3}),
        ("cosine_with_min_lr", {"min_lr_rate": 0.1}),
        ("cosine_with_min_lr", {"min_lr_rate": 0.1, "num_cycles": 1.5}),
        ("cosine_warmup_with_min_lr", {"min_lr_rate": 0.1}),
        ("cosine_warmup_with_min_lr", {"min_lr_rate": 0.1, "warmup_lr_rate": 0.3}),
        ("warmup_stable_decay", {"num_decay_steps": 4, "min_lr_ratio": 0.1}),
        ("inverse_sqrt", {}),
    ],
)
def test_a_share_of_the_learning_rate_is_one_in_every_group(name, kwargs):
    scheduler = lrax.get_scheduler(name, [0.1, 0.02], **LENGTHS, **kwargs)
    alone = lrax.get_scheduler(name, 0.1, **LENGTHS, **kwargs)(T)
    assert_close(scheduler.lr_at(T), np.stack([alone, alone / 5], axis=-1))


@pytest.mark.parametrize("cycles", [0.25, 0.75, 1, 1.5, 2.5])
def test_waves(cycles):
    scheduler = lrax.get_scheduler("cosine", 0.1, **LENGTHS, num_cycles=cycles)
    expected = np.where(T < 3, 0.1 * T / 3, 0.1 * cosine(2 * cycles * (T - 3) / 10))
    assert_close(scheduler(T), expected)
    floor = lrax.get_scheduler("cosine_with_min_lr", 0.1, **LENGTHS, num_cycles=cycles, min_lr=0.02)
    assert_close(floor(T), np.where(T < 3, 0.1 * T / 3, 0.02 + expected * 0.8))


@pytest.mark.parametrize("cycles", range(1, 11))
def test_restarts_of_any_length(cycles):
    lengths = {"num_warmup_steps": 3, "num_training_steps": 103}
    scheduler = lrax.get_scheduler("cosine_with_restarts", 0.1, **lengths, num_cycles=cycles)
    t = np.arange(120)
    p = (t - 3) * cycles % 100 / 100  # in whole numbers: restarts are where they belong
    expected = np.select([t < 3, t < 103], [0.1 * t / 3, 0.1 * cosine(p)], 0.0)
    assert_close(scheduler(t), expected)


@pytest.mark.parametrize("cycles", [1, 2, 3])
def test_restarts_of_no_length(cycles):
    """transformers divides by a length of at least one."""
    scheduler = lrax.get_scheduler("cosine_with_restarts", 0.1, 4, 4, num_cycles=cycles)
    assert_close(scheduler(np.arange(8)), [0, 0.025, 0.05, 0.075, 0.1, 0, 0, 0])


def one_step_ahead(t, warmup, total, start=None):
    if t < warmup:
        return (t + 1) / warmup if start is None else start + (1 - start) * t / max(warmup - 1, 1)
    return 0.1 + 0.9 * cosine(min((t - warmup + 1) / max(total - warmup, 1), 1))


AHEAD = "cosine_warmup_with_min_lr"


@pytest.mark.parametrize("warmup", [0, 1, 2, 5, 12])
@pytest.mark.parametrize("start", [None, 0.3])
def test_one_step_ahead(warmup, start):
    def make(warmup):
        kwargs = {"min_lr_rate": 0.1, "warmup_lr_rate": start}
        return lrax.get_scheduler(AHEAD, 0.2, warmup, 12, **kwargs)

    scheduler = make(warmup)
    expected = [0.2 * one_step_ahead(t, warmup, 12, start) for t in range(16)]
    assert_close(scheduler(np.arange(16)), expected)
    assert_close(jax.jit(lambda w: make(w)(jnp.arange(16)))(warmup), expected)
    assert lrax.from_config(scheduler.config) == scheduler == make(warmup)


@pytest.mark.parametrize("base, low", [(0.2, 0.0), (0.2, 0.3), (0.0, 0.0)])
def test_one_step_ahead_without_a_warmup(base, low):
    expected = low + (base - low) * cosine(np.minimum((T + 1) / 12, 1))
    make = lambda low: lrax.get_scheduler(AHEAD, base, 0, 12, min_lr=low)(jnp.asarray(T))  # noqa: E731
    assert_close(make(low), expected)
    if base > 0:
        assert_close(jax.jit(make)(low), expected)


def test_no_warmup():
    for name in ("linear", "cosine", "polynomial", "inverse_sqrt", "constant_with_warmup"):
        assert lrax.get_scheduler(name, 0.1, 0, 10)(0) == np.float32(0.1)
    timescale = lrax.get_scheduler("inverse_sqrt", 0.1, 0)
    assert_close(timescale(np.array([0, 30_000])), [0.1, 0.05])
    traced = jax.jit(lambda w: lrax.get_scheduler("inverse_sqrt", 0.1, w)(30_000))(0)
    assert_close(traced, 0.05)


def test_a_warmup_as_long_as_the_training():
    for name in ("linear", "cosine"):
        assert_close(
            lrax.get_scheduler(name, 0.1, 4, 4)(np.arange(6)), [0, 0.025, 0.05, 0.075, 0, 0]
        )


TRACED = {
    "linear": {},
    "cosine": {},
    "cosine_with_restarts": {"num_cycles": 3},
    "polynomial": {"power": 2.0},
    "inverse_sqrt": {},
    "cosine_warmup_with_min_lr": {"min_lr_rate": 0.1},
    "warmup_stable_decay": {"num_decay_steps": 4},
}


@pytest.mark.parametrize("name", TRACED)
def test_lengths_may_be_traced(name):
    def rates(base_lr, warmup, total):
        return lrax.get_scheduler(name, base_lr, warmup, total, **TRACED[name])(jnp.arange(13))

    assert_close(jax.jit(rates)(0.1, 3, 13), rates(0.1, 3, 13))


def test_waves_of_a_traced_warmup():
    cycles = lambda w: lrax.get_scheduler("cosine", 0.1, w, 13, num_cycles=2)(jnp.arange(14))  # noqa: E731
    t = np.arange(14)
    expected = np.where(t < 3, 0.1 * t / 3, 0.1 * cosine(4 * (t - 3) / 10))
    assert_close(jax.vmap(cycles)(jnp.array([3, 0]))[0], expected)


def test_a_traced_share():
    def rates(ratio):
        return lrax.get_scheduler(
            WSD, 0.1, 3, 13, num_decay_steps=4, min_lr_ratio=ratio, decay_type="linear"
        )(jnp.asarray([0, 5, 11, 13]))

    assert_close(jax.jit(rates)(0.1), [0.01, 0.1, 0.055, 0.01])
    assert_close(jax.jit(rates)(0.0), [0, 0.1, 0.05, 0])


def test_what_it_is_made_of_must_be_known():
    for name in ("cosine_with_restarts", WSD):
        more = {"num_decay_steps": 4} if name == WSD else {}
        make = lambda n: lrax.get_scheduler(name, 0.1, **LENGTHS, **more, num_cycles=n)(3)  # noqa: B023, E731
        with pytest.raises(TypeError, match="num_cycles must be a known number"):
            jax.jit(make)(2)


def test_one_step_ahead_in_waves():
    kwargs = {"min_lr": 0.02, "num_cycles": 1.5}
    expected = 0.02 + 0.08 * cosine(3 * (T[:11] + 1) / 12)
    found = lrax.get_scheduler(AHEAD, 0.1, 0, 12, **kwargs)(T[:11])
    assert_close(found, expected)
    make = lambda b, w: lrax.get_scheduler(AHEAD, b, w, 12, **kwargs)(jnp.asarray(T[:11]))  # noqa: E731
    assert_close(jax.jit(make)(0.1, 0), expected)
    with pytest.raises(TypeError, match="num_warmup_steps must be traced, too"):
        jax.jit(lambda b: make(b, 0))(0.1)


def test_gradients_by_a_warmup_of_0_are_finite():
    rate = lambda w, t: lrax.get_scheduler(AHEAD, 0.1, w, 12, min_lr_rate=0.1)(t)  # noqa: E731
    assert np.isfinite([float(jax.grad(rate)(0.0, t)) for t in (0, 3)]).all()


def test_what_is_made_is_described():
    scheduler = lrax.get_scheduler("cosine_with_restarts", 0.1, **LENGTHS, num_cycles=2)
    assert lrax.from_config(scheduler.config) == scheduler


# --- Mistakes ----------------------------------------------------------------------------------------

FLOOR = "cosine_with_min_lr"
WSD = "warmup_stable_decay"
MISTAKES = [
    (ValueError, ("cosin", 0.1), {}, r"name must be one of 'constant', .*, got 'cosin'"),
    (TypeError, (None, 0.1), {}, "name must be one of .*, got None"),
    (ValueError, ("linear", 0.1), {}, "num_training_steps|num_warmup_steps"),
    (
        ValueError,
        ("linear", 0.1, 3),
        {},
        "num_training_steps must be a whole number of steps for 'linear', got None",
    ),
    (
        ValueError,
        ("constant_with_warmup", 0.1),
        {},
        "num_warmup_steps must be a whole number of steps for 'constant_with_warmup', got None",
    ),
    (ValueError, (WSD, 0.1, 3, 13), {}, "num_decay_steps must be a whole number"),
    (ValueError, (WSD, 0.1, 3), {"num_decay_steps": 4}, "num_training_steps must be given"),
    (
        ValueError,
        (WSD, 0.1, 8, 10),
        {"num_decay_steps": 4},
        "num_training_steps must be >= num_warmup_steps . num_decay_steps, got 10 < 12",
    ),
    (
        ValueError,
        (WSD, 0.1, 3, 13),
        {"num_decay_steps": 4, "decay_type": "exponential"},
        "decay_type must be one of 'linear', 'cosine', '1-sqrt', got 'exponential'",
    ),
    (
        ValueError,
        (WSD, 0.1, 3, 13),
        {"num_decay_steps": 4, "num_cycles": 2},
        "num_cycles must be 0.5, half a cosine, got 2",
    ),
    (
        TypeError,
        ("linear", 0.1, 3, 13),
        {"num_cycles": 2},
        "num_cycles must be an argument of 'linear', got num_cycles=2. It takes no further",
    ),
    (
        TypeError,
        ("cosine", 0.1, 3, 13),
        {"min_lr": 0.01},
        "min_lr must be an argument of 'cosine', got min_lr=0.01. It takes num_cycles",
    ),
    (
        TypeError,
        ("greedy", 0.1),
        {"scheduler_specific_kwargs": {"patience": 3}},
        "scheduler_specific_kwargs must be passed as plain arguments",
    ),
    (TypeError, ("greedy", 0.1), {"nothing": 1}, "nothing"),
    (TypeError, ("reduce_lr_on_plateau", 0.1), {"verbose": True}, "verbose"),
    (ValueError, ("linear", 0.1, 13, 3), {}, "num_training_steps must be >= num_warmup_steps"),
    (ValueError, ("polynomial", 0.1, 4, 4), {}, "num_training_steps must be > num_warmup_steps"),
    (ValueError, ("linear", 0.1, 0.5, 13), {}, "num_warmup_steps must be a whole number"),
    (TypeError, ("linear", 0.1, "3", 13), {}, "num_warmup_steps must be a whole number"),
    (ValueError, ("linear", -0.1, 3, 13), {}, "base_lr must be"),
    (TypeError, ("linear", "adam", 3, 13), {}, "base_lr must be"),
    (ValueError, (FLOOR, 0.1, 3, 13), {}, "min_lr must be given, or else min_lr_rate"),
    (
        ValueError,
        (FLOOR, 0.1, 3, 13),
        {"min_lr": 0.01, "min_lr_rate": 0.1},
        "min_lr must be given, or else min_lr_rate",
    ),
    (
        ValueError,
        (FLOOR, [0.1, 0.2], 3, 13),
        {"min_lr": 0.01},
        "min_lr must be given as min_lr_rate",
    ),
    (
        ValueError,
        ("cosine_warmup_with_min_lr", [0.1, 0.2], 3, 13),
        {"min_lr": 0.01},
        "min_lr must be given as min_lr_rate",
    ),
    (ValueError, (AHEAD, 0.0, 0, 13), {"min_lr": 0.1}, "base_lr must be > 0 with a min_lr"),
    (ValueError, ("cosine", 0.1, 3, 13), {"num_cycles": 0}, "num_cycles must be"),
    (
        ValueError,
        ("cosine_with_restarts", 0.1, 3, 13),
        {"num_cycles": 1.5},
        "num_cycles must be a whole number >= 1",
    ),
]


@pytest.mark.parametrize("kind, positional, kwargs, message", MISTAKES)
def test_mistakes(kind, positional, kwargs, message):
    with pytest.raises(kind, match=message):
        lrax.get_scheduler(*positional, **kwargs)
