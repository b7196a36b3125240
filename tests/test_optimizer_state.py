"""The state of an optimizer keeps its dtype, shape and structure, whatever comes in; what would break it is refused."""

import brainstate
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lrax
from helpers import assert_close, assert_trees_equal, values_of, weekly_but

HALF = {"bfloat16": jnp.bfloat16, "float16": jnp.float16}
MAKERS = {
    "SGD": lambda: lrax.SGD(lr=0.1, momentum=0.9),
    "Adam": lambda: lrax.Adam(lr=0.01, amsgrad=True),
    "AdamW": lambda: lrax.AdamW(lr=0.01),
    "lion": lambda: lrax.OptaxOptimizer(optax.scale_by_lion(), lr=0.01),
    "a complete one": lambda: lrax.OptaxOptimizer(optax.adam(0.01)),
}


def weight(dtype=jnp.float32, *shape):
    return brainstate.ParamState(jnp.linspace(-1, 1, 4).astype(dtype).reshape(shape or (4,)))


def kinds(optimizer):
    leaves, structure = jax.tree.flatten(optimizer.opt_state.value)
    return structure, [
        (leaf.shape, leaf.dtype, getattr(leaf, "weak_type", False)) for leaf in leaves
    ]


# --- what the gradients are -------------------------------------------------------------------------

GRADIENTS = {
    "float32": lambda: jnp.ones(4),
    "bfloat16": lambda: jnp.ones(4, jnp.bfloat16),
    "float16": lambda: jnp.ones(4, jnp.float16),
    "float64 of NumPy": lambda: np.ones(4),
    "float32 of NumPy": lambda: np.ones(4, np.float32),
    "whole numbers": lambda: jnp.ones(4, jnp.int32),
    "weak": lambda: jnp.broadcast_to(jnp.asarray(1.0), (4,)),
}
WEIGHTS = {"float32": jnp.float32, **HALF}
pairs = [(w, g) for w in WEIGHTS for g in GRADIENTS]


@pytest.mark.parametrize("x64", [False, True])
@pytest.mark.parametrize("weight_kind, gradient", pairs)
@pytest.mark.parametrize("name", weekly_but(MAKERS, "SGD"))
def test_the_state_stays_what_it_is(name, weight_kind, gradient, x64):
    with jax.enable_x64(x64):
        states = {"w": weight(WEIGHTS[weight_kind])}
        optimizer = MAKERS[name]().register_trainable_weights(states)
        before = kinds(optimizer)
        optimizer.step({"w": GRADIENTS[gradient]()})
        assert kinds(optimizer) == before
        traces = []

        def step(g):
            traces.append(1)
            optimizer.step({"w": g})

        compiled = lrax.jit(step)
        for _ in range(2):
            compiled(GRADIENTS[gradient]())
        assert kinds(optimizer) == before
        assert len(traces) == 1
        g = GRADIENTS[gradient]()
        brainstate.transform.for_loop(lambda _: optimizer.step({"w": g}), jnp.arange(2))
        assert kinds(optimizer) == before
        assert states["w"].value.dtype == WEIGHTS[weight_kind]


def test_a_float64_weight_has_float64_moments():
    with jax.enable_x64(True):
        states = {"w": brainstate.ParamState(jnp.ones(2))}
        optimizer = lrax.Adam(lr=0.1).register_trainable_weights(states)
        optimizer.step({"w": jnp.ones(2, jnp.float32)})
        assert {leaf.dtype for leaf in jax.tree.leaves(optimizer.opt_state.value.moments)} == {
            np.dtype(np.float64)
        }


@pytest.mark.parametrize("jit", [lambda f: f, brainstate.transform.jit, lrax.jit])
@pytest.mark.parametrize("name", MAKERS)
def test_a_complex_gradient_of_a_real_weight_is_refused(name, jit):
    states = {"w": weight()}
    optimizer = MAKERS[name]().register_trainable_weights(states)
    before = jax.tree.map(np.asarray, (optimizer.opt_state.value, states["w"].value))
    with pytest.raises(TypeError, match=r"gradient of 'w' must be real.*complex64.*\.real"):
        jit(lambda: optimizer.step({"w": jnp.ones(4, jnp.complex64)}))()
    assert_trees_equal((optimizer.opt_state.value, states["w"].value), before)


