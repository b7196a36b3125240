"""Whatever optax offers trains in OptaxOptimizer as it does by itself, eagerly and compiled, and resumes."""

from typing import NamedTuple

import brainstate
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lrax
from helpers import assert_trees_close, assert_trees_equal, compiled_programs, slow_but, weekly_but

START = {
    "w": np.linspace(-1.0, 1.0, 12, dtype=np.float32).reshape(3, 4),
    "b": np.linspace(0.5, 1.5, 4, dtype=np.float32),
}
STEPS = 7

SCHEDULE = optax.cosine_decay_schedule(0.1, 20)
COMPLETE = {
    "adam with a schedule": optax.adam(SCHEDULE),
    "sgd with momentum": optax.sgd(0.1, momentum=0.9, nesterov=True),
    "adafactor": optax.adafactor(0.1),
    "lion": optax.lion(0.01),
    "lamb": optax.lamb(SCHEDULE),
    "yogi, clipped": optax.chain(optax.clip_by_global_norm(0.5), optax.yogi(0.1)),
    "every third step": optax.MultiSteps(optax.adam(0.1), every_k_schedule=3).gradient_transformation(),
    "finite only": optax.apply_if_finite(optax.adam(0.1), max_consecutive_errors=3),
    "hyper-parameters in the state": optax.inject_hyperparams(optax.adamw)(SCHEDULE),
    "masked by name": optax.chain(
        optax.masked(optax.adam(0.1), {"w": True, "b": False}),
        optax.masked(optax.set_to_zero(), {"w": False, "b": True}),
    ),
    "partitioned by name": optax.partition(
        {"fast": optax.adam(SCHEDULE), "slow": optax.sgd(1e-3)}, {"w": "fast", "b": "slow"}
    ),
    "schedule-free": optax.contrib.schedule_free_sgd(0.1),
    "moving average": optax.chain(optax.adam(0.1), optax.ema(0.9)),
    "noise": optax.chain(optax.sgd(0.1), optax.add_noise(0.1, 0.5, 0)),
    "plateau": optax.chain(optax.adam(0.1), optax.contrib.reduce_on_plateau(patience=1, factor=0.5)),
    "dog": optax.contrib.dog(1.0),
    "prodigy": optax.contrib.prodigy(0.1),
    "moments in bfloat16": optax.adam(0.1, mu_dtype=jnp.bfloat16),
}  # fmt: skip


QUICK = (
    "adam with a schedule",
    "every third step",
    "hyper-parameters in the state",
    "partitioned by name",
    "noise",
    "plateau",
)


def loss_of(weights):
    return sum(jnp.sum((leaf - 0.3) ** 2) for leaf in jax.tree.leaves(weights))


def extras(tx, loss):
    return {"value": loss} if tx is COMPLETE["plateau"] else {}


def by_itself(tx, steps=STEPS):
    tx = optax.with_extra_args_support(tx)

    @jax.jit
    def step(weights, state):
        loss, grads = jax.value_and_grad(loss_of)(weights)
        updates, state = tx.update(grads, state, weights, **extras(tx, loss))
        return optax.apply_updates(weights, updates), state

    weights = jax.tree.map(jnp.asarray, START)
    state = tx.init(weights)
    for _ in range(steps):
        weights, state = step(weights, state)
    return weights


class Training:
    def __init__(self, tx):
        self.states = {name: brainstate.ParamState(jnp.asarray(v)) for name, v in START.items()}
        self.optimizer = lrax.OptaxOptimizer(tx)
        self.optimizer.register_trainable_weights(self.states)
        self.tx = tx

    def step(self):
        grads, loss = brainstate.transform.grad(
            lambda: loss_of(self.values()), self.states, return_value=True
        )()
        self.optimizer.step(grads, **extras(self.tx, loss))

    def values(self):
        return {name: state.value for name, state in self.states.items()}


@pytest.mark.parametrize("jit", weekly_but([None, lrax.jit, brainstate.transform.jit], lrax.jit))
@pytest.mark.parametrize("name", weekly_but(COMPLETE, *QUICK))
def test_trains_as_by_itself(name, jit):
    run = Training(COMPLETE[name])
    step = run.step if jit is None else jit(run.step)
    for _ in range(STEPS):
        step()
    assert_trees_close(run.values(), by_itself(COMPLETE[name]), rtol=2e-5)
    assert run.optimizer.step_count == STEPS
    assert not np.array_equal(run.values()["w"], START["w"])
    with compiled_programs() as compiled:
        step()
    assert not compiled


