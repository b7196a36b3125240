"""One learning rate, however it is asked for; gradients, traced hyper-parameters, float32 devices, graph size."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import exact
import lrax
import modes
import registry
from exact import LAST_EPOCH, SMALLEST, spec
from helpers import assert_same_bits, stepped
from hyperparameters import floats, is_kink, numbers, one_sided, put_all, rounded, variants
from internals import without_float64

LONG = {f"{label}, 1e9": s for label, s in registry.at_horizon(10**9 + 7).items()}
OWN = registry.ENTRIES["LRScheduler"].kinds
FULL = {
    s.name: label for label, s in reversed(registry.EVERY.items())
}.values()  # one of each class
LIGHT = ("scheduler(int)", "step(epoch)", "jax int32 array", "jit, array")


def assert_one_learning_rate(scheduler, epochs, chosen, *, x64=False):
    reference = scheduler(epochs)
    assert reference.dtype == np.float32
    assert np.unique(reference).size > 1, "a constant would agree with anything"
    for name, mode in chosen.items():
        some = mode.epochs(epochs)
        assert some.size
        with jax.enable_x64(x64):
            off = modes.apart(mode.run(scheduler, some), scheduler(some))
        assert not off.any(), f"{name}: {off.max()} ulp apart at epoch {some[off.argmax()]}"


@pytest.mark.parametrize("label", FULL)
def test_same_bits_in_every_mode(label):
    s = registry.EVERY[label]
    epochs = modes.sample(s, 20_000)
    assert_one_learning_rate(s.build(), epochs, modes.MODES)
    assert_one_learning_rate(s.build(), epochs, modes.X64_MODES, x64=True)


@pytest.mark.parametrize(
    "label", [*(label for label in registry.EVERY if label not in FULL), *LONG]
)
def test_same_bits(label):
    s = {**registry.EVERY, **LONG}[label]
    assert_one_learning_rate(
        s.build(), modes.sample(s, 20_000), {name: modes.MODES[name] for name in LIGHT}
    )


@pytest.mark.parametrize("label", OWN)
def test_same_bits_for_a_schedule_of_ones_own(label):
    scheduler = OWN[label](0.1)
    epochs = np.arange(2000)
    assert_one_learning_rate(scheduler, epochs, modes.MODES)
    assert_one_learning_rate(scheduler, epochs, modes.X64_MODES, x64=True)


# --- Hyper-parameters that are traced ---------------------------------------------------------


@pytest.mark.parametrize("label", registry.EVERY)
def test_traced_and_vmapped_hyper_parameters(label):
    s = registry.EVERY[label]
    paths, batches = variants(s)
    concrete = [put_all(s, paths, [v.item() for v in batch]) for batch in batches]
    epochs = modes.sample(s, 400)

    def rates(values, t):
        return put_all(s, paths, values).build()(t)

    got = jax.jit(jax.vmap(rates, in_axes=(0, None)))(
        [np.stack(v) for v in zip(*batches, strict=True)], epochs
    )
    for c, row in zip(concrete, np.asarray(got), strict=True):
        exact_values = exact.values(c, epochs)
        error = exact.ulps(row, exact_values)
        assert error.max() <= 1, f"{c} at {epochs[error.argmax()]}: {error.max():.3g} ulp"
        # The same numbers, known while tracing, give the same learning rates.
        assert modes.apart(row, c.build()(epochs)).max() <= 1


@pytest.mark.parametrize(
    "label", ["cosine", "warmup cosine", "multi-step", "restarts", "one cycle", "sequential"]
)
def test_traced_hyper_parameters_are_float64_in_x64_mode(label):
    s = registry.EVERY[label]
    paths, values = zip(*numbers(s), strict=True)
    epochs = modes.sample(s, 400)
    with jax.enable_x64(True):
        got = jax.jit(lambda values, t: put_all(s, paths, values).build()(t))(values, epochs)
    assert exact.ulps(got, exact.values(s, epochs)).max() <= 1


def test_a_traced_hyper_parameter_needs_no_traced_epoch():
    got = jax.vmap(lambda T: lrax.CosineAnnealingLR(0.1, T_max=T)(7))(jnp.arange(7, 20))
    expected = [
        exact.values(spec("CosineAnnealingLR", base_lr=0.1, T_max=T), [7])[0] for T in range(7, 20)
    ]
    assert exact.ulps(got, expected).max() <= 1


# --- Gradients --------------------------------------------------------------------------------


def gradient_epochs(s):
    marks = exact.boundaries(s)
    near = {m + d for m in [*marks[:5], *marks[-2:]] for d in (-1, 0, 1)}
    found = sorted(
        e
        for e in near | {0, 1, 5, 100, 500, 5000, 10**5, 2**24, LAST_EPOCH}
        if 0 <= e <= LAST_EPOCH
    )
    return np.array((found + [LAST_EPOCH] * 32)[:32], np.int32)


def gradients(s):
    """A program: d lr / d value for every float of `s`, at every epoch."""
    paths = [path for path, _ in floats(s)]

    def rate(values, t):
        return put_all(s, paths, values).build()(t)

    program = jax.jit(jax.vmap(jax.grad(rate), in_axes=(None, 0)))
    return lambda values, epochs: np.array(program(list(values), epochs), np.float64)


def assert_finite(found, paths, epochs):
    assert found.shape == (len(paths), len(epochs))
    bad = ~np.isfinite(found)
    assert not bad.any(), [(paths[i], epochs[j]) for i, j in np.argwhere(bad)]


@pytest.mark.parametrize("label", registry.NOT_SMOOTH)
def test_gradients_are_finite_where_formulas_are_not_smooth(label):
    s, epochs = registry.NOT_SMOOTH[label], gradient_epochs(registry.NOT_SMOOTH[label])
    paths, values = zip(*floats(s), strict=True)
    assert_finite(gradients(s)(rounded(values), epochs), paths, epochs)


@pytest.mark.parametrize("label", registry.EVERY)
def test_gradients_are_right(label):
    """Against finite differences of the exact formula; at kinks, on one side or between both."""
    s, epochs = registry.EVERY[label], gradient_epochs(registry.EVERY[label])
    paths, values = zip(*floats(s), strict=True)
    program = gradients(s)
    in_float32 = program(rounded(values), epochs)
    assert_finite(in_float32, paths, epochs)
    with jax.enable_x64(True):
        found = program(values, epochs)
        in_float64 = program([float(v) for v in rounded(values)], epochs)
    np.testing.assert_allclose(in_float32, in_float64, rtol=1e-6, atol=1e-12)
    checked = 0
    for path, value, row in zip(paths, values, found, strict=True):
        for t, got in sorted({*zip(epochs.tolist(), row.tolist(), strict=True)}):
            left, right = one_sided(s, path, value, t)
            if is_kink(s, path) and abs(left - right) > 1e-9:
                continue
            slack = 1e-9 * max(abs(left), abs(right)) + 1e-14 * max(
                exact.value(s, t) / (value or 1), 1
            )
            assert min(left, right) - slack <= got <= max(left, right) + slack, (
                path,
                t,
                got,
                left,
                right,
            )
            checked += got != 0
    assert checked >= len(paths)


# --- Devices without float64 ------------------------------------------------------------------


@pytest.mark.parametrize("horizon", [None, 1, 3, 1000, 10**6, LAST_EPOCH, 3 * 10**9])
def test_float32_arithmetic_where_there_is_no_float64(horizon, monkeypatch):
    without_float64(monkeypatch)
    for label, s in (registry.at_horizon(horizon) if horizon else registry.EVERY).items():
        scheduler, epochs = s.build(), modes.sample(s, 500)
        program = jax.jit(lambda t, f=scheduler: f(t))
        assert "f64" not in str(jax.make_jaxpr(program)(jnp.int32(0))), label
        got = np.asarray(program(jnp.asarray(epochs, jnp.int32)))
        assert got.dtype == np.float32
        assert np.isfinite(got).all(), label
        assert (got >= 0).all(), label
        if (ends := exact.end(s)) and ends[0] < LAST_EPOCH:
            last = np.asarray(program(jnp.asarray([ends[0], ends[0] + 1, LAST_EPOCH], jnp.int32)))
            # An end that is computed from two arguments or more is rounded more than once.
            tolerance = 4e-7 if registry.ENTRIES[s.name].end_is_computed else 0
            np.testing.assert_allclose(
                last, np.full(3, ends[1], np.float32), rtol=tolerance, err_msg=label
            )
            assert len(set(last.tolist())) == 1
        if label not in registry.ROUGH_IN_FLOAT32:  # docs/accuracy.md says how far off
            near = epochs[epochs < 2**20]
            exact_values = exact.values(s, near)
            peak = max(exact_values.max(), SMALLEST)
            assert np.abs(got[: len(near)] - exact_values).max() <= 4e-6 * peak, label


# --- Graph size -------------------------------------------------------------------------------


def equations(jaxpr):
    inner = [
        equations(getattr(value, "jaxpr", value))
        for equation in jaxpr.eqns
        for value in jax.tree.leaves(
            list(equation.params.values()),
            is_leaf=lambda v: hasattr(v, "eqns") or hasattr(v, "jaxpr"),
        )
        if hasattr(value, "eqns") or hasattr(value, "jaxpr")
    ]
    return len(jaxpr.eqns) + sum(inner)


GROWING = {
    "milestones": lambda n: lrax.MultiStepLR(0.1, list(range(10, 10 + n)), 0.99),
    "boundaries": lambda n: lrax.PiecewiseConstantSchedule(
        boundaries=list(range(10, 10 + n)), values=list(np.linspace(0.1, 0.01, n + 1))
    ),
    "cycles": lambda n: lrax.CosineAnnealingWarmRestarts(0.1, T_0=LAST_EPOCH // n, T_mult=1),
    "growing cycles": lambda n: lrax.CosineAnnealingWarmRestarts(0.1, T_0=10, T_mult=1 + n),
    "periods": lambda n: lrax.StepLR(0.1, LAST_EPOCH // n, 0.99),
    "triangles": lambda n: lrax.CyclicLR(0.01, 0.1, LAST_EPOCH // (2 * n)),
    "in a sequence": lambda n: lrax.SequentialLR(
        [lrax.WarmupScheduler(0.1, 5), lrax.MultiStepLR(0.1, list(range(10, 10 + n)), 0.99)], [5]
    ),
}


@pytest.mark.parametrize("label", GROWING)
@pytest.mark.parametrize("shape", [(), (1000,)])
def test_the_graph_does_not_grow(label, shape):
    one, many, more = (
        equations(
            jax.make_jaxpr(lambda t, n=n: GROWING[label](n)(t))(jnp.zeros(shape, jnp.int32)).jaxpr
        )
        for n in (1, 300, 1000)
    )
    assert 3 < one <= many == more <= 3 * one


def test_joined_pieces_share_a_graph():
    """Twice the pieces, at most twice the graph."""

    def size(n):
        pieces = [lrax.LinearLR(0.1 * i, 0.5, 1.0, 10) for i in range(1, n + 1)]
        joined = lrax.SequentialLR(pieces, list(range(10, 10 * n, 10)))
        return equations(jax.make_jaxpr(lambda t: joined(t))(jnp.int32(0)).jaxpr)

    assert size(64) <= 2 * size(32)


def test_a_function_in_jax_numpy_is_float64_on_the_host():
    scheduler = lrax.LambdaLR(1.0, lambda t: jnp.exp(-jnp.asarray(t) / 30))
    wanted = np.float32([math.exp(-t / 30) for t in range(100)])
    assert_same_bits(stepped(scheduler, 100), wanted)
    assert_same_bits(scheduler(np.arange(100)), wanted)


@pytest.mark.parametrize("base_lr", [0, 0.5])
def test_a_schedule_that_nothing_changes(base_lr):
    """All of it is known while tracing, and still an array comes out."""
    scheduler = lrax.MultiStepLR(base_lr, milestones=[])
    for epochs in (jnp.int32(3), jnp.arange(3)):
        for found in (scheduler(epochs), jax.jit(scheduler)(epochs)):
            assert found.dtype == jnp.float32
            np.testing.assert_array_equal(found, np.full(epochs.shape, base_lr, np.float32))


@functools.lru_cache
def cached(epoch):
    return 1 / (1 + epoch)


TABLE = (1.0, 0.5, 0.25, 0.125)
PYTHON = {
    "a negative power of a whole number": lambda t: 10 ** -(t // 30),
    "a negative power of the epoch": lambda t: (t + 1) ** -1,
    "a large power": lambda t: 1 / (1 + t**5),
    "numbers beyond 64 bits": lambda t: 2**t / 2**1000,
    "an if": lambda t: 1.0 if t < 7 else 0.5,
    "math": lambda t: math.exp(-t / 40),
    "a dict": lambda t: {0: 1.0, 7: 0.5}.get(t, 0.1),
    "a set": lambda t: 0.5 if t in {3, 50} else 1.0,
    "a tuple": lambda t: TABLE[min(t // 10, 3)],
    "an array of NumPy": lambda t: np.array(TABLE)[min(t // 10, 3)],
    "an array of jax": lambda t: jnp.array(TABLE)[jnp.minimum(t // 10, 3)],
    "an array of jax, compiled": lambda t: jnp.array(TABLE)[jnp.int32(jnp.minimum(t // 10, 3))],
    "a method of int": lambda t: t.bit_length() / 10,
    "a cache": cached,
}


class OfPython(lrax.LRScheduler):
    def __init__(self, function):
        self.function = function
        super().__init__(0.1)

    def get_lr(self):
        return [lr * self.function(self.last_epoch.value) for lr in self.base_lrs]


@pytest.mark.parametrize("label", PYTHON)
@pytest.mark.parametrize("make", [lambda f: lrax.LambdaLR(0.1, f), OfPython])
def test_a_function_of_python_is_the_same_compiled(label, make):
    scheduler = make(PYTHON[label])
    wanted = np.float32([0.1 * float(PYTHON[label](t)) for t in range(100)])
    epochs = jnp.arange(100)
    np.testing.assert_allclose(scheduler(np.arange(100)), wanted, rtol=1.2e-7, atol=1e-45)
    for found in (
        jax.jit(scheduler)(epochs),
        [jax.jit(scheduler)(t) for t in epochs],
        jax.vmap(scheduler)(epochs),
        stepped(scheduler, 100),
    ):
        np.testing.assert_allclose(np.stack(found), wanted, rtol=1.2e-7, atol=1e-45)


def test_the_scale_function_of_cycles_is_the_same_compiled():
    scheduler = lrax.CyclicLR(0.1, 0.5, 4, scale_fn=lambda cycle: 2 ** -(cycle - 1))
    wanted = [0.1 + 0.4 * (1 - abs(t % 8 - 4) / 4) * 0.5 ** (t // 8) for t in range(40)]
    np.testing.assert_allclose(jax.jit(scheduler)(jnp.arange(40)), wanted, rtol=1e-6)
    np.testing.assert_allclose(scheduler(np.arange(40)), wanted, rtol=1e-6)


def test_get_lr_is_a_function_of_the_epoch():
    class Decay(lrax.LRScheduler):
        def get_lr(self):
            return [0.9 * lr for lr in self.current_lrs.value]

    with pytest.raises(TypeError, match=r"get_lr\(\) of Decay must be a function of last_epoch"):
        Decay(0.1)
