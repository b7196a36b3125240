"""Weights of every kind and in every place: trees, with units, shared, frozen, registered late."""

import brainstate
import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lrax
from any_tree import OPTIMIZERS, is_state, loss_of, optimizers, schedule, train
from helpers import (
    assert_close,
    assert_same_bits,
    assert_trees_close,
    compiled_programs,
    slow_but,
    values_of,
)
from saved import contents

jitted = pytest.mark.parametrize("jit", [None, brainstate.transform.jit, lrax.jit])


def with_optax(tx, values, steps=6, times=1):
    """The same training with optax; `times` multiplies the gradient."""

    @jax.jit
    def update(values, state):
        grads = jax.grad(lambda v: times * loss_of(v))(values)
        updates, state = tx.update(grads, state, values)
        return optax.apply_updates(values, updates), state

    state = tx.init(values)
    for _ in range(steps):
        values, state = update(values, state)
    return values


# --- trees ------------------------------------------------------------------------------------------


def tree():
    """A State of one array, States of nested trees, a tree of States."""
    rng = np.random.default_rng(3)

    def array(*shape):
        return jnp.asarray(rng.normal(size=shape), jnp.float32)

    return {
        "plain": brainstate.ParamState(array(3)),
        "nested": brainstate.ParamState({"a": array(2, 2), "b": [array(2), (array(), {"c": array(1)})]}),
        "list": [brainstate.ParamState(array(2)), brainstate.ParamState((array(1), array(2)))],
        "deep": {"er": {("x", 1): brainstate.ParamState(array(2))}},
    }  # fmt: skip


@jitted
@pytest.mark.parametrize("name", slow_but(OPTIMIZERS, "AdamW"))
def test_any_tree_of_states_of_any_tree(name, jit):
    states = tree()
    ours, theirs = OPTIMIZERS[name]
    optimizer = ours(schedule())
    optimizer.register_trainable_weights(states)
    start = jax.tree.map(lambda s: jax.tree.map(jnp.copy, s.value), states, is_leaf=is_state)
    train(optimizer, states, jit)
    now = jax.tree.map(lambda s: s.value, states, is_leaf=is_state)
    assert_trees_close(now, with_optax(theirs(schedule()), start), rtol=1e-5)

    twin_states = tree()
    twin = ours(schedule())
    twin.register_trainable_weights(twin_states)
    twin.load_state_dict(optimizer.state_dict())
    assert_trees_close(twin.opt_state.value, optimizer.opt_state.value, rtol=0, floor=0)


def test_names_that_would_be_the_same_are_refused():
    states = {
        "a": {"b": brainstate.ParamState(jnp.ones(1))},
        "a.b": brainstate.ParamState(jnp.ones(1)),
    }
    with pytest.raises(ValueError, match=r"another weight named 'a.b'"):
        lrax.SGD().register_trainable_weights(states)


