"""SGD, Adam, AdamW and OptaxOptimizer train exactly as the corresponding optax chain does."""

import dataclasses
import functools
from typing import Any

import brainstate
import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lrax
from helpers import (
    METRICS,
    assert_close,
    assert_trees_close,
    assert_trees_equal,
    global_norm,
    last_lr,
    slow_but,
    step,
    takes_metric,
    values_of,
    weekly_but,
)
from registry import FEW_KINDS, KINDS

STEPS = 50
RNG = np.random.default_rng(7)
X = jnp.asarray(RNG.normal(size=(16, 4)), jnp.float32)
Y = jnp.asarray(RNG.normal(size=(16, 3)), jnp.float32)
START = {
    "w": jnp.asarray(RNG.normal(size=(4, 3)), jnp.float32),
    "b": jnp.asarray(RNG.normal(size=(3,)), jnp.float32),
}


def loss_of(values):
    return jnp.mean((X @ values["w"] + values["b"] - Y) ** 2)


def new_states(start=START):
    return {key: brainstate.ParamState(value) for key, value in start.items()}


def gradient(states):
    return brainstate.transform.grad(lambda: loss_of(values_of(states)), states)()


# name: (our optimizer for a scheduler, optax's for a schedule)
OPTIMIZERS = {
    "SGD": (lambda lr: lrax.SGD(lr=lr), optax.sgd),
    "SGD with momentum": (
        lambda lr: lrax.SGD(lr=lr, momentum=0.9),
        lambda lr: optax.sgd(lr, momentum=0.9),
    ),
    "SGD with nesterov and decay": (
        lambda lr: lrax.SGD(lr=lr, momentum=0.8, nesterov=True, weight_decay=0.02),
        lambda lr: optax.chain(
            optax.add_decayed_weights(0.02), optax.sgd(lr, momentum=0.8, nesterov=True)
        ),
    ),
    "Adam": (
        lambda lr: lrax.Adam(lr=lr, betas=(0.8, 0.99), eps=1e-6),
        lambda lr: optax.adam(lr, b1=0.8, b2=0.99, eps=1e-6),
    ),
    "Adam with amsgrad and decay": (
        lambda lr: lrax.Adam(lr=lr, amsgrad=True, weight_decay=0.02),
        lambda lr: optax.chain(optax.add_decayed_weights(0.02), optax.amsgrad(lr)),
    ),
    "AdamW": (
        lambda lr: lrax.AdamW(lr=lr, weight_decay=0.05),
        lambda lr: optax.adamw(lr, weight_decay=0.05),
    ),
    "OptaxOptimizer of lion": (
        lambda lr: lrax.OptaxOptimizer(optax.scale_by_lion(), lr=lr),
        lambda lr: optax.lion(lr, weight_decay=0.0),
    ),
}


def as_schedule(kind):
    """The scheduler itself, as an optax schedule; for one with a memory the rates it had on its way."""
    scheduler = KINDS[kind]()
    if scheduler.learning is None:
        return scheduler
    rates = []
    for epoch in range(STEPS):
        rates.append(last_lr(scheduler))
        step(scheduler, epoch)
    assert len(set(rates)) > 3
    table = jnp.asarray(rates)
    return lambda count: table[count]


def optax_run(transforms, start, grad, steps=STEPS):
    """Parameters after `steps` of each of many optax optimizers, in one compiled loop."""

    def body(carry, _):
        new = {}
        for key, (values, state) in carry.items():
            updates, state = transforms[key].update(grad(values), state, values)
            new[key] = optax.apply_updates(values, updates), state
        return new, None

    first = {key: (start, tx.init(start)) for key, tx in transforms.items()}
    last, _ = jax.lax.scan(body, first, length=steps)
    return {key: values for key, (values, _) in last.items()}


@functools.cache
def wanted(name):
    transforms = {kind: OPTIMIZERS[name][1](as_schedule(kind)) for kind in FEW_KINDS}
    return optax_run(transforms, START, jax.grad(loss_of))


