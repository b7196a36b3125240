"""Hooks on States hear of every step and may change what is written, eagerly and in lrax.jit."""

import brainstate
import jax.numpy as jnp
import numpy as np
import pytest

import lrax
from helpers import assert_close, assert_trees_equal, state_of
from network import new_states
from steps import JITS, Training, counter, jits


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


def test_hooks_of_learning_rates_hear_of_each_step():
    scheduler = lrax.ExponentialLR(0.5, 0.5)
    states = new_states()
    optimizer = lrax.SGD(lr=scheduler)
    optimizer.register_trainable_weights({"a": states["a"]})
    optimizer.add_param_group({"b": states["b"]}, lr=0.02)
    heard = []
    state_of(scheduler, "lr").register_hook(
        "write_after", lambda context: heard.append(np.array(context.value["lr"]))
    )
    scheduler.step()
    scheduler.step()
    assert_close(heard, [[0.25, 0.01], [0.125, 0.005]])


# --- in lrax.jit -------------------------------------------------------------------------------------


def heard(jit, register):
    """What hooks hear of three steps, and the numbers in the end; one of them changes what is written."""
    state, seen = counter(1.0), []

    @jit
    def double():
        state.value = 2 * state.value

    double()
    register(state, "read", lambda context: seen.append("read"))
    register(state, "write_after", lambda context: seen.append("write"))

    def limit(context):
        context.transformed_value = jnp.minimum(context.value, 5.0)

    register(state, "write_before", limit)
    seen.clear()
    double()
    double()
    return seen, float(state.value)


@jits
def test_hooks_of_a_state(jit):
    seen, last = heard(jit, lambda state, *hook: state.register_hook(*hook))
    assert seen.count("write") >= 2
    assert last == 5.0


@jits
def test_hooks_of_all_states(jit):
    registry = brainstate.GlobalHookRegistry.instance()
    try:
        seen, last = heard(jit, lambda state, *hook: registry.register_hook(*hook))
    finally:
        registry.clear_hooks()
    assert seen.count("write") >= 2
    assert last == 5.0


@pytest.mark.parametrize("which", ["last_epoch", "optimizer"])
def test_hooks_of_a_scheduler(which):
    run, seen = Training(lrax.jit), []
    run.step(*run.batch)
    state = run.scheduler.last_epoch if which == "last_epoch" else run.optimizer.opt_state
    state.register_hook("write_after", lambda context: seen.append(context.value))
    run.step(*run.batch)
    assert len(seen) == 1
    run.scheduler.step()
    assert len(seen) == (2 if which == "last_epoch" else 1)


def test_a_state_that_writes_in_its_own_way():
    class Halved(brainstate.LongTermState):
        def _write_value(self, v):
            super()._write_value(v / 2)

    halves = {}
    for name, jit in JITS.items():
        state = Halved(jnp.float32(32.0))

        @jit
        def add(state=state):
            state.value = state.value + 2

        add()
        add()
        halves[name] = float(state.value)
    assert halves["lrax"] == halves["brainstate"]


class Doubled(brainstate.ParamState):
    def _read_value(self):
        return super()._read_value() * 2

    def _write_value(self, v):
        super()._write_value(v / 2)


class Clipped(brainstate.ParamState):
    @property
    def value(self):
        return brainstate.State.value.fget(self)

    @value.setter
    def value(self, v):
        brainstate.State.value.fset(self, jnp.clip(v, 0.95, 1.05))


@pytest.mark.parametrize("jit", [lambda function: function, lrax.jit], ids=["eager", "lrax"])
@pytest.mark.parametrize("kind, after", [(Doubled, 1.8), (Clipped, 0.95)])
def test_a_weight_that_is_read_and_written_in_its_own_way(kind, after, jit):
    weight = kind(jnp.ones(1))
    optimizer = lrax.SGD(lr=0.1, weight_decay=0.5).register_trainable_weights({"w": weight})
    jit(optimizer.step)({"w": jnp.ones(1)})
    np.testing.assert_allclose(weight.value, [after], rtol=1e-6)


@pytest.mark.parametrize("by", ["a hook", "the State"])
def test_a_weight_that_refuses_its_update_leaves_all_as_they_were(by):
    class Checked(brainstate.ParamState):
        def _write_value(self, v):
            if by == "the State":
                raise ValueError("no")
            super()._write_value(v)

    def refuse(context):
        context.cancel, context.cancel_reason = True, "no"

    weights = {"a": brainstate.ParamState(jnp.ones(1)), "b": Checked(jnp.ones(1))}
    if by == "a hook":
        weights["b"].register_hook("write_before", refuse)
    optimizer = lrax.SGD(lr=0.1, momentum=0.9).register_trainable_weights(weights)
    before = optimizer.state_dict()
    with pytest.raises(Exception, match="no"):
        optimizer.step({"a": jnp.ones(1), "b": jnp.ones(1)})
    assert [float(w.value[0]) for w in weights.values()] == [1, 1]
    assert_trees_equal(optimizer.state_dict(), before)


@jits
def test_a_hook_sees_the_old_value(jit):
    state = brainstate.State(jnp.zeros(3))
    step = jit(lambda: setattr(state, "value", state.value + 1))
    step()
    seen = []

    def smooth(context):
        seen.append(np.asarray(context.old_value))
        context.transformed_value = (context.value + context.old_value) / 2

    state.register_hook("write_before", smooth)
    for _ in range(3):
        step()
    np.testing.assert_array_equal(state.value, np.full(3, 2.5))
    if jit is lrax.jit:  # brainstate's also shows what it traces
        np.testing.assert_array_equal(seen, np.outer([1, 1.5, 2], np.ones(3)))


def test_a_hook_on_one_state_takes_no_memory_of_another():
    large, small = brainstate.State(jnp.zeros(100_000)), counter()

    @lrax.jit
    def step():
        large.value, small.value = large.value + 1, small.value + 1

    step()
    small.register_hook("write_after", lambda context: None)
    step()
    where = {large.value.unsafe_buffer_pointer()}
    for _ in range(5):
        step()
        where.add(large.value.unsafe_buffer_pointer())
    assert len(where) == 1