class Model(brainstate.nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.head = brainstate.nn.Linear(3, 3), brainstate.nn.Linear(3, 2)

    def __call__(self, x):
        return self.head(self.body(x))

    def loss(self):
        return self(jnp.ones((1, 3))).sum()


def test_gradients_by_other_names_than_the_weights():
    """The same States, registered as a submodule names them: both sides are shown, and the way out."""
    model = Model()
    params = model.states(brainstate.ParamState)
    grads = brainstate.transform.grad(model.loss, params)()
    alone = lrax.SGD().register_trainable_weights(model.head.states(brainstate.ParamState))
    message = (
        r"'weight' is missing: registered are 'weight'; grads has 'body.weight', 'head.weight'\. "
        r".*model\.states\(brainstate\.ParamState\).*if 'head' in k"
    )
    with pytest.raises(ValueError, match=message):
        alone.step(grads)
    with pytest.raises(ValueError, match=r"another weight named 'weight'.*if 'head' in k"):
        alone.add_param_group(model.body.states(brainstate.ParamState))

    optimizer = lrax.SGD(lr=0.5)  # what the message says
    optimizer.register_trainable_weights({k: s for k, s in params.items() if "body" in k})
    optimizer.add_param_group({k: s for k, s in params.items() if "head" in k}, lr=0.0)
    before = jax.tree.map(np.asarray, values_of(params))
    optimizer.step(grads)
    for key, state in params.items():
        same = [
            np.array_equal(a, b)
            for a, b in zip(jax.tree.leaves(before[key]), jax.tree.leaves(state.value), strict=True)
        ]
        assert all(same) == ("head" in key)


WAYS = {
    "by name": lambda params, grads: {".".join(map(str, k)): v for k, v in grads.items()},
    "nested": lambda params, grads: {
        "body": {"weight": grads["body", "weight"]}, "head": {"weight": grads["head", "weight"]}},
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_gradients_come_by_name_or_nested_as_well(way):
    values = []
    for change in (lambda params, grads: grads, WAYS[way]):
        brainstate.random.seed(3)
        model = Model()
        params = model.states(brainstate.ParamState)
        optimizer = lrax.SGD(lr=0.1).register_trainable_weights(params)
        optimizer.step(change(params, brainstate.transform.grad(model.loss, params)()))
        values.append(values_of(params))
    assert_trees_close(*values, rtol=0, floor=0)


@pytest.mark.parametrize("key", ["a", "weights"])
def test_gradients_of_one_state_by_name_or_bare(key):
    """``grad(loss, optimizer.param_states)`` has the name that the optimizer has given, ``jax.grad`` none."""
    for wrapped in (True, False):
        state = brainstate.ParamState({key: jnp.ones(2), "b": jnp.zeros(2)})
        optimizer = lrax.SGD(lr=0.1).register_trainable_weights(state)
        grads = {key: jnp.full(2, 3.0), "b": jnp.full(2, -1.0)}
        optimizer.step({"weights": grads} if wrapped else grads)
        expected = {key: np.full(2, 0.7, np.float32), "b": np.full(2, 0.1, np.float32)}
        assert_trees_close(state.value, expected)


def test_no_gradients_at_all():
    optimizer = lrax.SGD().register_trainable_weights(Model().states(brainstate.ParamState))
    for grads in (None, {}):
        with pytest.raises(ValueError, match=r"'body\.weight' is missing.*grads has nothing"):
            optimizer.step(grads)


# --- units ------------------------------------------------------------------------------------------


@jitted
@optimizers
def test_quantities_train_as_their_numbers_do(name, jit):
    ours, theirs = OPTIMIZERS[name]
    start = np.linspace(-1.0, 1.0, 5, dtype=np.float32)
    states = {
        "w": brainstate.ParamState(jnp.asarray(start) * u.mV),
        "plain": brainstate.ParamState(jnp.asarray(start)),
    }
    optimizer = ours(schedule())
    optimizer.register_trainable_weights(states)

    def loss():
        return loss_of([states["w"].value / u.mV, states["plain"].value])

    train(optimizer, states, jit, loss=loss)
    wanted = with_optax(theirs(schedule()), [start, start])
    assert u.get_unit(states["w"].value) == u.mV
    assert_close(states["w"].value / u.mV, wanted[0], rtol=1e-5)
    assert_close(states["plain"].value, wanted[1], rtol=1e-5)

    twin = ours(schedule())
    twin.register_trainable_weights(
        {
            "w": brainstate.ParamState(jnp.asarray(start) * u.mV),
            "plain": brainstate.ParamState(jnp.asarray(start)),
        }
    )
    twin.load_state_dict(optimizer.state_dict())
    assert_trees_close(twin.opt_state.value, optimizer.opt_state.value, rtol=0, floor=0)


# --- shared and frozen ------------------------------------------------------------------------------


class Tied(brainstate.nn.Module):
    """Encoder and decoder share one weight."""

    def __init__(self):
        super().__init__()
        self.encoder = brainstate.nn.Linear(3, 3)
        self.decoder = brainstate.nn.Linear(3, 3)
        self.decoder.weight = self.encoder.weight


@jitted
@pytest.mark.parametrize("name", ["Adam"])
def test_a_shared_weight_is_updated_once_with_the_whole_gradient(name, jit):
    ours, theirs = OPTIMIZERS[name]
    shared = brainstate.ParamState(jnp.linspace(-1.0, 1.0, 4))
    start = jnp.copy(shared.value)
    states = {"encoder": shared, "decoder": {"weight": shared}}
    optimizer = ours(schedule())
    optimizer.register_trainable_weights(states)
    assert list(optimizer.param_states.values()) == [shared]
    train(optimizer, states, jit, loss=lambda: loss_of(shared.value) + loss_of(shared.value))
    assert_close(shared.value, with_optax(theirs(schedule()), start, times=2), rtol=1e-5)


def test_a_module_with_a_shared_weight():
    model = Tied()
    states = model.states(brainstate.ParamState)
    optimizer = lrax.SGD(lr=0.1)
    optimizer.register_trainable_weights(states)
    assert len(optimizer.param_states) == len({id(s) for s in states.values()}) == 1


@jitted
@pytest.mark.parametrize("name", ["Adam"])
def test_weights_that_are_not_registered_are_frozen(name, jit):
    ours, _ = OPTIMIZERS[name]
    states = {
        k: brainstate.ParamState(jnp.linspace(-1.0, 1.0, 4)) for k in ("body", "head", "norm")
    }
    before = jax.tree.map(jnp.copy, values_of(states))
    optimizer = ours(schedule())
    optimizer.register_trainable_weights({"head": states["head"]})
    train(optimizer, states, jit)  # with gradients of all of them
    assert not np.array_equal(states["head"].value, before["head"])
    for frozen in ("body", "norm"):
        assert_same_bits(states[frozen].value, before[frozen])


# --- registered again -------------------------------------------------------------------------------


@optimizers
def test_the_same_weights_again_change_nothing(name):
    ours, _ = OPTIMIZERS[name]
    states = {"w": brainstate.ParamState(jnp.ones(3)), "b": brainstate.ParamState(jnp.ones(2))}
    optimizer = ours(schedule())
    optimizer.register_trainable_weights(states)

    @brainstate.transform.jit
    def update():
        optimizer.step({key: state.value for key, state in states.items()})

    update()
    before = contents(optimizer)
    optimizer.register_trainable_weights(states)
    optimizer.register_trainable_weights({"other name": states["w"]})
    assert_trees_close(contents(optimizer), before, rtol=0, floor=0)
    with compiled_programs() as compiled:
        update()
    assert not compiled
    assert int(optimizer.step_count.value) == 2


@optimizers
def test_further_weights_after_a_step_need_a_group(name):
    ours, _ = OPTIMIZERS[name]
    states = {"w": brainstate.ParamState(jnp.ones(3)), "b": brainstate.ParamState(jnp.ones(2))}
    optimizer = ours(schedule())
    optimizer.register_trainable_weights({"w": states["w"]})
    optimizer.step({"w": states["w"].value})
    before = contents(optimizer)
    with pytest.raises(ValueError, match=r"Training has begun.*add_param_group"):
        optimizer.register_trainable_weights(states)
    assert_trees_close(contents(optimizer), before, rtol=0, floor=0)


@pytest.mark.parametrize("jit", [brainstate.transform.jit, lrax.jit])
@pytest.mark.parametrize("name", ["AdamW"])
def test_a_compiled_step_takes_a_group_that_is_added_later(name, jit):
    """It is compiled once more, for the new group; and then no more."""
    ours, theirs = OPTIMIZERS[name]
    states = {key: brainstate.ParamState(jnp.linspace(-1.0, 1.0, 4)) for key in ("w", "v")}
    start = jax.tree.map(jnp.copy, values_of(states))
    optimizer = ours(lrax.ConstantLR(0.05, 1.0, 0))
    optimizer.register_trainable_weights({"w": states["w"]})

    @jit
    def update():
        grads = brainstate.transform.grad(lambda: loss_of(values_of(states)), states)()
        optimizer.step(grads)

    for _ in range(2):
        update()
    assert_same_bits(states["v"].value, start["v"])
    optimizer.add_param_group({"v": states["v"]})
    for _ in range(2):
        update()
    with compiled_programs() as compiled:
        for _ in range(2):
            update()
    assert not compiled
    assert_close(states["w"].value, with_optax(theirs(0.05), start["w"]), rtol=1e-5)
    assert_close(states["v"].value, with_optax(theirs(0.05), start["v"], steps=4), rtol=1e-5)


@pytest.mark.parametrize("jit", [brainstate.transform.jit, lrax.jit])
def test_weights_that_are_registered_after_the_step_was_compiled(jit):
    """Before any training has happened they join the first group."""
    states = {key: brainstate.ParamState(jnp.linspace(-1.0, 1.0, 4)) for key in ("w", "v")}
    start = jax.tree.map(jnp.copy, values_of(states))
    optimizer = lrax.Adam(lr=0.05)
    optimizer.register_trainable_weights({"w": states["w"]})

    @jit
    def rate():
        return optimizer.current_lr, optimizer.step_count.value

    rate()
    optimizer.register_trainable_weights(states)
    assert int(rate()[1]) == 0
    train(optimizer, states, jit)
    wanted = with_optax(optax.adam(0.05), start)
    assert_trees_close(values_of(states), wanted, rtol=1e-5)


@pytest.mark.parametrize("jit", [brainstate.transform.jit, lrax.jit])
def test_a_weight_that_joins_one_that_was_trained_and_loaded(jit):
    states = {key: brainstate.ParamState(jnp.ones(2)) for key in ("w", "v")}
    gradients = {key: jnp.ones(2) for key in states}
    optimizer = lrax.SGD(0.5).register_trainable_weights({"w": states["w"]})
    saved = optimizer.state_dict()
    step = jit(lambda: optimizer.step({name: gradients[name] for name in optimizer.param_states}))
    step()
    optimizer.load_state_dict(saved)
    optimizer.register_trainable_weights({"v": states["v"]})
    step()
    assert [float(state.value[0]) for state in states.values()] == [0.0, 0.5]


def test_very_many_weights_are_registered_in_a_moment():
    states = {str(i): brainstate.ParamState(np.ones(1)) for i in range(3000)}
    states["3000"] = brainstate.ParamState({"a.b": np.ones(1), "a": {"b": np.ones(1)}})
    with pytest.raises(ValueError, match=r"another weight named '3000\.a\.b'"):
        lrax.SGD(0.1).register_trainable_weights(states)
