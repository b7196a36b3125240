"""Every number of an optimizer may follow a schedule: the weights are those of optax and torch with its values."""

import functools

import brainstate
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lrax
from helpers import slow_but, values_of
from network import START, gradient_of, loss_of, new_states

STEPS, GAMMA, LR = 50, 0.98, 0.02

KINDS = {
    "scheduler": lambda high: lrax.ExponentialLR(high, GAMMA),
    "function": lambda high: lambda epoch: high * GAMMA**epoch,
    "optax": lambda high: optax.exponential_decay(high, 1, GAMMA),
}


def _decay(h, *rest):
    return optax.chain(optax.add_decayed_weights(h), *rest)


def _adam(**options):
    return optax.scale_by_adam(**options)


# name: (our optimizer with the hyper-parameter, its first value, optax's direction with one of its values)
PLACES = {
    "SGD momentum": (lambda **o: lrax.SGD(**o), "momentum", 0.95, lambda h: optax.trace(h)),
    "SGD nesterov momentum": (
        lambda **o: lrax.SGD(nesterov=True, **o),
        "momentum",
        0.95,
        lambda h: optax.trace(h, nesterov=True),
    ),
    "SGD weight_decay": (
        lambda **o: lrax.SGD(momentum=0.9, **o),
        "weight_decay",
        0.3,
        lambda h: _decay(h, optax.trace(0.9)),
    ),
    "SGD grad_clip_norm": (
        lambda **o: lrax.SGD(**o),
        "grad_clip_norm",
        0.2,
        lambda h: optax.clip_by_global_norm(h),
    ),
    "SGD clip_norm": (
        lambda **o: lrax.SGD(**o),
        "clip_norm",
        0.2,
        lambda h: optax.clip_by_global_norm(h),
    ),
    "SGD grad_clip_value": (
        lambda **o: lrax.SGD(**o),
        "grad_clip_value",
        0.05,
        lambda h: optax.clip(h),
    ),
    "Adam beta1": (lambda **o: lrax.Adam(**o), "beta1", 0.95, lambda h: _adam(b1=h)),
    "Adam beta2": (lambda **o: lrax.Adam(**o), "beta2", 0.95, lambda h: _adam(b2=h)),
    "Adam betas[0]": (
        lambda betas0, **o: lrax.Adam(betas=(betas0, 0.99), **o),
        "betas0",
        0.95,
        lambda h: _adam(b1=h, b2=0.99),
    ),
    "Adam weight_decay": (
        lambda **o: lrax.Adam(**o),
        "weight_decay",
        0.3,
        lambda h: _decay(h, _adam()),
    ),
    "Adam eps": (lambda **o: lrax.Adam(**o), "eps", 0.1, lambda h: _adam(eps=h)),
    "amsgrad beta1": (
        lambda **o: lrax.Adam(amsgrad=True, **o),
        "beta1",
        0.95,
        lambda h: optax.scale_by_amsgrad(b1=h),
    ),
    "AdamW weight_decay": (
        lambda **o: lrax.AdamW(**o),
        "weight_decay",
        0.5,
        lambda h: optax.chain(_adam(), optax.add_decayed_weights(h)),
    ),
    "AdamW betas[1]": (
        lambda betas1, **o: lrax.AdamW(betas=(0.9, betas1), weight_decay=0.0, **o),
        "betas1",
        0.95,
        lambda h: _adam(b1=0.9, b2=h),
    ),
    "AdamW eps": (
        lambda **o: lrax.AdamW(weight_decay=0.0, **o),
        "eps",
        0.1,
        lambda h: _adam(eps=h),
    ),
    "AdamW grad_clip_norm": (
        lambda **o: lrax.AdamW(weight_decay=0.0, **o),
        "grad_clip_norm",
        0.2,
        lambda h: optax.chain(optax.clip_by_global_norm(h), _adam()),
    ),
    "OptaxOptimizer weight_decay": (
        lambda **o: lrax.OptaxOptimizer(optax.scale_by_lion(), **o),
        "weight_decay",
        0.5,
        lambda h: optax.chain(optax.scale_by_lion(), optax.add_decayed_weights(h)),
    ),
}


