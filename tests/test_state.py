"""Saving, copying, splitting and compiling: what is done to schedulers and optimizers in mid-training."""

import copy
import json
import pickle
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import brainstate
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lrax
from helpers import (
    METRICS,
    assert_same_bits,
    assert_trees_equal,
    compiled_programs,
    last_lr,
    state_of,
    step,
    takes_metric,
    values_of,
)
from network import OPTIMIZERS, gradient_of, loss_of, new_states, schedule
from registry import KINDS

kinds = pytest.mark.parametrize("kind", KINDS)
ways = {
    "as it is": lambda d: d,
    "pickle": lambda d: pickle.loads(pickle.dumps(d)),
    "json": lambda d: json.loads(json.dumps(d)),
}


def advance(scheduler, first, last):
    """The learning rates from epoch `first` to `last`, each after its step."""
    rates = []
    for epoch in range(first, last):
        step(scheduler, epoch)
        rates.append(last_lr(scheduler))
    return rates


def plain(value):
    """Nested dicts with str keys, and arrays or numbers of Python."""
    if isinstance(value, dict):
        return all(isinstance(key, str) and plain(inner) for key, inner in value.items())
    return isinstance(value, (int, float, np.ndarray, jax.Array))


# --- schedulers -------------------------------------------------------------------------------------


@kinds
@pytest.mark.parametrize("way", ways)
@pytest.mark.parametrize("epoch", [0, 1, 10, 31, 55])
def test_a_loaded_scheduler_continues(kind, way, epoch):
    scheduler, new = KINDS[kind](), KINDS[kind]()
    advance(scheduler, 0, epoch)
    state = ways[way](scheduler.state_dict())
    assert plain(state)
    new.load_state_dict(state)
    assert int(new.last_epoch.value) == epoch
    assert_same_bits([last_lr(new)], [last_lr(scheduler)])
    assert_same_bits(advance(new, epoch, 60), advance(scheduler, epoch, 60))


@kinds
def test_a_copied_scheduler_has_its_own_clock(kind):
    scheduler = KINDS[kind]()
    advance(scheduler, 0, 8)
    twin = copy.deepcopy(scheduler)
    rates = advance(twin, 8, 40)
    assert int(scheduler.last_epoch.value) == 8
    assert int(twin.last_epoch.value) == 40
    assert_same_bits(advance(scheduler, 8, 40), rates)


@kinds
def test_a_scheduler_is_split_and_merged(kind):
    scheduler = KINDS[kind]()
    advance(scheduler, 0, 8)
    definition, states = brainstate.graph.treefy_split(scheduler)
    merged = brainstate.graph.treefy_merge(definition, states)
    assert type(merged) is type(scheduler)
    rates = advance(merged, 8, 40)
    assert int(scheduler.last_epoch.value) == 8
    assert_same_bits(advance(scheduler, 8, 40), rates)


@kinds
def test_states_of_a_scheduler(kind):
    scheduler = KINDS[kind]()
    states = brainstate.graph.states(scheduler).values()
    clocks = [s for s in states if not isinstance(s.value, dict)]
    assert len(clocks) == 1  # also in a composite
    assert clocks[0] is scheduler.last_epoch


# --- optimizers -------------------------------------------------------------------------------------


def begin(name):
    states = new_states()
    optimizer = OPTIMIZERS[name][0](schedule(0.05))
    optimizer.register_trainable_weights({"a": states["a"], "b": states["b"]})
    optimizer.add_param_group({"c": states["c"]}, lr=0.02, weight_decay=0.1)
    return optimizer, states


