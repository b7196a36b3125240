"""Every learning rate against the exact value of its formula, at every kind of epoch and horizon."""

import functools
import itertools

import brainstate
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import exact
import lrax
import registry
from exact import BOUND, LARGEST, LAST_EPOCH, SMALLEST, spec
from helpers import slow_but

HORIZONS = [
    1,
    2,
    3,
    7,
    41,
    1000,
    10**6,
    2**24 + 1,
    10**9,
    LAST_EPOCH - 1,
    LAST_EPOCH,
    2**31,
    3 * 10**9,
    2**52,
]
COMPILED_HORIZONS = [1, 1000, LAST_EPOCH]
DISTANCES = [int(10**k) for k in np.linspace(0, 9.3, 24)]
SIMPLE = {label: s for label, s in registry.EVERY.items() if not s.members}


def interesting_epochs(s, dense):
    """0, 1, ... `dense`, and around everything that could go wrong."""
    rng = np.random.default_rng(0)
    marks = exact.boundaries(s)
    epochs = {mark + d for mark in [*marks, 2**24, LAST_EPOCH] for d in range(-3, 4)}
    epochs |= {mark - d for mark in [*marks[-3:], LAST_EPOCH] for d in DISTANCES}
    epochs |= set(np.exp2(rng.uniform(0, 31, 60)).astype(int).tolist())
    epochs |= set(range(dense + 1))
    return np.array(sorted(e for e in epochs if 0 <= e <= LAST_EPOCH))


def compiled(scheduler, epochs):
    return np.asarray(jax.jit(lambda t: scheduler(t))(jnp.asarray(epochs, jnp.int32)))


def assert_exact(got, epochs, expected, s, bound=BOUND):
    got = np.asarray(got)
    assert got.dtype == np.float32
    error = exact.ulps(got, expected)
    worst = error.argmax()
    assert error[worst] <= bound, (
        f"{s} at epoch {np.asarray(epochs)[worst]}: {got[worst]!r}, {error[worst]:.4g} ulp from {expected[worst]!r}"
    )


@pytest.mark.parametrize("label", registry.EVERY)
def test_within_half_an_ulp_at_every_epoch(label):
    s = registry.EVERY[label]
    epochs = interesting_epochs(s, dense=2000)
    expected = exact.values(s, epochs)
    scheduler = s.build()
    assert_exact(scheduler(epochs), epochs, expected, s)
    assert_exact([scheduler(t) for t in epochs[::5].tolist()], epochs[::5], expected[::5], s)
    assert_exact(compiled(scheduler, epochs), epochs, expected, s)


@pytest.mark.parametrize("label", registry.EVERY)
def test_exactly_the_base_learning_rate_where_the_formula_says_so(label):
    s = registry.EVERY[label]
    marks = {m + d for m in exact.boundaries(s) for d in (-1, 0, 1)}
    epochs = [t for t in sorted({0, LAST_EPOCH, *marks}) if 0 <= t <= LAST_EPOCH]
    base = exact.base(s)
    epochs = np.array([t for t in epochs if exact.value(s, t) == base])
    assert epochs.size or label in registry.NEVER_AT_BASE
    scheduler, expected = s.build(), np.full(epochs.shape, float(base), np.float32)
    np.testing.assert_array_equal(scheduler(epochs), expected)
    np.testing.assert_array_equal([scheduler(t) for t in epochs.tolist()], expected)
    np.testing.assert_array_equal(compiled(scheduler, epochs), expected)


@pytest.mark.parametrize("horizon", slow_but(HORIZONS, 1, 1000, LAST_EPOCH, 2**52))
def test_within_half_an_ulp_at_every_horizon(horizon):
    for s in registry.at_horizon(horizon).values():
        epochs = interesting_epochs(s, dense=60)
        expected = exact.values(s, epochs)
        scheduler = s.build()
        assert_exact(scheduler(epochs), epochs, expected, s)
        assert_exact([scheduler(t) for t in epochs[::9].tolist()], epochs[::9], expected[::9], s)
        if horizon in COMPILED_HORIZONS:
            assert_exact(compiled(scheduler, epochs), epochs, expected, s)


@pytest.mark.parametrize("label", registry.EVERY)
def test_exactly_the_end_value_at_and_after_the_end(label):
    s = registry.EVERY[label]
    ends = exact.end(s)
    if ends is None:
        scheduler = s.build()
        if registry.ENTRIES[s.name].end is not None and scheduler.total_steps is not None:
            # A member goes on for ever, and another one is 0, or a bound, by then.
            before, *held = scheduler(np.array([-1, 0, 1, 10**6]) + scheduler.total_steps)
            assert before != held[0]
            assert len({*map(float, held)}) == 1
        return
    end, last_value = ends
    epochs = np.array(
        [t for t in (end, end + 1, end + 2, 2 * end + 5, LAST_EPOCH) if t <= LAST_EPOCH]
    )
    scheduler, expected = s.build(), np.full(len(epochs), last_value, np.float32)
    np.testing.assert_array_equal(scheduler(epochs), expected)
    np.testing.assert_array_equal([scheduler(t) for t in epochs.tolist()], expected)
    np.testing.assert_array_equal(compiled(scheduler, epochs), expected)


