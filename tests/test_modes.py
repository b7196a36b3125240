"""One learning rate, however it is asked for, with traced hyper-parameters, and on devices without float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import exact
import lrax
import modes
import registry
from exact import LAST_EPOCH, SMALLEST, spec
from helpers import slow_but, weekly_but
from hyperparameters import numbers, put_all, variants
from internals import without_float64

LONG = {f"{label}, 1e9": s for label, s in registry.at_horizon(10**9 + 7).items()}
OWN = registry.ENTRIES["LRScheduler"].kinds
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


@pytest.mark.parametrize("count", weekly_but([1000, 20_000], 1000))
@pytest.mark.parametrize("label", registry.ONE_OF_EACH)
def test_same_bits_in_every_mode(label, count):
    s = registry.EVERY[label]
    epochs = modes.sample(s, count)
    assert_one_learning_rate(s.build(), epochs, modes.MODES)
    assert_one_learning_rate(s.build(), epochs, modes.X64_MODES, x64=True)


OTHERS = [label for label in registry.EVERY if label not in registry.ONE_OF_EACH]


@pytest.mark.parametrize(
    "label, count",
    [(label, 1000) for label in OTHERS]
    + [pytest.param(label, 20_000, marks=pytest.mark.weekly) for label in (*OTHERS, *LONG)],
)
def test_same_bits(label, count):
    s = {**registry.EVERY, **LONG}[label]
    assert_one_learning_rate(
        s.build(), modes.sample(s, count), {name: modes.MODES[name] for name in LIGHT}
    )


@pytest.mark.parametrize("label", OWN)
def test_same_bits_for_a_schedule_of_ones_own(label):
    scheduler = OWN[label](0.1)
    epochs = np.arange(2000)
    assert_one_learning_rate(scheduler, epochs, modes.MODES)
    assert_one_learning_rate(scheduler, epochs, modes.X64_MODES, x64=True)


# --- Hyper-parameters that are traced ---------------------------------------------------------


@pytest.mark.parametrize("label", slow_but(registry.EVERY, *registry.ONE_OF_EACH))
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


# --- Devices without float64 ------------------------------------------------------------------


@pytest.mark.parametrize(
    "horizon", slow_but([None, 1, 3, 1000, 10**6, LAST_EPOCH, 3 * 10**9], None)
)
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


@pytest.mark.parametrize("base_lr", [0, 0.5])
def test_a_schedule_that_nothing_changes(base_lr):
    """All of it is known while tracing, and still an array comes out."""
    scheduler = lrax.MultiStepLR(base_lr, milestones=[])
    for epochs in (jnp.int32(3), jnp.arange(3)):
        for found in (scheduler(epochs), jax.jit(scheduler)(epochs)):
            assert found.dtype == jnp.float32
            np.testing.assert_array_equal(found, np.full(epochs.shape, base_lr, np.float32))


def test_one_number_takes_no_other_way_than_an_array():
    class Half(lrax.StepLR):
        def lr_at(self, epoch):
            return super().lr_at(epoch) * 0.5

    half = Half(0.1)
    assert [half(5), half(np.int64(5)), half(5.0), half(jnp.int32(5))] == [np.float32(0.05)] * 4

    class Listed(lrax.Formula):
        def raw(self, t, base, x):
            return np.array([base]) if t else base

    listed = lrax.LRScheduler(0.1, formula=Listed())
    for epoch in (5, np.int64(5)):
        with pytest.raises(TypeError, match="raw\\(\\) of Listed must return a number, got array"):
            listed(epoch)


def test_a_users_function_is_called_once_for_one_number():
    calls = []

    def of(value):
        return lrax.LambdaLR(0.1, lambda epoch: calls.append(epoch) or value)

    for value in (1.0, 0.0, 1, 1e39, 1e-45):
        scheduler = of(value)
        calls.clear()
        scheduler(5)
        assert calls == [5], value


SINGLE = OWN | {"cosine": lambda base: lrax.CosineAnnealingLR(base, 9)}


@pytest.mark.parametrize("number", [int, float, np.int64, np.float32, np.array])
@pytest.mark.parametrize("label", SINGLE)
def test_one_number_of_the_host_gives_one_of_numpy(label, number):
    """Also where it is 0, at the end."""
    scheduler = SINGLE[label](1.0)
    assert {type(scheduler(number(t))) for t in (0, 5, 9)} == {np.float32}


@pytest.mark.parametrize("label", registry.ONE_OF_EACH)
def test_where_every_rounding_of_numpy_is_an_error(label):
    s = registry.EVERY[label]
    epochs = np.array([0, 1, 7, 1000, 10**6, LAST_EPOCH])
    expected = s.build()(epochs)
    with np.errstate(all="raise"):
        found = s.build()(epochs)
    np.testing.assert_array_equal(found, expected)


def test_a_greedy_one_where_every_rounding_of_numpy_is_an_error():
    scheduler = lrax.GreedyLR(0.1, smooth=True, window_size=3)
    with np.errstate(all="raise"):
        for _ in range(5):
            scheduler.step(1e-32)
    assert scheduler.last_epoch == 5
