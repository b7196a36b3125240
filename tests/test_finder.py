"""The range test: its losses beside trainings by hand, what it goes through, and what it suggests."""

import itertools

import brainstate
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lrax
from helpers import assert_close, compiled_programs
from network import OPTIMIZERS, START, X, Y, new_states
from ready import weight

CENTER = np.float32([1.0, -2.0, 3.0])
ENDLESS = {"diverge": 1e30}


def quadratic(optimizer, **options):
    """The range test of ``sum((w - CENTER)**2)``, from ones."""
    weights = {"w": weight(3)}
    optimizer.register_trainable_weights(weights)
    loss_fn = lambda scale: jnp.sum(scale * (weights["w"].value - CENTER) ** 2)  # noqa: E731
    return lrax.find_lr(loss_fn, optimizer, (1.0,), **options)


def perceptron(states, x, y):
    hidden = jnp.tanh(x @ states["a"].value)
    return jnp.mean((hidden @ states["b"].value + states["c"].value - y) ** 2)


def batches(number, rows=8):
    rng = np.random.default_rng(number)
    return [
        (rng.normal(size=(rows, 4)).astype(np.float32), rng.normal(size=(rows, 3)).astype(np.float32))
        for _ in range(number)
    ]  # fmt: skip


def curve(values, **options):
    """A range test whose losses are these: out of the batches, with smoothing only if it is asked for."""
    optimizer = lrax.SGD(lr=0.1).register_trainable_weights({"w": (w := weight())})
    options = {"smoothing": 0.0, **ENDLESS, **options}
    made = [(np.float32(value),) for value in values]
    return lrax.find_lr(
        lambda v: v + 0 * w.value, optimizer, made, **{"steps": len(values), **options}
    )


# --- Losses -----------------------------------------------------------------------------------------


def test_losses_of_a_quadratic():
    found = quadratic(lrax.SGD(lr=0.3), start_lr=1e-4, end_lr=2.0, steps=50)
    lrs = 1e-4 * (2.0 / 1e-4) ** (np.arange(50) / 49)
    w, losses = np.ones(3), []
    for lr in lrs:
        losses.append(np.sum((w - CENTER) ** 2))
        w = w - lr * 2 * (w - CENTER)
    assert len(found.lrs) > 40
    assert_close(found.lrs, lrs[: len(found.lrs)])
    assert_close(found.losses, losses[: len(found.lrs)], rtol=1e-5)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_losses_of_a_network(name):
    """Beside optax's optimizer with a table for a schedule."""
    ours, theirs = OPTIMIZERS[name]
    states, data = new_states(), batches(7)
    optimizer = ours(lrax.WarmupCosineSchedule(1e-3, 10, 45)).register_trainable_weights(states)
    found = lrax.find_lr(
        lambda x, y: perceptron(states, x, y), optimizer, data, end_lr=0.1, steps=40, **ENDLESS
    )

    def loss_of(values, x, y):
        hidden = jnp.tanh(x @ values["a"])
        return jnp.mean((hidden @ values["b"] + values["c"] - y) ** 2)

    lrs = jnp.float32(np.geomspace(1e-7, 0.1, 40))
    by_hand, values, losses = theirs(lambda count: lrs[count], 0.01), START, []
    state, gradient = by_hand.init(values), jax.jit(jax.value_and_grad(loss_of))
    for i in range(40):
        loss, grads = gradient(values, *data[i % 7])
        updates, state = by_hand.update(grads, state, values)
        values = optax.apply_updates(values, updates)
        losses.append(float(loss))
    assert abs(losses[35] / losses[0] - 1) > 0.05, "the weights have not moved"
    assert_close(found.losses, losses, rtol=1e-5)


def test_clipping_and_a_scheduled_decay():
    """The decay is that of the present epoch, and stays."""
    decay = lrax.LinearLR(0.5, 1.0, 0.2, 4)
    optimizer = lrax.SGD(
        lr=lrax.StepLR(0.1, 1), weight_decay=decay, grad_clip_norm=0.5, auto_step=True
    )
    optimizer.register_trainable_weights({"w": (w := weight(3))})
    optimizer.step({"w": jnp.zeros(3)})
    start, rate = np.array(w.value, np.float64), 0.5 * 0.8
    found = lrax.find_lr(
        lambda: jnp.sum((w.value - CENTER) ** 2), optimizer, (), end_lr=1.0, steps=30
    )
    losses = []
    for lr in np.geomspace(1e-7, 1.0, 30):
        losses.append(np.sum((start - CENTER) ** 2))
        gradient = 2 * (start - CENTER)
        gradient *= min(1, 0.5 / np.linalg.norm(gradient))
        start = start - lr * (gradient + rate * start)
    assert int(optimizer.lr.last_epoch.value) == 1
    assert_close(found.losses, losses, rtol=1e-5)


