"""What a load refuses, saying what is wrong, and without a change to the object."""

import copy
import math

import brainstate
import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lrax
from helpers import assert_trees_equal
from ready import plateau, values
from ready import trained as one_step
from registry import BASE, SCHEDULERS
from registry.rows import HUGE
from saved import advance, begin, contents, train

NAN, INF = math.nan, math.inf

# --- strictness: the tables ------------------------------------------------------------------------


def without(key):
    return lambda d: {k: v for k, v in d.items() if k != key}


def put(*path):
    """Put the last of `path` at the keys before it."""
    *keys, last, value = path

    def change(d):
        d = copy.deepcopy(d)
        inner = d
        for key in keys:
            inner = inner[key]
        inner[last] = value
        return d

    return change


NO_CLOCKS = (
    -1,
    2**31,
    10**400,
    1.5,
    3.0,
    NAN,
    INF,
    "3",
    None,
    True,
    10**400,
    np.timedelta64(3, "ns"),
    np.ma.masked,
    jax.random.key(0),
    jnp.bfloat16(0.5),
    [3],
    np.arange(2),
    {},
    {"0": 3},
)
NO_VERSIONS = (0, 2, 10**400, "1", True, 1.5, NAN, None, [1], {}, np.ones(2), np.zeros(0))
NO_DICTS = (None, 5, "state", [], [("version", 1)], {}, np.ones(3))
SCHEDULER = {  # what a StepLR refuses, and what the message must say
    **{f"not a dict: {d!r}": (lambda _, d=d: d, "must be a dict") for d in NO_DICTS},
    **{f"no {k}": (without(k), k) for k in ("version", "last_epoch", "StepLR")},
    "an unknown key of a schedule": (put("surplus", 1), "surplus"),
    **{f"version {v!r}": (put("version", v), "version") for v in NO_VERSIONS},
    **{f"epoch {e!r:.20}": (put("last_epoch", e), "last_epoch") for e in NO_CLOCKS},
    "another class": (lambda d: lrax.ExponentialLR(0.1).state_dict(), "StepLR"),
    "two classes": (put("ExponentialLR", {}), "ExponentialLR"),
    "another step_size": (put("StepLR", "step_size", 20), "step_size: saved 20, here 10"),
    "another gamma": (put("StepLR", "gamma", 0.25), "gamma: saved 0.25, here 0.5"),
    "gamma is NaN": (put("StepLR", "gamma", NAN), "gamma: saved nan, here 0.5"),
    "gamma is an array": (put("StepLR", "gamma", np.ones(2)), "gamma"),
    "gamma is missing": (lambda d: put("StepLR", without("gamma")(d["StepLR"]))(d), "gamma"),
    "a list of base rates": (put("StepLR", "base_lr", {"0": BASE}), "base_lr"),
    "a hyper-parameter too many": (put("StepLR", "surplus", 1), "surplus"),
    "a hyper-parameter of nothing": (put("StepLR", "surplus", None), "surplus"),
    "no hyper-parameters": (put("StepLR", None), "StepLR"),
    "a name as a number": (put(7, 1), "7"),
}
MEMORY = ("memory", "0")
PLATEAU = {
    "another mode": (put("ReduceLROnPlateau", "mode", {"max": 1}), "mode"),
    "mode as a string": (put("ReduceLROnPlateau", "mode", "min"), "mode"),
    "no memory": (without("memory"), "memory"),
    "memory is a number": (put("memory", 3), "memory"),
    "memory of two": (put("memory", "1", {}), "1"),
    "memory without best": (put(*MEMORY, {"num_bad_epochs": 0}), "best"),
    "memory with more": (put(*MEMORY, "surplus", 0), "surplus"),
    **{
        f"best is {v!r}": (put(*MEMORY, "best", v), "best")
        for v in (NAN, "0.5", None, True, [0.5], np.ones(2), {})
    },
    **{
        f"{name} is {v!r:.20}": (put(*MEMORY, name, v), name)
        for name in ("num_bad_epochs", "cooldown_counter", "reductions")
        for v in (-1, 2**31, 1.5, NAN, "3", None, True, np.ones(2))
    },
}
MU = ("opt_state", "weights", "a", "0.mu")
COUNT = ("opt_state", "parts", "0", "0.count")
OPTIMIZER = {
    **{f"not a dict: {d!r}": (lambda _, d=d: d, "must be a dict") for d in NO_DICTS},
    **{
        f"no {k}": (without(k), k)
        for k in ("version", "step_count", "lr", "optimizer", "opt_state", "lr_scheduler")
    },
    "an unknown key": (put("surplus", 1), "surplus"),
    **{f"version {v!r}": (put("version", v), "version") for v in NO_VERSIONS},
    **{f"step_count {e!r:.20}": (put("step_count", e), "step_count") for e in NO_CLOCKS},
    **{f"epoch {e!r:.20}": (put("lr_scheduler", "last_epoch", e), "last_epoch") for e in NO_CLOCKS},
    "the lr of a group is missing": (put("lr", {"0": 0.1}), "lr"),
    "the lr of no group": (put("lr", "2", 0.1), "lr"),
    **{f"lr {v!r}": (put("lr", "1", v), "lr") for v in (-0.1, NAN, INF, "0.1", None, True, [0.1])},
    "a moment is missing": (
        lambda d: put("opt_state", "weights", "a", without("0.mu")(d["opt_state"]["weights"]["a"]))(
            d
        ),
        "0.mu",
    ),
    "a moment too many": (put("opt_state", "weights", "a", "0.z", np.ones(3)), "0.z"),
    "a part is missing": (
        lambda d: put("opt_state", "parts", without("1")(d["opt_state"]["parts"]))(d),
        "opt_state",
    ),
    "a part too many": (put("opt_state", "parts", "2", {"0.count": 3}), "opt_state"),
    "a weight is missing": (
        lambda d: put("opt_state", "weights", without("a")(d["opt_state"]["weights"]))(d),
        "opt_state lacks weights, which begin with fresh moments: a",
    ),
    "a weight too many": (
        put("opt_state", "weights", "z", {"part": 0}),
        "opt_state has weights that are not trained here: z",
    ),
    "another part": (put("opt_state", "weights", "a", "part", 1), "grouped in another way"),
    **{
        f"part {v!r:.20}": (put("opt_state", "weights", "a", "part", v), "a.part")
        for v in (-1, 0.5, NAN, "0", None, True, [0])
    },
    "a weight is a number": (put("opt_state", "weights", "a", 3), "weights.a"),
    "weights are a list": (put("opt_state", "weights", []), "weights"),
    "moments are a list": (put("opt_state", []), "opt_state"),
    **{
        f"a moment is {what}": (put(*MU, value), "a.0.mu")
        for what, value in {
            "of another shape": np.zeros((5, 4), np.float32),
            "a number": 0.5,
            "of whole numbers": np.zeros((4, 5), np.int32),
            "of yes and no": np.zeros((4, 5), bool),
            "complex": np.zeros((4, 5), np.complex64),
            "of text": np.full((4, 5), "a"),
            "of objects": np.full((4, 5), None, object),
            "a list": [[0.0] * 5] * 4,
            "text": "abc",
            "nothing": None,
            "a dict": {},
        }.items()
    },
    "a count is fractional": (put(*COUNT, np.float32(3)), "count"),
    **{
        f"a count is {v!r:.20}": (put(*COUNT, v), "count must be")
        for v in (
            -1,
            np.int32(-1),
            jnp.int32(-1),
            2**31,
            np.int64(2**32 + 5),
            np.uint64(2**63),
            10**400,
        )
    },
    **{
        f"a moment is {what}": (put(*MU, value), "a.0.mu must")
        for what, value in {
            "beyond float32": np.full((4, 5), 1e39),
            "random keys": jax.random.split(jax.random.key(0), (4, 5)),
            "masked": np.ma.array(np.zeros((4, 5), np.float32), mask=True),
            "time": np.zeros((4, 5), "m8[s]"),
        }.items()
    },
    **{
        f"{name} is {v!r:.20}": (put(*where, v), name)
        for name, where in {"step_count": ["step_count"], "lr.1": ["lr", "1"]}.items()
        for v in (-1, np.timedelta64(3, "ns"), np.ma.masked, jax.random.key(0), 10**400, -(10**400))
    },
    "a mean square is less than 0": (
        put("opt_state", "weights", "a", "0.nu", np.full((4, 5), -1.0, np.float32)),
        "nu.a must be numbers >= 0",
    ),
    "other betas": (
        put("optimizer", "AdamW", "betas", "1", 0.99),
        "betas.1: saved 0.99, here 0.999",
    ),
    "another decay": (
        put("optimizer", "AdamW", "weight_decay", 0.5),
        "weight_decay: saved 0.5, here 0.01",
    ),
    "another lr of a group": (
        put("optimizer", "AdamW", "group 1", "lr", 0.5),
        "group 1.lr: saved 0.5, here 0.02",
    ),
    "another decay of a group": (
        put("optimizer", "AdamW", "group 1", "weight_decay", 0.5),
        "group 1.weight_decay: saved 0.5, here 0.1",
    ),
    "another clipping": (
        put("optimizer", "AdamW", "grad_clip_norm", 1.0),
        "grad_clip_norm: saved 1.0, here None",
    ),
    "another optimizer": (put("optimizer", {"Adam": {}}), "saved Adam, here AdamW"),
    "hyper-parameters of a random key": (
        put("optimizer", "AdamW", "eps", jax.random.key(0)),
        "eps: saved",
    ),
    "a count is a vector": (put(*COUNT, np.zeros(1, np.int32)), "count"),
    "another schedule": (
        put("lr_scheduler", "WarmupCosineSchedule", "total_steps", 99),
        "total_steps: saved 99, here 30",
    ),
    "another scheduler": (put("lr_scheduler", lrax.StepLR(0.1).state_dict()), "StepLR"),
    "no scheduler": (put("lr_scheduler", None), "must be a dict"),
}


