"""Schedulers and optimizers in mid-training are copied, split into graph and States, and merged again."""

import copy

import brainstate
import numpy as np
import pytest

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