def test_accumulated_gradients():
    """Each learning rate has as many batches as make one update, and the mean of their losses."""
    optimizer = lrax.SGD(lr=0.1, accumulate_steps=3)
    optimizer.register_trainable_weights({"w": (w := weight())})
    centers = [(np.float32(c),) for c in (1.0, 2.0, 6.0, 5.0)]
    found = lrax.find_lr(
        lambda c: (w.value - c) ** 2, optimizer, centers, start_lr=1e-3, end_lr=0.4, steps=20
    )
    value, losses = 1.0, []
    for k, lr in enumerate(np.geomspace(1e-3, 0.4, 20)):
        seen = np.array([centers[i % 4][0] for i in range(3 * k, 3 * k + 3)], np.float64)
        losses.append(np.mean((value - seen) ** 2))
        value -= lr * np.mean(2 * (value - seen))
    assert_close(found.losses, losses, rtol=1e-5)


HEAD = lrax.ConstantLR(0.02, factor=0.5, total_iters=9)


@pytest.mark.parametrize(
    "lr, groups, shares",
    [
        (lambda: 0.1, {"v": {"lr_scale": 0.1}}, (1, 0.1)),
        (lambda: lrax.WarmupScheduler(0.1, 5, 0.0), {"v": {"lr": 0.3}}, (1, 3)),
        (lambda: lrax.StepLR(0.1), {"v": {"lr": HEAD, "lr_scale": 2.0}}, (1, 0.4)),
        (lambda: lrax.StepLR([0.1, 0.05]), {"v": {}}, (1, 0.5)),
        (lambda: 0.1, {"u": {"lr_scale": 0.5}, "v": {"frozen": True}}, (0.5, 0)),
        (lambda: 0.1, {"": {"lr_scale": 0.25}}, (0.25, 0.25)),
    ],
)
def test_groups_in_proportion(lr, groups, shares):
    weights = {"u": weight(), "v": weight()}
    optimizer = lrax.SGD(lr=lr(), groups=groups).register_trainable_weights(weights)
    found = lrax.find_lr(
        lambda: (weights["u"].value - 3) ** 2 + (weights["v"].value + 2) ** 2,
        optimizer,
        (),
        start_lr=1e-3,
        end_lr=0.3,
        steps=20,
    )
    u, v, losses = 1.0, 1.0, []
    for rate in np.geomspace(1e-3, 0.3, 20):
        losses.append((u - 3) ** 2 + (v + 2) ** 2)
        u, v = u - rate * shares[0] * 2 * (u - 3), v - rate * shares[1] * 2 * (v + 2)
    assert_close(found.losses, losses, rtol=1e-5)


def test_a_weight_that_the_loss_does_not_have():
    """Its gradient is 0, as the gradient of other libraries is."""
    weights = {"u": weight(), "v": weight()}
    optimizer = lrax.AdamW(lr=0.1, weight_decay=0.5).register_trainable_weights(weights)
    found = lrax.find_lr(lambda: (weights["u"].value - 3) ** 2, optimizer, (), steps=20)
    alone = lrax.AdamW(lr=0.1, weight_decay=0.5).register_trainable_weights({"u": weights["u"]})
    same = lrax.find_lr(lambda: (weights["u"].value - 3) ** 2, alone, (), steps=20)
    assert_close(found.losses, same.losses)


# --- Training functions -----------------------------------------------------------------------------


def test_a_loss_that_does_not_depend_on_the_weights():
    optimizer = lrax.SGD(lr=0.1).register_trainable_weights({"w": weight(3)})
    with pytest.raises(ValueError, match="the loss was 3 at all of 5 learning rates"):
        lrax.find_lr(lambda x: 3.0, optimizer, [(jnp.zeros(3),)] * 5, steps=5)


