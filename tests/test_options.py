"""Options of jax that leave optax working: the same learning rates and the same training, in a process for each."""

import json
import os
import pathlib
import subprocess
import sys

import brainstate
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

import exact
import lrax
import registry
from helpers import assert_same_bits, compiled_programs, weekly_but

SCRIPT = pathlib.Path(__file__).with_name("options.py")
QUICK = ("no promotion", "no transfers", "explicit mesh")
OTHERS = (
    "strict promotion",
    "no rank promotion",
    "no promotion, float64",
    "no transfers to the host",
    "no transfers between devices",
    "no NaN",
    "no leaks",
    "no jit",
    "checks",
)
"""A few cells each. `python tests/options.py OPTION` takes all schedulers, in some minutes; the weekly run does."""


def run(option):
    devices = 4 if option == "explicit mesh" else 1
    return subprocess.run(
        [sys.executable, "-W", "error", SCRIPT, option, "quick"],
        env={**os.environ, "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}"},
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )


@pytest.mark.parametrize(
    "option", [*QUICK, *(pytest.param(option, marks=pytest.mark.weekly) for option in OTHERS)]
)
def test_what_leaves_optax_working_leaves_lrax_working(option):
    process = run(option)
    assert process.stdout, process.stderr
    found = json.loads(process.stdout)
    assert found["cells"] > 1
    assert found["wrong"] == {}
    assert process.returncode == 0


# --- A guard against transfers --------------------------------------------------------------------


def test_a_guard_does_not_compile_again():
    weight, gradient = jnp.ones(3), {"w": jnp.ones(3)}
    optimizer = lrax.SGD(lr=lrax.StepLR(0.1, 2), momentum=0.9)
    optimizer.register_trainable_weights({"w": brainstate.ParamState(weight)})
    step = lrax.jit(lambda g: optimizer.step(g))
    for update in (step, optimizer.step):
        update(gradient)
        optimizer.lr.step()
        with compiled_programs() as compiled, jax.transfer_guard("disallow"):
            update(gradient)
            optimizer.lr.step()
            update(gradient)
        assert not compiled


@pytest.mark.parametrize("kind", [lrax.SGD, lrax.Adam, lrax.AdamW])
def test_a_guard_lets_a_checkpoint_in(kind):
    optimizer = kind(lr=0.1).register_trainable_weights({"w": brainstate.ParamState(jnp.ones(3))})
    optimizer.step({"w": jnp.ones(3)})
    saved = optimizer.state_dict()
    with jax.transfer_guard("disallow"):
        optimizer.load_state_dict(saved)
    assert optimizer.step_count == 1


def test_the_host_fetches_explicitly_what_a_compiled_step_left_on_the_device(monkeypatch):
    """A CPU lets everything through to the host, so that the guard itself cannot tell; its counters are read in place."""
    fetched, device_get = [], jax.device_get
    monkeypatch.setattr(jax, "device_get", lambda v: fetched.append(v) or device_get(v))
    scheduler = lrax.ReduceLROnPlateau(0.1, factor=0.5, patience=2)
    step = lrax.jit(lambda: scheduler.step(1.0))
    step()
    scheduler.step(1.0)
    assert not fetched  # which takes longer
    step()
    with jax.transfer_guard_device_to_host("disallow"):
        scheduler.step(1.0)
        scheduler.step(1.0)
    assert len(fetched) == 1  # the best metric
    assert scheduler.last_epoch.value == 5
    assert_same_bits(scheduler.get_last_lr(), np.float32([0.05]))


# --- Export -----------------------------------------------------------------------------------------


def exported(function, dtype=jnp.int32, shape="n"):
    of_any_size = jax.ShapeDtypeStruct(export.symbolic_shape(shape), dtype)
    return export.export(jax.jit(function))(of_any_size).call


@pytest.mark.parametrize("label", weekly_but(registry.EVERY, *registry.ONE_OF_EACH))
def test_an_export_of_any_number_of_epochs(label):
    spec = registry.EVERY[label]
    scheduler = spec.build()
    call = exported(scheduler)
    for epochs in (np.arange(1), np.arange(100)):
        found = call(jnp.asarray(epochs, jnp.int32))
        assert exact.ulps(found, exact.values(spec, epochs)).max() <= 1
        assert_same_bits(found, scheduler(epochs))


@pytest.mark.parametrize("gamma", [0.99, jnp.float32(0.99)])
def test_an_export_with_many_milestones(gamma):
    scheduler = lrax.MultiStepLR([0.1, 0.2], list(range(0, 300, 3)), gamma)
    epochs = np.arange(400).reshape(20, 20)
    found = exported(scheduler.lr_at, shape="n, m")(jnp.asarray(epochs, jnp.int32))
    expected = np.multiply.outer(np.float64(np.float32(gamma)) ** np.minimum(epochs // 3 + 1, 100), [0.1, 0.2])  # fmt: skip
    np.testing.assert_allclose(found, expected, rtol=3e-6)


def test_a_function_on_the_host_cannot_be_exported():
    scheduler = lrax.LambdaLR(0.1, lambda epoch: 1.0 if epoch < 5 else 0.5)
    with pytest.raises(TypeError, match=r"exported.*jnp\.where"):
        exported(scheduler)