@pytest.mark.parametrize(
    "horizon",
    slow_but([1, 2, 3, 5, 10, 41, 47, 90, 128, 500, 2000, 2**24 + 1, 10**9], 1, 41, 47, 2**24 + 1),
)
def test_exactly_the_end_value_where_reciprocals_miss_it(horizon):
    """1 - t * (1 / T) is not zero at t = T for half of all T; all of them in one program."""
    found = {k: (s, exact.end(s)) for k, s in registry.at_horizon(horizon).items()}
    found = {k: (s.build(), *e) for k, (s, e) in found.items() if e is not None}
    assert len(found) >= 12

    @jax.jit
    def program(t):
        return {k: jnp.stack([f(t + 0), f(t + e), f(t + e + 1)]) for k, (f, e, _) in found.items()}

    for label, values in program(jnp.int32(0)).items():
        assert np.isfinite(values).all(), label
        assert (values >= 0).all(), label
        np.testing.assert_array_equal(values[1:], np.float32(found[label][2]), err_msg=label)


# --- Restarts ---------------------------------------------------------------------------------


def restarts(T_0, T_mult):
    """First epochs of the cycles, walked in whole numbers, with the lengths of the cycles before them."""
    start, length = 0, T_0
    while start + length <= LAST_EPOCH:
        start, last, length = start + length, length, length * T_mult
        yield start, last


