"""Schedulers and optimizers in mid-training are copied, split into graph and States, and merged again."""

import copy
import types

import brainstate
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lrax
from helpers import assert_same_bits, assert_trees_equal, values_of
from network import OPTIMIZERS, begin, train
from registry import KINDS
from saved import advance

kinds = pytest.mark.parametrize("kind", KINDS)


# --- schedulers -------------------------------------------------------------------------------------


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


def pair():
    net = brainstate.nn.Linear(2, 1)
    return net, lrax.Adam(lr=lrax.StepLR(0.1, 2)).register_trainable_weights(
        net.states(brainstate.ParamState)
    )


WITH_OTHERS = {
    "a pair": lambda net, optimizer: (net, optimizer),
    "a pair the other way round": lambda net, optimizer: (optimizer, net),
    "a list": lambda net, optimizer: [optimizer, net],
    "a dict": lambda net, optimizer: {"optimizer": optimizer, "net": net},
    "with its scheduler": lambda net, optimizer: (optimizer.lr, optimizer),
    "an object": lambda net, optimizer: types.SimpleNamespace(net=net, optimizer=optimizer),
    "averaged weights": lambda net, optimizer: [lrax.AveragedWeights(optimizer.param_states, 0.9)],
}


@pytest.mark.parametrize("together", WITH_OTHERS.values(), ids=[*WITH_OTHERS])
def test_what_trains_a_network_is_not_copied_apart_from_it(together):
    """brainstate copies each object by itself, and the copied optimizer would train weights that nobody has."""
    with pytest.raises(TypeError, match=r"brainstate\.graph\.clone\(\(network, optimizer\)\)"):
        copy.deepcopy(together(*pair()))


def test_a_network_and_its_optimizer_are_cloned():
    net, optimizer = pair()
    twin, other = brainstate.graph.clone((net, optimizer))
    before = jax.tree.map(np.array, net.weight.value)
    ones = {k: jax.tree.map(jnp.ones_like, s.value) for k, s in other.param_states.items()}
    other.step(ones)
    other.lr.step(2)
    assert_trees_equal(net.weight.value, before)
    assert float(other.lr.current_lrs.value[0]) < 0.1 < float(optimizer.current_lr) + 1e-6
    for old, new in zip(
        jax.tree.leaves(net.weight.value), jax.tree.leaves(twin.weight.value), strict=True
    ):
        np.testing.assert_allclose(new, old - 0.1, rtol=1e-4)


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
