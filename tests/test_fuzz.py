"""Random arguments and damaged state dicts: success, or an error that says what must be otherwise.

LRAX_FUZZ_CASES sets the number of cases; the weekly run has 100 000, other than those of the last week.
"""

import copy
import decimal
import fractions
import inspect
import json
import math
import os
import re
import warnings

import brainstate
import brainunit as u
import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st

import lrax
from helpers import takes_metric
from registry import NO_CONFIG, SCHEDULERS, USERS
from registry.own import InverseTime
from saved import OPTIMIZERS, advance, begin, contents, train

NAN, INF = math.nan, math.inf
CLASSES = {
    name: cls
    for name, cls in vars(lrax).items()
    if isinstance(cls, type) and issubclass(cls, (lrax.LRScheduler, lrax.OptaxOptimizer))
}
CONFIGURED = [kind for kind in SCHEDULERS if kind not in NO_CONFIG]
TESTS = len(CLASSES) + len(SCHEDULERS) + len(OPTIMIZERS) + len(CONFIGURED)
CASES = int(os.environ.get("LRAX_FUZZ_CASES", "2000"))
fuzz = hypothesis.settings(
    max_examples=max(CASES // TESTS, 1),
    derandomize="LRAX_FUZZ_CASES" not in os.environ,
    deadline=None,
    database=None,
    print_blob=True,
    suppress_health_check=list(hypothesis.HealthCheck),
)
every = pytest.mark.parametrize


# --- values -----------------------------------------------------------------------------------------

EDGES = [
    0,
    1,
    -1,
    2,
    30,
    0.0,
    -0.0,
    0.5,
    1.0,
    1.5,
    1e-8,
    1e-30,
    1e-45,
    1e-320,
    5e-324,
    1e30,
    3.4e38,
    1e39,
]
EDGES += [1e300, 1.7e308, NAN, INF, -INF, 2**31 - 1, 2**31, 2**53, 2**53 + 1, 2**63, 2**64, 10**400]
EDGES += [-(2**31), -(10**400), True, False]  # fmt: skip
small = st.integers(0, 40)
share = st.floats(0.01, 0.99)
number = st.one_of(
    st.sampled_from(EDGES),
    st.integers(-3, 100),
    st.integers(),
    st.floats(),
    st.floats(0, 2),
)
scalar = st.one_of(
    number,
    st.builds(lambda v, kind: kind(v), st.floats(width=16), st.sampled_from([np.float16, np.float32, np.float64, jnp.float32, jnp.bfloat16])),
    st.sampled_from([np.int64(2**32 + 5), np.uint64(2**63), np.float64(1e300), np.longdouble("1e4000"), np.timedelta64(3, "ns"), np.timedelta64(3, "s"), np.datetime64("2020-01-01"), np.ma.masked, np.array(3, object), jax.random.key(0), jax.random.PRNGKey(0)]),
    st.builds(lambda v, kind: kind(v), small, st.sampled_from([np.int8, np.uint64, np.int64, jnp.int32, np.bool_, fractions.Fraction, decimal.Decimal, complex, str])),
)  # fmt: skip
other = st.one_of(
    st.none(),
    st.builds(dict),  # new ones, as they may be changed
    st.builds(set),
    st.text(max_size=5),
    st.sampled_from(["min", "max", "rel", "abs", "cos", "linear", "triangular2", "cycle", b"x", object, len, math.sqrt, np.zeros(0), np.ones((2, 2)), np.ma.array([1.0, 2.0], mask=[0, 1]), np.zeros(2, "m8[ns]"), jax.random.split(jax.random.key(0), 2), np.array("a"), np.array(None), lrax.StepLR(), 3 * u.mV, range(3)]),
    st.lists(scalar, max_size=4),
    st.lists(scalar, max_size=3).map(tuple),
    st.lists(st.floats(0, 1), min_size=1, max_size=3).map(np.array),
    st.lists(st.lists(scalar, max_size=2), max_size=2),
    st.dictionaries(st.text(max_size=3), scalar, max_size=2),
)  # fmt: skip
anything = st.one_of(scalar, other)


def members():
    """Schedulers for a composite."""
    makers = [
        lambda n, x: lrax.StepLR(x, n + 1),
        lambda n, x: lrax.CosineAnnealingLR(x, n + 1),
        lambda n, x: lrax.WarmupScheduler(x, n),
        lambda n, x: lrax.ReduceLROnPlateau(x, patience=n),
        lambda n, x: lrax.ExponentialLR([x, x / 2]),
        lambda n, x: lrax.ChainedScheduler([lrax.OneCycleLR(x, n + 2)]),
    ]
    one = st.builds(lambda make, n, x: make(n, x), st.sampled_from(makers), small, share)
    return st.lists(one, max_size=3)


FITTING = {  # what an argument may well be, where it is not any number
    "schedulers": members(),
    "milestones": st.lists(small, max_size=3).map(sorted),
    "boundaries": st.lists(small, max_size=3).map(sorted),
    "values": st.lists(share, min_size=1, max_size=4),
    "lr_lambda": st.sampled_from([lambda t: 0.9**t, lambda t: -1.0, lambda t: NAN, lambda t: 1 if t < 3 else 0.1]),
    "scale_fn": st.sampled_from([None, lambda t: 0.9**t]),
    "mode": st.sampled_from(["min", "max", "triangular", "triangular2", "exp_range"]),
    "threshold_mode": st.sampled_from(["rel", "abs"]),
    "scale_mode": st.sampled_from(["cycle", "iterations"]),
    "anneal_strategy": st.sampled_from(["cos", "linear"]),
    "staircase": st.booleans(),
    "three_phase": st.booleans(),
    "nesterov": st.booleans(),
    "amsgrad": st.booleans(),
    "formula": st.sampled_from([InverseTime(0.1), InverseTime(3.0), None]),
    "tx": st.none(),
    "betas": st.tuples(share, share),
    "lr": st.one_of(share, members().map(lambda found: found[0] if found else 0.1)),
}  # fmt: skip
fits = st.one_of(small, share, st.floats(0, 1e4), st.lists(share, min_size=1, max_size=2))


@st.composite
def arguments(draw, cls):
    """Arguments for a constructor: mostly fitting, some of them wild."""
    given = {}
    for name, parameter in inspect.signature(cls).parameters.items():
        required = parameter.default is inspect.Parameter.empty
        way = draw(st.integers(0, 9))
        if way < 3 and not required:
            continue
        given[name] = draw(anything if way == 9 else FITTING.get(name, fits))
    return given


def shown(value):
    """A value in an assertion's message."""
    return f"{value!r:.300}"


# --- constructors -----------------------------------------------------------------------------------


def sound(rates):
    rates = np.asarray(rates)
    assert rates.dtype == np.float32
    assert np.isfinite(rates).all(), rates
    assert (rates >= 0).all(), rates


def works(make, given, deep):
    """All that a scheduler can do, for one that could be constructed."""
    scheduler = make()
    sound(scheduler.get_last_lr())
    with_metric = takes_metric(scheduler)
    if scheduler.learning is None:
        epochs = np.array([0, 1, 2, 7, 40, 1000, 2**31 - 1])
        rates = scheduler.lr_at(epochs)
        sound(rates)
        for i in (1, 3, 6):
            scheduler.step(int(epochs[i]))
            np.testing.assert_array_equal(scheduler.get_last_lr(), rates[i])
        if deep:
            np.testing.assert_array_equal(scheduler.lr_at(jnp.asarray(epochs, jnp.int32)), rates)
        scheduler.step(0)
    for metric in (1.0, 1.0, NAN, -INF, 0.5):
        scheduler.step(**({"metric": metric} if with_metric else {}))
        sound(scheduler.get_last_lr())
    saved = json.loads(json.dumps(scheduler.state_dict()))
    twin = make()
    twin.load_state_dict(saved)
    assert twin.state_dict() == scheduler.state_dict()
    np.testing.assert_array_equal(twin.get_last_lr(), scheduler.get_last_lr())
    if not any(
        callable(v) and not isinstance(v, lrax.LRScheduler) for v in np.ravel(list_of(given))
    ):
        try:
            config = scheduler.config
        except TypeError as error:
            assert "cannot hold its code" in str(error)  # noqa: PT017
        else:
            assert lrax.from_config(json.loads(json.dumps(config)), USERS).config == config


def list_of(given):
    """All values and entries of lists among the arguments, as an array of objects."""
    flat = []
    for value in given.values():
        flat.extend(value if isinstance(value, (list, tuple)) else [value])
    array = np.empty(len(flat), object)
    array[:] = flat
    return array


@every("name", CLASSES)
def test_constructors(name):
    cls = CLASSES[name]
    names = [*inspect.signature(cls).parameters, "length", "Lists", "last_epoch", "schedule"]
    weights = {"w": brainstate.ParamState(jnp.ones(3))}

    @fuzz
    @hypothesis.given(arguments(cls), st.integers(0, 19))
    def check(given, die):
        before = shown(given)
        try:
            made = cls(**given)
            for _ in range(6 * (cls is lrax.MultiplicativeLR)):
                made.step()  # its function is asked from here on
        except (TypeError, ValueError) as error:
            assert any(n in str(error) for n in names), (shown(error), before)  # noqa: PT017
            return
        finally:
            assert shown(given) == before
        if isinstance(made, lrax.LRScheduler):
            works(lambda: cls(**given), given, deep=die == 0)
        else:
            sound(made.lr_scheduler.get_last_lr())
            made.register_trainable_weights(weights)
            made.load_state_dict(copy.deepcopy(made.state_dict()))
            repr(made)

    check()


# --- damaged dicts ----------------------------------------------------------------------------------


def paths(tree, path=()):
    """Where something can be changed in nested dicts."""
    yield path
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from paths(value, (*path, key))


@st.composite
def damaged(draw, tree):
    """`tree` after one to three changes: other values, keys that are missing, new, renamed or moved."""
    tree = {"root": copy.deepcopy(tree)}
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(list(paths(tree))[1:]))
        parent = tree
        for key in path[:-1]:
            parent = parent[key]
        old, way = parent[path[-1]], draw(st.integers(0, 9))
        if way == 0 and len(path) > 1:
            del parent[path[-1]]
        elif way == 1 and isinstance(old, dict):
            key = draw(
                st.one_of(
                    st.text(max_size=3),
                    st.integers(0, 3),
                    st.none(),
                    st.sampled_from(["0", "1", "version", "memory"]),
                )
            )
            old[key] = draw(anything)
        elif way == 2 and isinstance(old, dict):
            parent[path[-1]] = list(old.values())
        elif way == 3:
            parent[path[-1]] = draw(st.sampled_from([{"0": old}, [old], {path[-1]: old}, (old,)]))
        elif way == 4 and isinstance(old, dict) and old:
            key = draw(st.sampled_from(list(old)))
            old[draw(st.sampled_from([0, "", "x", f"{key}{key}", None]))] = old.pop(key)
        elif way == 5:
            source = tree
            for key in draw(st.sampled_from(list(paths(tree))[1:])):
                source = source[key]
            parent[path[-1]] = copy.deepcopy(source)
        elif way == 6 and isinstance(old, jax.Array) and old.dtype in (np.float32, np.int32):
            kind = draw(st.sampled_from([np.int32, np.float64, np.complex64, bool, object, str]))
            parent[path[-1]] = draw(
                st.sampled_from(
                    [np.asarray(old).astype(kind), np.asarray(old)[..., None], np.full_like(old, 1)]
                )
            )
        else:
            parent[path[-1]] = draw(anything)
    return tree["root"]  # fmt: skip