OTHER_SCHEDULES = {"no StepLR", "an unknown key of a schedule", "another class", "two classes"}
OTHER_SCHEDULES |= {
    "a hyper-parameter too many",
    "a hyper-parameter of nothing",
    "no hyper-parameters",
    "a name as a number",
}
OTHER_SCHEDULES |= {"a weight is missing", "a weight too many", "another part"}
OTHER_SCHEDULES |= {"another schedule", "another scheduler", "mode as a string", "another mode"}
OTHER_SCHEDULES |= {"another step_size", "another gamma", "gamma is NaN", "gamma is an array"}
OTHER_SCHEDULES |= {"gamma is missing", "a list of base rates"}
OTHER_SCHEDULES |= {"other betas", "another decay", "another lr of a group", "another clipping"}
OTHER_SCHEDULES |= {
    "another decay of a group",
    "another optimizer",
    "hyper-parameters of a random key",
}
"""Changes that ``strict=False`` is for."""


def refused(target, table, row):
    change, message = table[row]
    states = brainstate.graph.states(target)
    before, saved = contents(target), target.state_dict()
    for strict in (True, False):
        if not strict and row in OTHER_SCHEDULES:
            continue
        with pytest.raises(ValueError, match=message):
            target.load_state_dict(change(target.state_dict()), strict=strict)
        now = brainstate.graph.states(target)
        assert all(now[path] is state for path, state in states.items())
        assert_trees_equal(contents(target), before)
        assert_trees_equal(target.state_dict(), saved)


