"""What formulas are made of: the vocabulary in its three implementations, and the accurate pieces."""

import dataclasses
import inspect
import math

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import optax
import pytest

import lrax
from exact import LAST_EPOCH
from helpers import assert_close, assert_same_bits
from internals import HOST, Traced, Vector, wide

mp = mpmath.MPContext()
mp.dps = 60
RNG = np.random.default_rng(3)
UNIT = 2.0**-53
ARGUMENTS = {
    "sqrt": np.r_[0.0, RNG.uniform(0, 1e10, 300), RNG.uniform(0, 1e-10, 100)],
    "exp": np.r_[RNG.uniform(-700, 709, 300), RNG.uniform(-1e-3, 1e-3, 100)],
    "log": np.r_[RNG.uniform(1e-300, 1e-290, 50), RNG.uniform(0.5, 2, 200), RNG.uniform(1, 1e12, 150)],
    "expm1": np.r_[RNG.uniform(-700, 709, 200), RNG.uniform(-1, 1, 200), RNG.uniform(-1e-9, 1e-9, 100)],
    "log1p": np.r_[RNG.uniform(-0.999, 1, 200), RNG.uniform(-1e-9, 1e-9, 100), RNG.uniform(1, 1e12, 100)],
    "sin": np.r_[RNG.uniform(0, 10, 200), RNG.uniform(0, 2e9, 200)],
    "cos": np.r_[RNG.uniform(0, 10, 200), RNG.uniform(0, 2e9, 200)],
}  # fmt: skip


UNITS = {"log1p": 256}
"""How far off they may be; XLA's log1p is 2e-14 off near -0.4, a millionth of what float32 shows. Else 4."""


def in_each_arithmetic(name, values):
    """What the function of each vocabulary makes of the values, in float64."""
    with wide():
        traced = jax.jit(lambda v: getattr(Traced(False), name)(v))(jnp.asarray(values))
        return {
            "host": np.array([getattr(HOST, name)(v) for v in values.tolist()]),
            "NumPy": getattr(Vector(False), name)(values),
            "jax": np.asarray(traced),
        }


@pytest.mark.parametrize("name", ARGUMENTS)
def test_functions_are_within_a_few_units_of_float64_everywhere(name):
    values = ARGUMENTS[name]
    exact = [getattr(mp, name)(mp.mpf(v)) for v in values.tolist()]
    for where, got in in_each_arithmetic(name, values).items():
        assert got.shape == values.shape
        off = [abs(mp.mpf(g) - e) for g, e in zip(got.tolist(), exact, strict=True)]
        size = [abs(e) * UNIT for e in exact]
        wrong = [
            v
            for v, o, s in zip(values.tolist(), off, size, strict=True)
            if o > UNITS.get(name, 4) * s
        ]
        assert not wrong, (where, wrong[:3])


@pytest.mark.parametrize("size", [3.0, 41.0, 47.0, 49, 0.1, 1.1, 7.7, 1e5 + 0.3])
def test_quotients_are_rounded_correctly_everywhere(size):
    t = np.r_[np.arange(1000.0), RNG.integers(0, LAST_EPOCH, 500)]
    with wide():
        compiled = jax.jit(lambda v: Traced(True).divide(v, size))(jnp.asarray(t))
        one_by_one = [jax.jit(lambda v: Traced(True).divide(v, size))(v) for v in t[::250]]
    np.testing.assert_array_equal(compiled, t / size)
    np.testing.assert_array_equal(one_by_one, t[::250] / size)
    np.testing.assert_array_equal(Vector(True).divide(t, size), t / size)
    assert [HOST.divide(int(v), size) for v in t.tolist()] == (t / size).tolist()