def test_a_real_gradient_of_a_complex_weight():
    states = {"w": weight(jnp.complex64)}
    optimizer = lrax.SGD(lr=0.5, momentum=0.9).register_trainable_weights(states)
    before = kinds(optimizer)
    optimizer.step({"w": jnp.ones(4)})
    assert kinds(optimizer) == before
    np.testing.assert_allclose(states["w"].value, np.linspace(-1, 1, 4) - 0.5, rtol=1e-6)


# --- half precision ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", HALF.values(), ids=HALF)
def test_the_moments_of_half_precision_do_not_stand_still(dtype):
    """In bfloat16 the second one would stop at 0.5."""
    states = {"w": brainstate.ParamState(jnp.zeros((), dtype))}
    optimizer = lrax.Adam(lr=0.0).register_trainable_weights(states)
    g = jnp.ones((), dtype)
    brainstate.transform.for_loop(lambda _: optimizer.step({"w": g}), jnp.arange(3000))
    state = optimizer.state_dict()["opt_state"]["weights"]["w"]
    assert state["1.mu"].dtype == state["1.nu"].dtype == jnp.float32
    assert_close(state["1.nu"], 1 - 0.999**3000, rtol=1e-4)
    assert_close(state["1.mu"], 1 - 0.9**3000, rtol=1e-5)


def half_by_hand(tx, start, gradients):
    """The same training: a float32 optimizer on half-precision weights, rounded after each update."""
    value = start
    state = tx.init(value.astype(jnp.float32))
    for g in gradients:
        wide = value.astype(jnp.float32)
        updates, state = tx.update(g.astype(jnp.float32), state, wide)
        value = (wide + updates).astype(start.dtype)
    return value, state


@pytest.mark.parametrize("dtype", HALF.values(), ids=HALF)
@pytest.mark.parametrize(
    "ours, theirs",
    [
        (lambda: lrax.SGD(0.1, momentum=0.9), lambda: optax.sgd(0.1, momentum=0.9)),
        (lambda: lrax.AdamW(0.01), lambda: optax.adamw(0.01, weight_decay=0.01)),
        (lambda: lrax.OptaxOptimizer(optax.adam(0.01)), lambda: optax.adam(0.01)),
    ],
    ids=["SGD", "AdamW", "a complete one"],
)
def test_half_precision_trains_as_float32_does_and_is_rounded_once(ours, theirs, dtype):
    start = weight(dtype).value
    rng = np.random.default_rng(5)
    gradients = [jnp.asarray(rng.normal(size=4), jnp.float32) for _ in range(10)]
    states = {"w": brainstate.ParamState(jnp.copy(start))}
    optimizer = ours().register_trainable_weights(states)
    for g in gradients:
        optimizer.step({"w": g})
    wanted, _ = half_by_hand(theirs(), start, gradients)
    assert states["w"].value.dtype == dtype
    spacing = np.float32(jnp.finfo(dtype).eps) * np.abs(np.float32(wanted))
    off = np.abs(np.float32(states["w"].value) - np.float32(wanted))
    assert (off <= spacing).all()


@pytest.mark.parametrize("dtype", HALF.values(), ids=HALF)
@pytest.mark.parametrize("name", MAKERS)
def test_half_precision_resumes_bit_for_bit(name, dtype):
    rng = np.random.default_rng(7)
    gradients = [jnp.asarray(rng.normal(size=64), jnp.float32) for _ in range(10)]

    def begin():
        states = {"w": brainstate.ParamState(jnp.linspace(-1, 1, 64).astype(dtype))}
        return MAKERS[name]().register_trainable_weights(states), states

    optimizer, states = begin()
    for g in gradients[:5]:
        optimizer.step({"w": g})
    saved, value = optimizer.state_dict(), np.asarray(states["w"].value)
    for g in gradients[5:]:
        optimizer.step({"w": g})
    twin, twin_states = begin()
    twin_states["w"].value = jnp.asarray(value)
    twin.load_state_dict(saved)
    for g in gradients[5:]:
        twin.step({"w": g})
    assert_trees_equal(values_of(twin_states), values_of(states))


