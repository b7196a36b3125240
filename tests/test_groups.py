"""Groups by patterns: which leaves they take, what they train with beside optax, what freezing leaves alone."""

import re

import brainstate
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lrax
from helpers import (
    assert_close,
    assert_trees_close,
    assert_trees_equal,
    compiled_programs,
    in_three,
)

RNG = np.random.default_rng(3)
X = jnp.asarray(RNG.normal(size=(16, 4)), jnp.float32)
Y = jnp.asarray(RNG.normal(size=(16, 3)), jnp.float32)


def drawn(*shape):
    return jnp.asarray(RNG.normal(size=shape) / 2, jnp.float32)


START = {
    "embed": {"weight": drawn(4, 5), "bias": drawn(5)},
    "layers": [{"weight": drawn(5, 5), "bias": drawn(5)} for _ in range(2)],
    "norm": (drawn(5), drawn(5)),
    "head": {"weight": drawn(5, 3), "bias": drawn(3)},
}
STATES = ("embed", "layers.0", "layers.1", "norm", "head")


def loss_of(w):
    x = X @ w["embed"]["weight"] + w["embed"]["bias"]
    for layer in w["layers"]:
        x = jnp.tanh(x @ layer["weight"] + layer["bias"])
    scale, shift = w["norm"]
    return jnp.mean(((x * scale + shift) @ w["head"]["weight"] + w["head"]["bias"] - Y) ** 2)


gradient_of = jax.jit(jax.grad(loss_of))


def new_states():
    """One State for each dict or tuple of leaves, as the layers of brainstate have them."""
    return {
        key: [brainstate.ParamState(v) for v in value]
        if isinstance(value, list)
        else brainstate.ParamState(value)
        for key, value in START.items()
    }


def values_of(states):
    return jax.tree.map(
        lambda s: s.value, states, is_leaf=lambda s: isinstance(s, brainstate.State)
    )


def paths(tree):
    keys, _ = jax.tree_util.tree_flatten_with_path(tree)
    return [jax.tree_util.keystr(path, simple=True, separator=".") for path, _ in keys]


def labels_of(patterns):
    """The label of each leaf: the place of the first pattern that matches, or of what none does."""
    found = [
        next((i for i, pattern in enumerate(patterns) if re.search(pattern, path)), len(patterns))
        for path in paths(START)
    ]
    return jax.tree.structure(START).unflatten(found)


# --- Beside optax -----------------------------------------------------------------------------------


def cosine(base, scale=1.0):
    """40 epochs down to 1e-3."""
    return lambda t: (
        scale * (1e-3 + (base - 1e-3) * (1 + jnp.cos(jnp.pi * jnp.minimum(t, 40) / 40)) / 2)
    )


def decaying(t):
    return 0.02 * 0.9**t


PATTERNS = (r"bias|norm", r"^layers\.1", r"^embed", r"^head")
RATES = (cosine(0.03), cosine(0.05, 0.1), decaying, cosine(0.05))
"""Of the four patterns and the default, but for what is frozen."""


def groups(own, frozen, last):
    """An own base and option `own`; a factor; a schedule, or frozen; an option `last`."""
    third = {"frozen": True} if frozen else {"lr": lrax.ExponentialLR(0.02, gamma=0.9)}
    return dict(
        zip(
            PATTERNS,
            ({"lr": 0.03, **own}, {"lr_scale": 0.1}, third, last),
            strict=True,
        )
    )


def sgd(lr, momentum=0.9, decay=0.05):
    return optax.chain(optax.add_decayed_weights(decay), optax.sgd(lr, momentum))


def adam(lr, decay=0.05, betas=(0.8, 0.99)):
    return optax.chain(optax.add_decayed_weights(decay), optax.adam(lr, *betas))


def adamw(lr, decay=0.05, betas=(0.8, 0.99), eps=1e-8):
    return optax.adamw(lr, *betas, eps, weight_decay=decay)


def lion(lr, b1=0.9, decay=0.05):
    return optax.lion(lr, b1=b1, weight_decay=decay)


