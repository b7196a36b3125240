"""Groups of models as brainstate has them, beside optax, and in the Trainer of braintools."""

import brainstate
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lrax
from helpers import assert_close, assert_trees_close, assert_trees_equal, slow_but

nn = brainstate.nn
RNG = np.random.default_rng(3)
X = jnp.asarray(RNG.normal(size=(16, 4)), jnp.float32)
Y = jnp.asarray(RNG.normal(size=(16, 3)), jnp.float32)


def cosine(base, scale=1.0):
    """40 epochs down to 1e-3."""
    return lambda t: (
        scale * (1e-3 + (base - 1e-3) * (1 + jnp.cos(jnp.pi * jnp.minimum(t, 40) / 40)) / 2)
    )


class Spiking(nn.Module):
    """Leaky units that fire beyond 1; backwards the step is a sigmoid."""

    def __init__(self):
        super().__init__()
        self.into, self.out = nn.Linear(4, 8), nn.Linear(8, 3)

    def __call__(self, x):
        v = fired = 0.0
        for _ in range(5):
            v = 0.8 * v * (1 - fired) + self.into(x)
            soft = jax.nn.sigmoid(4 * (v - 1))
            fired = soft + jax.lax.stop_gradient((v > 1) - soft)
        return self.out(fired)


class Recurrent(nn.Module):
    def __init__(self, cell):
        super().__init__()
        self.cell, self.head = cell(2, 6), nn.Linear(6, 3)

    def __call__(self, x):
        brainstate.nn.init_all_states(self.cell, batch_size=16)
        for part in (x[:, :2], x[:, 2:]):
            out = self.cell(part)
        return self.head(out)


MODELS = {
    "MLP": lambda: nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.LayerNorm((8,)), nn.Linear(8, 3)),
    "CNN": lambda: nn.Sequential(
        nn.Conv2d((2, 2, 1), 4, 2, b_init=lambda size, **_: jnp.zeros(size)),
        nn.ReLU(),
        nn.Flatten(start_axis=1),
        nn.Linear(16, 3),
    ),
    "GRU": lambda: Recurrent(nn.GRUCell),
    "LSTM": lambda: Recurrent(nn.LSTMCell),
    "spiking": Spiking,
}


def path_of(name, keys):
    inside = [key.key for key in keys]
    return ".".join(map(str, (*name, *inside)))


@pytest.mark.parametrize("kind", slow_but(MODELS, "CNN", "LSTM"))
def test_models_train_without_decay_of_biases_and_with_a_slow_last_layer(kind):
    brainstate.random.seed(1)
    model = MODELS[kind]()
    x = X.reshape(16, 2, 2, 1) if kind == "CNN" else X
    params = model.states(brainstate.ParamState)
    start = {name: state.value for name, state in params.items()}
    gradient = brainstate.transform.jit(
        brainstate.transform.grad(lambda: jnp.mean((model(x) - Y) ** 2), params)
    )
    *_, last = sorted(params, key=str)
    pattern = "^" + ".".join(map(str, last)).replace(".", r"\.") + r"\.weight$"
    optimizer = lrax.AdamW(
        lr=lrax.CosineAnnealingLR(0.05, T_max=40, eta_min=1e-3),
        weight_decay=0.3,
        groups=[
            (lambda path, leaf: max(leaf.shape) == leaf.size, {"weight_decay": 0.0}),
            (pattern, {"lr_scale": 0.1}),
        ],
    ).register_trainable_weights(params)
    grads = []
    for _ in range(20):
        grads.append(gradient())
        optimizer.step(grads[-1])
        optimizer.lr.step()
    ours = {name: state.value for name, state in params.items()}

    chains = {
        "flat": optax.adamw(cosine(0.05), weight_decay=0.0),
        "last": optax.adamw(cosine(0.05, 0.1), weight_decay=0.3),
        "rest": optax.adamw(cosine(0.05), weight_decay=0.3),
    }

    def label(name, keys, leaf):
        if max(leaf.shape) == leaf.size:
            return "flat"
        return "last" if path_of(name, keys) == path_of(last, ()) + ".weight" else "rest"

    labels = {
        name: jax.tree_util.tree_map_with_path(lambda k, w, name=name: label(name, k, w), value)
        for name, value in start.items()
    }
    assert {"flat", "last"} <= set(jax.tree.leaves(labels))
    tx = optax.multi_transform(chains, labels)
    values, state = start, tx.init(start)
    update = jax.jit(tx.update)
    for g in grads:
        updates, state = update(dict(g), state, values)
        values = optax.apply_updates(values, updates)
    assert_trees_close(ours, values, rtol=2e-6, floor=2e-6)
    counts = {g["name"]: len(g["leaves"]) for g in optimizer.param_groups}
    found = jax.tree.leaves(labels)
    wanted = {"default": "rest", "<lambda>": "flat", pattern: "last"}
    assert counts == {n: found.count(k) for n, k in wanted.items() if found.count(k)}