@pytest.mark.parametrize("row", SCHEDULER)
def test_a_scheduler_refuses(row):
    scheduler = SCHEDULERS["StepLR"]()
    advance(scheduler, 0, 12)
    refused(scheduler, SCHEDULER, row)


@pytest.mark.parametrize("row", PLATEAU)
def test_a_plateau_refuses(row):
    scheduler = SCHEDULERS["ReduceLROnPlateau"]()
    advance(scheduler, 0, 12)
    refused(scheduler, PLATEAU, row)


@pytest.fixture(scope="module")
def trained():
    optimizer, states = begin("AdamW")
    train(optimizer, states, 3)
    return optimizer


@pytest.mark.parametrize("row", OPTIMIZER)
def test_an_optimizer_refuses(row, trained):
    refused(trained, OPTIMIZER, row)


def test_a_function_that_fails_changes_nothing():
    """The saved epoch may be one that the user's function cannot do."""
    short = lrax.LambdaLR(0.1, lr_lambda=lambda epoch: [1, 0.5, 0.25][epoch])
    optimizer = lrax.SGD(lr=short)
    before = contents(optimizer)
    saved = lrax.LambdaLR(0.1, lr_lambda=abs, last_epoch=7).state_dict()
    with pytest.raises(IndexError):
        short.load_state_dict(saved)
    with pytest.raises(IndexError):
        optimizer.load_state_dict({**optimizer.state_dict(), "lr_scheduler": saved})
    assert_trees_equal(contents(optimizer), before)


# --- messages ---------------------------------------------------------------------------------------


def changed(state, path, value):
    """A copy with another value at `path`; None removes it."""
    state = copy.deepcopy(state)
    *parents, last = path
    place = state
    for key in parents:
        place = place[key]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return state