def restart_table(T_mult, sizes):
    """Every restart of every ``T_0`` of `sizes`; of equal cycles, the first ones and some up to 2**31."""
    rng = np.random.default_rng(T_mult)
    for T_0 in sizes:
        if T_mult > 1:
            yield from ((T_0, start, last) for start, last in restarts(T_0, T_mult))
        else:
            some = [*range(1, 12), *rng.integers(12, LAST_EPOCH // T_0, 12), LAST_EPOCH // T_0]
            yield from ((T_0, int(k) * T_0, T_0) for k in some)


@pytest.mark.parametrize("T_mult", slow_but([1, 2, 3, 4, 5], 1, 2))
def test_restarts_are_exact(T_mult):
    """The base learning rate at every restart, the lowest value of the cycle one epoch before."""
    table = np.array(list(restart_table(T_mult, range(1, 201))))
    sizes, starts, lengths = table.T
    assert len(table) > 2000
    lowest = 0.1 * np.sin(np.pi / (2 * lengths)) ** 2
    for T_0 in np.unique(sizes):
        scheduler = lrax.CosineAnnealingWarmRestarts(0.1, int(T_0), T_mult)
        mine = sizes == T_0
        assert (scheduler(starts[mine]) == np.float32(0.1)).all(), T_0
        np.testing.assert_allclose(scheduler(starts[mine] - 1), lowest[mine], rtol=1e-6)
        some = np.flatnonzero(mine)[:: max(mine.sum() // 5, 1)]
        assert all(scheduler(int(t)) == np.float32(0.1) for t in starts[some])

    @jax.jit
    @jax.vmap
    def traced(T_0, t):
        scheduler = lrax.CosineAnnealingWarmRestarts(0.1, T_0, T_mult)
        return scheduler(t), scheduler(t - 1)

    at, before = traced(sizes.astype(np.int32), starts.astype(np.int32))
    # A cycle of one epoch is at its start one epoch before the next, too.
    assert (at == np.float32(0.1)).all()
    np.testing.assert_allclose(before, lowest, rtol=1e-6)


@pytest.mark.parametrize("T_0, T_mult", [(41, 1), (1, 3), (10, 2), (7, 5)])
def test_restarts_are_exact_with_constants_compiled_in(T_0, T_mult):
    starts = np.array([start for _, start, _ in restart_table(T_mult, [T_0])])
    scheduler = lrax.CosineAnnealingWarmRestarts(0.1, T_0, T_mult)
    assert (compiled(scheduler, starts) == np.float32(0.1)).all()
    if T_0 > 1:
        assert (compiled(scheduler, starts - 1) < np.float32(0.01)).all()


@pytest.mark.parametrize("size", [*range(2, 130), 2**24 + 1, 10**9])
def test_stairs_are_exact(size):
    """``floor(t * (1 / size))`` is one epoch late at some multiples of 41, 47, 55, ..."""
    scheduler = lrax.StepLR(1.0, size, 0.5)
    for k in (1, 2, 3, 10, 40, min(120, LAST_EPOCH // size)):
        if k * size <= LAST_EPOCH:
            assert scheduler(np.array([k * size - 1, k * size])).tolist() == [
                2.0 ** -(k - 1),
                2.0**-k,
            ]


def test_stairs_are_exact_with_constants_compiled_in():
    sizes = [*range(2, 130), 9_999_991, 2**24 + 1]
    schedulers = [lrax.StepLR(1.0, size, 0.5) for size in sizes]

    @jax.jit
    def program(k):
        return jnp.stack(
            [jnp.stack([f(k * n - 1), f(k * n)]) for f, n in zip(schedulers, sizes, strict=True)]
        )

    for k in (1, 3, 29, 120):
        expected = np.tile(np.float32([2.0 ** -(k - 1), 2.0**-k]), (len(sizes), 1))
        np.testing.assert_array_equal(program(jnp.int32(k)), expected)


@pytest.mark.parametrize(
    "milestone", [2**24 - 1, 2**24 + 1, 2**25 + 3, 10**9 + 30, LAST_EPOCH - 1, LAST_EPOCH]
)
def test_milestones_beyond_float32_are_exact(milestone):
    one, two = lrax.ConstantLR(1.0, 1.0, 0), lrax.ConstantLR(0.5, 1.0, 0)
    for scheduler in (
        lrax.MultiStepLR(1.0, [milestone], 0.5),
        lrax.PiecewiseConstantSchedule(boundaries=[milestone], values=[1.0, 0.5]),
        lrax.SequentialLR([one, two], [milestone]),
        lrax.SequentialLR([lrax.StepLR(1.0, milestone, 0.5), two], [LAST_EPOCH]),
        lrax.ExponentialDecayLR(1.0, 1, 0.5, milestone - 1, staircase=True, end_value=0.5),
        lrax.ConstantLR(0.5, 2.0, milestone),
    ):
        epochs = np.array([milestone - 1, milestone])
        assert scheduler(epochs).tolist() == [1.0, 0.5]
        assert [float(scheduler(int(t))) for t in epochs] == [1.0, 0.5]
        assert compiled(scheduler, epochs).tolist() == [1.0, 0.5]


@pytest.mark.parametrize("length", [32, 33, 128, 129, 1000])
def test_few_epochs_find_their_place_in_a_table_of_any_length(length):
    """Those of a compiled step are looked up in another way than many are."""
    rng = np.random.default_rng(length)
    starts = np.sort(rng.integers(0, 5 * length, length))
    scheduler = lrax.PiecewiseConstantSchedule(
        boundaries=starts, values=np.arange(length + 1) + 1.0
    )
    few = np.unique([*starts[::41], *starts[-3:] - 1, *starts[:3], 0, LAST_EPOCH])
    assert len(few) <= 64
    wanted = 1 + np.searchsorted(starts, few, "right")
    np.testing.assert_array_equal(compiled(scheduler, few), wanted)
    one = jax.jit(lambda t: scheduler(t))
    assert [one(jnp.int32(t)) for t in few[-7:]] == wanted[-7:].tolist()


# --- Phases of no length ----------------------------------------------------------------------


@pytest.mark.parametrize("label", registry.EMPTY)
def test_phases_of_no_length(label):
    s, epoch, wanted = registry.EMPTY[label]
    epochs = np.array([*range(20), 2**24 + 1, LAST_EPOCH])
    scheduler, expected = s.build(), exact.values(s, epochs)
    assert scheduler(epoch) == np.float32(wanted)
    assert_exact(scheduler(epochs), epochs, expected, s)
    assert_exact([scheduler(t) for t in epochs.tolist()], epochs, expected, s)
    assert_exact(compiled(scheduler, epochs), epochs, expected, s)


# --- Range ------------------------------------------------------------------------------------


@pytest.mark.parametrize("gamma", [0.5, 0.9, 0.9999999, 1.5, 1.0000001])
def test_zero_below_the_smallest_and_never_above_the_largest_float32(gamma):
    s = spec("ExponentialLR", base_lr=0.7, gamma=gamma)
    limit = SMALLEST if gamma < 1 else LARGEST
    crossing = int((np.log(limit) - np.log(0.7)) / np.log(gamma))
    epochs = np.arange(crossing - 20, crossing + 40)
    expected = exact.values(s, epochs)
    assert len(set((expected == 0) | (expected == LARGEST))) == 2
    scheduler = s.build()
    for got in (
        scheduler(epochs),
        [scheduler(t) for t in epochs.tolist()],
        compiled(scheduler, epochs),
    ):
        assert_exact(np.array(got), epochs, expected, s)
        assert np.isfinite(got).all()
    last = [scheduler(LAST_EPOCH), compiled(scheduler, LAST_EPOCH)]
    assert last == [0.0 if gamma < 1 else np.float32(LARGEST)] * 2


@pytest.mark.parametrize("s", registry.EXTREME, ids=str)
def test_extreme_hyper_parameters(s):
    epochs = interesting_epochs(s, dense=60)
    scheduler, expected = s.build(), exact.values(s, epochs)
    for got in (
        scheduler(epochs),
        [scheduler(t) for t in epochs.tolist()],
        compiled(scheduler, epochs),
    ):
        assert_exact(got, epochs, expected, s)


# --- Clock ------------------------------------------------------------------------------------


@pytest.mark.parametrize("label", ["step", "cosine, floor", "restarts", "nested", "multi-step"])
def test_the_clock_stops_at_its_last_epoch(label):
    scheduler = registry.EVERY[label].build()
    expected = scheduler(LAST_EPOCH)

    def check():
        assert int(scheduler.last_epoch.value) == LAST_EPOCH
        assert scheduler.last_epoch.value.dtype == np.int32
        assert scheduler.get_last_lr()[0] == expected

    scheduler.step(LAST_EPOCH - 1)
    for _ in range(3):
        scheduler.step()
    check()
    scheduler.step(LAST_EPOCH)
    check()
    scheduler.step(LAST_EPOCH - 2)
    jitted = brainstate.transform.jit(lambda: scheduler.step())
    for _ in range(4):
        jitted()
    check()
    scheduler.step(LAST_EPOCH - 2)
    brainstate.transform.for_loop(lambda _: scheduler.step(), jnp.arange(5))
    check()
    with pytest.raises(ValueError, match="epoch must be a whole number from 0 to 2147483647"):
        scheduler.step(LAST_EPOCH + 1)
    check()


@pytest.mark.parametrize("dtype, wide", [(np.uint32, False), (np.int64, True)])
def test_a_traced_jump_beyond_the_last_epoch_stops_there(dtype, wide):
    scheduler = lrax.ExponentialLR(0.1, 0.5)
    with jax.enable_x64(wide):
        brainstate.transform.jit(lambda epoch: scheduler.step(epoch))(jnp.asarray(2**31 + 5, dtype))
    assert int(scheduler.last_epoch.value) == LAST_EPOCH
    assert scheduler.get_last_lr()[0] == 0


def test_last_epoch_beyond_the_last_epoch_is_refused():
    with pytest.raises(ValueError, match="epoch must be"):
        lrax.ExponentialLR(0.1, 0.5, last_epoch=2**31)


# --- Fractional epochs ------------------------------------------------------------------------


@functools.cache
def fractions(label):
    """Epochs between epochs, as float32 can hold them, all around the boundaries."""
    rng = np.random.default_rng(1)
    marks = [m for m in exact.boundaries(registry.EVERY[label]) if m < 2**20][:12]
    steps = [0.25, 0.5, 1 / 3, 1e-3, 1 - 2**-10]
    near = [m + d for m, d in itertools.product(marks, [-s for s in steps] + steps)]
    found = np.array(
        [*near, *rng.uniform(0, 2000, 100), *np.exp2(rng.uniform(0, 31, 30)), 3.25, 1e-6]
    )
    return np.unique(np.float32(found[found >= 0])).astype(np.float64)


@pytest.mark.parametrize("label", registry.EVERY)
def test_fractional_epochs(label):
    s, epochs = registry.EVERY[label], fractions(label)
    expected, scheduler = exact.values(s, epochs), s.build()
    host = np.array([scheduler(t) for t in epochs.tolist()])
    assert_exact(host, epochs, expected, s)
    assert_exact(scheduler(epochs), epochs, expected, s)
    assert_exact(scheduler(np.float32(epochs)), epochs, expected, s)
    assert_exact(jax.jit(lambda t: scheduler(t))(jnp.float32(epochs)), epochs, expected, s)
    if registry.ENTRIES[s.name].whole(s.kwargs):
        np.testing.assert_array_equal(host, scheduler(np.floor(epochs).astype(np.int64)))


@pytest.mark.parametrize("label", SIMPLE)
def test_fractional_epochs_are_taken_as_float64(label):
    """0.1 is not float32(0.1), and both are evaluated as what they are."""
    s = SIMPLE[label]
    marks = [m for m in exact.boundaries(s) if 0 < m < 2**20][:3]
    epochs = np.array(
        [0.1, 3.3, 1000.7, 2**24 + 0.1, *(m - 1e-9 for m in marks), *(m + 1e-9 for m in marks)]
    )
    expected, scheduler = exact.values(s, epochs), s.build()
    assert_exact([scheduler(t) for t in epochs.tolist()], epochs, expected, s)
    assert_exact(scheduler(epochs), epochs, expected, s)
    with jax.enable_x64(True):
        assert_exact(jax.jit(lambda t: scheduler(t))(jnp.asarray(epochs)), epochs, expected, s)