HELPFUL = re.compile(
    r"must be|lacks|unknown keys|another schedule|has version|must (have|name)|not fit"
)


def load(target, change, strict):
    """Load; or fail with a message that helps, and without a change."""
    before, states = contents(target), brainstate.graph.states(target)
    saved = shown(before)
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            target.load_state_dict(change, strict=strict)
    except (TypeError, ValueError) as error:
        assert HELPFUL.search(str(error)), (shown(error), shown(change))  # noqa: PT017
        assert shown(contents(target)) == saved
        now = brainstate.graph.states(target)
        assert all(now[path] is state for path, state in states.items())
        return False
    said = [str(warning.message) for warning in warned]
    assert all(re.match("The (schedule|optimizer) has changed", text) for text in said), said
    others = any("opt_state" in text for text in said)  # weights of other age are kept apart
    for path, value in contents(target).items():
        assert same_types(value, before[path]) or others, (path, value, before[path])
    return True


def same_types(a, b):
    kinds = [[(np.shape(leaf), leaf.dtype) for leaf in jax.tree.leaves(tree)] for tree in (a, b)]
    return jax.tree.structure(a) == jax.tree.structure(b) and kinds[0] == kinds[1]


@every("kind", SCHEDULERS)
def test_state_dicts_of_schedulers(kind):
    scheduler = SCHEDULERS[kind]()
    advance(scheduler, 0, 12)
    good = scheduler.state_dict()

    @fuzz
    @hypothesis.given(damaged(good), st.booleans())
    def check(change, strict):
        if load(scheduler, change, strict):
            assert 0 <= int(scheduler.last_epoch.value) < 2**31
            sound(scheduler.get_last_lr())
        scheduler.load_state_dict(good)

    check()


@every("name", OPTIMIZERS)
def test_state_dicts_of_optimizers(name):
    optimizer, states = begin(name)
    train(optimizer, states, 3)
    good = optimizer.state_dict()
    start = {key: np.asarray(state.value) for key, state in states.items()}

    @fuzz
    @hypothesis.given(damaged(good), st.booleans())
    def check(change, strict):
        if load(optimizer, change, strict):
            assert 0 <= int(optimizer.step_count.value) < 2**31
        optimizer.load_state_dict(good)
        for key, state in states.items():
            np.testing.assert_array_equal(state.value, start[key])

    check()


@every("kind", CONFIGURED)
def test_configurations(kind):
    good = SCHEDULERS[kind]().config

    @fuzz
    @hypothesis.given(damaged(good))
    def check(change):
        before = shown(change)
        try:
            scheduler = lrax.from_config(change, USERS)
        except (TypeError, ValueError) as error:
            helpful = re.search(r"must|config|takes|Lists|keys", str(error))
            assert helpful, (shown(error), before)  # noqa: PT017
        else:
            sound(scheduler.get_last_lr())
            kind = type(scheduler)
            assert kind.__module__.startswith("lrax.") or kind in USERS
        assert shown(change) == before

    check()