@functools.cache
def compiled_runs(name):
    """All kinds of schedulers with this optimizer, in one compiled loop."""
    runs, options = {}, {}
    for kind, make in FEW_KINDS.items():
        scheduler = make()
        options[kind] = ["metric"] if takes_metric(scheduler) else []
        states = new_states()
        runs[kind] = scheduler, OPTIMIZERS[name][0](scheduler), states
        runs[kind][1].register_trainable_weights(states)

    def body(epoch):
        metric = jnp.asarray(METRICS)[epoch]
        for kind, (scheduler, optimizer, states) in runs.items():
            optimizer.step(gradient(states))
            scheduler.step(**dict.fromkeys(options[kind], metric))

    def train():
        brainstate.transform.for_loop(body, jnp.arange(STEPS))

    brainstate.transform.jit(train)()
    return {kind: values_of(states) for kind, (_, _, states) in runs.items()}


@pytest.mark.parametrize("kind", FEW_KINDS)
@pytest.mark.parametrize("name", weekly_but(OPTIMIZERS, "AdamW"))
def test_same_parameters_as_optax_compiled(name, kind):
    result = compiled_runs(name)[kind]
    assert_trees_close(result, wanted(name)[kind])
    assert float(jnp.abs(result["w"] - START["w"]).max()) > 1e-2


@pytest.mark.parametrize("kind", FEW_KINDS)
@pytest.mark.parametrize("name", weekly_but(OPTIMIZERS, "AdamW"))
def test_same_parameters_as_optax_eager(name, kind):
    scheduler, states = KINDS[kind](), new_states()
    optimizer = OPTIMIZERS[name][0](scheduler)
    optimizer.register_trainable_weights(states)
    grad = jitted_gradient()
    for epoch in range(STEPS):
        optimizer.step(grad(values_of(states)))
        step(scheduler, epoch)
    assert_trees_close(values_of(states), wanted(name)[kind])
    assert int(optimizer.step_count.value) == STEPS


@functools.cache
def jitted_gradient():
    return jax.jit(jax.grad(loss_of))


# --- what a single optimizer does -------------------------------------------------------------------


def train(optimizer, states, steps=10, grad=None):
    """`steps` compiled updates at a fixed learning rate."""
    update = brainstate.transform.jit(lambda: optimizer.step((grad or gradient)(states)))
    for _ in range(steps):
        update()
    return values_of(states)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_float_is_a_constant_learning_rate(name):
    states = new_states()
    optimizer = OPTIMIZERS[name][0](0.01)
    optimizer.register_trainable_weights(states)
    assert_close(optimizer.current_lr, 0.01)
    tx = OPTIMIZERS[name][1](0.01)
    result = train(optimizer, states)
    assert_trees_close(result, optax_run({0: tx}, START, jax.grad(loss_of), 10)[0])


@pytest.mark.parametrize("name", slow_but(OPTIMIZERS, "AdamW"))
@pytest.mark.parametrize("eager", [True, False])
def test_bfloat16_parameters_stay_bfloat16(name, eager):
    start = jax.tree.map(lambda v: v.astype(jnp.bfloat16), START)
    states = new_states(start)
    optimizer = OPTIMIZERS[name][0](lrax.WarmupScheduler(0.05, 4))
    optimizer.register_trainable_weights(states)
    if eager:
        for _ in range(3):
            optimizer.step(gradient(states))
            optimizer.lr_scheduler.step()
    else:

        def body(_):
            optimizer.step(gradient(states))
            optimizer.lr_scheduler.step()

        brainstate.transform.for_loop(body, jnp.arange(3))
    for key, state in states.items():
        assert state.value.dtype == jnp.bfloat16
        assert not np.array_equal(state.value, start[key])
    exact = optax_run(
        {0: OPTIMIZERS[name][1](lambda count: 0.05 * count / 4)},
        jax.tree.map(lambda v: v.astype(jnp.float32), start),
        jax.grad(loss_of),
        3,
    )[0]
    assert_trees_close(
        jax.tree.map(lambda v: v.astype(jnp.float32), values_of(states)), exact, 0.01, 0.01
    )


