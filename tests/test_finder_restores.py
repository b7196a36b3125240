"""What a range test leaves behind: nothing, bit for bit, however it ends."""

import signal

import brainstate
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lrax
from helpers import assert_trees_equal, in_three
from ready import weight

nn = brainstate.nn
RNG = np.random.default_rng(4)
X = RNG.normal(size=(12, 4)).astype(np.float32)
Y = np.tanh(X @ RNG.normal(size=(4, 2))).astype(np.float32)
BATCHES = [(X[i : i + 4], Y[i : i + 4]) for i in (0, 4, 8)]


def numbers(leaf):
    """A copy on the host, of a random key what it is made of."""
    key = jnp.issubdtype(jnp.result_type(leaf), jax.dtypes.prng_key)
    return np.array(jax.random.key_data(leaf) if key else leaf)


class Network:
    """A network with batch norm, dropout and a leaky membrane, and what trains it."""

    def __init__(self, make):
        brainstate.random.seed(0)
        self.layers = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm0d(6), nn.Dropout(0.8), nn.Linear(6, 2))  # fmt: skip
        self.membrane = brainstate.ShortTermState(jnp.zeros((4, 2)))
        self.calls = brainstate.State(0)
        weights = self.layers.states(brainstate.ParamState)
        self.optimizer = make().register_trainable_weights(weights)
        self.averaged = lrax.AveragedWeights(weights, decay=0.9)

    def loss(self, x, y):
        with brainstate.environ.context(fit=True):
            self.membrane.value = 0.5 * self.membrane.value + self.layers(x)
        self.calls.value = self.calls.value + 1
        return jnp.mean((self.membrane.value - y) ** 2)

    def train_step(self, x, y):
        weights = self.optimizer.param_states
        grad = brainstate.transform.grad(self.loss, weights, return_value=True)
        grads, loss = grad(x, y)
        self.optimizer.step(grads)
        if not self.optimizer.auto_step:
            self.optimizer.lr.step()
        self.averaged.update()
        return loss

    def contents(self):
        """All States, by place, and the State of random numbers."""
        states = [
            *brainstate.graph.states(self.layers).values(),
            *brainstate.graph.states(self.optimizer).values(),
            *(self.averaged.state, self.membrane, self.calls, brainstate.random.DEFAULT),
        ]
        return [jax.tree.map(numbers, state.value) for state in states]


def cosine():
    return lrax.WarmupCosineSchedule(0.05, 3, 20)


OPTIMIZERS = {
    "SGD": lambda: lrax.SGD(
        lr=lrax.OneCycleLR(0.1, total_steps=20, cycle_momentum=True), momentum=0.9
    ),
    "AdamW": lambda: lrax.AdamW(
        lr=cosine(),
        weight_decay=lrax.StepLR(0.1, 2),
        groups={"bias": {"lr_scale": 0.1}},
        grad_clip_norm=1.0,
        accumulate_steps=2,
        skip_nonfinite=True,
        auto_step=True,
        log_grad_norm=True,
    ),
    "lion": lambda: lrax.OptaxOptimizer(optax.lion, lr=cosine(), b1=0.8),
}


def trained(make, steps=3):
    network = Network(make)
    step = lrax.jit(network.train_step)
    for i in range(steps):
        step(*BATCHES[i % 3])
    return network, step


CASES = [(name, whole) for name in OPTIMIZERS for whole in (False, True)]


@pytest.mark.parametrize(
    "case", in_three(CASES, [("SGD", True), ("AdamW", False)], [("lion", True)])
)
def test_training_goes_on_as_without(case):
    name, whole = case
    losses, contents, saved = [], [], []
    for searches in (False, True):
        network, step = trained(OPTIMIZERS[name])
        if searches:
            before = network.contents(), network.optimizer.state_dict()
            function = network.train_step if whole else network.loss
            found = lrax.find_lr(function, network.optimizer, BATCHES, steps=20)
            assert found.losses[-1] != found.losses[2], "the test has moved nothing"
            assert_trees_equal((network.contents(), network.optimizer.state_dict()), before)
        losses.append([float(step(*BATCHES[i % 3])) for i in range(5)])
        contents.append(network.contents())
        saved.append(network.optimizer.state_dict())
    assert losses[0] == losses[1]
    assert len(set(losses[0])) == 5
    assert_trees_equal(*contents)
    assert_trees_equal(*saved)


def test_gradients_that_wait_for_others_are_no_part_of_it():
    losses = []
    for begun in (False, True):
        weight = brainstate.ParamState(jnp.ones(2))
        optimizer = lrax.SGD(0.1, accumulate_steps=2).register_trainable_weights({"w": weight})
        if begun:
            optimizer.step({"w": jnp.full(2, 1000.0)})
        before = optimizer.state_dict()
        loss = lambda x, weight=weight: jnp.sum(x * weight.value**2)  # noqa: E731
        found = lrax.find_lr(loss, optimizer, [(1.0,)] * 40, steps=20)
        losses.append(found.losses)
        assert_trees_equal(optimizer.state_dict(), before)
    np.testing.assert_array_equal(*losses)