def train(optimizer, states, steps):
    for _ in range(steps):
        optimizer.step(gradient_of(values_of(states)))
        optimizer.lr_scheduler.step()


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("way", ["as it is", "pickle"])
def test_a_loaded_optimizer_continues(name, way):
    optimizer, states = begin(name)
    train(optimizer, states, 7)
    saved = ways[way](
        {
            "weights": {key: np.asarray(state.value) for key, state in states.items()},
            "optimizer": optimizer.state_dict(),
            "scheduler": optimizer.lr_scheduler.state_dict(),
        }
    )
    assert plain(saved)
    rates = np.float32(optimizer.get_last_lr())
    train(optimizer, states, 6)

    new, new_values = begin(name)
    for key, state in new_values.items():
        state.value = jnp.asarray(saved["weights"][key])
    new.load_state_dict(saved["optimizer"])
    assert_same_bits(np.float32(new.get_last_lr()), rates)
    new.lr_scheduler.load_state_dict(saved["scheduler"])
    assert int(new.step_count.value) == 7
    train(new, new_values, 6)

    assert_trees_equal(values_of(new_values), values_of(states))
    assert_same_bits(np.float32(new.get_last_lr()), np.float32(optimizer.get_last_lr()))
    assert_trees_equal(new.state_dict(), optimizer.state_dict())


def broken(saved):
    """State dicts that must not be loaded."""
    yield {}
    yield {key: value for key, value in saved.items() if key != max(saved)}
    yield {**saved, "surplus": 1}
    yield jax.tree.map(lambda leaf: np.zeros((7, 7, 7), np.float32), saved)
    yield jax.tree.map(lambda leaf: float("nan"), saved)


@pytest.mark.parametrize("number", range(5))
@pytest.mark.parametrize("which", ["optimizer", "scheduler"])
def test_a_failed_load_changes_nothing(which, number):
    optimizer, states = begin("AdamW")
    train(optimizer, states, 5)
    target = optimizer if which == "optimizer" else optimizer.lr_scheduler
    before = copy.deepcopy(target.state_dict())
    bad = list(broken(target.state_dict()))
    assert len(bad) == 5
    with pytest.raises((TypeError, ValueError)):
        target.load_state_dict(bad[number])
    assert_trees_equal(target.state_dict(), before)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_copy_of_an_optimizer_with_its_weights(name):
    optimizer, states = begin(name)
    train(optimizer, states, 3)
    before = values_of(states)
    twin = copy.deepcopy(optimizer)
    twin_states = {key: twin.param_states[key] for key in states}
    train(twin, twin_states, 4)
    assert_trees_equal(values_of(states), before)
    train(optimizer, states, 4)
    assert_trees_equal(values_of(states), values_of(twin_states))
    assert_same_bits(np.float32(twin.get_last_lr()), np.float32(optimizer.get_last_lr()))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_is_split_and_merged(name):
    optimizer, states = begin(name)
    train(optimizer, states, 3)
    definition, tree = brainstate.graph.treefy_split(optimizer)
    merged = brainstate.graph.treefy_merge(definition, tree)
    merged_states = {key: merged.param_states[key] for key in states}
    before = values_of(states)
    train(merged, merged_states, 4)
    assert_trees_equal(values_of(states), before)
    train(optimizer, states, 4)
    assert_trees_equal(values_of(states), values_of(merged_states))
    assert_same_bits(np.float32(merged.get_last_lr()), np.float32(optimizer.get_last_lr()))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_states_of_an_optimizer(name):
    optimizer, states = begin(name)
    found = {id(state) for state in brainstate.graph.states(optimizer).values()}
    wanted = [*states.values(), optimizer.opt_state, optimizer.lr_scheduler.last_epoch]
    assert found >= {id(state) for state in wanted}


# --- one compile ------------------------------------------------------------------------------------