def test_norm_is_clipped_over_all_groups_together():
    states = new_states()
    optimizer = lrax.SGD(lr=0.1, grad_clip_norm=0.5)
    optimizer.register_trainable_weights({"w": states["w"]})
    optimizer.add_param_group({"b": states["b"]})
    assert global_norm(jax.grad(loss_of)(START)) > 0.5
    tx = optax.chain(optax.clip_by_global_norm(0.5), optax.sgd(0.1))
    assert_trees_close(
        train(optimizer, states), optax_run({0: tx}, START, jax.grad(loss_of), 10)[0]
    )


@pytest.mark.parametrize("names", [{"clip_norm": 0.5}, {"grad_clip_norm": 0.5}])
@pytest.mark.parametrize("make", [lrax.SGD, lrax.Adam, lrax.AdamW])
def test_clip_norm_has_two_names(make, names):
    states, twins = new_states(), new_states()
    optimizer, twin = make(lr=0.1, **names), make(lr=0.1)
    optimizer.register_trainable_weights(states)
    twin.register_trainable_weights(twins)
    for _ in range(2):
        grads = jitted_gradient()(values_of(states))
        scale = min(1.0, 0.5 / global_norm(grads))
        assert scale < 1
        optimizer.step(grads)
        twin.step(jax.tree.map(lambda g, scale=scale: scale * g, grads))
        assert_trees_close(values_of(states), values_of(twins), rtol=1e-5, floor=1e-5)


def test_gradient_values_are_clipped():
    states = new_states()
    optimizer = lrax.SGD(lr=0.1, grad_clip_value=0.1)
    optimizer.register_trainable_weights(states)
    assert float(jnp.abs(jax.grad(loss_of)(START)["w"]).max()) > 0.1
    tx = optax.chain(optax.clip(0.1), optax.sgd(0.1))
    assert_trees_close(
        train(optimizer, states), optax_run({0: tx}, START, jax.grad(loss_of), 10)[0]
    )


def test_norm_is_clipped_before_values():
    states = new_states()
    optimizer = lrax.SGD(lr=0.1, grad_clip_norm=0.5, grad_clip_value=0.2)
    optimizer.register_trainable_weights(states)
    tx = optax.chain(optax.clip_by_global_norm(0.5), optax.clip(0.2), optax.sgd(0.1))
    assert_trees_close(
        train(optimizer, states), optax_run({0: tx}, START, jax.grad(loss_of), 10)[0]
    )


def test_a_complete_optimizer_is_used_as_it_is():
    states = new_states()
    optimizer = lrax.OptaxOptimizer(optax.adam(1e-3))
    optimizer.register_trainable_weights(states)
    result = train(optimizer, states)
    exact = optax_run({0: optax.adam(1e-3)}, START, jax.grad(loss_of), 10)[0]
    assert_trees_close(result, exact)


@pytest.mark.parametrize(
    "tx",
    [
        optax.adam(1e-3),
        optax.sgd(0.1),
        optax.adamw(optax.warmup_cosine_decay_schedule(0.0, 1e-3, 10, 100)),
        optax.lion(1e-4),
    ],
)
def test_a_complete_optimizer_with_a_learning_rate_is_refused(tx):
    states = new_states()
    optimizer = lrax.OptaxOptimizer(tx, lr=1e-3)
    with pytest.raises((TypeError, ValueError), match="tx"):
        optimizer.register_trainable_weights(states)
    assert_trees_equal(values_of(states), START)