def test_a_state_that_holds_a_tree():
    net = brainstate.ParamState({"w": jnp.float32(1.0), "b": jnp.float32(2.0)})
    optimizer = lrax.SGD(lr=0.1).register_trainable_weights(net)
    loss = lambda x: net.value["w"] ** 2 + net.value["b"] ** 2 + 0 * x  # noqa: E731
    found = lrax.find_lr(
        loss, optimizer, [(jnp.zeros(()),)] * 8, start_lr=1e-3, end_lr=1e-1, steps=8
    )
    w, losses = np.array([1.0, 2.0]), []
    for lr in np.geomspace(1e-3, 1e-1, 8):
        losses.append(np.sum(w**2))
        w = w * (1 - 2 * lr)
    np.testing.assert_allclose(found.losses, losses, rtol=1e-5)


def test_what_a_loss_function_may_return():
    plain = quadratic(lrax.Adam(lr=0.1), steps=30)
    for returns in (lambda loss: (loss, "aux"), lambda loss: {"accuracy": 0.5, "loss": loss}):
        optimizer = lrax.Adam(lr=0.1).register_trainable_weights({"w": (w := weight(3))})
        loss_fn = lambda s, w=w, r=returns: r(jnp.sum(s * (w.value - CENTER) ** 2))  # noqa: E731
        found = lrax.find_lr(loss_fn, optimizer, (1.0,), steps=30)
        np.testing.assert_array_equal(found.losses, plain.losses)


@pytest.mark.parametrize("jit", [lambda f: f, brainstate.transform.jit, lrax.jit])
@pytest.mark.parametrize("order", ["optimizer first", "scheduler first", "by itself"])
def test_a_whole_training_step(order, jit):
    """It is called as it is; the scheduler that it steps changes no learning rate."""
    make = lambda **k: lrax.Adam(lr=lrax.ExponentialLR(0.1, 0.5), beta1=HEAD, **k)  # noqa: E731
    optimizer = make(auto_step=order == "by itself")
    optimizer.register_trainable_weights({"w": (w := weight(3))})

    @jit
    def train_step(scale):
        loss_of = lambda: jnp.sum(scale * (w.value - CENTER) ** 2)  # noqa: E731
        grad = brainstate.transform.grad(loss_of, optimizer.param_states, return_value=True)
        grads, loss = grad()
        if order == "scheduler first":
            optimizer.lr.step()
        optimizer.step(grads)
        if order == "optimizer first":
            optimizer.lr.step()
        return {"loss": loss}

    found = lrax.find_lr(train_step, optimizer, (1.0,), steps=30)
    assert_close(found.losses, quadratic(make(), steps=30).losses, rtol=1e-6)
    assert float(train_step(1.0)["loss"]) == found.losses[0]


@pytest.mark.braintools
def test_a_module_of_braintools():
    trainer = pytest.importorskip("braintools").trainer

    class Model(trainer.LightningModule):
        def __init__(self):
            super().__init__()
            self.layer = brainstate.nn.Linear(4, 3)

        def training_step(self, batch, batch_idx):
            x, y = batch
            return {"loss": jnp.mean((self.layer(x) - y) ** 2)}

    model = Model()
    optimizer = lrax.SGD(lr=0.1).register_trainable_weights(model.states(brainstate.ParamState))
    loader = trainer.DataLoader((X, Y), batch_size=8)
    found = lrax.find_lr(lambda *batch: model.training_step(batch, 0), optimizer, loader)
    assert found.lrs[-1] < 10
    assert found.smoothed[-1] > 4 * found.smoothed.min()


# --- Batches ----------------------------------------------------------------------------------------


class Loader:
    """What gives its batches as often as it is asked."""

    def __init__(self, given):
        self.given, self.begun = given, 0

    def __iter__(self):
        self.begun += 1
        yield from self.given


class Resumable:
    """An iterator that can be put back."""

    def __init__(self, given, names):
        self.given, self.state = given, {"at": 2}
        get, put = names
        setattr(self, get, lambda: self.state)
        setattr(self, put, lambda state: self.state.update(state))

    def __iter__(self):
        return self

    def __next__(self):
        if self.state["at"] >= len(self.given):
            raise StopIteration
        self.state["at"] += 1
        return self.given[self.state["at"] - 1]


