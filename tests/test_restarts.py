"""Warm restarts in cycles that grow by a fraction, shrink in height, begin with a warmup, and end."""

import itertools
from fractions import Fraction

import brainstate
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import exact
import lrax
from exact import LAST_EPOCH
from helpers import assert_same_bits
from internals import cycles_of

T = np.arange(200)


def restarts(*args, **kwargs):
    return lrax.CosineAnnealingWarmRestarts(*args, **kwargs)


@pytest.mark.parametrize("length, factor", [(7, 1.5), (1, 1.25), (2**31 - 1, 1.5), (3, 1.1)])
def test_cycles_begin_where_the_one_before_ends(length, factor):
    table = cycles_of(length, factor, None)
    begun = (0.0, *table.restarts)
    starts = [Fraction(0)]
    for i in range(len(begun)):
        starts.append(starts[-1] + length * Fraction(factor) ** i)
    assert starts[-2] <= LAST_EPOCH < starts[-1]
    for i, (start, end) in enumerate(itertools.pairwise(starts)):
        near = Fraction(begun[i])
        assert near >= start > Fraction(np.nextafter(begun[i], -1.0))
        assert abs(table.exact[i] - start) < Fraction(1, 2**90)
        assert abs(table.firsts[i] - Fraction(table.gaps[i]) - start) <= start * Fraction(
            1, 2**90
        ) + Fraction(1, 2**54)
        assert abs(table.lasts[i] + Fraction(table.rests[i]) - end) <= Fraction(1, 2**53)
        assert table.firsts[i] - 1 < start <= table.firsts[i]
        assert table.lasts[i] <= end < table.lasts[i] + 1


def test_the_last_epochs_of_a_fractional_cycle_keep_their_digits():
    """Near the end of the clock, where the learning rate is 1e-20 of the first one."""
    s = exact.spec("CosineAnnealingWarmRestarts", base_lr=0.1, T_0=41, T_mult=1.1)
    ends = [t for t in exact.boundaries(s) if t > 10**6]
    epochs = np.array([t - d for t in ends for d in (1, 2)])
    expected = exact.values(s, epochs)
    assert expected.min() < 1e-18
    for found in (s.build()(epochs), jax.jit(s.build())(jnp.asarray(epochs, jnp.int32))):
        assert exact.ulps(found, expected).max() <= exact.BOUND


def test_fractional_cycles_must_be_known_and_not_too_many():
    with pytest.raises(TypeError, match=r"T_mult must be a known number.*cast it to int32"):
        jax.jit(lambda m: restarts(0.1, 10, m)(3))(1.5)
    with pytest.raises(TypeError, match=r"T_0 must be a known number where T_mult is fractional"):
        jax.jit(lambda n: restarts(0.1, n, 1.5)(3))(10)
    with pytest.raises(ValueError, match=r"T_mult must make at most 10000 cycles.*cycle_limit"):
        restarts(0.1, 10, 1.0001)
    few = restarts(1.0, 10, 1.0001, cycle_limit=3)
    assert few.total_steps == 31
    assert few(30) > 0 == few(31)
    with pytest.raises(ValueError, match=r"warmup_steps must be <= T_0.*11 > 10"):
        restarts(0.1, 10, warmup_steps=11)
    assert restarts(0.1, 10, 2.0) == restarts(0.1, 10, 2)
    assert type(restarts(0.1, 10, 2.0).T_mult) is int


@pytest.mark.parametrize("T_mult", [1, 2])
def test_whole_cycles_may_be_traced(T_mult):
    @jax.jit
    def traced(*values):
        base, T_0, T_mult, decay, limit, warmup = values
        return restarts(
            base, T_0, T_mult, 0.01, cycle_decay=decay, cycle_limit=limit, warmup_steps=warmup
        )(jnp.asarray(T))

    with jax.enable_x64(True):
        found = traced(0.1, 10, T_mult, 0.7, 4, 3)
    known = restarts(0.1, 10, T_mult, 0.01, cycle_decay=0.7, cycle_limit=4, warmup_steps=3)
    assert_same_bits(found, known(T))


def test_peaks_are_those_of_each_group_and_not_below_eta_min():
    scheduler = restarts([0.4, 0.1], 8, 1, 0.05, cycle_decay=0.5, warmup_steps=2)
    peaks = scheduler.lr_at(np.array([2, 10, 18, 26, 34]))
    np.testing.assert_array_equal(peaks[:, 0], np.float32([0.4, 0.2, 0.1, 0.05, 0.05]))
    np.testing.assert_array_equal(peaks[:, 1], np.float32([0.1, 0.05, 0.05, 0.05, 0.05]))
    # torch's: with a base below it every cycle rises to eta_min.
    upwards = restarts(0.01, 8, eta_min=0.05)(np.array([0, 7, 8]))
    assert upwards[0] == upwards[2] == np.float32(0.01)
    assert upwards[1] > 0.04


