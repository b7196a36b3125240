"""What is passed to a factory of optax: numbers, schedules, what is neither, and what is refused."""

import functools

import brainstate
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optax import contrib

import lrax
from helpers import assert_same_bits, compiled_programs, slow_but, values_of
from network import START, gradient_of, new_states

STEPS = 20
EPOCHS = np.arange(STEPS)
RATES = np.float32(0.005 + 0.0225 * (1 + np.cos(np.pi * EPOCHS / 25)))
SHARES = np.float32(0.95 - 0.01 * EPOCHS)
DECAYS = np.float32(0.3 * 0.9**EPOCHS)


def from_table(values):
    return lambda epoch: jnp.asarray(values)[jnp.minimum(epoch, STEPS - 1)]


def table(values):
    return lrax.LambdaLR(1.0, from_table(values))


def begun(tx, **arguments):
    states = new_states()
    optimizer = lrax.OptaxOptimizer(tx, **arguments)
    return optimizer.register_trainable_weights(states), states


def trained(tx, steps=STEPS, **arguments):
    optimizer, states = begun(tx, **arguments)

    @lrax.jit
    def step():
        optimizer.step(gradient_of(values_of(states)))
        optimizer.lr.step()

    step()
    with compiled_programs() as compiled:
        for _ in range(steps - 1):
            step()
    assert not compiled
    return values_of(states), optimizer


def by_optax(make, steps=STEPS):
    """`make` gives optax's transformation for an epoch, out of numbers."""
    weights, state = START, make(0).init(START)
    for t in range(steps):
        updates, state = make(t).update(gradient_of(weights), state, weights)
        weights = optax.apply_updates(weights, updates)
    return weights, state


def assert_same(actual, expected, tolerance=2e-6):
    assert actual.keys() == expected.keys()
    largest = max(np.abs(w).max() for w in expected.values())
    assert max(np.abs(START[k] - w).max() for k, w in expected.items()) > 1e-3 * largest
    for key, weight in expected.items():
        assert np.isfinite(weight).all()
        assert np.shape(actual[key]) == np.shape(weight)
        np.testing.assert_allclose(actual[key], weight, rtol=0, atol=tolerance * largest)


SCHEDULED = {
    "lion": (optax.lion, {"b1": SHARES, "weight_decay": DECAYS}),
    "adamw": (optax.adamw, {"b1": SHARES, "b2": SHARES, "weight_decay": DECAYS}),
    "sgd": (optax.sgd, {"momentum": SHARES}),
    "rmsprop": (optax.rmsprop, {"decay": SHARES}),
    "lamb": (optax.lamb, {"eps": DECAYS}),
    "muon": (contrib.muon, {"beta": SHARES, "weight_decay": DECAYS}),
}


@pytest.mark.parametrize("given", [table, from_table], ids=["scheduler", "function"])
@pytest.mark.parametrize("name", slow_but(SCHEDULED, "lion", "adamw", "rmsprop"))
def test_arguments_follow_schedules(name, given):
    factory, schedules = SCHEDULED[name]
    arguments = {key: given(values) for key, values in schedules.items()}
    actual, _ = trained(factory, lr=table(RATES), **arguments)

    def make(t):
        return factory(RATES[t], **{key: values[t] for key, values in schedules.items()})

    assert_same(actual, by_optax(make)[0])


MASK = {"a": True, "b": False, "c": True}


def mine(learning_rate, a, b=0.99):
    return optax.adam(learning_rate, b1=a, b2=b)