def test_the_step_is_not_compiled_again(network_and_step):
    network, step = network_and_step
    traced = []
    network.loss, loss = lambda *batch: traced.append(1) or loss(*batch), network.loss
    lrax.find_lr(network.loss, network.optimizer, BATCHES, steps=5)
    traced.clear()
    step(*BATCHES[0])
    assert traced == []


# --- Errors and interrupts --------------------------------------------------------------------------


class Stop(Exception):
    pass


def raises(error):
    raise error


def interrupted():
    yield from BATCHES
    # Python was told to ignore it if a shell has started it in the background.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        signal.raise_signal(signal.SIGINT)  # to this thread, and at once
    finally:
        signal.signal(signal.SIGINT, before)
    yield from BATCHES


def drawing():
    """A loader that draws from the generator of brainstate."""
    for batch in BATCHES:
        brainstate.random.rand(2)
        yield batch
    raise Stop


ENDINGS = {
    "an error while tracing": (lambda net: lambda x, y: (net.loss(x, y), raises(Stop)), lambda: BATCHES, Stop),
    "no scalar": (lambda net: lambda x, y: net.loss(x, y) * jnp.ones(2), lambda: BATCHES, TypeError),
    "an error of a loader": (lambda net: net.loss, drawing, Stop),
    "an interrupt": (lambda net: net.loss, interrupted, KeyboardInterrupt),
    "another batch": (lambda net: net.loss, lambda: iter([BATCHES[0], ("a", "b")]), TypeError),
    "NaN": (lambda net: lambda x, y: net.loss(x, y) + jnp.nan, lambda: BATCHES, ValueError),
}  # fmt: skip


@pytest.fixture(scope="module")
def network_and_step():
    return trained(OPTIMIZERS["AdamW"])


@pytest.mark.parametrize("ending", ENDINGS)
def test_whatever_ends_it(ending, network_and_step):
    function, batches, error = ENDINGS[ending]
    network, step = network_and_step
    before = network.contents()
    with pytest.raises(error):
        lrax.find_lr(function(network), network.optimizer, batches())
    assert_trees_equal(network.contents(), before)
    assert np.isfinite(step(*BATCHES[0]))


def test_a_loader_that_draws(network_and_step):
    found = []
    network, _ = network_and_step
    key = numbers(brainstate.random.DEFAULT.value)
    for _ in range(2):
        drawn = ((brainstate.random.rand(4, 4), y) for _, y in BATCHES)
        found.append(lrax.find_lr(network.loss, network.optimizer, drawn, steps=3).losses)
        np.testing.assert_array_equal(numbers(brainstate.random.DEFAULT.value), key)
    assert len({*found[0]}) == 3
    np.testing.assert_array_equal(*found)


def test_a_scheduler_with_two_optimizers():
    """The other one's learning rates stay, too."""
    scheduler = lrax.StepLR(0.1, 2)
    weights = [{"w": weight(2)}, {"w": weight(2)}]
    first, second = (lrax.SGD(lr=scheduler).register_trainable_weights(w) for w in weights)
    lrax.find_lr(lambda: jnp.sum(weights[0]["w"].value ** 2), first, (), steps=5)
    assert first.current_lr == second.current_lr == np.float32(0.1)
    scheduler.step(2)
    assert first.current_lr == second.current_lr == np.float32(0.01)


@pytest.mark.parametrize("make", [lrax.ReduceLROnPlateau, lrax.GreedyLR])
def test_a_scheduler_that_learns(make):
    scheduler = make(0.1, patience=0)
    optimizer = lrax.SGD(lr=scheduler).register_trainable_weights({"w": (w := weight())})
    for metric in (1.0, 2.0, 3.0):
        scheduler.step(metric=metric)
    before = optimizer.state_dict()
    found = lrax.find_lr(lambda: (w.value - 3) ** 2, optimizer, (), end_lr=0.4, steps=20)
    assert_trees_equal(optimizer.state_dict(), before)
    other = lrax.SGD(lr=1.0).register_trainable_weights({"w": w})
    same = lrax.find_lr(lambda: (w.value - 3) ** 2, other, (), end_lr=0.4, steps=20)
    np.testing.assert_array_equal(found.losses, same.losses)


@pytest.mark.parametrize("several", [lambda batch: [batch], lambda batch: iter([batch])])
def test_under_a_guard_against_transfers(several):
    optimizer = ready()
    (w,) = optimizer.param_states.values()
    with jax.transfer_guard("disallow"):
        batches = several((np.ones(3, np.float32),))
        found = lrax.find_lr(lambda x: jnp.sum((w.value + x) ** 2), optimizer, batches, steps=5)
    assert found.losses[0] == 12


