"""The models whose training is measured: each a pure function of a dict of arrays, with one batch for it."""

import dataclasses
from collections.abc import Callable

import brainstate
import jax
import jax.numpy as jnp
import numpy as np
import optax

Weights = dict[str, jax.Array]
BATCH, FEATURES, CLASSES = 32, 64, 10


@dataclasses.dataclass(frozen=True)
class Model:
    name: str
    shapes: dict[str, tuple[int, ...]]
    logits: Callable[[Weights, jax.Array], jax.Array]
    x: jax.Array
    y: jax.Array

    def weights(self) -> Weights:
        """The first weights: matrices and kernels are random, vectors are 0, or 1 where they scale."""
        rng = np.random.default_rng(0)
        found = {}
        for name, shape in self.shapes.items():
            if len(shape) > 1:
                value = rng.normal(size=shape) * (2 / np.prod(shape[:-1])) ** 0.5
            else:
                value = np.full(shape, float(name.startswith("scale")))
            found[name] = jnp.asarray(value, jnp.float32)
        return found

    def loss(self, weights: Weights, x: jax.Array, y: jax.Array) -> jax.Array:
        found = self.logits(weights, x)
        return optax.softmax_cross_entropy_with_integer_labels(found, y).mean()

    def __str__(self) -> str:
        return f"{self.name} ({len(self.shapes)} States)"


def _batch(*shape: int) -> tuple[jax.Array, jax.Array]:
    rng = np.random.default_rng(1)
    x = jnp.asarray(rng.normal(size=shape), jnp.float32)
    return x, jnp.asarray(rng.integers(0, CLASSES, size=shape[0]))


def mlp(name: str, layers: int, width: int, kinds: tuple[str, ...] = ("w", "b")) -> Model:
    """`layers` dense layers, each with a matrix, and with a bias and a scale of its outputs if `kinds` has them.

    Neurons leak, without which 250 layers of width 8 are dead and have no gradients.
    """
    sizes = [FEATURES, *[width] * (layers - 1), CLASSES]
    shapes = {
        f"{kind}{i}": (sizes[i], sizes[i + 1]) if kind == "w" else (sizes[i + 1],)
        for i in range(layers)
        for kind in kinds
    }

    def logits(weights, x):
        for i in range(layers):
            x = x @ weights[f"w{i}"]
            x = x * weights[f"scale{i}"] if "scale" in kinds else x
            x = x + weights[f"b{i}"] if "b" in kinds else x
            x = jax.nn.leaky_relu(x, 0.1) if i < layers - 1 else x
        return x

    return Model(name, shapes, logits, *_batch(BATCH, FEATURES))


def cnn() -> Model:
    shapes = {"k0": (3, 3, 1, 8), "b0": (8,), "k1": (3, 3, 8, 16), "b1": (16,)}
    shapes |= {"w": (16, CLASSES), "b": (CLASSES,)}

    def logits(weights, x):
        for i in range(2):
            layout = ("NHWC", "HWIO", "NHWC")
            x = jax.lax.conv_general_dilated(
                x, weights[f"k{i}"], (2, 2), "SAME", dimension_numbers=layout
            )
            x = jax.nn.relu(x + weights[f"b{i}"])
        return x.mean((1, 2)) @ weights["w"] + weights["b"]

    return Model("CNN", shapes, logits, *_batch(BATCH, 8, 8, 1))


def gru(width: int = 32, inputs: int = 8, times: int = 12) -> Model:
    shapes = {"wx": (inputs, 3 * width), "wh": (width, 3 * width), "b0": (3 * width,)}
    shapes |= {"w": (width, CLASSES), "b": (CLASSES,)}

    def logits(weights, x):
        h = brainstate.HiddenState(jnp.zeros((len(x), width)))

        def step(now):
            a = jnp.split(now @ weights["wx"] + weights["b0"], 3, axis=-1)
            b = jnp.split(h.value @ weights["wh"], 3, axis=-1)
            reset, update = jax.nn.sigmoid(a[0] + b[0]), jax.nn.sigmoid(a[1] + b[1])
            h.value = (1 - update) * jnp.tanh(a[2] + reset * b[2]) + update * h.value

        brainstate.transform.for_loop(step, x.swapaxes(0, 1))
        return h.value @ weights["w"] + weights["b"]

    return Model("GRU in `for_loop`", shapes, logits, *_batch(BATCH, times, inputs))