def test_extra_arguments_reach_optax():
    states = new_states()
    tx = optax.chain(optax.scale_by_adam(), optax.contrib.reduce_on_plateau(0.5, patience=1))
    optimizer = lrax.OptaxOptimizer(tx, lr=0.01)
    optimizer.register_trainable_weights(states)
    values, state = START, tx.init(START)
    for _ in range(5):
        optimizer.step(jitted_gradient()(values_of(states)), value=jnp.float32(1.0))
        updates, state = tx.update(jax.grad(loss_of)(values), state, values, value=jnp.float32(1.0))
        values = optax.apply_updates(
            values, jax.tree.map(lambda g: -jnp.float32(0.01) * g, updates)
        )
    assert_trees_close(values_of(states), values)


# --- which weights ----------------------------------------------------------------------------------


def test_a_shared_weight_is_updated_once():
    state = brainstate.ParamState(START["w"])
    optimizer = lrax.SGD(lr=0.1)
    optimizer.register_trainable_weights({"encoder": state, "decoder": state})
    grad = jnp.ones_like(START["w"])
    optimizer.step({"encoder": grad, "decoder": grad})
    assert_close(state.value, START["w"] - np.float32(0.1))
    assert len(optimizer.param_states) == 1


def test_frozen_weights_are_left_alone():
    states = new_states()
    optimizer = lrax.Adam(lr=0.1)
    optimizer.register_trainable_weights({"w": states["w"]})
    train(optimizer, states, 3)
    assert np.array_equal(states["b"].value, START["b"])
    assert not np.array_equal(states["w"].value, START["w"])


def test_a_missing_gradient_is_named():
    states = new_states()
    optimizer = lrax.SGD(lr=0.1)
    optimizer.register_trainable_weights(states)
    with pytest.raises(ValueError, match="'b'"):
        optimizer.step({"w": jnp.ones((4, 3))})
    assert_trees_equal(values_of(states), START)
    assert int(optimizer.step_count.value) == 0


@pytest.mark.parametrize("make", [lrax.SGD, lrax.Adam, lrax.AdamW, lrax.OptaxOptimizer])
def test_stepping_before_registration_is_refused(make):
    with pytest.raises(ValueError, match="register_trainable_weights"):
        make(lr=0.1).step({"w": jnp.ones(3)})


def test_values_may_be_any_pytree():
    start = {"cell": (START["w"], [START["b"], {"gain": jnp.ones(())}])}
    state = brainstate.ParamState(start)

    def loss(value):
        w, (b, rest) = value["cell"]
        return loss_of({"w": w * rest["gain"], "b": b})

    optimizer = lrax.AdamW(lr=0.01)
    optimizer.register_trainable_weights({"net": state})
    grad = brainstate.transform.grad(lambda: loss(state.value), {"net": state})
    train(optimizer, {"net": state}, grad=lambda _: grad())
    exact = optax_run({0: optax.adamw(0.01, weight_decay=0.01)}, start, jax.grad(loss), 10)[0]
    assert_trees_close(state.value, exact)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_quantities_keep_their_unit(name):
    start = jnp.array([1.0, -2.0, 3.0])
    states = {"v": brainstate.ParamState(start * u.mV)}
    optimizer = OPTIMIZERS[name][0](0.01)
    optimizer.register_trainable_weights(states)

    def grad(_):
        return brainstate.transform.grad(
            lambda: jnp.sum((states["v"].value / u.mV) ** 2 / 2), states
        )()

    train(optimizer, states, grad=grad)
    optimizer.step(grad(None))  # eagerly, too
    value = states["v"].value
    assert isinstance(value, u.Quantity)
    assert value.unit == u.mV
    exact = optax_run({0: OPTIMIZERS[name][1](0.01)}, start, lambda v: v, 11)[0]
    assert_close(value.mantissa, exact)