@pytest.mark.parametrize("name", slow_but(COMPLETE, *QUICK))
def test_resumes_to_the_same_bits(name):
    whole, first, second = (Training(COMPLETE[name]) for _ in range(3))
    for _ in range(STEPS):
        whole.step()
    for _ in range(4):
        first.step()
    for path, state in second.states.items():
        state.value = first.states[path].value
    second.optimizer.load_state_dict(jax.tree.map(np.asarray, first.optimizer.state_dict()))
    for _ in range(STEPS - 4):
        second.step()
    assert_trees_equal(second.values(), whole.values())


def test_whole_numbers_are_one_array_and_arrays_one_tuple():
    run = Training(optax.inject_hyperparams(optax.adam)(SCHEDULE))
    run.optimizer.add_param_group({"c": brainstate.ParamState(jnp.ones(2))})
    run.optimizer.step({**START, "c": jnp.ones(2)})
    value = run.optimizer.opt_state.value
    assert value.counts.dtype == np.int32
    assert [int(count) for count in value.counts] == [1] * len(value.counts)
    assert len(value.counts) > 2
    assert [type(moments) for moments in value.moments] == [tuple, tuple]


def changing(update):
    return optax.chain(
        optax.GradientTransformation(lambda _: {"n": jnp.zeros([], jnp.int32)}, update),
        optax.scale(-1.0),
    )


@pytest.mark.parametrize(
    "tx, message",
    [
        (changing(lambda g, s, p=None: (g, {"m": s["n"]})), r"tx\.update must return a state like"),
        (changing(lambda g, s, p=None: (g, {"n": s["n"] * 0.5})), "int32.*got float32"),
        (changing(lambda g, s, p=None: (g, {"n": s["n"].astype("uint32")})), "int32.*got uint32"),
    ],
    ids=["another structure", "no whole number any more", "a larger one"],
)
def test_a_transformation_whose_state_changes_is_refused(tx, message):
    run = Training(tx)
    with pytest.raises(ValueError, match=message):
        run.step()
    assert_trees_equal(run.values(), START)


def test_a_named_chain_whose_state_is_another_kind_of_dict_afterwards():
    run = Training(optax.named_chain(("z", optax.scale_by_adam()), ("a", optax.scale(-0.1))))
    for _ in range(STEPS):
        run.step()
    chain = optax.chain(optax.scale_by_adam(), optax.scale(-0.1))
    assert_trees_close(run.values(), by_itself(chain), rtol=2e-5)


class Counted(NamedTuple):
    last_step: jax.Array
    nu: jax.Array


@pytest.mark.parametrize("accumulate_steps", [1, 2])
@pytest.mark.parametrize("field", ["mean", "part", "group", "moment"])
def test_a_state_may_have_the_names_of_what_stands_beside_it(field, accumulate_steps):
    """In a checkpoint, where a weight has the mean of its gradients and its place."""
    own = NamedTuple("own", [(field, dict)])

    def factory(decay=0.5):
        def update(grads, state, params=None):
            new = jax.tree.map(lambda old, g: decay * old + g, state[0], grads)
            return new, own(new)

        init = lambda params: own(jax.tree.map(jnp.zeros_like, params))  # noqa: E731
        return optax.GradientTransformation(init, update)

    def begun(value):
        state = brainstate.ParamState(value)
        made = lrax.OptaxOptimizer(factory, lr=0.1, decay=0.5, accumulate_steps=accumulate_steps)
        return state, made.register_trainable_weights({"w": state})

    def train(optimizer, steps):
        for i in steps:
            optimizer.step({"w": jnp.arange(3.0) + i})

    state, optimizer = begun(jnp.ones(3))
    train(optimizer, range(3))
    resumed, another = begun(jnp.copy(state.value))
    another.load_state_dict(jax.tree.map(np.asarray, optimizer.state_dict()))
    for each in (optimizer, another):
        train(each, range(3, 7))
    assert_trees_equal(resumed.value, state.value)


def test_what_a_state_of_a_user_means_is_not_guessed():
    def update(grads, state, params=None):
        return grads, Counted(state.last_step + 1, state.nu - 1)

    init = lambda params: Counted(jnp.int32(-5), jnp.float32(0))  # noqa: E731
    run = Training(optax.chain(optax.GradientTransformation(init, update), optax.scale(-0.1)))
    run.step()
    saved = run.optimizer.state_dict()
    run.optimizer.load_state_dict(saved)
    assert_trees_equal(run.optimizer.state_dict(), saved)


