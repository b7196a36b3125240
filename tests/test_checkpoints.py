"""State dicts through every format that people keep them in, configurations, and strict loading."""

import copy
import json
import math
import pickle
import re
import subprocess
import sys
import textwrap

import brainstate
import jax
import jax.numpy as jnp
import msgpack
import numpy as np
import orbax.checkpoint as ocp
import pytest

import lrax
from helpers import assert_same_bits, assert_trees_equal, compiled_programs, values_of
from saved import (
    NO_CONFIG,
    OPTIMIZERS,
    SCHEDULERS,
    advance,
    begin,
    contents,
    schedule,
    set_weights,
    takes_metric,
    train,
)
from schedulers import BASE, InverseTime

NAN, INF = math.nan, math.inf

# --- formats ----------------------------------------------------------------------------------------
# Each saves `tree` and gives back what was loaded; `like` is a tree of the same structure.


def same_dict(tree, like, folder):
    return copy.deepcopy(tree)


def through_pickle(tree, like, folder):
    return pickle.loads(pickle.dumps(tree))


def through_json(tree, like, folder):
    return json.loads(json.dumps(tree))


def through_msgpack(tree, like, folder):
    return msgpack.unpackb(msgpack.packb(tree))


def through_flax(tree, like, folder):
    flax = pytest.importorskip("flax.serialization")
    return flax.msgpack_restore(flax.msgpack_serialize(tree))


def through_flax_target(tree, like, folder):
    flax = pytest.importorskip("flax.serialization")
    return flax.from_bytes(like, flax.to_bytes(tree))


def through_braintools(tree, like, folder):
    files = pytest.importorskip("braintools.file")
    files.msgpack_save(str(folder / "checkpoint"), tree, verbose=False)
    return files.msgpack_load(str(folder / "checkpoint"), verbose=False)


def through_braintools_target(tree, like, folder):
    files = pytest.importorskip("braintools.file")
    files.msgpack_save(str(folder / "checkpoint"), tree, verbose=False)
    return files.msgpack_load(str(folder / "checkpoint"), target=like, verbose=False)


def through_orbax(tree, like, folder):
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(folder / "checkpoint", tree)
        checkpointer.wait_until_finished()
        return checkpointer.restore(folder / "checkpoint")


def through_orbax_target(tree, like, folder):
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(folder / "checkpoint", tree)
        checkpointer.wait_until_finished()
        return checkpointer.restore(folder / "checkpoint", like)


def through_manager(tree, like, folder):
    with ocp.CheckpointManager(folder) as manager:
        manager.save(3, args=ocp.args.StandardSave(tree))
        manager.wait_until_finished()
        return manager.restore(3, args=ocp.args.StandardRestore())


def through_manager_target(tree, like, folder):
    with ocp.CheckpointManager(folder) as manager:
        manager.save(3, args=ocp.args.StandardSave(tree))
        manager.wait_until_finished()
        return manager.restore(3, args=ocp.args.StandardRestore(like))


ANY = [
    same_dict,
    through_pickle,
    through_flax,
    through_flax_target,
    through_braintools,
    through_braintools_target,
    through_orbax,
    through_orbax_target,
    through_manager,
    through_manager_target,
]


def name_of(way):
    return way.__name__


