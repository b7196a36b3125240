"""A function in one phase of a sequence: never asked about another one's epochs."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lrax
from helpers import assert_same_bits, looped, stepped

TABLE = (1.0, 0.5, 0.25, 0.125)
HOLD = lrax.ConstantLR(1.0, factor=1.0, total_iters=0)
AFTER = 4
"""The epoch at which the function's phase ends; no function here is defined from there on."""


class ByGetLR(lrax.LRScheduler):
    def get_lr(self):
        return [TABLE[int(self.last_epoch.value)]]


@dataclasses.dataclass(frozen=True)
class Root(lrax.Formula):
    """Not even finite after its phase."""

    def raw(self, t, base, x):
        return base * x.sqrt(1 - t / AFTER)


def by_root(t):
    return math.sqrt(1 - t / AFTER)


def by_table(t):
    return TABLE[int(t)]


UNTIL = {  # a schedule for epochs 0 to 3, and its learning rate
    "math": (lambda: lrax.LambdaLR(1.0, by_root), lambda t: math.sqrt(1 - t / AFTER)),
    "jnp": (lambda: lrax.LambdaLR(1.0, lambda t: jnp.sqrt(1 - t / AFTER)), lambda t: math.sqrt(1 - t / AFTER)),
    "a table": (lambda: lrax.LambdaLR(1.0, by_table), by_table),
    "get_lr": (lambda: ByGetLR(1.0), by_table),
    "a formula": (lambda: lrax.LRScheduler(1.0, formula=Root()), lambda t: math.sqrt(1 - t / AFTER)),
    "a cycle": (
        lambda: lrax.CyclicLR(0.0, 1.0, 1, 1, scale_fn=by_table, scale_mode="iterations"),
        lambda t: by_table(t) * (1 - abs(t % 2 - 1)),
    ),
    "a chain": (
        lambda: lrax.ChainedScheduler([lrax.LambdaLR(1.0, by_table), lrax.LambdaLR(1.0, by_root)]),
        lambda t: by_table(t) * math.sqrt(1 - t / AFTER),
    ),
    "a sequence": (
        lambda: lrax.SequentialLR([HOLD, lrax.LambdaLR(1.0, lambda t: TABLE[int(t) + 2])], [2]),
        lambda t: 1.0 if t < 2 else TABLE[int(t)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("label", UNTIL)
def test_no_member_is_asked_outside_of_its_phase(label):
    """In first place, and between two others."""
    make, rate = UNTIL[label]
    epochs = np.arange(12)
    wanted = np.float32([rate(t) if t < AFTER else 1.0 for t in range(12)])
    late = np.float32([rate(t - 3) if 3 <= t < 3 + AFTER else 1.0 for t in range(12)])
    for scheduler, expected in (
        (lrax.SequentialLR([make(), HOLD], [AFTER]), wanted),
        (lrax.SequentialLR([HOLD, make(), HOLD], [3, 3 + AFTER]), late),
    ):
        assert_same_bits(scheduler(epochs), expected)
        assert_same_bits(scheduler(jnp.arange(12)), expected)
        assert_same_bits(jax.jit(scheduler)(jnp.arange(12)), expected)
        assert_same_bits(jax.vmap(scheduler)(jnp.arange(12)), expected)
        assert_same_bits(stepped(scheduler, 12), expected)
        scheduler.step(0)
        assert_same_bits(looped({"": scheduler}, 12)[""], expected)


def test_fractions_of_an_epoch_belong_to_the_phase_that_has_begun():
    seen = []

    def spy(t):
        seen.append(float(t))
        return by_root(t)

    scheduler = lrax.SequentialLR([HOLD, lrax.LambdaLR(1.0, spy), HOLD], [3, 7])
    epochs = np.array([0.5, 2.75, 3.0, 3.5, 6.99, 7.0, 7.25])
    wanted = np.float32([by_root(t - 3) if 3 <= t < 7 else 1.0 for t in epochs])
    assert_same_bits(scheduler(epochs), wanted)
    with jax.enable_x64(True):
        assert_same_bits(jax.jit(scheduler)(jnp.asarray(epochs)), wanted)
    assert {*seen} == {0.0, 0.5, 6.99 - 3}


@pytest.mark.parametrize("place, milestones", [(0, [0, 2]), (1, [2, 2])])
def test_a_phase_without_epochs_is_not_evaluated(place, milestones):
    seen = []
    members = [lrax.ConstantLR(3.0, 1.0, 0), lrax.ConstantLR(4.0, 1.0, 0)]
    members.insert(place, lrax.LambdaLR(3.0, lambda t: seen.append(t) or 1.0))
    scheduler = lrax.SequentialLR(members, milestones)
    seen.clear()  # it has a first rate of its own
    epochs = np.arange(3)
    for rates in (scheduler(epochs), jax.jit(scheduler)(jnp.arange(3)), stepped(scheduler, 3)):
        np.testing.assert_array_equal(rates, [3, 3, 4])
    assert not seen


@pytest.mark.parametrize("function", [by_root, lambda t: jnp.sqrt(1 - t / AFTER)])
def test_gradients_are_finite_outside_of_the_phase(function):
    def rate(base, t):
        members = [lrax.ConstantLR(base, 0.5, 9), lrax.LambdaLR(base, function), lrax.StepLR(base)]
        return lrax.SequentialLR(members, [3, 3 + AFTER])(t)

    found = jax.vmap(jax.grad(rate), in_axes=(None, 0))(jnp.float32(2.0), jnp.arange(12))
    wanted = [0.5 if t < 3 else by_root(t - 3) if t < 7 else 1.0 for t in range(12)]
    np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_gradients_by_a_formula_that_has_none_after_its_phase():
    def rate(base, t):
        members = [lrax.LRScheduler(base, formula=Root()), lrax.StepLR(base)]
        return lrax.SequentialLR(members, [AFTER])(t)

    found = jax.vmap(jax.grad(rate), in_axes=(None, 0))(jnp.float32(2.0), jnp.arange(9))
    np.testing.assert_allclose(found, [by_root(t) if t < 4 else 1.0 for t in range(9)], rtol=1e-6)


SAWTOOTH = lrax.PiecewiseSchedule(1.0, [0, 4, 4], [1, 5, 1])
RISE_TO_NOTHING = lrax.WSDSchedule(1.0, warmup_steps=5, total_steps=5)


@pytest.mark.parametrize(
    "scheduler, total_steps",
    [
        (SAWTOOTH, 4),
        (SAWTOOTH.repeat(4), None),
        (SAWTOOTH.repeat(4, limit=3), 12),
        (SAWTOOTH.with_warmup(1, start_lr=0.9), 5),
        (SAWTOOTH + 0.5, 4),
        (RISE_TO_NOTHING.delay(3), 8),
        (RISE_TO_NOTHING.stretch(2), 10),
        (lrax.WarmupCosineSchedule(1.0, 5, 5).delay(3), 8),
    ],
)
def test_a_way_that_jumps_back_to_where_it_began(scheduler, total_steps):
    assert scheduler.total_steps == total_steps
    if total_steps is not None:
        rates = scheduler(np.arange(total_steps + 99))
        assert rates[total_steps - 1] != rates[total_steps]
        assert np.ptp(rates[total_steps:]) == 0


def test_a_cycle_that_begins_at_its_peak_has_no_boundary_before_it():
    scheduler = lrax.OneCycleLR(1.0, total_steps=11, pct_start=0.0).repeat(4, limit=2)
    assert scheduler.boundaries == (4, 8)


def test_what_ends_beyond_float64_has_boundaries():
    assert lrax.TokenPowerLR(1e-3, power=1e-3).boundaries == ()
    end = lrax.ExponentialDecayLR(1e20, end_value=1e-305).total_steps
    assert end == pytest.approx(1000 * np.log(1e20 / 2.0**-126) / -np.log(0.96), abs=1)


def test_a_boundary_of_very_many_within_an_epoch():
    scheduler = lrax.StepLR(0.1, step_size=1).stretch(1e-9)
    assert scheduler.boundaries[0] == 1