MUTATIONS = [  # made of what, where, the new value, and what the message holds
    ("StepLR", ["version"], None, "version"),
    ("StepLR", ["version"], 999, "999"),
    ("StepLR", ["version"], "1", "'1'"),
    ("StepLR", ["version"], True, "True"),
    ("StepLR", ["last_epoch"], None, "last_epoch"),
    *[("StepLR", ["last_epoch"], v, repr(v)) for v in (NAN, INF, -1, 2.5, "3", True, 2**31, HUGE, [3], {})],
    ("StepLR", ["StepLR"], None, "StepLR"),
    ("StepLR", ["StepLR", "gamma"], 0.7, "gamma", "0.7", "0.1"),
    ("StepLR", ["StepLR", "gamma"], None, "gamma"),
    ("StepLR", ["StepLR", "gama"], 0.1, "gama"),
    ("StepLR", ["StepLR"], {"step_size": 30}, "base_lr"),
    ("StepLR", ["ExponentialLR"], {"base_lr": 0.001}, "ExponentialLR"),
    ("StepLR", ["surplus"], 1, "surplus"),
    ("ReduceLROnPlateau", ["memory"], None, "memory"),
    ("ReduceLROnPlateau", ["memory", "0"], None, "0"),
    ("ReduceLROnPlateau", ["memory", "1"], {}, "1"),
    ("ReduceLROnPlateau", ["memory", "0", "best"], NAN, "best", "nan"),
    ("ReduceLROnPlateau", ["memory", "0", "best"], "a", "best", "'a'"),
    *[("ReduceLROnPlateau", ["memory", "0", "best"], v, "best", "1000") for v in (10**400, -(10**400))],
    ("ReduceLROnPlateau", ["memory", "0", "num_bad_epochs"], -1, "num_bad_epochs", "-1"),
    ("ReduceLROnPlateau", ["memory", "0", "reductions"], 1.5, "reductions", "1.5"),
    ("ReduceLROnPlateau", ["ReduceLROnPlateau", "mode"], {"max": 1}, "mode", "max", "min"),
    ("SGD", ["version"], 2, "2"),
    ("SGD", ["lr"], {}, "lr"),
    ("SGD", ["lr", "0"], NAN, "lr", "nan"),
    ("SGD", ["lr", "0"], -0.1, "lr", "-0.1"),
    ("SGD", ["lr", "1"], 0.1, "1"),
    ("SGD", ["step_count"], -1, "step_count", "-1"),
    ("SGD", ["step_count"], NAN, "step_count", "nan"),
    ("SGD", ["opt_state"], {}, "opt_state"),
    ("SGD", ["opt_state"], 3, "opt_state"),
    ("SGD", ["opt_state", "1"], {"a": 3}, "opt_state", "1"),
    *[("Adam", ["opt_state", "parts", "0"], v, "parts.0", "dict") for v in (jnp.ones(2), np.float16(1), jax.random.key(0))],
    *[("SGD", ["driven_momentum"], v, "driven_momentum") for v in (jnp.ones(2), 2, jax.random.key(0))],
    *[("clipped", ["grad_norm"], v, "grad_norm") for v in (10**400, np.ones(2), "1", -1.0)],
    ("SGD", ["lr_scheduler"], None, "lr_scheduler"),
    ("SGD", ["lr_scheduler", "last_epoch"], NAN, "last_epoch", "nan"),
    ("SGD", ["lr_scheduler", "ConstantLR", "base_lr"], 0.7, "base_lr", "0.7", "0.1"),
    ("SGD", ["surplus"], 1, "surplus"),
]  # fmt: skip


def one_weight(optimizer):
    return optimizer.register_trainable_weights({"w": brainstate.ParamState(jnp.ones(3))})


OWNERS = {
    "StepLR": lrax.StepLR,
    "ReduceLROnPlateau": plateau,
    "SGD": lambda: one_step(0.1),
    "clipped": lambda: one_weight(lrax.SGD(0.1, grad_clip_norm=1.0)),
    "Adam": lambda: one_weight(lrax.Adam(0.1)),
}


@pytest.mark.parametrize(
    "name, path, value, fragments",
    [pytest.param(*row[:3], row[3:], id=f"{'.'.join(row[1])}={row[2]!r:.20}") for row in MUTATIONS],
)
def test_state_dict_that_does_not_fit(name, path, value, fragments):
    owner = OWNERS[name]()
    before = values(owner)
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the message is looked at below)
        owner.load_state_dict(changed(owner.state_dict(), path, value))
    assert type(caught.value) is ValueError
    missing = [text for text in fragments if text not in str(caught.value)]
    assert not missing, f"{missing} not in: {caught.value}"
    assert values(owner) == before
    owner.load_state_dict(owner.state_dict())