@pytest.mark.parametrize("size", [1, 2, 3, 7, 49, 1000, 99_991, 2**20 + 7, LAST_EPOCH])
@pytest.mark.parametrize("dtype", [np.int32, np.uint32, np.float32])
def test_periods_are_counted_exactly(size, dtype):
    """Whole numbers, whose program is shorter, and others."""
    last = LAST_EPOCH if dtype == np.int32 else 2**32 - 1
    multiples = RNG.integers(0, last // size, 1000, endpoint=True) * size
    around = np.r_[multiples, multiples - 1, multiples + 1, RNG.integers(0, last, 1000)]
    t = np.clip(around, 0, last).astype(dtype)
    whole = [int(v) for v in t.tolist()]  # float32 has rounded them

    def both(t):
        x = Traced(dtype is not np.float32)
        t = x.epoch(t)
        count = x.floor_divide(t, size)
        rest = x.rest(t, count, size)
        return count, rest, x.floor_divide(rest, 3)

    with wide():
        for values in (jax.jit(both)(jnp.asarray(t)), both(jnp.asarray(t))):
            count, rest, thirds = (np.asarray(v).astype(int).tolist() for v in values)
            assert [(c, r) for c, r in zip(count, rest, strict=True)] == [
                divmod(v, size) for v in whole
            ]
            assert thirds == [v % size // 3 for v in whole]


@pytest.mark.parametrize("many", [1, 16, 17, 31, 32, 33, 500, 1023, 1024])
def test_starts_are_counted_everywhere(many):
    """Also where epochs are NaN or infinite, which only a program can meet."""
    starts = np.unique(RNG.integers(1, LAST_EPOCH, 2 * many))[:many].astype(float).tolist()
    ends = [0.0, starts[0], starts[-1], starts[-1] + 1, np.inf]
    t = np.r_[ends, RNG.choice(starts, 50), RNG.choice(starts, 50) - 1, RNG.uniform(0, 2**31, 50)]
    with wide():
        found = jax.jit(lambda v: Traced(False).count(starts, v))
        wanted = np.searchsorted(starts, t, side="right")
        np.testing.assert_array_equal(found(jnp.asarray(t)), wanted)
        assert [found(jnp.asarray(v)) for v in ends] == wanted[: len(ends)].tolist()
        assert found(jnp.asarray(np.nan)) == 0
        traced = jax.jit(lambda v, starts: Traced(False).count(starts, v))
        np.testing.assert_array_equal(traced(jnp.asarray(t), tuple(starts)), wanted)


def test_an_epoch_just_before_a_period_ends_is_in_it():
    """Of what may be no whole number, the program must not take it for one."""
    t = np.array([np.nextafter(v, 0) for v in (3.0, 49.0, 147.0, 1e6 * 49)])
    scheduler = lrax.ExponentialLR(1.0, 0.5).delay(0).repeat(49, decay=0.5)
    with wide():
        x = Traced(False)
        count = jax.jit(lambda v: x.floor_divide(x.since(x.epoch(v), 0), 49.0))(jnp.asarray(t))
    assert count.tolist() == [0, 0, 2, 999_999]
    thirds = scheduler.stretch(3)
    np.testing.assert_array_equal(jax.jit(thirds)(jnp.arange(900)), thirds(np.arange(900)))


def test_exp_stops_growing_before_float64_ends():
    for where, got in in_each_arithmetic("exp", np.array([709.5, 1e4, 1e300])).items():
        np.testing.assert_allclose(got, math.exp(709), rtol=1e-15, err_msg=where)


@dataclasses.dataclass(frozen=True)
class Everything(lrax.Formula):
    period: float

    def raw(self, t, base, x):
        wave = 1 + x.sin(t / self.period) * x.cos(t / 7)
        return base * wave * x.exp(-t / 1e4) / x.sqrt(1 + t) * x.log(x.maximum(t, 3))


def test_a_formula_of_all_of_them_has_the_same_bits_everywhere():
    scheduler = lrax.LRScheduler(0.1, formula=Everything(13.0))
    epochs = np.unique(np.r_[np.arange(500), np.geomspace(1, 1e5, 500).astype(int)])
    host = [scheduler(t) for t in epochs.tolist()]
    assert_same_bits(host, scheduler(epochs))
    assert_same_bits(jax.jit(scheduler)(jnp.asarray(epochs)), scheduler(epochs))
    t = epochs.astype(np.float64)
    wave = 1 + np.sin(t / 13) * np.cos(t / 7)
    exact = 0.1 * wave * np.exp(-t / 1e4) / np.sqrt(1 + t) * np.log(np.maximum(t, 3))
    assert_close(host, exact, rtol=6.1e-8, floor=0)


@dataclasses.dataclass(frozen=True)
class Trapezoid(lrax.Formula):
    """A user's schedule out of the accurate pieces."""

    rise: int
    hold: int
    fall: int
    eta_min: float

    def raw(self, t, base, x):
        f = lrax.formulas
        up = f.ramp(x, 0.0, base, t, self.rise)
        down = f.ramp(x, base, self.eta_min, t - self.rise - self.hold, self.fall, "cosine")
        return x.where(t < self.rise + self.hold, up, down)


def test_a_formula_of_pieces_is_exact():
    scheduler = lrax.LRScheduler(0.1, formula=Trapezoid(7, 11, 2**24 + 1, 1e-3))
    end = 7 + 11 + 2**24 + 1
    epochs = np.array([0, 1, 3, 6, 7, 17, 18, 19, 1000, 10**6, end - 2, end - 1, end, end + 1])

    def exact(t):
        if t < 18:
            return mp.mpf(0.1) * min(t, 7) / 7
        done = mp.mpf(min(t - 18, 2**24 + 1)) / (2**24 + 1)
        return mp.mpf(1e-3) + (mp.mpf(0.1) - mp.mpf(1e-3)) * (1 + mp.cos(mp.pi * done)) / 2

    wanted = np.array([float(exact(t)) for t in epochs.tolist()])
    for got in (scheduler(epochs), jax.jit(scheduler)(jnp.asarray(epochs))):
        assert_close(got, wanted, rtol=6.1e-8, floor=0)
    assert scheduler(end) == np.float32(1e-3)


def test_a_formula_may_check_itself():
    """Also inside a program, where the numbers that it is put together from are tracers."""

    @dataclasses.dataclass(frozen=True)
    class Checked(lrax.Formula):
        rate: float
        doubled: float = dataclasses.field(init=False, default=0.0)

        def __post_init__(self):
            if not self.rate > 0:
                raise ValueError("rate must be > 0")
            object.__setattr__(self, "doubled", 2 * self.rate)

        def raw(self, t, base, x):
            return base / (1 + self.doubled * t)

    scheduler = lrax.LRScheduler(1.0, formula=Checked(0.5))
    assert_same_bits(jax.jit(scheduler)(jnp.arange(4)), scheduler(np.arange(4)))
    assert_close(scheduler(np.arange(4)), 1 / (1 + np.arange(4)))
    with pytest.raises(ValueError, match="rate must be > 0"):
        Checked(0.0)


def test_the_vocabulary_is_documented_and_complete():
    words = [n for n in vars(lrax.formulas.Arithmetic) if not n.startswith("_")]
    assert {"where", "sqrt", "exp", "sin", "cos", "steps", "call"} <= {*words}
    for word in words:
        assert inspect.getdoc(getattr(lrax.formulas.Arithmetic, word)), word
    for name in lrax.formulas.__all__:
        assert inspect.getdoc(getattr(lrax.formulas, name)), name


WITH_MANY = {
    "restarts": lambda: lrax.CosineAnnealingWarmRestarts(1.0, 3, 2),
    "milestones": lambda: lrax.MultiStepLR(1.0, list(range(20)), 0.9),
    "points": lambda: lrax.PiecewiseSchedule(0.1, range(30), np.linspace(1, 0.1, 30)),
    "a sequence": lambda: lrax.SequentialLR(
        [lrax.LinearLR(0.1 * i, 0.5, 1.0, 2) for i in range(1, 31)], range(3, 90, 3)
    ),
}


@pytest.mark.parametrize("label", WITH_MANY)
def test_each_device_may_have_its_own_epoch(label):
    scheduler, mesh = WITH_MANY[label](), jax.make_mesh((1,), ("d",))
    spec = jax.sharding.PartitionSpec("d")
    mapped = jax.jit(jax.shard_map(scheduler, mesh=mesh, in_specs=spec, out_specs=spec))
    epochs = jax.device_put(np.arange(100), jax.sharding.NamedSharding(mesh, spec))
    np.testing.assert_array_equal(mapped(epochs), scheduler(np.arange(100)))


@pytest.mark.parametrize("label", WITH_MANY)
def test_a_program_of_many_meets_no_nan(label):
    scheduler = WITH_MANY[label]()
    expected = scheduler(np.arange(100))
    with jax.debug_nans(True), jax.debug_infs(True):
        found = [jax.jit(jax.vmap(scheduler))(jnp.arange(100))]
        with jax.disable_jit():
            found.append(jax.vmap(scheduler)(jnp.arange(100)))
    for values in found:
        np.testing.assert_array_equal(values, expected)


FUNCTIONS = {
    "a function": lambda: lrax.LambdaLR(1.0, lambda epoch: 1 / (1 + epoch)),
    "a function on the host": lambda: lrax.LambdaLR(1.0, lambda epoch: 1.0 if epoch < 3 else 0.5),
    "a shape": lambda: lrax.WSDSchedule(0.1, 2, 9, 3, decay=lambda p: 1 - p**3),
    "optax": lambda: lrax.interop.from_optax(optax.cosine_decay_schedule(0.1, 9)),
}


@pytest.mark.parametrize("label", FUNCTIONS)
def test_no_tracer_of_a_function_leaks(label):
    scheduler = FUNCTIONS[label]()
    with jax.checking_leaks():
        found = jax.jit(lambda t: scheduler(t))(jnp.arange(20))
    np.testing.assert_array_equal(found, scheduler(np.arange(20)))