def rates():
    """The learning rate at each epoch, in float64."""
    return LR * (1 + np.cos(np.pi * np.arange(STEPS) / STEPS)) / 2


def lr_schedule():
    return lrax.CosineAnnealingLR(LR, T_max=STEPS)


def optax_run(direction, lrs, values):
    """Weights after one update with each of these numbers, by optax alone."""

    def body(carry, now):
        weights, state = carry
        lr, h = now
        tx = optax.chain(direction(h), optax.scale(-lr))
        updates, state = tx.update(jax.grad(loss_of)(weights), state, weights)
        return (optax.apply_updates(weights, updates), state), None

    first = START, optax.chain(direction(0.5), optax.scale(1.0)).init(START)
    return jax.lax.scan(body, first, (jnp.float32(lrs), jnp.float32(values)))[0][0]


@functools.cache
def wanted():
    """Beside it what constant numbers would give."""
    paths = np.array([GAMMA ** np.arange(STEPS), np.ones(STEPS)])

    def run(values):
        return {
            name: optax_run(direction, rates(), first * values)
            for name, (_, _, first, direction) in PLACES.items()
        }

    both = jax.jit(jax.vmap(run))(jnp.asarray(paths))
    return {n: [{k: v[i] for k, v in tree.items()} for i in (0, 1)] for n, tree in both.items()}


def begun(name, kind):
    make, argument, first, _ = PLACES[name]
    states, scheduler = new_states(), lr_schedule()
    optimizer = make(lr=scheduler, **{argument: KINDS[kind](first)})
    return scheduler, optimizer.register_trainable_weights(states), states


@functools.cache
def compiled_runs(kind):
    """All of them in one compiled loop."""
    runs = {name: begun(name, kind) for name in PLACES}

    def body(_):
        for scheduler, optimizer, states in runs.values():
            optimizer.step(jax.grad(loss_of)(values_of(states)))
            scheduler.step()

    lrax.jit(lambda: brainstate.transform.for_loop(body, jnp.arange(STEPS)))()
    return {name: values_of(states) for name, (_, _, states) in runs.items()}


def furthest(a, b):
    """The largest difference of two networks, by the largest weight."""
    assert a.keys() == b.keys() == START.keys()
    largest = max(float(jnp.abs(leaf).max()) for leaf in b.values())
    return max(float(jnp.abs(a[key] - b[key]).max()) for key in a) / largest


QUICK = [("scheduler", name) for name in PLACES]
QUICK += [(kind, "AdamW weight_decay") for kind in ("function", "optax")]


ALL = [(kind, name) for kind in KINDS for name in PLACES]


@pytest.mark.parametrize("case", slow_but(ALL, *QUICK), ids=", ".join)
def test_the_weights_are_those_of_optax(case):
    kind, name = case
    scheduler, optimizer, states = begun(name, kind)
    for _ in range(STEPS):
        optimizer.step(gradient_of(values_of(states)))
        scheduler.step()
    right, constant = wanted()[name]
    assert furthest(values_of(states), right) <= 2e-6
    assert furthest(constant, right) > 1e-4  # the schedule matters


@pytest.mark.slow
@pytest.mark.parametrize("name", PLACES)
@pytest.mark.parametrize("kind", [next(iter(KINDS))])
def test_the_weights_are_those_of_optax_in_one_program(name, kind):
    assert furthest(compiled_runs(kind)[name], wanted()[name][0]) <= 2e-6


# --- Beside torch ---------------------------------------------------------------------------------

RNG = np.random.default_rng(3)
_M = RNG.normal(size=(12, 6))
CURVES, TARGET, FIRST = _M.T @ _M / 12, RNG.normal(size=6), RNG.normal(size=6)


def slope(w):
    """The gradient of a quadratic form, of NumPy arrays in float64 and others in float32."""
    return (w - TARGET) @ CURVES if isinstance(w, np.ndarray) else one_slope(w)


@jax.jit
def one_slope(w):
    return (w - jnp.float32(TARGET)) @ jnp.float32(CURVES)


def one_cycle(top, low, end, total=STEPS, share=0.3):
    """What torch's OneCycleLR makes of a learning rate or momentum: to `low` at the peak, on to `end`."""
    peak, found = share * total - 1, []
    for t in range(total):
        a, b, where = (
            (top, low, t / peak) if t <= peak else (low, end, (t - peak) / (total - 1 - peak))
        )
        found.append(b + (a - b) / 2 * (np.cos(np.pi * where) + 1))
    return np.array(found)


