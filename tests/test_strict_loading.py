"""What a load refuses, without a change to the object, and what ``strict=False`` lets pass."""

import copy
import math

import brainstate
import numpy as np
import pytest

import lrax
from helpers import assert_same_bits, assert_trees_equal, values_of
from registry import BASE, SCHEDULERS
from saved import advance, begin, contents, schedule, set_weights, train

NAN, INF = math.nan, math.inf

# --- strictness -------------------------------------------------------------------------------------


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
MEMORY = ("plateaus", "0")
PLATEAU = {
    "another mode": (put("ReduceLROnPlateau", "mode", {"max": 1}), "mode"),
    "mode as a string": (put("ReduceLROnPlateau", "mode", "min"), "mode"),
    "no memory": (without("plateaus"), "plateaus"),
    "memory is a number": (put("plateaus", 3), "plateaus"),
    "memory of two": (put("plateaus", "1", {}), "1"),
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
MU = ("opt_state", "0", "0", "mu", "a")
COUNT = ("opt_state", "0", "0", "count")
OPTIMIZER = {
    **{f"not a dict: {d!r}": (lambda _, d=d: d, "must be a dict") for d in NO_DICTS},
    **{
        f"no {k}": (without(k), k)
        for k in ("version", "step_count", "lr", "opt_state", "lr_scheduler")
    },
    "an unknown key": (put("surplus", 1), "surplus"),
    **{f"version {v!r}": (put("version", v), "version") for v in NO_VERSIONS},
    **{f"step_count {e!r:.20}": (put("step_count", e), "step_count") for e in NO_CLOCKS},
    **{f"epoch {e!r:.20}": (put("lr_scheduler", "last_epoch", e), "last_epoch") for e in NO_CLOCKS},
    "the lr of a group is missing": (put("lr", {"0": 0.1}), "lr"),
    "the lr of no group": (put("lr", "2", 0.1), "lr"),
    **{f"lr {v!r}": (put("lr", "1", v), "lr") for v in (-0.1, NAN, INF, "0.1", None, True, [0.1])},
    "a moment is missing": (put("opt_state", "0", "0", "mu", {}), "mu"),
    "a moment too many": (put("opt_state", "0", "0", "mu", "z", np.ones(3)), "mu"),
    "a group is missing": (
        lambda d: put("opt_state", without("1")(d["opt_state"]))(d),
        "opt_state",
    ),
    "a group too many": (put("opt_state", "2", {}), "opt_state"),
    "moments are a list": (put("opt_state", []), "opt_state"),
    **{
        f"a moment is {what}": (put(*MU, value), "mu.a")
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
OTHER_SCHEDULES |= {"another schedule", "another scheduler", "mode as a string", "another mode"}
OTHER_SCHEDULES |= {"another step_size", "another gamma", "gamma is NaN", "gamma is an array"}
OTHER_SCHEDULES |= {"gamma is missing", "a list of base rates"}
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


# --- strict=False -----------------------------------------------------------------------------------


def test_training_goes_on_longer_than_planned():
    old = lrax.CosineAnnealingLR(0.1, T_max=10, eta_min=1e-3)
    new = lrax.CosineAnnealingLR(0.1, T_max=20, eta_min=1e-3)
    old.step(8)
    with pytest.raises(ValueError, match=r"T_max: saved 10, here 20.*strict=False"):
        new.load_state_dict(old.state_dict())
    assert int(new.last_epoch.value) == 0
    with pytest.warns(UserWarning, match=r"epoch 8: CosineAnnealingLR.T_max: saved 10, here 20"):
        new.load_state_dict(old.state_dict(), strict=False)
    assert int(new.last_epoch.value) == 8
    assert_same_bits(new.get_last_lr(), [new(8)])
    new.step()
    assert_same_bits(new.get_last_lr(), [new(9)])


def test_an_optimizer_goes_on_with_a_longer_schedule():
    old, states = begin("AdamW")
    train(old, states, 6)
    new, new_states = begin("AdamW", lrax.WarmupCosineSchedule(0.05, 5, 60, 1e-4, 1e-3))
    set_weights(new_states, values_of(states))
    with pytest.warns(UserWarning, match=r"total_steps: saved 30, here 60") as caught:
        new.load_state_dict(old.state_dict(), strict=False)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert_trees_equal(new.opt_state.value, old.opt_state.value)
    assert int(new.lr_scheduler.last_epoch.value) == 6
    assert_same_bits(new.get_last_lr(), new.lr_scheduler.lr_at(6))


def test_nothing_is_said_where_nothing_differs():
    optimizer, states = begin("SGD with momentum")
    train(optimizer, states, 2)
    twin, _ = begin("SGD with momentum")
    twin.load_state_dict(optimizer.state_dict(), strict=False)  # warnings are errors
    assert_trees_equal(twin.state_dict(), optimizer.state_dict())


def test_a_plateau_keeps_its_memory_with_other_patience():
    old = lrax.ReduceLROnPlateau(0.1, factor=0.5, patience=1)
    new = lrax.ReduceLROnPlateau(0.1, factor=0.5, patience=3)
    for _ in range(4):
        old.step(1.0)
    with pytest.warns(UserWarning, match="patience: saved 1, here 3"):
        new.load_state_dict(old.state_dict(), strict=False)
    assert new.state_dict()["plateaus"] == old.state_dict()["plateaus"]
    assert_same_bits(new.get_last_lr(), old.get_last_lr())


def test_the_epoch_of_another_class_is_taken_over():
    new = lrax.ReduceLROnPlateau(0.1)
    with pytest.warns(UserWarning, match=r"StepLR.*ReduceLROnPlateau|ReduceLROnPlateau.*StepLR"):
        new.load_state_dict(lrax.StepLR(0.1, last_epoch=7).state_dict(), strict=False)
    assert int(new.last_epoch.value) == 7
    assert new.best.value == INF


def test_a_warning_that_is_an_error_changes_nothing():
    optimizer, states = begin("AdamW", lrax.StepLR(0.1, 3))
    train(optimizer, states, 2)
    before = contents(optimizer)
    saved, _ = begin("AdamW", lrax.StepLR(0.1, 4))
    with pytest.raises(UserWarning, match="step_size"):
        optimizer.load_state_dict(saved.state_dict(), strict=False)
    assert_trees_equal(contents(optimizer), before)


def test_schedules_of_the_tests_differ():
    assert schedule().state_dict() != SCHEDULERS["WarmupCosineSchedule"]().state_dict()