# name: optimizer, its optax chain, options of the first and last group, optax chain of these
MAKERS = {
    "SGD": (
        lambda **k: lrax.SGD(momentum=0.9, weight_decay=0.05, **k),
        sgd,
        {"weight_decay": 0.0},
        lambda lr: sgd(lr, decay=0.0),
        {"momentum": 0.5},
        lambda lr: sgd(lr, 0.5),
    ),
    "Adam": (
        lambda **k: lrax.Adam(betas=(0.8, 0.99), weight_decay=0.05, **k),
        adam,
        {"weight_decay": 0.0},
        lambda lr: adam(lr, 0.0),
        {"beta1": 0.5, "amsgrad": True},
        lambda lr: optax.chain(
            optax.add_decayed_weights(0.05),
            optax.scale_by_amsgrad(0.5, 0.99),
            optax.scale_by_learning_rate(lr),
        ),
    ),
    "AdamW": (
        lambda **k: lrax.AdamW(betas=(0.8, 0.99), weight_decay=0.05, **k),
        adamw,
        {"weight_decay": 0.0},
        lambda lr: adamw(lr, 0.0),
        {"betas": (0.5, 0.9), "eps": 1e-3, "grad_clip_value": 0.02},
        lambda lr: optax.chain(optax.clip(0.02), adamw(lr, 0.05, (0.5, 0.9), 1e-3)),
    ),
    "a factory": (
        lambda **k: lrax.OptaxOptimizer(optax.lion, b1=0.9, weight_decay=0.05, **k),
        lion,
        {"weight_decay": 0.0},
        lambda lr: lion(lr, decay=0.0),
        {"b1": 0.5},
        lambda lr: lion(lr, 0.5),
    ),
}


def optax_trained(chains, steps, largest):
    """optax.multi_transform; what is frozen counts nowhere, also not in the norm of the gradients."""
    labels = labels_of(PATTERNS)
    tx = optax.multi_transform(dict(enumerate(chains)), labels)
    clip = optax.clip_by_global_norm(largest) if largest else optax.identity()

    @jax.jit
    def step(values, state):
        grads = gradient_of(values)
        grads = jax.tree.map(lambda g, i: g * (chains[i] is not FROZEN), grads, labels)
        grads, _ = clip.update(grads, clip.init(grads))
        updates, state = tx.update(grads, state, values)
        return optax.apply_updates(values, updates), state

    values, state = START, tx.init(START)
    for _ in range(steps):
        values, state = step(values, state)
    return values


FROZEN = optax.set_to_zero()
WAYS = {"eager": lambda f: f, "lrax.jit": lrax.jit, "brainstate": brainstate.transform.jit}


def trained(optimizer, states, steps, jit):
    """So many updates; nothing is compiled after the first one."""

    @jit
    def update():
        optimizer.step(gradient_of(values_of(states)))
        optimizer.lr_scheduler.step()

    update()
    with compiled_programs() as programs:
        for _ in range(steps - 1):
            update()
    assert not programs


CASES = [("AdamW", False, "eager"), ("AdamW", True, "lrax.jit"), ("SGD", True, "brainstate")]
MORE_CASES = [
    ("SGD", False, "lrax.jit"),
    ("Adam", False, "brainstate"),
    ("Adam", True, "eager"),
    ("a factory", False, "lrax.jit"),
    ("a factory", True, "brainstate"),
]
"""With these every optimizer is with and without what is frozen, and in two of the ways."""


@pytest.mark.parametrize(
    "case",
    in_three([(n, f, w) for n in MAKERS for f in (False, True) for w in WAYS], CASES, MORE_CASES),
    ids=str,
)
def test_fifty_steps_are_those_of_optax_with_a_chain_for_each_group(case):
    name, frozen, way = case
    make, chain, own, own_chain, last, last_chain = MAKERS[name]
    largest = 0.5 if frozen else None
    states = new_states()
    scheduler = lrax.CosineAnnealingLR(0.05, T_max=40, eta_min=1e-3)
    given = {"groups": groups(own, frozen, last), "grad_clip_norm": largest}
    optimizer = make(lr=scheduler, **given).register_trainable_weights(states)
    trained(optimizer, states, 50, WAYS[way])
    first, second, third, fourth = RATES
    third_chain = FROZEN if frozen else chain(third)
    chains = (own_chain(first), chain(second), third_chain, last_chain(fourth), chain(cosine(0.05)))
    wanted = optax_trained(chains, 50, largest)
    assert_trees_close(values_of(states), wanted, rtol=2e-6, floor=2e-6)
    rates = [fourth(50), first(50), second(50), *([] if frozen else [third(50)]), fourth(50)]
    assert_close(optimizer.get_last_lr(), rates)
    if frozen:
        assert_trees_equal(states["embed"].value["weight"], START["embed"]["weight"])
        assert not np.array_equal(states["embed"].value["bias"], START["embed"]["bias"])


# --- What the learning rate is ------------------------------------------------------------------------


def warmup_cosine(t, base=0.05, start=0.004, end=0.002):
    """4 epochs up, then down to the 20th."""
    if t < 4:
        return start + (base - start) * t / 4
    return end + (base - end) * (1 + np.cos(np.pi * min((t - 4) / 16, 1))) / 2