# --- What it cannot do ------------------------------------------------------------------------------


def ready(**options):
    return lrax.SGD(lr=0.1, **options).register_trainable_weights({"w": weight(3)})


GROWS = brainstate.State(jnp.zeros(2))


def grows(x):
    GROWS.value = x + GROWS.value[0]
    return jnp.sum(x)


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: lrax.find_lr(abs, lrax.SGD(lr=0.1), (1.0,)), ValueError, r"optimizer must have weights.*register"),
        (lambda: lrax.find_lr(abs, lrax.OptaxOptimizer(optax.adam(0.1)).register_trainable_weights({"w": weight(3)}), (1.0,)), ValueError, "optimizer must have a learning rate"),
        (lambda: lrax.find_lr(abs, lrax.SGD(lr=0.0).register_trainable_weights({"w": weight(3)}), (1.0,)), ValueError, r"base learning rate > 0.*got 0\.0"),
        (lambda: lrax.find_lr(grows, ready(), (jnp.ones(3),)), ValueError, r"one is \(2,\) before and \(3,\) after.*Call it once"),
        (lambda: lrax.find_lr(lambda x: {"accuracy": x}, ready(), (1.0,)), TypeError, "loss_fn must return a real scalar"),
        (lambda: lrax.find_lr(lambda x: None, ready(), (1.0,)), TypeError, "got None"),
        (lambda: lrax.find_lr(lambda x: 3, ready(), (1.0,)), TypeError, "got 3"),
        (lambda: lrax.find_lr(abs, ready(), (1.0,), start_lr=0.1, end_lr=0.1), ValueError, r"end_lr must be larger than start_lr=0\.1, got 0\.1"),
        (lambda: lrax.jit(lambda x: lrax.find_lr(abs, ready(), (1.0,)))(1.0), RuntimeError, "outside of transformations"),
        (lambda: lrax.find_lr(abs, ready(), iter(())), ValueError, "at least one batch"),
    ],
)  # fmt: skip
def test_what_it_says(call, error, message):
    with pytest.raises(error, match=message):
        call()
    assert GROWS.value.shape == (2,)


class Leaky(brainstate.nn.Module):
    """A neuron that is set to rest for each batch, whatever its size."""

    def __init__(self):
        super().__init__()
        self.weight = brainstate.ParamState(jnp.full((2, 3), 0.5))
        self.v = brainstate.HiddenState(jnp.zeros((1, 3)))

    def loss(self, x):
        self.v.value = jnp.zeros((x.shape[1], 3))
        for now in x:
            self.v.value = 0.9 * self.v.value + now @ self.weight.value
        return jnp.mean((self.v.value - 1.0) ** 2)


def test_a_state_that_is_set_anew_may_have_the_size_of_each_batch():
    """Also where it had another one before, and where the last batch is a smaller one."""
    x = np.random.default_rng(0).normal(size=(4, 20, 2)).astype(np.float32)
    net, alone = Leaky(), Leaky()
    optimizer = lrax.SGD(lr=0.1).register_trainable_weights({"w": net.weight})
    batches = [(x[:, :8],), (x[:, 8:16],), (x[:, 16:],)]
    found = lrax.find_lr(net.loss, optimizer, batches, steps=30, start_lr=1e-4, end_lr=0.1)
    assert net.v.value.shape == (1, 3)
    wanted = []
    for i, lr in enumerate(found.lrs):
        (batch,) = batches[i % 3]
        grads, loss = brainstate.transform.grad(alone.loss, {"w": alone.weight}, return_value=True)(
            batch
        )
        wanted.append(float(loss))
        alone.weight.value = alone.weight.value - np.float32(lr) * grads["w"]
    assert len(found.lrs) == 30
    np.testing.assert_allclose(found.losses, wanted, rtol=1e-5)


@pytest.mark.parametrize("looks", [jax.debug_nans, jax.debug_infs])
def test_what_looks_for_nans_does_not_end_it(looks):
    """A test that diverges comes to NaN by itself."""
    weight = brainstate.ParamState(jnp.ones(4))
    optimizer = lrax.SGD(lr=0.1).register_trainable_weights({"w": weight})

    def loss(x):
        return jnp.where(weight.value[0] > 0.5, jnp.mean((weight.value * x - 2.0) ** 2), jnp.nan)

    batches = [(np.full((8, 4), -1.0, np.float32),)]
    wanted = lrax.find_lr(loss, optimizer, batches, steps=60)
    assert 10 < len(wanted.lrs) < 60
    with looks(True):
        found = lrax.find_lr(loss, optimizer, batches, steps=60)
    np.testing.assert_array_equal(found.losses, wanted.losses)
