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
from exact import BOUND, LAST_EPOCH, Spec
from helpers import weekly_but
from hyperparameters import floats, is_kink, numbers, one_sided, put_all
from registry import draws


def examples(count):
    """The same `count` examples in every run."""
    return settings(
        max_examples=count,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


SIMPLE = {
    name: entry.strategy
    for name, entry in registry.FUNCTIONS_OF_THE_EPOCH.items()
    if not entry.composes
}
COMPOSITES = {name: registry.ENTRIES[name].composes for name in registry.COMPOSITES}
sequential = COMPOSITES["SequentialLR"]

# A chain divides by base learning rates, a rate of 1e-12 under a floor of 1e3 thrice would leave float32.
simple = st.one_of(*SIMPLE.values())
composed = st.recursive(
    simple, lambda m: st.one_of(*(compose(m) for compose in COMPOSITES.values())), max_leaves=6
).filter(lambda s: s.members)
STRATEGIES = {
    **SIMPLE,
    **{name: compose(simple) for name, compose in COMPOSITES.items()},
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
    assert STRATEGIES.keys() - {"nested"} == registry.FUNCTIONS_OF_THE_EPOCH.keys()


# --- Points 1 to 3 ----------------------------------------------------------------------------


@pytest.mark.parametrize("count", weekly_but([25, 200], 25))
@pytest.mark.parametrize("name", STRATEGIES)
def test_exact_on_the_host(name, count):
    @examples(count)
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


@pytest.mark.slow
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
    concrete = registry.ENTRIES[s.name].concrete(s.kwargs)
    for key, value in s.kwargs.items():
        first = value[0] if isinstance(value, list) and value else value
        traced = type(first) in (int, float) and key not in concrete
        kind = type(first) if traced else object
        kinds[kind][key] = tuple(value) if isinstance(value, list) else value
    return kinds[float], kinds[int], tuple(kinds[object].items())


WITH_NUMBERS = [name for name in SIMPLE if registry.ENTRIES[name].has_config]


@pytest.mark.parametrize(
    "name, count",
    [(name, 20) for name in ("CosineAnnealingLR", "MultiStepLR", "CosineAnnealingWarmRestarts")]
    + [pytest.param(name, 100, marks=pytest.mark.weekly) for name in WITH_NUMBERS],
)
def test_traced_hyper_parameters_and_finite_gradients(name, count):
    @examples(count)
    @given(SIMPLE[name], some_epochs)
    def check(s, drawn):
        for key, value in s.kwargs.items():
            if not isinstance(value, list):
                continue
            if value and isinstance(value[0], float):
                s = s.changed(**{key: (value * 4)[:4]})
            else:
                s = s.changed(**{key: sorted((value * 4 + [LAST_EPOCH] * 4)[:3])})
        entry = registry.ENTRIES[name]
        s = entry.spec(entry.repaired(s.kwargs))
        epochs = epochs_for(s, drawn)
        real, whole, fixed = split(s)
        with jax.enable_x64(True):
            got, slopes = traced_program(name, fixed)(real, whole, jnp.asarray(epochs, jnp.int32))
        assert_exact(got, s, epochs, exact.values(s, epochs))
        for key, slope in zip(real, jax.tree.leaves(slopes), strict=False):
            assert np.isfinite(slope).all(), (s, key, epochs[~np.isfinite(slope)])

    check()


@pytest.mark.slow
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
        if is_kink(s, path) or abs(left - right) > 1e-12 * scale:
            continue
        assert abs(found - left) <= 1e-8 * abs(left) + 1e-13 * scale, (s, path, t, found, left)


# --- Structure --------------------------------------------------------------------------------


def scaled(s, c):
    """`s` with every learning rate in it times `c`."""
    if isinstance(s, (int, float)):
        return c * s
    if s.name in ("ChainedScheduler", "ProductLR"):
        first, *rest = s.kwargs["schedulers"]
        return s.changed(schedulers=[scaled(first, c), *rest])
    entry = registry.ENTRIES[s.name]
    names = {entry.base, *entry.rates}
    if "schedulers" in s.kwargs:
        return s.changed(schedulers=[scaled(member, c) for member in s.kwargs["schedulers"]])
    if "scheduler" in s.kwargs:
        s = s.changed(scheduler=scaled(s.kwargs["scheduler"], c))
        names = {*entry.rates}
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
    entry = registry.ENTRIES[s.name]
    return entry.spec(entry.repaired({**s.kwargs, entry.base: bases}))


@examples(120)
@given(
    st.one_of(*(v for k, v in SIMPLE.items() if registry.ENTRIES[k].base != "values")),
    some_epochs,
    st.lists(draws.rates, min_size=2, max_size=3),
)
def test_groups_do_not_see_each_other(s, drawn, bases):
    epochs = epochs_for(s, drawn)
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
@given(
    st.lists(simple, min_size=3, max_size=3), st.tuples(draws.lengths, draws.lengths), some_epochs
)
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