def test_moments_that_do_not_fit():
    owner = OWNERS["SGD"]()
    before, state = values(owner), owner.state_dict()
    leaves = jax.tree_util.tree_flatten_with_path(state["opt_state"])[0]
    assert leaves
    for keys, leaf in leaves:
        where = ["opt_state", *(key.key for key in keys)]
        for wrong in (None, jnp.ones(7), np.ones(np.shape(leaf), bool), "a", {}, 3.0 * u.mV):
            with pytest.raises(ValueError, match="opt_state") as caught:
                owner.load_state_dict(changed(state, where, wrong))
            assert type(caught.value) is ValueError
            assert values(owner) == before


def test_keys_that_are_no_strings():
    owner = OWNERS["SGD"]()
    before, state = values(owner), owner.state_dict()
    for key in (None, 0, ("a", 1)):
        with pytest.raises(ValueError, match=r"has unknown keys \["):
            owner.load_state_dict({**state, "opt_state": {**state["opt_state"], key: {}, "a": {}}})
    assert values(owner) == before


# --- what a number is a number of ---------------------------------------------------------------------


MILLI = r"unit of w: saved 0\.001 m\^2 kg s\^-3 A\^-1, here 1 m\^2 kg s\^-3 A\^-1"


def with_unit(unit):
    """An optimizer with momentum, of one weight in that unit and one in none, and their average."""
    weights = {
        "w": brainstate.ParamState(jnp.ones(2) * unit),
        "b": brainstate.ParamState(jnp.ones(2)),
    }
    optimizer = lrax.SGD(lr=0.1, momentum=0.9).register_trainable_weights(weights)
    return weights, optimizer, lrax.AveragedWeights(weights, decay=0.9)


def test_moments_in_another_unit():
    _, optimizer, average = with_unit(u.mV)
    optimizer.step({"w": jnp.ones(2) * u.mV, "b": jnp.ones(2)})
    saved, mean = optimizer.state_dict(), average.state_dict()
    weights, other, others = with_unit(u.volt)
    with pytest.raises(ValueError, match=MILLI):
        other.load_state_dict(saved)
    for strict in (True, False):
        with pytest.raises(ValueError, match=MILLI + r"\. Convert"):
            others.load_state_dict(mean, strict)
    with pytest.warns(UserWarning, match="begin with fresh moments: w"):
        other.load_state_dict(saved, strict=False)
    other.step({"w": jnp.zeros(2) * u.volt, "b": jnp.zeros(2)})
    np.testing.assert_array_equal(weights["w"].value.mantissa, np.ones(2))
    np.testing.assert_allclose(weights["b"].value, np.full(2, 0.91), rtol=1e-6)
    for same in (u.mV, u.volt * u.mA / u.amp):
        _, again, average = with_unit(same)
        again.load_state_dict(saved)
        average.load_state_dict(mean)
        assert_trees_equal(again.state_dict(), saved)


@pytest.mark.parametrize("other", [optax.lion, optax.adamax, optax.nadam])
def test_another_factory_of_optax(other):
    names = {optax.lion: "lion", optax.adamax: "adamax", optax.nadam: "nadam"}

    def made(factory):
        weight = brainstate.ParamState(jnp.ones(2))
        return lrax.OptaxOptimizer(factory, lr=0.1).register_trainable_weights({"w": weight})

    optimizer = made(optax.adam)
    optimizer.step({"w": jnp.ones(2)})
    saved = optimizer.state_dict()
    for same in (optax.adam, lambda learning_rate: optax.adam(learning_rate)):
        made(same).load_state_dict(saved)
    with pytest.raises(ValueError, match=f"tx: saved adam, here {names[other]}"):
        made(other).load_state_dict(saved)


@pytest.mark.parametrize("before", [optax.adam, lambda learning_rate: optax.adam(learning_rate)])
def test_another_kind_of_moments_goes_on_with_fresh_ones(before):
    def made(factory):
        weight = brainstate.ParamState(jnp.ones(2))
        return lrax.OptaxOptimizer(factory, lr=0.1).register_trainable_weights({"w": weight})

    optimizer = made(before)
    optimizer.step({"w": jnp.ones(2)})
    other = made(optax.lion)
    with pytest.warns(UserWarning, match="fresh moments: w"):
        other.load_state_dict(optimizer.state_dict(), strict=False)