def of_network(given, **options):
    states = new_states()
    optimizer = lrax.Adam(lr=0.1).register_trainable_weights(states)
    loss_fn = lambda x, y: perceptron(states, x, y)  # noqa: E731
    return lrax.find_lr(loss_fn, optimizer, given, **{"steps": 12, "end_lr": 0.1, **options})


DATA = batches(5)
WAYS = {
    "tuple": lambda: tuple(DATA),
    "lists in a list": lambda: [list(batch) for batch in DATA],
    "arrays of jax": lambda: [tuple(map(jnp.asarray, batch)) for batch in DATA],
    "generator": lambda: (batch for batch in DATA),
    "iterator": lambda: iter(DATA),
    "loader": lambda: Loader(DATA),
    "zip": lambda: zip(*zip(*DATA, strict=True), strict=True),
}


@pytest.mark.parametrize("way", WAYS)
def test_the_same_batches(way):
    found = of_network(WAYS[way]())
    assert len(found.losses) == 12
    assert_close(found.losses, of_network(DATA).losses, rtol=1e-6)


def test_one_batch():
    first = of_network(DATA[0])
    np.testing.assert_array_equal(first.losses, of_network([DATA[0]]).losses)
    assert_close(first.losses, of_network(DATA[0] for _ in range(12)).losses)
    states = new_states()
    optimizer = lrax.Adam(lr=0.1).register_trainable_weights(states)
    loss_fn = lambda b: perceptron(states, b["x"], b["y"])  # noqa: E731
    a_dict = {"x": DATA[0][0], "y": DATA[0][1]}
    found = lrax.find_lr(loss_fn, optimizer, a_dict, steps=12, end_lr=0.1)
    np.testing.assert_array_equal(found.losses, first.losses)
    loss_fn = lambda x: perceptron(states, x, 0.0)  # noqa: E731
    found = lrax.find_lr(loss_fn, optimizer, DATA[0][0], steps=12, end_lr=0.1)
    assert found.losses[-1] < found.losses[0]


def test_batches_of_two_sizes():
    """The last one of a loader is smaller: another program, which goes on from the same numbers."""
    ragged = [*DATA[:2], tuple(array[:3] for array in DATA[2])]
    found = of_network(ragged)
    assert_close(found.losses, of_network(Loader(ragged)).losses)
    states, losses = {name: START[name] for name in START}, []
    adam = optax.inject_hyperparams(optax.adam)(0.1)
    memory = adam.init(states)

    def loss_of(values, x, y):
        hidden = jnp.tanh(x @ values["a"])
        return jnp.mean((hidden @ values["b"] + values["c"] - y) ** 2)

    for i, lr in enumerate(np.geomspace(1e-7, 0.1, 12)):
        loss, grads = jax.value_and_grad(loss_of)(states, *ragged[i % 3])
        memory.hyperparams["learning_rate"] = jnp.float32(lr)
        updates, memory = adam.update(grads, memory)
        states = optax.apply_updates(states, updates)
        losses.append(float(loss))
    assert_close(found.losses, losses, rtol=1e-5)


def test_states_of_batches_of_two_sizes():
    """What a program only reads another one has written."""
    optimizer = lrax.SGD(lr=0.1).register_trainable_weights({"w": (w := weight())})
    largest = brainstate.State(jnp.ones(()))

    def loss_fn(x):
        if len(x) == 2:
            largest.value = jnp.max(x)
        return largest.value + 0 * w.value

    given = [(np.float32(x),) for x in ([3], [1, 5], [2], [4, 1], [6])]
    found = lrax.find_lr(loss_fn, optimizer, given, steps=7, **ENDLESS)
    np.testing.assert_array_equal(found.losses, [1, 5, 5, 4, 4, 4, 5])
    assert largest.value == 1


def test_a_state_that_changes_its_dtype():
    """It is compiled once, so it keeps the one that it has."""
    optimizer = lrax.SGD(lr=0.1).register_trainable_weights({"w": (w := weight())})
    last = brainstate.State(np.int8(3))

    def loss_fn(x):
        before, last.value = last.value, x
        return before + 0 * w.value

    given = [(np.float32(x),) for x in (7, 5)]
    found = lrax.find_lr(loss_fn, optimizer, given, steps=4, **ENDLESS)
    np.testing.assert_array_equal(found.losses, [3, 7, 5, 7])
    assert last.value == 3