WAYS = {
    "a partial": (
        functools.partial(optax.adamw, b1=0.8),
        {"weight_decay": 0.1},
        lambda lr: optax.adamw(lr, b1=0.8, weight_decay=0.1),
    ),
    "a lambda": (lambda learning_rate: optax.adam(learning_rate, 0.8), {}, lambda lr: optax.adam(lr, 0.8)),
    "a function": (mine, {"a": 0.7}, lambda lr: optax.adam(lr, 0.7, 0.99)),
    "a lambda without": (lambda b1=0.5: optax.scale_by_lion(b1), {}, lambda lr: optax.lion(lr, 0.5, weight_decay=0)),
    "a mask, called": (
        optax.adamw,
        {"weight_decay": 0.3, "mask": lambda weights: {k: MASK[k] for k in weights}},
        lambda lr: optax.adamw(lr, weight_decay=0.3, mask=MASK),
    ),
    "clipped by its norm": (
        optax.lion,
        {"b1": 0.8, "grad_clip_norm": 0.1},
        lambda lr: optax.chain(optax.clip_by_global_norm(0.1), optax.lion(lr, 0.8)),
    ),
    "clipped by its value": (
        optax.sgd,
        {"momentum": 0.8, "grad_clip_value": 0.05},
        lambda lr: optax.chain(optax.clip(0.05), optax.sgd(lr, 0.8)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WAYS)
def test_a_factory_is_any_function_that_makes_a_transformation(name):
    factory, arguments, make = WAYS[name]
    actual, _ = trained(factory, lr=table(RATES), **arguments)
    assert_same(actual, by_optax(lambda t: make(RATES[t]))[0])


COMPLETE = {
    "its own learning rate": (contrib.momo_adam, {}, contrib.momo_adam()),
    "none at all": (optax.adafactor, {}, optax.adafactor()),
    "one that is given": (lambda b1=0.9: optax.lion(0.01, b1), {"b1": 0.7}, optax.lion(0.01, 0.7)),
}


@pytest.mark.parametrize("name", COMPLETE)
def test_without_lr_a_factory_is_complete(name):
    factory, arguments, tx = COMPLETE[name]
    extras = {"value": 1.0} if "momo" in str(factory) else {}
    optimizer, states = begun(factory, **arguments)
    weights, state = START, tx.init(START)
    for _ in range(5):
        grads = gradient_of(weights)
        optimizer.step(gradient_of(values_of(states)), **extras)
        updates, state = tx.update(grads, state, weights, **extras)
        weights = optax.apply_updates(weights, updates)
    assert_same(values_of(states), weights)
    with pytest.raises(ValueError, match="the learning rate is inside it"):
        optimizer.get_last_lr()


GROUPED = {
    "lion": (optax.lion, {"b1": SHARES, "weight_decay": 1e-3}, {"b1": 0.5, "weight_decay": 0.2}),
    "muon": (contrib.muon, {"beta": 0.9}, {"beta": SHARES}),
    "adafactor": (optax.adafactor, {"momentum": 0.9}, {"momentum": 0.5}),
}


@pytest.mark.parametrize("name", slow_but(GROUPED, "lion"))
def test_groups_have_arguments_and_rates_of_their_own(name):
    factory, common, own = GROUPED[name]
    as_given = lambda values: {k: table(v) if np.ndim(v) else v for k, v in values.items()}  # noqa: E731
    at = lambda values, t: {k: v[t] if np.ndim(v) else v for k, v in values.items()}  # noqa: E731
    groups = {"^b$": {**as_given(own), "lr_scale": 0.5}}
    actual, optimizer = trained(factory, lr=table(RATES), groups=groups, **as_given(common))

    def make(t):
        parts = {
            "rest": factory(RATES[t], **at(common, t)),
            "own": factory(np.float32(0.5) * RATES[t], **at({**common, **own}, t)),
        }
        return optax.partition(parts, {"a": "rest", "b": "own", "c": "rest"})

    assert_same(actual, by_optax(make)[0])
    assert len(optimizer.optax_states()) == 2
    assert "^b$" in str(optimizer)


@pytest.mark.parametrize("factory", [contrib.schedule_free_sgd, contrib.schedule_free_adamw])
def test_the_evaluation_weights_of_schedule_free_are_those_of_optax(factory):
    actual, optimizer = trained(factory, lr=table(RATES), b1=0.8)
    (own,) = optimizer.optax_states()
    weights, state = by_optax(lambda t: factory(RATES[t], b1=0.8))
    expected = contrib.schedule_free_eval_params(state, weights)
    assert max(np.abs(expected[k] - weights[k]).max() for k in weights) > 1e-3
    assert_same(contrib.schedule_free_eval_params(own, actual), expected, tolerance=1e-5)


def test_an_objective_is_given_all_weights_as_registered_whatever_their_groups():
    layer = brainstate.ParamState({"weight": jnp.ones((2, 3)), "bias": jnp.ones(3)})
    optimizer = lrax.OptaxOptimizer(contrib.sophia, lr=0.01, groups={"bias": {"lr_scale": 0.5}})
    optimizer.register_trainable_weights({"net": {"layer": layer}})
    seen = []

    def objective(weights):
        seen.append(jax.tree.map(jnp.shape, weights))
        return sum(jnp.sum((w - 0.5) ** 4) for w in jax.tree.leaves(weights))

    optimizer.step(jax.grad(objective)({"net": {"layer": layer.value}}), obj_fn=objective)
    assert len(seen) > 2
    wanted = {"net": {"layer": {"weight": (2, 3), "bias": (3,)}}}
    assert all(shapes == wanted for shapes in seen)
    moments = [
        leaf for leaf in jax.tree.leaves(optimizer.optax_states()) if np.shape(leaf)[-1:] == (3,)
    ]
    assert len(moments) == 4  # also the curvature, which is 0 if the objective is of other weights
    assert all(np.all(leaf != 0) for leaf in moments)


def from_zero(start):
    return lrax.LambdaLR(1.0, lambda epoch: jnp.float32(start) + 0.1 * epoch)


@pytest.mark.parametrize("factory", [contrib.prodigy, contrib.dadapt_adamw])
def test_a_learning_rate_of_0_at_first_is_refused_where_it_gives_nan(factory):
    tried, _ = by_optax(lambda t: factory(0.1 * t), steps=3)
    assert all(np.isnan(w).all() for w in tried.values())
    with pytest.raises(ValueError, match=r"lr must not begin at 0.*above 0"):
        begun(factory, lr=from_zero(0.0))
    actual, _ = trained(factory, lr=from_zero(1e-3))
    assert all(np.isfinite(w).all() for w in actual.values())


KEPT = {
    "rprop": (optax.rprop, {}, "lr must be read"),
    "its direction": (optax.scale_by_rprop, {}, "lr must be read"),
    "injected": (optax.inject_hyperparams(optax.adam), {}, "lr must be read.*inject_hyperparams"),
    "injected inside": (lambda learning_rate: optax.inject_hyperparams(optax.sgd)(learning_rate), {}, "lr must be read"),
    "schedule-free": (contrib.schedule_free_sgd, {"b1": from_table(SHARES)}, "b1 must be read"),
    "adagrad": (optax.adagrad, {"initial_accumulator_value": table(DECAYS)}, "initial_accumulator_value must be"),
}  # fmt: skip


@pytest.mark.parametrize("name", KEPT)
def test_what_optax_reads_only_once_follows_no_schedule(name):
    factory, arguments, message = KEPT[name]
    with pytest.raises(ValueError, match=message):
        begun(factory, lr=table(RATES), **arguments)


@pytest.mark.parametrize("tx", [optax.polyak_sgd, optax.polyak_sgd(0.5)], ids=["factory", "made"])
def test_a_descent_that_needs_a_value_is_no_direction(tx):
    with pytest.raises(ValueError, match="already descends"):
        begun(tx, lr=0.1)


def test_a_direction_is_one_whatever_its_noise():
    for seed in range(9):
        begun(optax.add_noise(100.0, 0.55, seed), lr=0.1)


REFUSED = {
    "no such argument": (optax.lion, {"b_1": 0.9}, TypeError, "Did you mean b1"),
    "learning_rate": (optax.lion, {"learning_rate": 0.1}, TypeError, "must be passed as lr"),
    "a decay it has not": (optax.rmsprop, {"weight_decay": 0.1}, TypeError, "add_decayed_weights"),
    "one that it needs": (contrib.schedule_free, {}, TypeError, "needs base_optimizer.*Pass base_optimizer"),
    "a scheduler in a pair": (contrib.prodigy, {"betas": (table(SHARES), 0.9)}, TypeError, "betas must be made of numbers"),
    "a negative decay": (optax.lion, {"weight_decay": -0.1}, ValueError, "weight_decay must be"),
    "b1 of 1": (optax.lion, {"b1": lambda t: 1.0 + 0 * t}, ValueError, r"b1 must be a number in \[0, 1\)"),
    "an option of no group": (optax.lion, {"groups": {"a": {"b_1": 0.9}}}, ValueError, "must have options"),
    "a class": (optax.EmptyState, {}, TypeError, "tx must be an optax.GradientTransformation"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_mistakes_are_refused(name):
    tx, arguments, kind, message = REFUSED[name]
    with pytest.raises(kind, match=message):
        begun(tx, lr=0.1, **arguments)


def test_a_factory_that_needs_a_learning_rate_is_refused_without():
    with pytest.raises(TypeError, match="tx must be given lr"):
        lrax.OptaxOptimizer(optax.lion)


def test_descriptions_tell_arguments_apart():
    old, _ = begun(optax.lion, lr=0.1, b1=0.9)
    assert "b1=0.9" in repr(old)
    same, _ = begun(optax.lion, lr=0.1, b1=0.9)
    same.load_state_dict(old.state_dict())
    other, _ = begun(optax.lion, lr=0.1, b1=0.8)
    with pytest.raises(ValueError, match="b1"):
        other.load_state_dict(old.state_dict())


def test_a_transformation_is_as_a_factory_that_makes_it():
    made, _ = trained(optax.scale_by_lion(), lr=table(RATES))
    by_name, _ = trained(optax.scale_by_lion, lr=table(RATES))
    for key, weight in made.items():
        assert_same_bits(by_name[key], weight)
