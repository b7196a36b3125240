"""Hyper-parameters at the ends of float64, and learning rates half-way between two float32: the same in every mode."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lrax
from exact import LARGEST
from helpers import assert_same_bits, in_three, slow_but

EPOCHS = np.array([0, 1, 2, 3, 7, 9, 10, 41, 49, 50, 98, 100, 1000, 2**24 + 2, 2**31 - 1])
NUMBERS = [
    5e-324, 1e-310, 2.3e-308, 1e-300, 1e-155, 1e-100, 1e-45, 1e-38, 1e-8, 0.1, 0.3, 0.5, 0.9,
    1.0, 1.5, 3.0, 1e8, 1e30, 3.4e38, LARGEST, 3.41e38, 1e100, 1e155, 1e300, 8.9e307, 1.7e308,
]  # fmt: skip
LENGTHS = [1, 2, 3, 7, 10, 41, 49, 100, 1000, 2**24 + 1, 2**31 - 1]


def assert_one_rate(scheduler, epochs=EPOCHS):
    expected = scheduler(epochs)
    assert np.isfinite(expected).all()
    assert (expected >= 0).all()
    assert_same_bits(np.array([scheduler(int(t)) for t in epochs]), expected)
    program = jax.jit(lambda t: scheduler(t))
    assert_same_bits(program(jnp.asarray(epochs, jnp.int32)), expected)
    assert_same_bits(program(jnp.int32(epochs[3])), expected[3])


class Draw:
    """Schedulers with random numbers of every size."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)

    def of(self, values):
        return values[self.rng.integers(len(values))]

    def rate(self):
        return self.of([0.0, *NUMBERS])

    def size(self):
        return self.of(NUMBERS)

    def length(self):
        return self.of(LENGTHS)

    def rates(self, count):
        return [self.rate() for _ in range(count)]

    def milestones(self, count):
        return sorted(self.of([0, *LENGTHS]) for _ in range(count))

    def scheduler(self):
        low, high = sorted(self.rates(2))
        warmup, yes, base = self.of([0, *LENGTHS]), self.of([False, True]), self.rate()
        makers = [
            lambda: lrax.StepLR(base, self.length(), self.size()),
            lambda: lrax.MultiStepLR(base, self.milestones(3), self.size()),
            lambda: lrax.MultiStepLR(base, self.milestones(20), self.size()),
            lambda: lrax.ExponentialLR(base, self.size()),
            lambda: lrax.ExponentialDecayLR(base, self.length(), self.size(), warmup, yes, self.rate()),
            lambda: lrax.ExponentialDecayLR(base, self.length(), self.size(), warmup, yes),
            lambda: lrax.CosineAnnealingLR(base, self.length(), self.rate()),
            lambda: lrax.CosineAnnealingWarmRestarts(base, self.length(), 1 + yes, self.rate()),
            lambda: lrax.PolynomialLR(base, self.length(), self.of(NUMBERS[5:])),
            lambda: lrax.LinearLR(base, *self.rates(2), warmup),
            lambda: lrax.ConstantLR(base, self.rate(), warmup),
            lambda: lrax.WarmupScheduler(base, warmup, self.rate()),
            lambda: lrax.WarmupCosineSchedule(base, warmup, warmup + self.length(), *self.rates(2)),
            lambda: lrax.CyclicLR(low, high, self.length(), self.length(), "exp_range", self.size()),
            lambda: lrax.CyclicLR(low, high, self.length(), self.length(), "triangular2"),
            lambda: lrax.OneCycleLR(
                base, self.length(), pct_start=self.of([0.0, 0.3, 0.5]), anneal_strategy=self.of(["cos", "linear"]),
                div_factor=self.size(), final_div_factor=self.size(), three_phase=yes,
            ),
            lambda: lrax.PiecewiseConstantSchedule(boundaries=[3, 9], values=self.rates(3)),
        ]  # fmt: skip
        return self.of(makers)()


@pytest.mark.parametrize("seed", in_three(range(12), [0], range(1, 6)))
def test_random_numbers_of_every_size(seed):
    draw = Draw(seed)
    for _ in range(10):
        assert_one_rate(draw.scheduler())
    assert_one_rate(lrax.SequentialLR([draw.scheduler(), draw.scheduler()], [draw.length()]))


@pytest.mark.parametrize("base", slow_but(NUMBERS[2:], 2.3e-308, 8.9e307, 1.7e308))
def test_a_chain_of_any_base(base):
    """Of which the largest have a reciprocal that float64 does not hold."""
    steps, decay = lrax.StepLR(base, 3, 0.5), lrax.ExponentialLR(base, 0.9)
    factors = np.array([0.5 ** (t // 3) * 0.9**t for t in range(60)])
    for first, rate in ((lrax.StepLR(0.1, 3, 0.5), 0.1), (steps, base)):
        scheduler = lrax.ChainedScheduler([first, decay])
        wanted = np.minimum(rate * factors, LARGEST)
        wanted[wanted < 2.0**-126] = 0
        np.testing.assert_allclose(scheduler(np.arange(60)), wanted, rtol=1e-6)
        assert_one_rate(scheduler, np.arange(60))


def test_a_chain_of_infinity_and_nothing():
    growing, ended = lrax.ExponentialLR(1e300, 1e30), lrax.PolynomialLR(1.0, total_iters=5)
    for members in itertools.permutations((growing, growing, ended)):
        assert_one_rate(lrax.ChainedScheduler(members), np.arange(4, 20))


def test_a_group_of_another_base():
    """The ratio of its base to the first member's may be beyond float64."""
    for formula, _ in lrax.SequentialLR([lrax.StepLR(1e-300), lrax.StepLR(0.0)], [3]).pieces():
        assert_one_rate(lrax.LRScheduler(1e300, formula=formula))


# Half-way between two float32, at the base learning rate or at a simple fraction of it.
HALF_WAY = [(LARGEST + 2.0**128) / 2, 16777217.0, 1 + 2.0**-24, 3 * (1 + 2.0**-24)]
EACH = np.arange(400)
CYCLES = (7, 41, 49, 50, 93, 100)


@pytest.mark.parametrize("base", slow_but(HALF_WAY, HALF_WAY[0], HALF_WAY[1]))
def test_learning_rates_half_way_between_two_float32(base):
    for scheduler in (
        *(lrax.CosineAnnealingWarmRestarts(base, T, m) for T in CYCLES for m in (1, 2)),
        lrax.ExponentialDecayLR(base, 49, 0.5),
        lrax.WarmupCosineSchedule(base, 49, 98),
        lrax.CyclicLR(0.0, base, 49),
        lrax.LinearLR(base, 1.0, 0.0, 49),
        lrax.PolynomialLR(base, 50, 2.0),
        lrax.OneCycleLR(base, 98),
        lrax.ChainedScheduler([lrax.StepLR(base, 9, 0.5), lrax.ExponentialLR(0.1, 0.5)]),
    ):
        assert_one_rate(scheduler, EACH)


def test_a_number_below_all_normal_ones_is_zero():
    scheduler = lrax.LinearLR(5e-324, 1e308, 1e308)
    assert scheduler.base_lr == 0.0
    assert_one_rate(scheduler)
    assert_one_rate(lrax.ExponentialDecayLR(0.1, 1000, 5e-324))