def test_gradients_by_the_decay():
    def rate(decay, base, t):
        return restarts(base, 8, eta_min=0.05, cycle_decay=decay)(t)

    half = (1 + np.cos(np.pi * 3 / 8)) / 2
    for decay in (1.0, 0.9):
        found = jax.grad(rate)(decay, 0.4, 19)
        np.testing.assert_allclose(found, 0.4 * 2 * decay * half, rtol=1e-6)
    # A known 1 is torch's, and so is a traced one.
    assert jax.jit(rate)(1.0, 0.01, 8) == np.float32(0.01)
    assert jax.jit(rate)(0.9, 0.01, 8) == np.float32(0.05)


def test_phases():
    scheduler = restarts(0.1, 4, 1.5, 0.01, cycle_decay=0.5, cycle_limit=3, warmup_steps=2)
    assert scheduler.boundaries == (2, 4, 6, 10, 12, 19)
    assert scheduler.total_steps == 19
    phases = [scheduler.phase_at(t) for t in (0, 1, 2, 3, 4, 5, 6, 9, 10, 18, 19)]
    assert phases == [*["warmup", "warmup", "decay", "decay"] * 2, "warmup", "decay", "end"]
    assert restarts(0.1, 10, 2, cycle_limit=3).total_steps == 70
    assert restarts(0.1, 10, cycle_limit=3).total_steps == 30
    assert restarts(0.1, 10).total_steps is None
    assert restarts(0.1, 10).boundaries[:3] == (10, 20, 30)
    later = lrax.ConstantLR(0.1, 0.5, total_iters=50)
    assert (restarts(0.1, 10, cycle_limit=2) + later).boundaries == (10, 20, 50)


# --- T_cur and T_i ----------------------------------------------------------------------------------


def test_where_it_is_in_a_fractional_cycle():
    """Lengths 5, 7.5, 11.25, ...; the third cycle begins at 12.5."""
    scheduler = restarts(0.1, 5, 1.5, last_epoch=14)
    assert (scheduler.T_cur.value, scheduler.T_i.value) == (1.5, 11.25)

    @brainstate.transform.jit
    def inside():
        scheduler.step()
        return scheduler.T_cur.value, scheduler.T_i.value

    assert [float(v) for v in inside()] == [2.5, 11.25]


@pytest.mark.parametrize(
    "name, value, epoch",
    [
        ("T_cur", 0, 13),  # the first whole epoch of the cycle
        ("T_cur", 0.5, 13),
        ("T_cur", 3, 16),
        ("T_cur", 10, 23),
        ("T_cur", 11, 35),  # 24 would be in the next cycle, which begins at 23.75
        ("T_i", 7.5, 7),  # at the same T_cur, 1.5, if there is a whole epoch
        ("T_i", 11.25, 14),
        ("T_i", np.float32(16.875), 26),
        ("T_i", 5, 2),
    ],
)
def test_it_is_moved_in_fractional_cycles(name, value, epoch):
    scheduler = restarts(0.1, 5, 1.5, last_epoch=14)
    setattr(scheduler, name, value)
    assert int(scheduler.last_epoch.value) == epoch


def test_cycles_go_on_after_the_limit():
    """Lengths 3, 4.5, 6.75, 10.125, 15.1875; the fifth cycle begins at 24.375."""
    scheduler = restarts(0.1, 3, 1.5, cycle_limit=2, last_epoch=30)
    assert (scheduler.T_cur.value, scheduler.T_i.value) == (5.625, 15.1875)
    scheduler.T_cur = 6.625
    assert int(scheduler.last_epoch.value) == 31
    many = restarts(0.1, 10, 1.0001, cycle_limit=3, last_epoch=100)
    assert many.T_cur.value == many.T_i.value == pytest.approx(10 * 1.0001**3)


def test_a_cycle_does_not_hold_the_first_epoch_of_the_next():
    scheduler = restarts(0.1, 4, 1.5)
    scheduler.T_cur = 4
    assert int(scheduler.last_epoch.value) == 4 + 4


def test_it_takes_the_place_of_another_one():
    old = restarts(0.1, 3, 1.3)
    for epoch in (0, 2, 3, 4, 50, 777):
        old.step(epoch)
        new = restarts(0.1, 3, 1.3)
        new.T_i = old.T_i
        new.T_cur = old.T_cur
        assert int(new.last_epoch.value) == epoch


@pytest.mark.parametrize("name, value", [("T_cur", -1), ("T_cur", 3e9), ("T_i", 7.4), ("T_i", 0)])
def test_no_such_place(name, value):
    with pytest.raises(ValueError, match=f"{name} must be"):
        setattr(restarts(0.1, 5, 1.5), name, value)