def test_a_model_of_many_layers():
    brainstate.random.seed(0)
    model = brainstate.nn.Sequential(
        brainstate.nn.Linear(4, 8), brainstate.nn.ReLU(), brainstate.nn.Linear(8, 3)
    )
    params = model.states(brainstate.ParamState)
    grad = brainstate.transform.grad(lambda: jnp.mean((model(X) - Y) ** 2), params)
    optimizer = lrax.AdamW(lr=lrax.WarmupCosineSchedule(0.05, 5, 40))
    optimizer.register_trainable_weights(params)
    before = float(jnp.mean((model(X) - Y) ** 2))

    def body(_):
        optimizer.update(grad())
        optimizer.lr_scheduler.step()

    brainstate.transform.for_loop(body, jnp.arange(40))
    assert float(jnp.mean((model(X) - Y) ** 2)) < before / 2


GRADIENTS = {
    "a Python int": 2,
    "a Python float": 2.0,
    "whole numbers of NumPy": np.array(2),
    "whole numbers of jax": jnp.array(2),
    "True": np.array(True),
}


@pytest.mark.parametrize("label", GRADIENTS)
@pytest.mark.parametrize("clip", [None, 0.5])
@pytest.mark.parametrize("jit", [lambda f: f, lrax.jit])
def test_a_gradient_of_whole_numbers(label, clip, jit):
    weight = brainstate.ParamState(jnp.float32(1.0))
    optimizer = lrax.SGD(lr=0.1, clip_norm=clip).register_trainable_weights({"w": weight})
    jit(lambda: optimizer.step({"w": GRADIENTS[label]}))()
    assert_close(weight.value, 1 - 0.1 * (clip or float(GRADIENTS[label])))
    assert weight.value.dtype == jnp.float32


@pytest.mark.slow
@pytest.mark.parametrize("dtype, gradient", [(jnp.float16, 1000.0), (jnp.bfloat16, 1.0)])
def test_the_norm_of_small_types_is_a_float32(dtype, gradient):
    """In bfloat16 a sum of ones ends at 256; in float16 there is no square of 1000."""
    states = {str(i): brainstate.ParamState(jnp.zeros((), dtype)) for i in range(300)}
    optimizer = lrax.SGD(lr=1.0, clip_norm=10.0).register_trainable_weights(states)
    optimizer.step(dict.fromkeys(states, jnp.asarray(gradient, dtype)))
    found = np.array([state.value for state in states.values()], np.float64)
    assert states["0"].value.dtype == dtype
    np.testing.assert_allclose(found, -10 / np.sqrt(300), rtol=4e-3)


def test_weights_of_whole_numbers_are_refused():
    with pytest.raises(TypeError, match="floating-point numbers, got int32 in 'table'"):
        lrax.SGD().register_trainable_weights({"table": brainstate.ParamState(jnp.arange(3))})


def test_loading_before_registration_is_refused():
    trained = lrax.Adam(lr=0.1).register_trainable_weights(new_states())
    with pytest.raises(ValueError, match="register_trainable_weights"):
        lrax.Adam(lr=0.1).load_state_dict(trained.state_dict())


def test_gradients_in_a_tree_of_the_users_kind():
    @jax.tree_util.register_dataclass
    @dataclasses.dataclass
    class Pair:
        a: Any
        b: Any

        def __getitem__(self, i):
            return (self.a, self.b)[i]

    states = [brainstate.ParamState(jnp.ones(1)) for _ in range(2)]
    optimizer = lrax.SGD(lr=0.1).register_trainable_weights(Pair(*states))
    optimizer.step(Pair(jnp.ones(1), jnp.zeros(1)))
    np.testing.assert_allclose([state.value[0] for state in states], [0.9, 1.0], rtol=1e-6)


def test_a_gradient_of_torch_is_none():
    torch = pytest.importorskip("torch")
    optimizer = lrax.SGD(lr=0.1).register_trainable_weights(
        {"w": brainstate.ParamState(jnp.ones(3))}
    )
    with pytest.raises(TypeError, match="gradient of 'w' must be an array of numbers, got tensor"):
        optimizer.step({"w": torch.ones(3)})