class HalfWay(lrax.LRScheduler):
    def get_lr(self):
        return [base / (1 + self.last_epoch.value) for base in self.base_lrs]


# scheduler, options of the group, and its learning rate at an epoch
SCALED = {
    "a factor of eta_min and warmup start, too": (
        lambda: lrax.WarmupCosineSchedule(0.05, 4, 20, 0.004, 0.002),
        {"lr_scale": 0.3},
        lambda t: 0.3 * warmup_cosine(t),
    ),
    "a base, which they do not follow": (
        lambda: lrax.WarmupCosineSchedule(0.05, 4, 20, 0.004, 0.002),
        {"lr": 0.03},
        lambda t: warmup_cosine(t, base=0.03),
    ),
    "a base and a factor": (
        lambda: lrax.WarmupCosineSchedule(0.05, 4, 20, 0.004, 0.002),
        {"lr": 0.03, "lr_scale": 3.0},
        lambda t: 3 * warmup_cosine(t, base=0.03),
    ),
    "a schedule and a factor": (
        lambda: lrax.StepLR(0.1, 5),
        {"lr": lrax.WarmupCosineSchedule(0.05, 4, 20, 0.004, 0.002), "lr_scale": 0.7},
        lambda t: 0.7 * warmup_cosine(t),
    ),
    "a function of the epoch": (
        lambda: lrax.StepLR(0.1, 5),
        {"lr": lambda t: 0.5 / (t + 1)},
        lambda t: 0.5 / (t + 1),
    ),
    "a schedule whose own clock has gone on": (
        lambda: lrax.StepLR(0.1, 5),
        {"lr": lrax.ExponentialLR(0.1, gamma=0.5, last_epoch=7)},
        lambda t: 0.1 * 0.5**t,
    ),
    "a factor of a table": (
        lambda: lrax.PiecewiseConstantSchedule(boundaries=[3, 9], values=[0.5, 0.1, 0.3]),
        {"lr_scale": 0.7},
        lambda t: 0.7 * (0.5 if t < 3 else 0.1 if t < 9 else 0.3),
    ),
    "a factor of get_lr()": (
        lambda: HalfWay(0.1),
        {"lr_scale": 0.7},
        lambda t: 0.7 * 0.1 / (1 + t),
    ),
    "a factor of a function": (
        lambda: lrax.LambdaLR(0.1, lr_lambda=lambda t: 1 / (t + 1)),
        {"lr_scale": 0.7},
        lambda t: 0.7 * 0.1 / (1 + t),
    ),
    "a factor of 0": (lambda: lrax.StepLR(0.1, 5), {"lr_scale": 0}, lambda t: 0.0),
}


@pytest.mark.parametrize("label", SCALED)
def test_the_rate_of_a_group_at_every_epoch(label):
    make, options, exact = SCALED[label]
    scheduler, alone = make(), make()
    weights = {key: brainstate.ParamState(jnp.ones(2)) for key in "ab"}
    optimizer = lrax.SGD(lr=scheduler, groups={"b": options}).register_trainable_weights(weights)
    step = lrax.jit(scheduler.step)
    for t in range(25):
        first, second = optimizer.get_last_lr()
        assert first == alone.get_last_lr()[0]
        assert abs(float(second) - exact(t)) <= np.spacing(np.float32(exact(t)))
        if "get_lr" not in label:
            assert_close(optimizer.lr_at(t), [first, second], rtol=1.2e-7)
        (step if t % 2 else scheduler.step)()
        alone.step()


def test_a_plateau_of_a_group_has_the_metric_of_the_scheduler():
    plateau = lrax.ReduceLROnPlateau(0.4, factor=0.5, patience=0)
    weights = {key: brainstate.ParamState(jnp.ones(2)) for key in "abc"}
    own = {"b": {"lr": plateau}, "c": {"lr": plateau, "lr_scale": 0.1}}
    optimizer = lrax.SGD(lr=lrax.ExponentialLR(0.1, gamma=0.9), groups=own)
    optimizer.register_trainable_weights(weights)
    rates = []
    for metric in (3.0, 2.0, 2.0, 2.0, 1.0, 1.0):
        optimizer.lr.step(metric=metric)
        rates.append(optimizer.get_last_lr())
    reduced = np.float64([1, 1, 0.5, 0.25, 0.25, 0.125])
    wanted = np.stack([0.1 * 0.9 ** np.arange(1, 7), 0.4 * reduced, 0.04 * reduced], axis=1)
    assert_close(rates, wanted, rtol=2e-7)
