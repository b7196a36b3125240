"""A transformation of optax sees the weights in the tree that was registered, as without lrax."""

import brainstate
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lrax
from helpers import assert_trees_close

TREE = {"dense": {"kernel": np.ones((2, 3), np.float32), "bias": np.full(3, 0.5, np.float32)},
        "head": {"kernel": np.full((3, 1), 2.0, np.float32), "bias": np.ones(1, np.float32)}}  # fmt: skip


def network():
    brainstate.random.seed(3)
    return brainstate.nn.Sequential(brainstate.nn.Linear(2, 3), brainstate.nn.Linear(3, 1))


REGISTERED = {
    "one State of a tree": lambda: brainstate.ParamState(jax.tree.map(jnp.asarray, TREE)),
    "States of trees": lambda: {k: brainstate.ParamState(jax.tree.map(jnp.asarray, v)) for k, v in TREE.items()},
    "a tree of States": lambda: jax.tree.map(lambda leaf: brainstate.ParamState(jnp.asarray(leaf)), TREE),
    "a network": lambda: dict(network().states(brainstate.ParamState)),
}  # fmt: skip


def last(path):
    return path[-1].key


def by_path(function):
    return lambda tree: jax.tree_util.tree_map_with_path(lambda path, _: function(path), tree)


no_biases = by_path(lambda path: last(path) != "bias")
parts = by_path(lambda path: "frozen" if last(path) == "bias" else "trained")


def flipped_biases(rate):
    """A transformation that looks into the tree itself."""

    def update(updates, state, params=None):
        def flip(path, update):
            return rate * update if last(path) == "bias" else -rate * update

        return jax.tree_util.tree_map_with_path(flip, updates), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


COMPLETE = {
    "mask": lambda tree: optax.adamw(0.1, weight_decay=0.5, mask=no_biases),
    "mask as a tree": lambda tree: optax.adamw(0.1, weight_decay=0.5, mask=no_biases(tree)),
    "masked": lambda tree: optax.chain(optax.masked(optax.adam(0.1), no_biases), optax.masked(optax.set_to_zero(), by_path(lambda path: last(path) == "bias"))),
    "masked as a tree": lambda tree: optax.chain(optax.masked(optax.scale(3.0), no_biases(tree)), optax.sgd(0.1, momentum=0.9)),
    "partition": lambda tree: optax.partition({"trained": optax.adam(0.1), "frozen": optax.set_to_zero()}, parts),
    "partition as a tree": lambda tree: optax.partition({"trained": optax.adam(0.1), "frozen": optax.set_to_zero()}, parts(tree)),
    "its own": lambda tree: flipped_biases(0.1),
}  # fmt: skip


def values(states):
    is_state = lambda leaf: isinstance(leaf, brainstate.State)  # noqa: E731
    return jax.tree.map(lambda state: state.value, states, is_leaf=is_state)


def gradients(tree, step):
    return jax.tree.map(lambda leaf: jnp.cos(leaf + step), tree)


def by_optax(tx, tree, steps):
    state = tx.init(tree)
    for step in range(steps):
        updates, state = tx.update(gradients(tree, step), state, tree)
        tree = optax.apply_updates(tree, updates)
    return tree


@pytest.mark.parametrize("form", REGISTERED)
@pytest.mark.parametrize("name", COMPLETE)
def test_a_complete_one(name, form):
    states = REGISTERED[form]()
    tree = values(states)
    tx = COMPLETE[name](tree)
    wanted = by_optax(tx, tree, 5)
    optimizer = lrax.OptaxOptimizer(tx).register_trainable_weights(states)
    for step in range(3):
        optimizer.step(gradients(values(states), step))
    other, resumed = REGISTERED[form](), lrax.OptaxOptimizer(tx)
    resumed.register_trainable_weights(other)
    resumed.load_state_dict(optimizer.state_dict())
    for old, new in zip(jax.tree.leaves(states), jax.tree.leaves(other), strict=True):
        new.value = old.value
    for step in (3, 4):
        resumed.step(gradients(values(other), step))
    assert_trees_close(values(other), wanted)