@pytest.mark.parametrize("exempt", [None, "bias"])
def test_rates_that_fall_from_layer_to_layer(exempt):
    """Six layers in a row, each with a learning rate of 0.7 of the one above."""
    brainstate.random.seed(2)
    model = nn.Sequential(*(nn.Linear(4, 4) for _ in range(6)))
    params = model.states(brainstate.ParamState)
    start = {name: state.value for name, state in params.items()}
    made = lrax.layerwise_lr_decay(params, 0.7, no_decay=exempt)
    optimizer = lrax.AdamW(
        lr=lrax.CosineAnnealingLR(0.05, T_max=40, eta_min=1e-3), weight_decay=0.3, groups=made
    ).register_trainable_weights(params)
    assert len(optimizer.param_groups) == (12 if exempt else 6)
    gradient = brainstate.transform.jit(
        brainstate.transform.grad(lambda: jnp.mean((model(X)[:, :3] - Y) ** 2), params)
    )
    grads = []
    for _ in range(20):
        grads.append(gradient())
        optimizer.step(grads[-1])
        optimizer.lr.step()
    assert_close(optimizer.get_last_lr()[-1], cosine(0.05)(20))
    for depth, name in enumerate(sorted(params)):
        for key in ("weight", "bias"):
            decay = 0.0 if exempt == key else 0.3
            tx = optax.adamw(cosine(0.05, 0.7 ** (5 - depth)), weight_decay=decay)
            value = start[name][key]
            state, update = tx.init(value), jax.jit(tx.update)
            for g in grads:
                updates, state = update(g[name][key], state, value)
                value = optax.apply_updates(value, updates)
            assert_close(params[name].value[key], value, rtol=2e-6, floor=2e-6)


@pytest.mark.braintools
def test_the_trainer_of_braintools_trains_groups(tmp_path):
    """A schedule of its own, a frozen weight and no decay of biases: as by hand."""
    pytest.importorskip("braintools")
    from braintools.trainer import DataLoader, LearningRateMonitor, LightningModule, Trainer

    class Model(LightningModule):
        def __init__(self):
            super().__init__()
            brainstate.random.seed(4)
            self.embed, self.body, self.head = (nn.Linear(*n) for n in ((4, 5), (5, 5), (5, 3)))
            self.scheduler = lrax.ExponentialLR(0.1, gamma=0.5)
            self.optimizer = lrax.AdamW(
                lr=self.scheduler,
                weight_decay=0.3,
                grad_clip_norm=0.5,
                groups={
                    "^embed": {"frozen": True},
                    "bias": {"weight_decay": 0.0},
                    "^head": {"lr": lrax.LinearLR(0.2, 0.5, 1.0, 4), "lr_scale": 0.5},
                },
            )

        def loss(self, x, y):
            return jnp.mean((self.head(jnp.tanh(self.body(self.embed(x)))) - y) ** 2)

        def training_step(self, batch, batch_idx):
            return {"loss": self.loss(*batch)}

        def configure_optimizers(self):
            return self.optimizer, self.scheduler

    model, twin = Model(), Model()
    start, body = model.embed.weight.value, model.body.weight.value
    monitor = LearningRateMonitor(logging_interval="epoch")
    trainer = Trainer(
        max_epochs=4,
        callbacks=[monitor],
        logger=False,
        enable_progress_bar=False,
        enable_checkpointing=False,
        default_root_dir=str(tmp_path),
    )
    trainer.fit(model, DataLoader((X, Y), batch_size=8, shuffle=False))

    params = twin.states(brainstate.ParamState)
    twin.optimizer.register_trainable_weights(params)
    grad = brainstate.transform.jit(
        lambda x, y: brainstate.transform.grad(lambda: twin.loss(x, y), params)()
    )
    for _ in range(4):
        for i in (0, 8):
            twin.optimizer.step(grad(X[i : i + 8], Y[i : i + 8]))
        twin.scheduler.step()
    ours = {n: s.value for n, s in model.states(brainstate.ParamState).items()}
    wanted = {n: s.value for n, s in params.items()}
    assert_trees_close(ours, wanted, rtol=2e-6, floor=2e-6)
    assert_trees_equal(model.embed.weight.value, start)
    assert not np.array_equal(model.body.weight.value["weight"], body["weight"])
    assert [g["name"] for g in model.optimizer.param_groups] == ["default", "bias", "^head"]
    assert_close(model.optimizer.get_last_lr(), [0.1 / 16, 0.1 / 16, 0.1])
    assert_close([seen["lr-opt0"] for seen in monitor._lr_history], 0.1 * 0.5 ** np.arange(4))
