"""`lrax.interop.from_optax`: a schedule of optax as a scheduler."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lrax
from helpers import assert_close, assert_same_bits, looped, stepped

SCHEDULES = {
    "constant": optax.constant_schedule(0.1),
    "cosine": optax.cosine_decay_schedule(0.1, 10, alpha=0.1),
    "warmup": optax.warmup_cosine_decay_schedule(0.0, 0.1, 3, 12, 0.01),
    "join": optax.join_schedules(
        [optax.linear_schedule(0.0, 0.1, 4), optax.exponential_decay(0.1, 2, 0.5)], [4]
    ),
    "one cycle": optax.cosine_onecycle_schedule(12, 0.1),
    "own": lambda count: 0.1 / (1 + count),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_has_the_numbers_of_optax(name):
    schedule = SCHEDULES[name]
    expected = [float(schedule(t)) for t in range(16)]
    found = stepped(lrax.interop.from_optax(schedule), 16)
    assert_close(found, expected)
    assert_same_bits(looped({"": lrax.interop.from_optax(schedule)}, 16)[""], found)


def test_it_has_none_of_the_errors_of_float32():
    schedule = optax.cosine_decay_schedule(0.1, 100_000)
    exact = 0.1 * math.sin(math.pi / 2 / 100_000) ** 2
    np.testing.assert_allclose(lrax.interop.from_optax(schedule)(99_999), exact, rtol=1e-5)
    assert schedule(99_999) == 0


def test_it_is_a_scheduler_like_any_other():
    scheduler = lrax.interop.from_optax(optax.linear_schedule(0.0, 0.5, 4))
    assert type(scheduler) is lrax.LambdaLR
    assert scheduler.base_lrs == [1.0]
    assert_close(scheduler(np.arange(3)), [0.0, 0.125, 0.25])
    optimizer = lrax.SGD(lr=lrax.ChainedScheduler([scheduler, lrax.StepLR(1.0, 2, 0.5)]))
    assert optimizer.current_lr == 0
    other = lrax.interop.from_optax(lrax.StepLR(0.1).__call__)
    assert other(0) == np.float32(0.1)


REFUSED = {
    "None": (None, "got None"),
    "a number": (0.1, "got 0.1.*ConstantLR"),
    "a name": ("cosine", "got 'cosine'.*optax.schedules"),
    "an optimizer": (optax.adam(0.1), "OptaxOptimizer"),
    "one that makes it": (optax.cosine_decay_schedule, "Call it: optax.cosine_decay_schedule"),
    "one that makes an optimizer": (optax.adam, "OptaxOptimizer"),
    "a class": (optax.GradientTransformation, "got <class"),
    "an array": (jnp.ones(3), "optax.schedules"),
    "a stateful one": (optax.schedules.WrappedSchedule(lambda t: t), "state of its own"),
    "one of ours": (lrax.StepLR(0.1), "StepLR.*already"),
    "a class of ours": (lrax.StepLR, "got <class"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    value, message = REFUSED[name]
    with pytest.raises(TypeError, match=f"schedule must be a function .*{message}"):
        lrax.interop.from_optax(value)


def test_a_scheduler_that_optax_asks_before_it_begins():
    parts = [lrax.WarmupCosineSchedule(0.1, 3, 10), lrax.ExponentialLR(0.1, gamma=0.5)]
    joined, ours = optax.join_schedules(parts, [10]), lrax.SequentialLR(parts, [10])
    counts = jnp.arange(20)
    assert_close(jax.vmap(joined)(counts), ours(counts))
    assert_close([jax.jit(joined)(count) for count in counts], ours(counts))
    for count in (3, jnp.int32(3)):
        with pytest.raises(ValueError, match=r"got .*-7.* use SequentialLR, or compile it"):
            joined(count)