def test_arrays_of_the_transformation_are_not_given_away():
    """Its init may return what it needs again: the seed of optax.add_noise up to 0.2.5, for one."""
    first = jnp.arange(4.0)

    def update(grads, state, params=None):
        return jax.tree.map(lambda g: -0.1 * g * state["n"][0], grads), {"n": state["n"] + first}

    run = Training(optax.GradientTransformation(lambda _: {"n": first}, update))
    step = lrax.jit(run.step)
    for _ in range(3):
        step()
    assert not first.is_deleted()
    twin = Training(run.tx)
    twin.optimizer.step(START)
    np.testing.assert_array_equal(twin.optimizer.opt_state.value.moments[0][0], [0, 2, 4, 6])


def test_a_dozen_groups_come_back_in_their_order():
    def make(scale):
        states = [brainstate.ParamState(jnp.full(2, scale * (i + 1.0))) for i in range(12)]
        optimizer = lrax.Adam(lr=0.1)
        optimizer.register_trainable_weights({"0": states[0]})
        for i, state in enumerate(states[1:], start=1):
            optimizer.add_param_group({str(i): state})
        for _ in range(3):
            optimizer.step({str(i): state.value for i, state in enumerate(states)})
        return optimizer

    old, new = make(1.0), make(-3.0)
    new.load_state_dict(old.state_dict())
    assert_trees_equal(new.opt_state.value, old.opt_state.value)
    assert [float(mu[0]) for mu, _ in new.opt_state.value.moments] == sorted(
        float(mu[0]) for mu, _ in new.opt_state.value.moments
    )


def test_a_tx_may_descend_with_some_weights_and_ascend_with_others():
    """As for two players of a game."""
    players = {"w": "lower", "b": "higher"}
    tx = optax.multi_transform({"lower": optax.adam(1e-3), "higher": optax.sgd(-0.5)}, players)
    run = Training(tx)
    run.step()
    assert_trees_close(run.values(), by_itself(tx, steps=1), rtol=2e-5)


@pytest.mark.parametrize("update", [lambda g: -0.125, lambda g: -g[:1]], ids=["a number", "a row"])
def test_updates_are_spread_over_their_weight_as_optax_does(update):
    tx = optax.stateless(lambda updates, _: jax.tree.map(update, updates))
    state = brainstate.ParamState(jnp.ones((2, 3)))
    optimizer = lrax.OptaxOptimizer(tx).register_trainable_weights({"w": state})
    gradient = jnp.arange(6.0).reshape(2, 3)
    optimizer.step({"w": gradient})
    np.testing.assert_array_equal(state.value, np.ones((2, 3)) + np.asarray(update(gradient)))


@pytest.mark.parametrize("lr", [None, 0.1])
def test_a_transformation_of_a_users_takes_what_it_knows(lr):
    """As optax.contrib.sam its grad_fn: what it is, only it knows."""
    tx = optax.conditionally_transform(
        optax.scale(2.0), lambda step, boost: boost, forward_extra_args=True
    )
    tx = optax.chain(tx, optax.scale(-0.1)) if lr is None else tx
    state = brainstate.ParamState(jnp.ones(3))
    optimizer = lrax.OptaxOptimizer(tx, lr=lr).register_trainable_weights({"w": state})
    optimizer.step({"w": jnp.ones(3)}, boost=jnp.array(True))
    np.testing.assert_allclose(state.value, 0.8, rtol=1e-6)
    optimizer.step({"w": jnp.ones(3)}, boost=jnp.array(False))
    np.testing.assert_allclose(state.value, 0.7, rtol=1e-6)


class OwnTx(lrax.OptaxOptimizer):
    def default_tx(self):
        return optax.scale_by_lion()

    def __init__(self, lr):
        super().__init__(self.default_tx(), lr=lr)


def test_a_subclass_of_braintools_that_passes_what_its_hook_returns():
    state = brainstate.ParamState(jnp.ones(3))
    OwnTx(0.1).register_trainable_weights({"w": state}).step({"w": jnp.ones(3)})
    np.testing.assert_allclose(state.value, 0.9, rtol=1e-6)
