"""One compilation for the life of a train step: whatever happens around it, wherever the weights are."""

import json
import os
import pathlib
import pickle
import subprocess
import sys

import brainstate
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lrax
from helpers import METRICS, compiled_programs, slow_but, takes_metric, values_of, weekly_but
from network import gradient_of, loss_of, new_states
from one_compile import offenders
from registry import FEW_KINDS

SCRIPT = pathlib.Path(__file__).with_name("one_compile.py")


def test_what_was_compiled_before_counts_again():
    """In these tests XLA's programs are kept, see conftest.py; what is counted is that they are asked for."""
    x = jax.block_until_ready(jnp.ones(3))
    for _ in range(2):
        with compiled_programs() as compiled:
            jax.jit(lambda x: 2 * x + 1)(x)
        assert len(compiled) == 1


@pytest.mark.parametrize("place", slow_but(["wherever", "on one device"], "wherever"))
def test_one_compilation(place):
    found = offenders(place)
    assert len(found) == 4
    assert not any(found.values()), found


X64 = {"JAX_ENABLE_X64": "1"}
DEVICES = {"XLA_FLAGS": "--xla_force_host_platform_device_count=8"}


@pytest.mark.parametrize(
    "variables, places",
    [
        pytest.param(X64, ["in float64"], marks=pytest.mark.slow),
        pytest.param(
            DEVICES, ["on a mesh", "on an explicit mesh, by rows"], marks=pytest.mark.slow
        ),
        pytest.param(X64, ["wherever", "in float64"], marks=pytest.mark.weekly),
        pytest.param(DEVICES, ["on a mesh, by rows"], marks=pytest.mark.weekly),
    ],
    ids=["float64", "eight devices", "float32 and float64", "eight devices, by rows"],
)
def test_one_compilation_in_another_process(variables, places):
    run = subprocess.run(
        [sys.executable, "-W", "error", SCRIPT, *places],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)
    assert list(found) == places
    for place, of_place in found.items():
        assert len(of_place) == 4
        assert not any(of_place.values()), (place, of_place)


# --- of every scheduler ------------------------------------------------------------------------------

WAYS = {
    "as it is": lambda d: d,
    "pickle": lambda d: pickle.loads(pickle.dumps(d)),
    "json": lambda d: json.loads(json.dumps(d)),
}


def events(optimizer, scheduler):
    """What may happen around a compiled step."""
    yield "eager step", scheduler.step
    yield "two eager steps", lambda: (scheduler.step(), scheduler.step())
    yield "jump", lambda: scheduler.step(epoch=20)
    yield "jump to a NumPy number", lambda: scheduler.step(epoch=np.int64(7))
    yield "jump to a jax number", lambda: scheduler.step(epoch=jnp.int32(9))
    yield "set clock", lambda: setattr(scheduler.last_epoch, "value", 3)
    yield "set clock to a NumPy number", lambda: setattr(scheduler.last_epoch, "value", np.int64(4))
    yield (
        "set clock to a jax number",
        lambda: setattr(scheduler.last_epoch, "value", jnp.asarray(5)),
    )
    yield "float rate", lambda: setattr(optimizer, "current_lr", 0.01)
    yield "whole rate", lambda: setattr(optimizer, "current_lr", 1)
    yield "NumPy rate", lambda: setattr(optimizer, "current_lr", np.float64(0.01))
    yield "jax rate", lambda: setattr(optimizer, "current_lr", jnp.asarray(0.01))
    yield "rate of a group", lambda: optimizer.param_groups[1].__setitem__("lr", 0.03)
    yield "mapped rates", lambda: optimizer.lr_apply(lambda lr: lr / 2)
    yield "eager update", lambda: optimizer.step(gradient_of(values_of(optimizer.param_states)))
    for way, travel in WAYS.items():
        yield (
            f"load scheduler, {way}",
            lambda travel=travel: scheduler.load_state_dict(travel(scheduler.state_dict())),
        )
    for way in ("as it is", "pickle"):
        yield (
            f"load optimizer, {way}",
            lambda travel=WAYS[way]: optimizer.load_state_dict(travel(optimizer.state_dict())),
        )
    other = lrax.ExponentialLR(0.03, gamma=0.9)
    yield "attach another scheduler", lambda: other.attach_optimizer(optimizer)
    yield "step the other scheduler", other.step
    yield "attach the first again", lambda: optimizer.add_scheduler(scheduler)
    yield (
        "read",
        lambda: (scheduler.lr_at(3), scheduler.lr_at(jnp.arange(3)), optimizer.get_last_lr()),
    )


@pytest.mark.parametrize("kind", FEW_KINDS)
@pytest.mark.parametrize(
    "inside", weekly_but([False, True], True), ids=["step outside", "step inside"]
)
def test_a_train_step_compiles_once(kind, inside):
    scheduler, states = FEW_KINDS[kind](), new_states()
    optimizer = lrax.AdamW(lr=scheduler)
    optimizer.register_trainable_weights({"a": states["a"], "b": states["b"]})
    optimizer.add_param_group({"c": states["c"]}, lr=0.02)
    metric = {"metric": jnp.float32(METRICS[0])} if takes_metric(scheduler) else {}

    @brainstate.transform.jit
    def train_step():
        grad = brainstate.transform.grad(lambda: loss_of(values_of(states)), states)
        optimizer.step(grad())
        if inside:
            scheduler.step(**metric)
        return optimizer.current_lr

    with compiled_programs() as compiled:
        train_step()
    assert compiled
    for event, happen in events(optimizer, scheduler):
        if metric and ("eager step" in event or "jump" in event):
            scheduler.step(metric=1.0)
        elif scheduler.learning is not None and event == "read":
            continue
        else:
            happen()
        rate = np.float32(optimizer.current_lr)
        with compiled_programs() as compiled:
            seen = train_step()
        assert not compiled, event
        if not inside:
            assert np.float32(seen) == rate, event


@pytest.mark.parametrize("jit", [lrax.jit, brainstate.transform.jit])
def test_a_scheduler_that_comes_to_weights_on_a_device_goes_there(jit):
    """Its clock elsewhere would come back on the device, and be compiled for again."""
    put = jax.device_put(jnp.ones(3), jax.devices()[0])
    optimizer = lrax.SGD(lr=0.1).register_trainable_weights({"w": brainstate.ParamState(put)})
    scheduler = lrax.StepLR(0.1, 3)
    optimizer.add_scheduler(scheduler)

    def step(gradient):
        optimizer.step({"w": gradient})
        scheduler.step()

    train = jit(step)
    gradient = jax.device_put(jnp.ones(3), jax.devices()[0])
    for programs in (1, 0, 0):
        with compiled_programs() as compiled:
            train(gradient)
        assert len(compiled) == programs