def events(optimizer, scheduler):
    """What may happen around a compiled step."""
    yield "eager step", scheduler.step
    yield "two eager steps", lambda: (scheduler.step(), scheduler.step())
    yield "jump", lambda: scheduler.step(epoch=20)
    yield "jump to a NumPy number", lambda: scheduler.step(epoch=np.int64(7))
    yield "jump to a jax number", lambda: scheduler.step(epoch=jnp.int32(9))
    yield "set clock", lambda: setattr(scheduler.last_epoch, "value", 3)
    yield "set clock to a NumPy number", lambda: setattr(scheduler.last_epoch, "value", np.int64(4))
    yield (
        "set clock to a jax number",
        lambda: setattr(scheduler.last_epoch, "value", jnp.asarray(5)),
    )
    yield "float rate", lambda: setattr(optimizer, "current_lr", 0.01)
    yield "whole rate", lambda: setattr(optimizer, "current_lr", 1)
    yield "NumPy rate", lambda: setattr(optimizer, "current_lr", np.float64(0.01))
    yield "jax rate", lambda: setattr(optimizer, "current_lr", jnp.asarray(0.01))
    yield "rate of a group", lambda: optimizer.param_groups[1].__setitem__("lr", 0.03)
    yield "mapped rates", lambda: optimizer.lr_apply(lambda lr: lr / 2)
    yield "eager update", lambda: optimizer.step(gradient_of(values_of(optimizer.param_states)))
    for way, travel in ways.items():
        yield (
            f"load scheduler, {way}",
            lambda travel=travel: scheduler.load_state_dict(travel(scheduler.state_dict())),
        )
    for way in ("as it is", "pickle"):
        yield (
            f"load optimizer, {way}",
            lambda travel=ways[way]: optimizer.load_state_dict(travel(optimizer.state_dict())),
        )
    other = lrax.ExponentialLR(0.03, gamma=0.9)
    yield "attach another scheduler", lambda: other.attach_optimizer(optimizer)
    yield "step the other scheduler", other.step
    yield "attach the first again", lambda: optimizer.add_scheduler(scheduler)
    yield (
        "read",
        lambda: (scheduler.lr_at(3), scheduler.lr_at(jnp.arange(3)), optimizer.get_last_lr()),
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("inside", [False, True], ids=["step outside", "step inside"])
def test_a_train_step_compiles_once(kind, inside):
    scheduler, states = KINDS[kind](), new_states()
    optimizer = lrax.AdamW(lr=scheduler)
    optimizer.register_trainable_weights({"a": states["a"], "b": states["b"]})
    optimizer.add_param_group({"c": states["c"]}, lr=0.02)
    metric = {"metric": jnp.float32(METRICS[0])} if takes_metric(scheduler) else {}

    @brainstate.transform.jit
    def train_step():
        grad = brainstate.transform.grad(lambda: loss_of(values_of(states)), states)
        optimizer.step(grad())
        if inside:
            scheduler.step(**metric)
        return optimizer.current_lr

    with compiled_programs() as compiled:
        train_step()
    assert compiled
    for event, happen in events(optimizer, scheduler):
        if metric and ("eager step" in event or "jump" in event):
            scheduler.step(metric=1.0)
        elif metric and event == "read":
            continue
        else:
            happen()
        rate = np.float32(optimizer.current_lr)
        with compiled_programs() as compiled:
            seen = train_step()
        assert not compiled, event
        if not inside:
            assert np.float32(seen) == rate, event


# --- Hooks ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["clock", "rates"])
def test_a_hook_on_a_state_sees_every_step(which):
    scheduler = lrax.ExponentialLR(base_lr=1.0, gamma=0.5)
    state = scheduler.last_epoch if which == "clock" else state_of(scheduler, "lr")
    seen = []

    def note(context):
        value = context.value if which == "clock" else context.value["lr"].item()
        seen.append(value)

    scheduler.step()
    state.register_hook("write_after", note)
    for _ in range(3):
        scheduler.step()
    assert seen == ([2, 3, 4] if which == "clock" else [0.25, 0.125, 0.0625])
    assert scheduler.get_last_lr() == [0.0625]
    assert scheduler.last_epoch.value == 4
    state.clear_hooks()
    scheduler.step()
    assert len(seen) == 3
    assert scheduler.get_last_lr() == [0.03125]


def test_without_the_internals_that_save_time():
    """The tests of what depends on them, as if a later brainstate had them no more."""
    program = """
        import sys
        import brainstate, pytest
        sys.modules["brainstate._state_global_hooks"] = None
        import internals
        assert not internals.direct(brainstate.State(0.0))
        chosen = "under_plain or given_away or is_gone or static_argument or other_shapes"
        options = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-o", "addopts=", "-k", chosen]
        sys.exit(pytest.main([*options, *sys.argv[1:]]))
    """
    files = [Path(__file__).with_name(f"test_{name}.py") for name in ("misuse", "donation", "jit")]
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), *files],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert int(re.search(r"(\d+) passed", run.stdout)[1]) > 60