# --- counts -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("jit", [lambda f: f, lrax.jit])
def test_the_number_of_steps_stops_at_its_end(jit):
    states = {"w": weight()}
    optimizer = lrax.Adam(lr=0.01).register_trainable_weights(states)
    saved = optimizer.state_dict()
    saved["step_count"] = 2**31 - 2
    saved["opt_state"]["parts"]["0"]["1.count"] = 2**31 - 2
    optimizer.load_state_dict(saved)
    step = jit(lambda: optimizer.step({"w": jnp.ones(4)}))
    for _ in range(3):
        step()
        assert int(optimizer.step_count.value) == 2**31 - 1
    assert np.isfinite(states["w"].value).all()
    optimizer.load_state_dict(optimizer.state_dict())


# --- transformations that leave out steps -----------------------------------------------------------


def every(inner):
    return optax.MultiSteps(inner, 4).gradient_transformation()


LEAVES_OUT = {
    "optax.MultiSteps": every,
    "optax.apply_every": lambda inner: optax.chain(inner, optax.apply_every(4)),
    "optax.apply_if_finite": lambda inner: optax.apply_if_finite(inner, 3),
    "optax.conditionally_transform": lambda inner: optax.conditionally_transform(
        inner, lambda step: step % 2 == 0
    ),
    "optax.conditionally_mask": lambda inner: optax.conditionally_mask(
        inner, lambda step: step % 2 == 0
    ),
}
OUTSIDE = {"weight_decay": 0.1, "grad_clip_norm": 1.0, "grad_clip_value": 1.0}


@pytest.mark.parametrize("argument", OUTSIDE)
@pytest.mark.parametrize("wrapper", LEAVES_OUT)
@pytest.mark.parametrize("chained", [False, True])
def test_what_would_act_at_steps_that_are_left_out(wrapper, argument, chained):
    tx = LEAVES_OUT[wrapper](optax.scale_by_adam())
    tx = optax.chain(optax.identity(), tx) if chained else tx
    optimizer = lrax.OptaxOptimizer(tx, lr=0.1, **{argument: OUTSIDE[argument]})
    with pytest.raises(ValueError, match=f"{argument} must be inside of {wrapper}.*Wrap optax"):
        optimizer.register_trainable_weights({"w": weight()})
    assert not optimizer.param_groups


def test_the_decay_of_a_group_that_would_act_at_steps_that_are_left_out():
    optimizer = lrax.OptaxOptimizer(every(optax.scale_by_adam()), lr=0.1)
    optimizer.register_trainable_weights({"w": weight()})
    with pytest.raises(ValueError, match=r"weight_decay must be inside of optax\.MultiSteps"):
        optimizer.add_param_group({"b": weight()}, weight_decay=0.1)
    assert len(optimizer.param_groups) == 1
    optimizer.add_param_group({"b": weight()}, weight_decay=0.0)


def test_the_remedy_decays_once_an_update():
    """As MultiSteps(adamw) does: nothing happens at three steps of four."""
    inner = optax.chain(optax.scale_by_adam(), optax.add_decayed_weights(0.1))
    states = {"w": brainstate.ParamState(jnp.ones(()))}
    optimizer = lrax.OptaxOptimizer(every(inner), lr=0.1).register_trainable_weights(states)
    for wanted in (1.0, 1.0, 1.0, 0.99, 0.99):
        optimizer.step({"w": jnp.zeros(())})
        assert_close(states["w"].value, wanted)


def test_multi_steps_itself_is_refused_with_the_remedy():
    with pytest.raises(TypeError, match=r"tx must be.*gradient_transformation\(\)"):
        lrax.OptaxOptimizer(optax.MultiSteps(optax.scale_by_adam(), 4), lr=0.1)


# --- complex weights --------------------------------------------------------------------------------


@pytest.mark.parametrize("later", [False, True])
def test_entries_of_complex_weights_cannot_be_clipped(later):
    optimizer = lrax.SGD(lr=0.1, grad_clip_value=0.5)
    if later:
        optimizer.register_trainable_weights({"w": weight()})
    add = optimizer.add_param_group if later else optimizer.register_trainable_weights
    with pytest.raises(ValueError, match=r"grad_clip_value.*'z' is complex64.*grad_clip_norm"):
        add({"z": weight(jnp.complex64)})
    assert list(optimizer.param_states) == (["w"] if later else [])