def test_no_more_is_taken_than_used():
    taken = []

    def endless():
        for i in range(100):
            taken.append(i)
            yield (np.float32([1.0, 1.0, np.nan])[i % 3],)

    optimizer = lrax.SGD(lr=0.1).register_trainable_weights({"w": (w := weight())})
    iterator = endless()
    found = lrax.find_lr(lambda v: v + 0 * w.value, optimizer, iterator, steps=29)
    assert len(found.losses) == 2
    assert taken == [0, 1, 2]
    assert next(iterator) == (1.0,)
    longer = of_network([*DATA[:3], ("no array", 1)], steps=3)
    assert_close(longer.losses, of_network(DATA[:3], steps=3).losses)
    loader = Loader([(v,) for v in (4.0, 3.0, 2.0, 1.0)])
    lrax.find_lr(lambda v: v + 0 * w.value, optimizer, loader, steps=9)
    assert loader.begun == 3


@pytest.mark.parametrize("names", [("get_state", "set_state"), ("state_dict", "load_state_dict")])
def test_an_iterator_that_can_be_put_back(names):
    iterator = Resumable(DATA, names)
    found = of_network(iterator)
    assert iterator.state == {"at": 2}
    assert_close(found.losses, of_network(DATA[2:]).losses)
    iterator.given = [*DATA[:4], ("no array", 1)]
    with pytest.raises(TypeError, match="batches must hold arrays"):
        of_network(iterator)
    assert iterator.state == {"at": 2}


# --- One program ------------------------------------------------------------------------------------


def test_one_compilation():
    calls = []

    def count(given, steps):
        states = new_states()
        optimizer = lrax.Adam(lr=0.1).register_trainable_weights(states)

        def loss_fn(x, y):
            calls.append(steps)
            return perceptron(states, x, y)

        with compiled_programs() as compiled:
            lrax.find_lr(loss_fn, optimizer, given, steps=steps, **ENDLESS)
        return len(compiled)

    count(DATA, 20)  # the small ones that copy arrays, too
    calls.clear()
    assert count(DATA, 300) == 1
    assert count(Loader(DATA), 40) == 1
    assert (
        count([*DATA, DATA[0][:1] * 2], 5) == 1
    )  # the last one, which is another one, is not needed
    assert calls == [300, 40, 5]


# --- Smoothing and the end --------------------------------------------------------------------------


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.98])
def test_smoothing(beta):
    values = np.random.default_rng(3).uniform(1, 2, 60)
    found = curve(values, smoothing=beta)
    average, expected = 0.0, []
    for k, value in enumerate(np.float32(values).astype(np.float64)):
        average = beta * average + (1 - beta) * value
        expected.append(average / (1 - beta ** (k + 1)))
    assert_close(found.losses, values)
    assert_close(found.smoothed, expected, rtol=3e-6)


@pytest.mark.parametrize(
    "values, diverge, tried",
    [
        ([4, 2, 1, 3.9, 4.1, 1, 1], 4.0, 5),
        ([4, 2, 1, 3.9, 4.1, 1, 1], 3.0, 4),
        ([4, 2, 1, 3.9, 4.1, 1, 1], 5.0, 7),
        ([-1, -2, -3, -2, 5.9, 6.1, 1], 4.0, 6),
        ([0.5, 0.0, 0.1, 1, 1, 1, 1], 4.0, 3),
        ([4, 2, 1, np.nan, 1, 1, 1], 4.0, 3),
        ([4, 2, 1, np.inf, 1, 1, 1], 4.0, 3),
        ([4, 3, 2, -np.inf, 1, 1, 1], 4.0, 3),
    ],
)
def test_where_it_stops(values, diverge, tried):
    found = curve(values, diverge=diverge)
    np.testing.assert_array_equal(found.losses, np.float32(values[:tried]))
    assert len(found.lrs) == len(found.smoothed) == tried


@pytest.mark.parametrize(
    "values", [[4, np.inf], [4, -np.inf], [4, 99], [4, 3, np.nan], [4] * 9 + [17]]
)
def test_what_diverges_within_the_first_tenth_suggests_nothing(values):
    last = len(values)
    with pytest.raises(
        ValueError, match=rf"nothing to suggest: .* number {last} of 100\. Pass a smaller"
    ):
        curve([*values, *[1.0] * (100 - last)], diverge=4.0)
    assert len(curve([4.0] * 10 + [17.0] + [1.0] * 89, diverge=4.0).lrs) == 11


