"""State dicts through every format that people keep them in, and configurations."""

import copy
import json
import os
import pickle
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
from helpers import assert_same_bits, assert_trees_equal, compiled_programs, takes_metric, values_of
from registry import NO_CONFIG, SCHEDULERS
from registry.own import InverseTime
from saved import OPTIMIZERS, advance, begin, contents, set_weights, train

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


def guest(way):
    return pytest.param(way, marks=pytest.mark.braintools)


ANY = [
    same_dict,
    through_pickle,
    guest(through_flax),
    guest(through_flax_target),
    guest(through_braintools),
    guest(through_braintools_target),
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


def through_lists(tree, like, folder):
    """As the trainer of braintools hands on what it read: dicts with the keys of a list are lists."""
    if not isinstance(tree, dict):
        return tree
    tree = {key: through_lists(value, like, folder) for key, value in tree.items()}
    return list(tree.values()) if list(tree) == list(map(str, range(len(tree)))) else tree


@pytest.mark.parametrize("way", [*ANY, through_json, through_msgpack, through_lists], ids=name_of)
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


@pytest.fixture(scope="module")
def trained():
    """Each optimizer after 4 steps, what became of it after 7, and another one, which may be changed."""
    found = {}
    for name in OPTIMIZERS:
        optimizer, states = begin(name)
        train(optimizer, states, 4)
        now = {"weights": values_of(states), "optimizer": optimizer.state_dict()}
        then = contents(optimizer)
        train(optimizer, states, 3)
        found[name] = (now, then, contents(optimizer), begin(name))
    return found


@pytest.mark.parametrize("way", ANY, ids=name_of)
def test_state_dicts_of_optimizers(way, tmp_path, trained):
    tree, like = {}, {}
    for name, (now, _, _, (twin, states)) in trained.items():
        assert_plain(now["optimizer"])
        assert "lr_scheduler" in now["optimizer"]
        train(twin, states, 1)  # so that what is loaded is not there yet
        tree[name] = now
        like[name] = {"weights": values_of(states), "optimizer": twin.state_dict()}
    loaded = way(tree, like, tmp_path)
    for name, (now, then, later, (twin, states)) in trained.items():
        set_weights(states, loaded[name]["weights"])
        twin.load_state_dict(loaded[name]["optimizer"])
        assert_trees_equal(twin.state_dict(), now["optimizer"])
        assert_trees_equal(contents(twin), then)
        train(twin, states, 3)
        assert_trees_equal(contents(twin), later)


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


@pytest.mark.parametrize("way", [through_states, guest(through_states_of_braintools)], ids=name_of)
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

        def by_rows(tree):
            return all(moment.sharding.is_equivalent_to(rows, 2) for moment in moments(tree))

        weight, optimizer = make()
        for _ in range(3):
            train(weight, optimizer)
        saved = optimizer.state_dict()
        assert len(moments(saved)) == 2
        assert by_rows(saved)
        folder = pathlib.Path(tempfile.mkdtemp())
        twin_weight, twin = make()
        with ocp.StandardCheckpointer() as checkpointer:
            checkpointer.save(folder / "a", {"w": weight.value, "optimizer": saved})
            checkpointer.wait_until_finished()
            like = {"w": twin_weight.value, "optimizer": twin.state_dict()}
            for found in (checkpointer.restore(folder / "a", like), checkpointer.restore(folder / "a")):
                twin_weight.value = jax.device_put(found["w"], rows)
                twin.load_state_dict(found["optimizer"])
                assert len(moments(twin.opt_state.value)) == 2
                assert by_rows(twin.opt_state.value)
                assert not any(leaf.is_fully_replicated for leaf in moments(twin.opt_state.value))
                train(twin_weight, twin)
        train(weight, optimizer)
        assert np.array_equal(weight.value, twin_weight.value)
        assert np.array_equal(optimizer.get_last_lr(), twin.get_last_lr())
    """
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script)],
        env={**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=4"},
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