LRS = one_cycle(0.1 / 25, 0.1, 0.1 / 25 / 1e4)
MOMENTA = one_cycle(0.95, 0.85, 0.95)
DECAYS = 0.3 * (1 + np.cos(np.pi * np.arange(STEPS) / STEPS)) / 2


def torch_adamw():
    """What torch writes down for AdamW, in float64."""
    w, m, v = FIRST, 0.0, 0.0
    for n in range(STEPS):
        g, beta1, beta2 = slope(w), MOMENTA[n], 0.99
        w = w * (1 - LRS[n] * DECAYS[n])
        m = m + (g - m) * (1 - beta1)
        v = beta2 * v + (1 - beta2) * g * g
        denominator = np.sqrt(v) / np.sqrt(1 - beta2 ** (n + 1)) + 1e-8
        w = w - LRS[n] / (1 - beta1 ** (n + 1)) * m / denominator
    return w


def torch_sgd(nesterov):
    w, buffer = FIRST, None
    for n in range(STEPS):
        g, momentum = slope(w) + DECAYS[n] * w, MOMENTA[n]
        buffer = g if buffer is None else momentum * buffer + g
        w = w - LRS[n] * (g + momentum * buffer if nesterov else buffer)
    return w


def decaying():
    return lrax.CosineAnnealingLR(0.3, T_max=STEPS)


def cycle(**options):
    return lrax.OneCycleLR(0.1, total_steps=STEPS, **options)


def momentum_by_hand(epoch):
    return jnp.float32(MOMENTA)[epoch]


# name: (ours, what torch writes down, torch's own)
TORCH = {
    "AdamW, one cycle with momentum": (
        lambda: lrax.AdamW(cycle(cycle_momentum=True), betas=(0.9, 0.99), weight_decay=decaying()),
        torch_adamw,
        lambda torch, w: torch.optim.AdamW([w], betas=(0.9, 0.99)),
    ),
    "SGD with one cycle": (
        lambda: lrax.SGD(cycle(cycle_momentum=True), weight_decay=decaying()),
        lambda: torch_sgd(False),
        lambda torch, w: torch.optim.SGD([w], momentum=0.9),
    ),
    "SGD with a momentum of its own": (
        lambda: lrax.SGD(cycle(), momentum=momentum_by_hand, weight_decay=decaying()),
        lambda: torch_sgd(False),
        lambda torch, w: torch.optim.SGD([w], momentum=0.9),
    ),
    "SGD with nesterov": (
        lambda: lrax.SGD(cycle(cycle_momentum=True), weight_decay=decaying(), nesterov=True),
        lambda: torch_sgd(True),
        lambda torch, w: torch.optim.SGD([w], momentum=0.9, nesterov=True),
    ),
}


@pytest.mark.parametrize("name", TORCH)
def test_the_weights_are_those_of_torch(name):
    make, written_down, _ = TORCH[name]
    state = brainstate.ParamState(jnp.float32(FIRST))
    optimizer = make().register_trainable_weights({"w": state})
    for _ in range(STEPS):
        optimizer.step({"w": slope(state.value)})
        optimizer.lr.step()
    right = written_down()
    assert np.abs(np.asarray(state.value, np.float64) - right).max() <= 1e-5 * np.abs(right).max()
    assert np.abs(right - FIRST).max() > 0.1


@pytest.mark.parametrize("name", TORCH)
def test_what_is_written_down_is_torch(name):
    torch = pytest.importorskip("torch")
    _, written_down, make = TORCH[name]
    w = torch.nn.Parameter(torch.tensor(FIRST))
    optimizer = make(torch, w)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=STEPS)
    for n in range(STEPS):
        optimizer.param_groups[0]["weight_decay"] = DECAYS[n]
        w.grad = torch.tensor(slope(w.detach().numpy()))
        optimizer.step()
        if n < STEPS - 1:
            scheduler.step()
    np.testing.assert_allclose(w.detach().numpy(), written_down(), rtol=1e-9)
