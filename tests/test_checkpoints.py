"""State dicts through every format that people keep them in, and what they must be made of."""

import copy
import pickle

import brainstate
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lrax
from formats import ANY, assert_plain, guest, name_of, through_json, through_lists, through_msgpack
from helpers import assert_same_bits, assert_trees_equal, compiled_programs, takes_metric, values_of
from registry import SCHEDULERS
from saved import OPTIMIZERS, advance, begin, contents, set_weights, train


@pytest.mark.parametrize("way", [*ANY, through_json, through_msgpack, through_lists], ids=name_of)
def test_state_dicts_of_schedulers(way, tmp_path):
    old = {kind: make() for kind, make in SCHEDULERS.items()}
    for i, scheduler in enumerate(old.values()):
        advance(scheduler, 0, 1 + i % 20)
    tree = {kind: scheduler.state_dict() for kind, scheduler in old.items()}
    assert_plain(tree)
    new = {kind: make() for kind, make in SCHEDULERS.items()}
    like = {kind: scheduler.state_dict() for kind, scheduler in new.items()}
    loaded = way(tree, like, tmp_path)
    for i, (kind, scheduler) in enumerate(new.items()):
        scheduler.load_state_dict(loaded[kind])
        assert scheduler.state_dict() == tree[kind], kind
        assert_trees_equal(contents(scheduler), contents(old[kind]))
        rates = advance(scheduler, 1 + i % 20, 40)
        assert_same_bits(rates, advance(old[kind], 1 + i % 20, 40))


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
