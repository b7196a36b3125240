"""Warmup, stable, decay, and the way through points: how their phases fit together, and what shapes need."""

import brainstate
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lrax
from helpers import assert_close, assert_same_bits

T = np.arange(130)


@pytest.mark.parametrize("base, warmup, start, end", [(0.1, 41, 0.0, 0.0), (1e-3, 0, 0.0, 0.02)])
def test_with_a_cosine_it_is_warmup_cosine_to_the_bit(base, warmup, start, end):
    theirs = lrax.WarmupCosineSchedule(base, warmup, 127, start, end)
    ours = lrax.WSDSchedule(base, warmup, 127, decay="cosine", warmup_start_lr=start, eta_min=end)
    assert_same_bits(ours(T), theirs(T))
    assert_same_bits(jax.jit(ours)(jnp.asarray(T)), theirs(T))
    assert [ours(t) for t in T.tolist()] == theirs(T).tolist()


def test_a_decay_that_is_not_given_takes_all_that_is_left():
    assert lrax.WSDSchedule(0.1, 10, 90) == lrax.WSDSchedule(0.1, 10, 90, decay_steps=80)
    sweep = jax.vmap(lambda n, total: lrax.WSDSchedule(0.1, n, total).lr_at(jnp.asarray(T)))
    lengths, totals = np.int32([0, 7, 90]), np.int32([10, 100, 90])
    for row, n, total in zip(sweep(lengths, totals), lengths, totals, strict=True):
        assert_same_bits(row, lrax.WSDSchedule(0.1, int(n), int(total)).lr_at(T))


def test_traced_phases_that_overlap_leave_the_warmup_whole():
    at = jax.jit(lambda n, t: lrax.WSDSchedule(0.1, n, 20, decay_steps=10)(t))
    found = [float(at(jnp.int32(15), jnp.int32(t))) for t in (3, 14, 15, 19, 20)]
    assert_close(found, [0.1 * 3 / 15, 0.1 * 14 / 15, 0.05, 0.01, 0.0])


@pytest.mark.parametrize(
    "arguments, said",
    [
        ((0.1, 10, 100, 91), r"decay_steps must be <= .*91 > 100 - 10. Pass total_steps=101"),
        ((0.1, 101, 100), r"total_steps must be >= warmup_steps.*100 < 101"),
    ],
)
def test_phases_that_overlap_are_refused(arguments, said):
    with pytest.raises(ValueError, match=said):
        lrax.WSDSchedule(*arguments)


def test_functions_fall_and_rise_as_their_mirror():
    def cubic(p):
        return (1 - p) ** 3

    found = lrax.WSDSchedule(1.0, 10, 40, 20, decay=cubic, warmup=cubic, eta_min=0.2)
    p = np.array([(t - 20) / 20 for t in range(20, 40)])
    wanted = [*(np.arange(10) / 10) ** 3, *[1.0] * 10, *(0.2 + 0.8 * cubic(p)), 0.2]
    assert_close(found(T[:41]), wanted)
    assert_close(jax.jit(found)(jnp.asarray(T[:41])), wanted)


def test_harmonic_ways_need_rates_above_zero_of_every_group():
    with pytest.raises(ValueError, match=r"eta_min must be > 0 with decay='harmonic'"):
        lrax.WSDSchedule(0.1, 10, 100, decay="harmonic")
    with pytest.raises(ValueError, match=r"base_lr must be > 0 with warmup='harmonic'"):
        lrax.WSDSchedule([0.1, 0.0], 10, 100, warmup="harmonic", warmup_start_lr=0.01)
    with pytest.raises(ValueError, match=r"values\[2\] must be > 0 with interpolation='harmonic'"):
        lrax.PiecewiseSchedule(0.1, [0, 5, 9], [1.0, 0.5, 0.0], "harmonic")
    optimizer = lrax.SGD(lr=lrax.WSDSchedule(0.1, 10, 100, decay="harmonic", eta_min=0.01))
    optimizer.register_trainable_weights({"w": brainstate.ParamState(jnp.ones(2))})
    with pytest.raises(ValueError, match=r"lr=0.* does not fit: base_lr must be > 0"):
        optimizer.add_param_group({"v": brainstate.ParamState(jnp.ones(2))}, lr=0.0)


def test_phases():
    warmup = ["warmup"] * 10
    for scheduler, boundaries, phases in (
        (
            lrax.WSDSchedule(0.1, 10, 30, 5),
            (10, 25, 30),
            [*warmup, *["stable"] * 15, *["decay"] * 5],
        ),
        (lrax.InverseSqrtLR(0.1, 10), (10,), [*warmup, *["decay"] * 20]),
        (lrax.InverseSqrtLR(0.1, timescale=3.0, eta_min=0.2), (), ["warmup"] * 30),
        (
            lrax.PiecewiseSchedule(0.1, [2, 10, 15, 15, 25, 30], [0.5, 1, 1, 0.7, 0.7, 0.1]),
            (2, 10, 15, 25, 30),
            [*["stable"] * 2, *warmup[2:], *["stable"] * 15, *["decay"] * 5],
        ),
        # 0.1 = 1 / t**0.5 at epoch 100
        (lrax.TokenPowerLR(0.1, 1, a=1.0, power=0.5), (100,), ["stable"] * 30),
        (lrax.PolynomialLR(0.1, 30, eta_min=0.2), (30,), ["warmup"] * 30),
    ):
        assert scheduler.boundaries == boundaries
        assert [scheduler.phase_at(t) for t in range(30)] == phases
        assert scheduler.total_steps == (30 if boundaries[-1:] == (30,) else None)
    assert lrax.TokenPowerLR(0.1, 1, a=1.0, power=0.5).phase_at(100) == "decay"
    assert lrax.TokenPowerLR(0.0).total_steps == 0


def test_token_counts_are_exact_beyond_the_clock():
    scheduler = lrax.TokenPowerLR(base_lr=1.0, batch_size=3, a=0.7, power=0.51)
    counts = np.array([2**31, 10**12 + 1, 2**53 - 1])
    wanted = np.float32(2.1 * counts.astype(np.longdouble) ** np.longdouble(-0.51))
    assert_same_bits(scheduler(counts), wanted)
    assert [scheduler(t) for t in counts.tolist()] == wanted.tolist()


def test_an_exponent_of_one_changes_no_bit():
    """Nor does a traced one, by more than an ulp."""
    plain, one = (
        lrax.CosineAnnealingLR(0.1, 100, 1e-3),
        lrax.CosineAnnealingLR(0.1, 100, 1e-3, exponent=1),
    )
    assert_same_bits(one(T), plain(T))
    traced = jax.jit(lambda e: lrax.CosineAnnealingLR(0.1, 100, 1e-3, exponent=e)(jnp.asarray(T)))
    assert_close(traced(jnp.float32(1)), plain(T), rtol=2e-7, floor=0)