def assert_plain(tree, arrays=False):
    """Nested dicts with str keys; leaves are numbers of Python, or arrays where they are allowed."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            assert type(key) is str
            assert_plain(value, arrays or key == "opt_state")
    else:
        allowed = (jax.Array, np.ndarray) if arrays else (int, float)
        assert isinstance(tree, allowed), type(tree)


@pytest.mark.parametrize("way", [*ANY, through_json, through_msgpack], ids=name_of)
def test_state_dicts_of_schedulers(way, tmp_path):
    old = {kind: make() for kind, make in SCHEDULERS.items()}
    for i, scheduler in enumerate(old.values()):
        advance(scheduler, 0, 1 + i)
    tree = {kind: scheduler.state_dict() for kind, scheduler in old.items()}
    assert_plain(tree)
    new = {kind: make() for kind, make in SCHEDULERS.items()}
    like = {kind: scheduler.state_dict() for kind, scheduler in new.items()}
    loaded = way(tree, like, tmp_path)
    for i, (kind, scheduler) in enumerate(new.items()):
        scheduler.load_state_dict(loaded[kind])
        assert scheduler.state_dict() == tree[kind], kind
        assert_trees_equal(contents(scheduler), contents(old[kind]))
        rates = advance(scheduler, 1 + i, 40)
        assert_same_bits(rates, advance(old[kind], 1 + i, 40))


@pytest.mark.parametrize("way", ANY, ids=name_of)
def test_state_dicts_of_optimizers(way, tmp_path):
    old = {name: begin(name) for name in OPTIMIZERS}
    for optimizer, states in old.values():
        train(optimizer, states, 4)
    tree = {
        name: {"weights": values_of(states), "optimizer": optimizer.state_dict()}
        for name, (optimizer, states) in old.items()
    }
    for saved in tree.values():
        assert_plain(saved["optimizer"])
        assert "lr_scheduler" in saved["optimizer"]
    new = {name: begin(name) for name in OPTIMIZERS}
    like = {
        name: {"weights": values_of(states), "optimizer": optimizer.state_dict()}
        for name, (optimizer, states) in new.items()
    }
    loaded = way(tree, like, tmp_path)
    for name, (optimizer, states) in new.items():
        set_weights(states, loaded[name]["weights"])
        optimizer.load_state_dict(loaded[name]["optimizer"])
        assert_trees_equal(optimizer.state_dict(), tree[name]["optimizer"])
        assert_trees_equal(contents(optimizer), contents(old[name][0]))
        train(optimizer, states, 3)
        train(*old[name], 3)
        assert_trees_equal(contents(optimizer), contents(old[name][0]))


def through_states(old, new, folder):
    saved = {path: state.value for path, state in brainstate.graph.states(old).items()}
    saved = pickle.loads(pickle.dumps(jax.tree.map(np.asarray, saved)))
    for path, state in brainstate.graph.states(new).items():
        state.value = saved[path]


def through_states_of_braintools(old, new, folder):
    files = pytest.importorskip("braintools.file")
    files.msgpack_save(str(folder / "checkpoint"), brainstate.graph.states(old), verbose=False)
    states = brainstate.graph.states(new)
    files.msgpack_load(str(folder / "checkpoint"), target=states, verbose=False)


@pytest.mark.parametrize("way", [through_states, through_states_of_braintools], ids=name_of)
@pytest.mark.parametrize("kind", ["WarmupCosineSchedule", "plateaus in a composite"])
def test_states_are_restored_in_place(way, kind, tmp_path):
    def make():
        scheduler = SCHEDULERS[kind]()
        optimizer, states = begin("AdamW", scheduler)

        @brainstate.transform.jit
        def update(metric):
            grad = brainstate.transform.grad(
                lambda: sum(jnp.sum(state.value**2) for state in states.values()), states
            )
            optimizer.step(grad())
            scheduler.step(**({"metric": metric} if takes_metric_now else {}))

        takes_metric_now = takes_metric(scheduler)
        return optimizer, lambda n: [update(jnp.float32(1 / (1 + i % 3))) for i in range(n)]

    (old, run_old), (new, run_new) = make(), make()
    run_old(7)
    run_new(2)  # so that it is compiled, and elsewhere
    way(old, new, tmp_path)
    assert_trees_equal(contents(new), contents(old))
    with compiled_programs() as compiled:
        run_new(5)
    assert not compiled
    run_old(5)
    assert_trees_equal(contents(new), contents(old))


def test_a_state_dict_is_a_snapshot():
    """Neither a donating step nor a change to the dict reaches the other side."""
    optimizer, states = begin("AdamW")

    @lrax.jit
    def update():
        grad = brainstate.transform.grad(lambda: jnp.sum(states["a"].value ** 2), states["a"])
        optimizer.step({"a": grad(), "b": states["b"].value, "c": states["c"].value})
        optimizer.lr_scheduler.step()

    update()
    saved = optimizer.state_dict()
    before = copy.deepcopy(saved)
    for _ in range(3):
        update()
    assert_trees_equal(saved, before)
    now = contents(optimizer)
    saved["lr_scheduler"]["last_epoch"] = 99
    saved["lr_scheduler"]["WarmupCosineSchedule"]["total_steps"] = 99
    assert_trees_equal(contents(optimizer), now)
    assert optimizer.lr_scheduler.config["WarmupCosineSchedule"]["total_steps"] == 30


def test_a_state_dict_is_not_taken_of_what_is_traced():
    scheduler = lrax.StepLR(0.1)

    @brainstate.transform.jit
    def inside():
        scheduler.step()
        scheduler.state_dict()

    with pytest.raises(TypeError, match="outside"):
        inside()


def test_sharded_moments_are_neither_gathered_nor_moved():
    """In a process of its own, with four devices."""
    script = """
        import pathlib, sys, tempfile
        import brainstate, jax, jax.numpy as jnp, numpy as np, orbax.checkpoint as ocp, lrax
        from jax.sharding import NamedSharding, PartitionSpec as P

        mesh = jax.make_mesh((4,), ("x",))
        rows, everywhere = NamedSharding(mesh, P("x")), NamedSharding(mesh, P())

        def make():
            weight = brainstate.ParamState(jax.device_put(jnp.ones((8, 2)), rows))
            optimizer = lrax.AdamW(lr=lrax.StepLR(0.1, 2, 0.5))
            optimizer.register_trainable_weights({"w": weight})
            return weight, optimizer

        def train(weight, optimizer):
            optimizer.step({"w": 2 * weight.value})
            optimizer.lr_scheduler.step()

        def moments(tree):
            return [leaf for leaf in jax.tree.leaves(tree) if np.shape(leaf) == (8, 2)]

        weight, optimizer = make()
        for _ in range(3):
            train(weight, optimizer)
        saved = optimizer.state_dict()
        assert len(moments(saved)) == 2
        assert all(leaf.sharding == rows for leaf in moments(saved))
        folder = pathlib.Path(tempfile.mkdtemp())
        twin_weight, twin = make()
        with ocp.StandardCheckpointer() as checkpointer:
            checkpointer.save(folder / "a", {"w": weight.value, "optimizer": saved})
            checkpointer.wait_until_finished()
            like = {"w": twin_weight.value, "optimizer": twin.state_dict()}
            for found in (checkpointer.restore(folder / "a", like), checkpointer.restore(folder / "a")):
                twin_weight.value = jax.device_put(found["w"], rows)
                twin.load_state_dict(found["optimizer"])
                assert [m.sharding for m in moments(twin.opt_state.value)] == [rows, rows]
        for _ in range(2):
            train(weight, optimizer)
            train(twin_weight, twin)
        assert np.array_equal(weight.value, twin_weight.value)
        assert np.array_equal(optimizer.get_last_lr(), twin.get_last_lr())
    """
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        env={**__import__("os").environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=4"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert run.returncode == 0, run.stderr


# --- configurations ---------------------------------------------------------------------------------

WITH_CONFIG = [kind for kind in SCHEDULERS if kind not in NO_CONFIG]


@pytest.mark.parametrize("way", [same_dict, through_json, through_pickle, through_msgpack])
@pytest.mark.parametrize("kind", WITH_CONFIG)
def test_a_scheduler_is_rebuilt_from_its_configuration(kind, way):
    scheduler = SCHEDULERS[kind]()
    advance(scheduler, 0, 6)
    config = way(scheduler.config, None, None)
    twin = lrax.from_config(config)
    assert type(twin) is type(scheduler)
    assert twin.config == config == SCHEDULERS[kind]().config
    assert int(twin.last_epoch.value) == 0
    twin.load_state_dict(scheduler.state_dict())
    assert_same_bits(advance(twin, 6, 50), advance(scheduler, 6, 50))


OF_CODE = {
    "LambdaLR": lambda: SCHEDULERS["LambdaLR"](),
    "a list of functions": lambda: lrax.LambdaLR(0.1, lr_lambda=[abs, abs]),
    "a subclass": lambda: SCHEDULERS["a subclass"](),
    "a formula": lambda: SCHEDULERS["a formula"](),
    "formulas": lambda: lrax.LRScheduler([0.1, 0.2], formula=[InverseTime(1), InverseTime(2)]),
    "scale_fn": lambda: lrax.CyclicLR(0.1, 0.2, 5, scale_fn=lambda cycle: 0.5**cycle),
    "a composite of one": lambda: lrax.ChainedScheduler(
        [lrax.StepLR(0.1), SCHEDULERS["a subclass"]()]
    ),
}


@pytest.mark.parametrize("name", OF_CODE)
def test_code_has_no_configuration_but_a_state(name):
    scheduler, twin = OF_CODE[name](), OF_CODE[name]()
    with pytest.raises(TypeError, match=r"cannot hold its code. Construct it yourself"):
        scheduler.config  # noqa: B018
    advance(scheduler, 0, 5)
    assert_plain(scheduler.state_dict())
    twin.load_state_dict(through_json(scheduler.state_dict(), None, None))
    assert_same_bits(advance(twin, 5, 9), advance(scheduler, 5, 9))


NO_CONFIGURATIONS = {
    "nothing": None,
    "a name": "StepLR",
    "empty": {},
    "two schedulers": {"StepLR": {}, "ConstantLR": {}},
    "a list": [{"StepLR": {}}],
    "no such class": {"NoSuchLR": {}},
    "no scheduler": {"SGD": {"lr": 0.1}},
    "not by its attribute": {"__class__": {}},
    "a subclass of the user": {"Halving": {"base_lr": 0.1}},
    "a base class": {"LRScheduler": {"base_lr": 0.1}},
    "arguments missing": {"StepLR": None},
    "arguments in a list": {"StepLR": [0.1, 30]},
    "no such argument": {"StepLR": {"size": 3}},
    "a number as a name": {"StepLR": {1: 3}},
    "a wrong value": {"StepLR": {"step_size": -3}},
    "a wrong kind": {"StepLR": {"step_size": {"a": 1, "b": 2}}},
    "wrong keys of a list": {"MultiStepLR": {"milestones": {"1": 3}}},
    "numbers as keys of a list": {"MultiStepLR": {"milestones": {0: 3}}},
    "members in a number": {"ChainedScheduler": {"schedulers": 3}},
    "wrong keys of members": {"ChainedScheduler": {"schedulers": {"1": {"StepLR": {}}}}},
    "no members": {"ChainedScheduler": {"schedulers": {}}},
    "a wrong member": {"ChainedScheduler": {"schedulers": {"0": {"NoSuchLR": {}}}}},
    "a member that is a number": {"ChainedScheduler": {"schedulers": {"0": 3}}},
    "a function's name": {"LambdaLR": {"base_lr": 0.1, "lr_lambda": {"abs": 1}}},
}


@pytest.mark.parametrize("name", NO_CONFIGURATIONS)
def test_wrong_configurations_are_refused(name):
    with pytest.raises((TypeError, ValueError), match=r"config|must"):
        lrax.from_config(NO_CONFIGURATIONS[name])


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


NO_CLOCKS = (-1, 2**31, 10**400, 1.5, 3.0, NAN, INF, "3", None, True, [3], np.arange(2), {}, {"0": 3})
NO_VERSIONS = (0, 2, 10**400, "1", True, 1.5, NAN, None, [1], {}, np.ones(2), np.zeros(0))
NO_DICTS = (None, 5, "state", [], [("version", 1)], {}, np.ones(3))
SCHEDULER = {  # what a StepLR refuses, and what the message must say
    **{f"not a dict: {d!r}": (lambda _, d=d: d, "must be a dict") for d in NO_DICTS},
    **{f"no {k}": (without(k), k) for k in ("version", "last_epoch", "StepLR")},
    "an unknown key": (put("surplus", 1), "surplus"),
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
    "a group is missing": (lambda d: put("opt_state", without("1")(d["opt_state"]))(d), "opt_state"),
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


def refused(target, change, message):
    states = brainstate.graph.states(target)
    before, saved = contents(target), target.state_dict()
    for strict in (True, False):
        if not strict and re.search("saved|StepLR|surplus|gamma|base_lr|mode", message):
            continue  # a change that strict=False is for
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
    refused(scheduler, *SCHEDULER[row])


@pytest.mark.parametrize("row", PLATEAU)
def test_a_plateau_refuses(row):
    scheduler = SCHEDULERS["ReduceLROnPlateau"]()
    advance(scheduler, 0, 12)
    refused(scheduler, *PLATEAU[row])


@pytest.fixture(scope="module")
def trained():
    optimizer, states = begin("AdamW")
    train(optimizer, states, 3)
    return optimizer


@pytest.mark.parametrize("row", OPTIMIZER)
def test_an_optimizer_refuses(row, trained):
    refused(trained, *OPTIMIZER[row])


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