@pytest.mark.parametrize("form", REGISTERED)
def test_a_factory_with_a_mask(form):
    states = REGISTERED[form]()
    wanted = by_optax(optax.adamw(0.1, weight_decay=0.5, mask=no_biases), values(states), 3)
    optimizer = lrax.OptaxOptimizer(optax.adamw, lr=0.1, weight_decay=0.5, mask=no_biases)
    optimizer.register_trainable_weights(states)
    for step in range(3):
        optimizer.step(gradients(values(states), step))
    assert_trees_close(values(states), wanted)


def test_functions_and_gradients_that_it_is_given():
    states = REGISTERED["States of trees"]()
    tree, tx = (
        values(states),
        optax.chain(optax.sgd(1.0), optax.scale_by_backtracking_linesearch(15)),
    )

    def loss(tree):
        return jnp.sum(tree["dense"]["bias"] ** 2) + jnp.sum(tree["head"]["kernel"] ** 2)

    value, grad = jax.value_and_grad(loss)(tree)
    updates, _ = tx.update(grad, tx.init(tree), tree, value=value, grad=grad, value_fn=loss)
    wanted = optax.apply_updates(tree, updates)
    optimizer = lrax.OptaxOptimizer(tx).register_trainable_weights(states)
    optimizer.step(grad, value=value, grad=grad, value_fn=loss)
    assert_trees_close(values(states), wanted)


def test_moments_stay_with_their_weights_in_other_groups():
    """What is saved is by weight, whatever tree the transformation saw."""
    states = REGISTERED["States of trees"]()
    optimizer = lrax.OptaxOptimizer(optax.scale_by_adam(), lr=0.1).register_trainable_weights(
        states
    )
    for step in range(3):
        optimizer.step(gradients(values(states), step))
    saved = optimizer.state_dict()
    twin = lrax.OptaxOptimizer(optax.scale_by_adam(), lr=0.1, groups={"bias$": {"lr_scale": 0.5}})
    twin.register_trainable_weights(states)
    with pytest.warns(UserWarning, match="grouped in another way"):
        twin.load_state_dict(saved, strict=False)
    (before,) = moments(optimizer)
    kernels, biases = moments(twin)
    for name in TREE:
        assert_trees_close(kernels.mu[name], {"kernel": before.mu[name]["kernel"]})
        assert_trees_close(biases.nu[name], {"bias": before.nu[name]["bias"]})


def moments(optimizer):
    states = optimizer.optax_states()
    found = jax.tree.leaves(states, is_leaf=lambda node: hasattr(node, "mu"))
    return [node for node in found if hasattr(node, "mu")]


IN_TWO_CALLS = {
    "a network, and a scale": (lambda: dict(network().states(brainstate.ParamState)), lambda: {"scale": brainstate.ParamState(jnp.ones(()))}),
    "a list, and a dict": (lambda: [brainstate.ParamState(jnp.ones(2))], lambda: {"a": brainstate.ParamState({"bias": jnp.ones(2)})}),
    "a leaf, and others below": (lambda: {"a": brainstate.ParamState(jnp.ones(2))}, lambda: {"a": {"bias": brainstate.ParamState(jnp.ones(2))}}),
    "a State, and a dict": (lambda: brainstate.ParamState({"bias": jnp.ones(2)}), lambda: [brainstate.ParamState(jnp.ones(2))]),
}  # fmt: skip


@pytest.mark.parametrize("name", IN_TWO_CALLS)
def test_weights_whose_keys_cannot_be_sorted_together(name):
    """Then a path is of texts, and still ends as it did, unless a weight stands above others."""
    first, second = (form() for form in IN_TWO_CALLS[name])

    def begin():
        tx = optax.adamw(0.1, weight_decay=0.5, mask=no_biases)
        return (
            lrax.OptaxOptimizer(tx)
            .register_trainable_weights(first)
            .register_trainable_weights(second)
        )

    optimizer = begin()
    weights = {name: state.value for name, state in optimizer.param_states.items()}
    optimizer.step(jax.tree.map(jnp.zeros_like, weights))

    def decayed(path, leaf):
        is_bias = str(path[-1].key).endswith("bias") and name != "a leaf, and others below"
        return leaf * np.float32(1.0 if is_bias else 0.95)

    wanted = jax.tree_util.tree_map_with_path(decayed, weights)
    assert_trees_close(
        {name: state.value for name, state in optimizer.param_states.items()}, wanted
    )
    twin = begin()
    twin.load_state_dict(optimizer.state_dict())
    assert int(twin.step_count) == 1
