"""Random hyper-parameters, random compositions: what holds for the examples holds for all."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import exact
import registry
from exact import LAST_EPOCH, Spec
from test_accuracy import BOUND
from test_modes import floats, numbers, one_sided, put_all


def examples(count):
    """The same `count` examples in every run."""
    return settings(
        max_examples=count,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


# --- Hyper-parameters -------------------------------------------------------------------------

near_powers = st.builds(
    lambda k, d: min(max(2**k + d, 1), LAST_EPOCH), st.integers(0, 31), st.integers(-1, 1)
)
sizes = st.one_of(
    st.integers(1, 50), st.integers(1, 10**5), near_powers, st.integers(1, LAST_EPOCH)
)
lengths = st.one_of(st.just(0), sizes)
starts = st.lists(lengths, max_size=6).map(sorted)
rates = st.one_of(st.sampled_from([0.1, 1e-3, 3e-4, 1.0]), st.floats(1e-12, 1e3))
factors = st.one_of(st.sampled_from([0.0, 1 / 3, 0.1, 1.0]), st.floats(1e-9, 2.0))
shrinking = st.one_of(
    st.sampled_from([0.1, 0.5, 0.9, 1.0]),
    st.floats(0.001, 1.0),
    st.integers(1, 15).map(lambda k: 1 - 10.0**-k),
)
powers = st.one_of(st.sampled_from([0.5, 0.9, 1.0, 2.0]), st.floats(0.01, 20.0))
floors = st.one_of(st.just(0.0), st.floats(1e-12, 1e3))
HYPER_PARAMETERS = {
    "StepLR": {"base_lr": rates, "step_size": sizes, "gamma": shrinking},
    "MultiStepLR": {"base_lr": rates, "milestones": starts, "gamma": shrinking},
    "ExponentialLR": {"base_lr": rates, "gamma": shrinking},
    "ExponentialDecayLR": {
        "base_lr": rates,
        "decay_steps": sizes,
        "decay_rate": st.one_of(shrinking, st.floats(1.0, 10.0)),
        "transition_begin": lengths,
        "staircase": st.booleans(),
        "end_value": floors,
    },
    "CosineAnnealingLR": {"base_lr": rates, "T_max": sizes, "eta_min": floors},
    "PolynomialLR": {"base_lr": rates, "total_iters": sizes, "power": powers},
    "WarmupScheduler": {"base_lr": rates, "warmup_epochs": lengths, "warmup_start_lr": floors},
    "CyclicLR": {
        "base_lr": st.floats(1e-12, 1e-3),
        "max_lr": st.floats(1e-3, 1e3),
        "step_size_up": sizes,
        "step_size_down": sizes,
        "mode": st.sampled_from(["triangular", "triangular2", "exp_range"]),
        "gamma": shrinking,
    },
    "OneCycleLR": {
        "max_lr": rates,
        "total_steps": sizes,
        "pct_start": st.floats(0.0, 1.0),
        "anneal_strategy": st.sampled_from(["cos", "linear"]),
        "div_factor": st.floats(1.0, 1e3),
        "final_div_factor": st.floats(1.0, 1e6),
        "three_phase": st.booleans(),
    },
    "LinearLR": {
        "base_lr": rates,
        "start_factor": factors,
        "end_factor": factors,
        "total_iters": lengths,
    },
    "ConstantLR": {"base_lr": rates, "factor": factors, "total_iters": lengths},
    "CosineAnnealingWarmRestarts": {
        "base_lr": rates,
        "T_0": sizes,
        "T_mult": st.one_of(st.integers(1, 5), st.integers(1, 10**4)),
        "eta_min": floors,
    },
    "WarmupCosineSchedule": {
        "base_lr": rates,
        "warmup_steps": lengths,
        "total_steps": lengths,
        "warmup_start_lr": floors,
        "eta_min": floors,
    },
    "PiecewiseConstantSchedule": {
        "boundaries": starts,
        "values": st.lists(rates, min_size=7, max_size=7),
    },
    "LambdaLR": {
        "base_lr": rates,
        "lr_lambda": st.sampled_from([registry.inverse_time, registry.inverse_root]),
    },
}


def repaired(name, kwargs):
    """Arguments that must fit one another made to fit."""
    if name == "WarmupCosineSchedule":
        kwargs["total_steps"] = max(kwargs["total_steps"], kwargs["warmup_steps"], 1)
    if name == "PiecewiseConstantSchedule":
        kwargs["values"] = kwargs["values"][: len(kwargs["boundaries"]) + 1]
    return Spec(name, kwargs)


SIMPLE = {
    name: st.fixed_dictionaries(arguments).map(functools.partial(repaired, name))
    for name, arguments in HYPER_PARAMETERS.items()
}


def sequential(members):
    def joined(pieces, milestones):
        milestones = sorted(milestones[: len(pieces) - 1])
        return Spec("SequentialLR", {"schedulers": pieces, "milestones": milestones})

    return st.builds(
        joined, st.lists(members, min_size=1, max_size=4), st.lists(lengths, min_size=3, max_size=3)
    )


def chained(members):
    return st.builds(
        lambda pieces: Spec("ChainedScheduler", {"schedulers": pieces}),
        st.lists(members, min_size=1, max_size=3),
    )


# A chain divides by base learning rates, a rate of 1e-12 under a floor of 1e3 thrice would leave float32.
simple = st.one_of(*SIMPLE.values())
composed = st.recursive(
    simple, lambda m: st.one_of(sequential(m), chained(m)), max_leaves=6
).filter(lambda s: "schedulers" in s.kwargs)
STRATEGIES = {
    **SIMPLE,
    "SequentialLR": sequential(simple),
    "ChainedScheduler": chained(simple),
    "nested": composed,
}
any_schedule = st.one_of(simple, composed)


def epochs_for(s, drawn, size=40):
    """Around the boundaries of `s`, and the drawn ones; always `size` of them."""
    marks = exact.boundaries(s)
    marks = [*marks[:4], *marks[-3:]]
    found = [*drawn, 0, 1, LAST_EPOCH, *(m + d for m in marks for d in (0, -1, 1))]
    found = [t for t in found if 0 <= t <= LAST_EPOCH]
    return np.array(list(itertools.islice(itertools.cycle(found), size)))


some_epochs = st.lists(
    st.one_of(st.integers(0, 3000), st.integers(0, LAST_EPOCH)), min_size=8, max_size=8
)


def assert_exact(got, s, epochs, expected):
    error = exact.ulps(got, expected)
    assert error.max() <= BOUND, f"{s} at {epochs[error.argmax()]}: {error.max():.4g} ulp"


def test_every_scheduler_has_a_strategy():
    assert STRATEGIES.keys() - {"nested"} == exact.FORMULAS.keys()


# --- Points 1 to 3 ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", STRATEGIES)
def test_exact_on_the_host(name):
    @examples(200)
    @given(STRATEGIES[name], some_epochs)
    def check(s, drawn):
        epochs = epochs_for(s, drawn)
        scheduler, expected = s.build(), exact.values(s, epochs)
        vector = scheduler(epochs)
        assert_exact(vector, s, epochs, expected)
        np.testing.assert_array_equal([scheduler(t) for t in epochs.tolist()], vector)
        scheduler.step(int(epochs[0]))
        scheduler.step()
        assert scheduler.get_last_lr()[0] == scheduler(min(int(epochs[0]) + 1, LAST_EPOCH))
        if ends := exact.end(s):
            after = [t for t in (ends[0], ends[0] + 1, LAST_EPOCH) if t <= LAST_EPOCH]
            assert all(scheduler(t) == scheduler(after[-1]) for t in after)

    check()


@examples(70)
@given(any_schedule, some_epochs)
def test_exact_with_constants_compiled_in(s, drawn):
    epochs = epochs_for(s, drawn)
    scheduler = s.build()
    got = np.asarray(jax.jit(lambda t: scheduler(t))(jnp.asarray(epochs, jnp.int32)))
    assert_exact(got, s, epochs, exact.values(s, epochs))
    np.testing.assert_array_equal(got, scheduler(epochs))


# --- Point 4 ----------------------------------------------------------------------------------


@examples(250)
@given(any_schedule, st.lists(st.floats(0, 1e6), min_size=8, max_size=8))
def test_fractional_epochs(s, epochs):
    # Just below an end a remainder of 1e-16 is left; what is exact there depends on the last bit of t.
    marks = exact.boundaries(s)
    epochs = np.array([t for t in epochs if all(abs(t - m) > 1e-6 or t == m for m in marks)])
    assume(epochs.size)
    scheduler = s.build()
    got = scheduler(epochs)
    assert_exact(got, s, epochs, exact.values(s, epochs))
    np.testing.assert_array_equal([scheduler(t) for t in epochs.tolist()], got)


# --- Point 5 ----------------------------------------------------------------------------------


@functools.cache
def traced_program(name, fixed):
    """Learning rates and gradients of a simple scheduler, every number of it an argument: one compilation."""
    fixed = dict(fixed)

    def rate(real, whole, t):
        kwargs = {
            k: list(v) if isinstance(v, tuple) else v for k, v in {**fixed, **real, **whole}.items()
        }
        return Spec(name, kwargs).build()(t)

    both = jax.value_and_grad(rate)
    return jax.jit(jax.vmap(both, in_axes=(None, None, 0)))


def split(s):
    """Arguments by kind; lists of one length, so that the program stays the same."""
    kinds = {int: {}, float: {}, object: {}}
    for key, value in s.kwargs.items():
        first = value[0] if isinstance(value, list) and value else value
        kind = type(first) if type(first) in (int, float) else object
        kinds[kind][key] = tuple(value) if isinstance(value, list) else value
    return kinds[float], kinds[int], tuple(kinds[object].items())


@pytest.mark.parametrize("name", [n for n in SIMPLE if n != "LambdaLR"])
def test_traced_hyper_parameters_and_finite_gradients(name):
    @examples(100)
    @given(SIMPLE[name], some_epochs)
    def check(s, drawn):
        for key, size in (("milestones", 3), ("boundaries", 3), ("values", 4)):
            if key in s.kwargs:
                s = s.changed(**{key: (s.kwargs[key] * 4 + [LAST_EPOCH] * 4)[:size]})
                if key != "values":
                    s.kwargs[key].sort()
        epochs = epochs_for(s, drawn)
        real, whole, fixed = split(s)
        with jax.enable_x64(True):
            got, slopes = traced_program(name, fixed)(real, whole, jnp.asarray(epochs, jnp.int32))
        assert_exact(got, s, epochs, exact.values(s, epochs))
        for key, slope in zip(real, jax.tree.leaves(slopes), strict=False):
            assert np.isfinite(slope).all(), (s, key, epochs[~np.isfinite(slope)])

    check()


@examples(50)
@given(st.one_of(simple, sequential(simple)), some_epochs, st.data())
def test_gradients_are_right(s, drawn, data):
    (path, value), *_ = data.draw(st.permutations(floats(s)))
    epochs = epochs_for(s, drawn, size=12)
    with jax.enable_x64(True):
        slope = jax.grad(lambda h, t: put_all(s, [path], [h]).build()(t))
        got = np.asarray(
            jax.jit(jax.vmap(slope, in_axes=(None, 0)))(value, jnp.asarray(epochs, jnp.int32))
        )
    assert np.isfinite(got).all()
    assert len(list(numbers(s))) > 0
    for t, found in sorted({*zip(epochs.tolist(), got.tolist(), strict=True)}):
        left, right = one_sided(s, path, value, t)
        # What float64 makes of sums of terms this large.
        scale = max(exact.value(s, t) / value if value else 0, 1)
        if path[-1] == "pct_start" or abs(left - right) > 1e-12 * scale:
            continue
        assert abs(found - left) <= 1e-8 * abs(left) + 1e-13 * scale, (s, path, t, found, left)


# --- Structure --------------------------------------------------------------------------------

LEARNING_RATES = {"base_lr", "eta_min", "end_value", "warmup_start_lr", "values"}


def scaled(s, c):
    """`s` with every learning rate in it times `c`."""
    if s.name == "SequentialLR":
        return s.changed(schedulers=[scaled(member, c) for member in s.kwargs["schedulers"]])
    if s.name == "ChainedScheduler":
        first, *rest = s.kwargs["schedulers"]
        return s.changed(schedulers=[scaled(first, c), *rest])
    names = LEARNING_RATES | ({"max_lr"} if s.name in ("CyclicLR", "OneCycleLR") else set())
    return s.changed(
        **{
            k: [c * e for e in v] if isinstance(v, list) else c * v
            for k, v in s.kwargs.items()
            if k in names and v is not None
        }
    )


@examples(150)
@given(any_schedule, some_epochs, st.integers(-8, 8))
def test_linear_in_the_learning_rate(s, drawn, k):
    epochs = epochs_for(s, drawn)
    rates = s.build()(epochs)
    doubled = scaled(s, 2.0**k).build()(epochs)
    normal = (rates > 1e-35) & (rates < 1e35)
    assume(normal.any())
    np.testing.assert_array_equal(doubled[normal], np.ldexp(rates[normal], k))
    odd = scaled(s, 1.7).build()(epochs)
    # Half an ulp of each; the one of `rates` may be twice as large at 1.7 times it.
    assert exact.ulps(odd[normal], 1.7 * rates[normal].astype(float)).max() <= 1.5 + 1e-3


def grouped(s, bases):
    name = {"OneCycleLR": "max_lr"}.get(s.name, "base_lr")
    return s.changed(**{name: bases})


@examples(120)
@given(
    st.one_of(*(v for k, v in SIMPLE.items() if k != "PiecewiseConstantSchedule")),
    some_epochs,
    st.lists(rates, min_size=2, max_size=3),
)
def test_groups_do_not_see_each_other(s, drawn, bases):
    epochs = epochs_for(s, drawn)
    if s.name == "CyclicLR":
        bases = [min(b, s.kwargs["max_lr"]) for b in bases]
    together = grouped(s, bases).build().lr_at(epochs)
    assert together.shape == (len(epochs), len(bases))
    for group, base in enumerate(bases):
        np.testing.assert_array_equal(together[:, group], grouped(s, base).build()(epochs))
    chain = (
        Spec("ChainedScheduler", {"schedulers": [grouped(s, bases), grouped(s, bases[0])]})
        .build()
        .lr_at(epochs)
    )
    alone = Spec(
        "ChainedScheduler", {"schedulers": [grouped(s, bases[1]), grouped(s, bases[0])]}
    ).build()(epochs)
    np.testing.assert_array_equal(chain[:, 1], alone)


@examples(80)
@given(st.lists(simple, min_size=3, max_size=3), st.tuples(lengths, lengths), some_epochs)
def test_nesting_is_transparent(members, milestones, drawn):
    a, b, c = members
    first, second = sorted(min(m, LAST_EPOCH // 2) for m in milestones)

    def joined(schedulers, at):
        return Spec("SequentialLR", {"schedulers": schedulers, "milestones": at})

    def multiplied(*schedulers):
        return Spec("ChainedScheduler", {"schedulers": list(schedulers)})

    flat = joined([a, b, c], [first, second])
    epochs = epochs_for(flat, drawn)
    expected = flat.build()(epochs)
    for nested in (
        joined([joined([a, b], [first]), c], [second]),
        joined([a, joined([b, c], [second - first])], [first]),
        joined([multiplied(a), joined([b], []), joined([c], [])], [first, second]),
    ):
        np.testing.assert_array_equal(nested.build()(epochs), expected)
    product = multiplied(a, b, c).build()(epochs)
    for nested in (multiplied(multiplied(a, b), c), multiplied(a, multiplied(b, c))):
        assert exact.ulps_apart(nested.build()(epochs), product).max() <= 1
    np.testing.assert_array_equal(multiplied(a).build()(epochs), a.build()(epochs))