def test_it_diverges_for_good():
    found = quadratic(lrax.SGD(lr=0.1), end_lr=1e4)
    assert found.lrs[-1] < 100
    assert found.smoothed[-1] > 4 * found.smoothed.min()
    assert 0.01 < found.suggestions["minimum / 10"] < 0.5


# --- Suggestions ------------------------------------------------------------------------------------

DIGITS = [2.41, 2.41, 2.4, 2.41, 2.4, 2.38, 2.37, 2.3, 2.28, 2.11, 1.9, 1.96, 1.4, 0.9, 0.62, 0.55, 0.41, 0.43, 0.6, 1.2, 2.9, 8.1]  # fmt: skip
SPIKES = [1.2, 1.19, 1.25, 1.1, 1.3, 1.05, 1.02, 0.9, 1.6, 0.85, 0.8, 0.79, 0.3, 0.9, 0.29, 0.28, 0.31, 0.5, 1.0]  # fmt: skip
RNG = np.random.default_rng(8)
CURVES = {
    "digits": DIGITS,
    "spikes": SPIKES,
    "falling": [*np.linspace(3, 1, 40)],
    "rising": [*np.linspace(1, 3, 40)],
    "short": [3.0, 2.0, 2.5],
    "two": [3.0, 2.0],
    **{f"walk {i}": [*(50 + np.cumsum(RNG.normal(size=60)))] for i in range(4)},
    **{f"noise {i}": [*RNG.integers(1, 9, 45).astype(float)] for i in range(4)},
}


def longest_falls(losses):
    """The length of the longest falling subsequence that ends at each place, by trying out all that may come before."""
    found = []
    for i, loss in enumerate(losses):
        found.append(1 + max((found[j] for j in range(i) if losses[j] > loss), default=0))
    return found


@pytest.mark.parametrize("name", CURVES)
def test_suggestions(name):
    found = curve(CURVES[name])
    losses, lrs = [*map(float, found.losses)], [*map(float, found.lrs)]
    kept = range(len(losses) // 10, len(losses) - 5) or range(len(losses))
    losses, lrs = [losses[i] for i in kept], [lrs[i] for i in kept]

    falls = longest_falls(losses)
    longest = max(falls)
    last = falls.index(longest)
    begin = last - longest if last else 0
    middle = max(begin + (last - begin) // 3 + (last - begin) // 6, 0)
    slopes = [b - a for a, b in itertools.pairwise(losses)]
    expected = {
        "valley": lrs[middle],
        "steepest": lrs[slopes.index(min(slopes))],
        "minimum / 10": lrs[losses.index(min(losses))] / 10,
    }
    assert found.suggestions.keys() == expected.keys()
    assert found.suggestion == found.suggestions["valley"]
    for rule, lr in expected.items():
        assert found.suggestions[rule] == pytest.approx(lr, rel=1e-6), rule


def test_one_loss():
    found = curve([2.0, np.nan], start_lr=1e-3)
    assert found.suggestions == pytest.approx(
        {"valley": 1e-3, "steepest": 1e-3, "minimum / 10": 1e-4}
    )


def test_suggestions_are_of_the_smoothed_losses():
    values = np.geomspace(3, 1, 80) * RNG.uniform(0.8, 1.2, 80)
    found = curve(values, smoothing=0.9)
    again = curve(found.smoothed)
    assert found.suggestions == pytest.approx(again.suggestions)
    assert found.suggestions != curve(values).suggestions


def test_a_training_at_what_was_found():
    """The valley trains; a hundred times as much does not."""
    found = of_network(DATA[0], steps=100, end_lr=1e3)

    def after(lr):
        states = new_states()
        optimizer = lrax.Adam(lr=lr).register_trainable_weights(states)
        for _ in range(30):
            loss_fn = lambda: perceptron(states, *DATA[0])  # noqa: E731
            grads, loss = brainstate.transform.grad(loss_fn, states, return_value=True)()
            optimizer.step(grads)
        return float(loss)

    assert after(found.suggestions["steepest"]) < 0.7 * found.losses[0]
    assert after(found.suggestion * 1e4) > found.losses[0]