def spiking(width: int = 64, inputs: int = 16, times: int = 12) -> Model:
    """Leaky neurons that fire at 1 and are reset by it, with the derivative of a sigmoid; the readout is leaky, too."""
    shapes = {"w0": (inputs, width), "b0": (width,), "w": (width, CLASSES), "b": (CLASSES,)}

    def logits(weights, x):
        v = brainstate.HiddenState(jnp.zeros((len(x), width)))
        out = brainstate.HiddenState(jnp.zeros((len(x), CLASSES)))

        def step(now):
            risen = 0.8 * v.value + now @ weights["w0"] + weights["b0"]
            smooth = jax.nn.sigmoid(4 * (risen - 1))
            spikes = smooth + jax.lax.stop_gradient((risen > 1) - smooth)
            v.value = risen - spikes
            out.value = 0.9 * out.value + spikes @ weights["w"] + weights["b"]

        brainstate.transform.for_loop(step, x.swapaxes(0, 1))
        return out.value

    return Model("spiking network in `for_loop`", shapes, logits, *_batch(BATCH, times, inputs))


def transformer(width: int = 32, heads: int = 4, times: int = 8) -> Model:
    """Two layers; attention and a block of two dense layers, each after a normalisation and beside a shortcut."""
    shapes: dict[str, tuple[int, ...]] = {"in": (8, width), "positions": (times, width)}
    for i in range(2):
        shapes |= {f"scale_a{i}": (width,), f"shift_a{i}": (width,)}
        shapes |= {f"qkv{i}": (width, 3 * width), f"out{i}": (width, width)}
        shapes |= {f"scale_b{i}": (width,), f"shift_b{i}": (width,)}
        shapes |= {f"up{i}": (width, 2 * width), f"b_up{i}": (2 * width,)}
        shapes |= {f"down{i}": (2 * width, width), f"b_down{i}": (width,)}
    shapes |= {"w": (width, CLASSES), "b": (CLASSES,)}

    def logits(weights, x):
        x = x @ weights["in"] + weights["positions"]
        for i in range(2):
            y = jax.nn.standardize(x) * weights[f"scale_a{i}"] + weights[f"shift_a{i}"]
            parts = (y @ weights[f"qkv{i}"]).reshape(*y.shape[:2], 3, heads, -1)
            q, k, v = (parts[:, :, j] for j in range(3))
            y = jax.nn.dot_product_attention(q, k, v).reshape(x.shape)
            x = x + y @ weights[f"out{i}"]
            y = jax.nn.standardize(x) * weights[f"scale_b{i}"] + weights[f"shift_b{i}"]
            y = jax.nn.gelu(y @ weights[f"up{i}"] + weights[f"b_up{i}"])
            x = x + y @ weights[f"down{i}"] + weights[f"b_down{i}"]
        return x.mean(1) @ weights["w"] + weights["b"]

    return Model("transformer, 2 layers", shapes, logits, *_batch(8, times, 8))


def drawn(seed: int) -> list[Model]:
    """Two MLPs of a depth, a width and a number of arrays in each layer that nobody chose."""
    rng, found = np.random.default_rng(seed), []
    for number in (1, 2):
        layers, width = int(rng.integers(2, 13)), int(rng.integers(8, 97))
        kinds = ("w", "b", "scale")[: int(rng.integers(1, 4))]
        found.append(mlp(f"drawn {number}: {layers} layers of width {width}", layers, width, kinds))
    return found


MLP = mlp("MLP", 3, 128)
MANY_STATES = mlp("250 layers of width 8", 250, 8)
MODELS = [
    mlp("one Linear", 1, FEATURES),
    mlp("MLP without biases", 2, 48, ("w",)),
    MLP,
    mlp("MLP, 25 layers", 25, 32),
    cnn(),
    gru(),
    transformer(),
    spiking(),
]
KNOWN = (MLP, MANY_STATES)
"""What the authors looked at while they made lrax faster."""
