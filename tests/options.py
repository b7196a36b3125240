"""Runs every scheduler and a training under an option of jax, and prints what went wrong as JSON.

    python options.py OPTION [quick]

What is compared with was worked out before the option was set.
"""

import json
import math
import os
import sys
import traceback

import brainstate
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import exact
import lrax
import registry
from helpers import METRICS, takes_metric

transform = brainstate.transform

OPTIONS = {
    "strict promotion": {"jax_numpy_dtype_promotion": "strict"},
    "no rank promotion": {"jax_numpy_rank_promotion": "raise"},
    "no promotion": {"jax_numpy_dtype_promotion": "strict", "jax_numpy_rank_promotion": "raise"},
    "no promotion, float64": {
        "jax_numpy_dtype_promotion": "strict",
        "jax_numpy_rank_promotion": "raise",
        "jax_enable_x64": True,
    },
    "no transfers": {"jax_transfer_guard": "disallow"},
    "no transfers to the host": {"jax_transfer_guard_device_to_host": "disallow"},
    "no transfers between devices": {"jax_transfer_guard_device_to_device": "disallow"},
    "no NaN": {"jax_debug_nans": True},
    "no leaks": {"jax_check_tracer_leaks": True},
    "no jit": {"jax_disable_jit": True},
    "checks": {"jax_enable_checks": True},
    "explicit mesh": {},
}
OPTION, QUICK = sys.argv[1], "quick" in sys.argv
GUARDED = OPTION == "no transfers"
SPREAD = OPTION == "explicit mesh"
TRACED_BY_BRAINSTATE = OPTION != "checks"  # it fails there, whatever it traces
JITS = {"lrax.jit": lrax.jit, "brainstate.transform.jit": transform.jit}
if GUARDED or QUICK:  # under a guard: it hands the numbers of a State over as they are
    del JITS["brainstate.transform.jit"]

MESH = jax.make_mesh((jax.device_count(),), ("d",), axis_types=(AxisType.Explicit,))
EPOCHS = np.arange(96, dtype=np.int32)
STEPS = 6


def with_if(epoch):
    """No tracer can take it."""
    return math.exp(-epoch / 10) if epoch > 5 else 1.0


MANY = list(range(5, 305, 10))
FUNCTIONS = {f"{label}, a function": s.build for label, s in registry.EVERY.items()}
STEPPED = {
    **registry.SCHEDULERS,
    "30 milestones of two groups": lambda: lrax.MultiStepLR([0.1, 0.2], MANY, 0.9),
    "100 milestones": lambda: lrax.MultiStepLR(0.1, list(range(0, 300, 3)), 0.99),
    "a function with if": lambda: lrax.LambdaLR(0.1, with_if),
}
CALLED = {**FUNCTIONS, **STEPPED}
if QUICK:
    CALLED = STEPPED = {
        k: STEPPED[k] for k in ("30 milestones of two groups", "a function with if")
    }
IN_A_HURRY = ("compiled", "in lrax.jit after the host", "the host after lrax.jit", "in lrax.jit")


def spread(array):
    """By epochs, over all devices; without a mesh on the one there is."""
    return jax.device_put(array, NamedSharding(MESH, PartitionSpec("d")) if SPREAD else None)


# --- call -------------------------------------------------------------------------------------------


def calls(label, make):
    scheduler = make()
    if takes_metric(scheduler):
        return
    expected = scheduler.lr_at(EPOCHS)
    if label in FUNCTIONS:
        spec = registry.EVERY[label.removesuffix(", a function")]
        off = exact.ulps(expected[:, 0], exact.values(spec, EPOCHS))
        assert off.max() <= 1, (label, off.max())
    square = expected.reshape(-1, 8, expected.shape[-1])
    epochs, fractions = spread(EPOCHS), spread(EPOCHS.astype(np.float32))
    rows, base = spread(EPOCHS.reshape(-1, 8)), jax.device_put(np.float32([0.5, 1.0]))

    def check(wanted, call, *arguments):
        found = call(*arguments)
        same = np.array_equal(np.asarray(found).view(np.int32), wanted.view(np.int32))
        assert same, f"{np.asarray(found) - wanted}"
        # What no epoch changes is not by epochs.
        by_epochs = isinstance(found, jax.Array) and found.shape[:1] == epochs.shape
        if SPREAD and by_epochs and np.ptp(wanted):
            assert found.sharding.spec[0] == "d", found.sharding

    yield "on the host", lambda: check(expected[3], scheduler.lr_at, 3)
    yield "on the host, many", lambda: check(expected, scheduler.lr_at, EPOCHS)
    yield "jax array", lambda: check(expected, scheduler.lr_at, epochs)
    yield "jax array of two dimensions", lambda: check(square, scheduler.lr_at, rows)
    yield "compiled", lambda: check(expected, jax.jit(scheduler.lr_at), epochs)
    yield "of fractions", lambda: check(expected, jax.jit(scheduler.lr_at), fractions)
    if expected.shape[-1] == 1:
        yield "scheduler(epochs)", lambda: check(expected[:, 0], scheduler, epochs)
    yield "mapped", lambda: check(expected, jax.jit(jax.vmap(scheduler.lr_at)), epochs)
    if label in registry.KINDS and label != "a subclass":  # one that is given numbers
        sweep = jax.vmap(lambda b: registry.KINDS[label](b).lr_at(epochs))
        derivative = jax.grad(lambda b: registry.KINDS[label](b).lr_at(epochs).sum())

        def sweeps():
            assert np.isfinite(jax.jit(sweep)(base)).all()
            assert np.isfinite(jax.jit(jax.vmap(derivative))(base)).all()

        yield "a sweep, and its gradient", sweeps


# --- step -------------------------------------------------------------------------------------------


def steps(label, make):
    reference, scheduler = make(), make()
    metric = takes_metric(scheduler)
    given = [{"metric": value} if metric else {} for value in METRICS[:STEPS].tolist()]
    on_device = [{"metric": jax.device_put(np.float32(m["metric"]))} if m else {} for m in given]
    expected = []
    for kwargs in given:
        reference.step(**kwargs)
        expected.append(np.array(reference.get_last_lr()))
    saved, jump = make().state_dict(), jax.device_put(np.int32(2))

    def check(step, kwargs, first=0):
        scheduler.load_state_dict(saved)
        for i, wanted in enumerate(expected):
            (scheduler.step if i < first else step)(**kwargs[i])
            found = np.array(scheduler.get_last_lr())
            assert np.array_equal(found, wanted), f"step {i}: {found} instead of {wanted}"

    yield "on the host", lambda: check(scheduler.step, given)
    if not TRACED_BY_BRAINSTATE:
        return
    for name, jit in JITS.items():

        def step(jit=jit, **kwargs):
            jit(lambda kwargs: (scheduler.step(**kwargs), None)[1])(kwargs)

        yield f"in {name}", lambda step=step: check(step, on_device)
        yield f"in {name} after the host", lambda step=step: check(step, on_device, 3)
        yield (
            f"the host after {name}",
            lambda step=step: (step(**on_device[0]), check(scheduler.step, on_device)),
        )

    def others():
        def body(i):
            scheduler.step(**on_device[0])
            return scheduler.get_lr()

        def inside():
            scheduler.step(epoch=jump, **on_device[0])
            scheduler.apply(lambda lr: lr / 2)
            transform.for_loop(body, jnp.arange(3))

        lrax.jit(inside)()
        scheduler.apply(lambda lr: lr / 2)
        if label != "a subclass":  # whose get_lr() computes with what the clock holds
            scheduler.get_lr()
        brainstate.graph.clone(scheduler).step(**given[0])
        scheduler.step(epoch=3, **given[0])
        assert scheduler.last_epoch.value == 3

    yield "everything else", others


# --- train step -------------------------------------------------------------------------------------

FIRST = np.linspace(-1, 1, 8, dtype=np.float32)
CLIP, DECAY = {"grad_clip_norm": 1.0, "grad_clip_value": 0.5}, 0.1


def trained_by_optax(rates):
    """The same weights and the same clipping, and the learning rates handed to it."""
    groups = [
        optax.chain(optax.add_decayed_weights(d), optax.trace(0.9)) if d else optax.trace(0.9)
        for d in (0.0, DECAY)
    ]
    clip = optax.chain(optax.clip_by_global_norm(1.0), optax.clip(0.5))

    @jax.jit
    def step(weights, states, rates):
        grads, _ = clip.update([2 * w for w in weights], clip.init(weights))
        for i, tx in enumerate(groups):
            update, states[i] = tx.update(grads[i], states[i], weights[i])
            weights[i] = optax.apply_updates(weights[i], -rates[i] * update)
        return weights, states

    weights = [jnp.asarray(FIRST), jnp.asarray(FIRST + 1)]
    states = [tx.init(w) for tx, w in zip(groups, weights, strict=True)]
    for i in range(STEPS):
        weights, states = step(weights, states, rates[i])
    return np.stack(weights)


def trainings(label, make):
    reference = lrax.SGD(lr=make())
    reference.register_trainable_weights({"a": brainstate.ParamState(FIRST)})
    if len(reference.lr.base_lrs) == 1:
        reference.add_param_group({"b": brainstate.ParamState(FIRST)}, lr=0.02)
    else:
        reference.add_param_group({"b": brainstate.ParamState(FIRST)})
    metric = takes_metric(reference.lr)
    given = {"metric": jax.device_put(np.float32(1.0))} if metric else {}
    rates = []
    for _ in range(STEPS):
        rates.append(np.array(reference.get_last_lr()))
        reference.lr.step(**{name: float(value) for name, value in given.items()})
    expected = trained_by_optax(rates)

    def train(jit, inside):
        weights = {"a": brainstate.ParamState(spread(FIRST)), "b": brainstate.ParamState(spread(FIRST + 1))}  # fmt: skip
        optimizer = lrax.SGD(lr=make(), momentum=0.9, **CLIP)
        optimizer.register_trainable_weights({"a": weights["a"]})
        own = {"lr": 0.02} if len(optimizer.lr.base_lrs) == 1 else {}
        optimizer.add_param_group({"b": weights["b"]}, weight_decay=DECAY, **own)
        gradient = jax.jit(lambda values: {k: 2 * v for k, v in values.items()})

        def step(kwargs):
            optimizer.step(gradient({k: w.value for k, w in weights.items()}))
            if inside:
                optimizer.lr.step(**kwargs)

        step = jit(step)
        for i in range(STEPS):
            used = [*optimizer.get_last_lr(), optimizer.current_lr, optimizer.param_groups[1]["lr"].value]  # fmt: skip
            assert np.array_equal(jax.device_get(used[:2]), rates[i]), (i, used, rates[i])
            step(given)
            if not inside:
                optimizer.lr.step(**given)
            assert int(optimizer.step_count) == i + 1
            if i == 2:  # what a program does between two steps
                optimizer.load_state_dict(optimizer.state_dict())
                rate = optimizer.current_lr
                optimizer.current_lr = 0.5
                optimizer.current_lr = rate
                brainstate.graph.clone(optimizer)
        found = np.stack([w.value for w in weights.values()])
        np.testing.assert_allclose(found, expected, rtol=2e-5, atol=1e-6)

    yield "eagerly", lambda: train(lambda step: step, inside=False)
    if TRACED_BY_BRAINSTATE:
        for name, jit in JITS.items():
            yield f"in {name}", lambda jit=jit: train(jit, inside=False)
            yield f"in {name}, step inside", lambda jit=jit: train(jit, inside=True)


def main():
    cells = {
        f"{what}: {label}: {way}": run
        for what, of, labels in (
            ("call", calls, CALLED),
            ("step", steps, STEPPED),
            ("train step", trainings, STEPPED),
        )
        for label, make in labels.items()
        for way, run in of(label, make)
        if way in IN_A_HURRY or not QUICK
    }
    if SPREAD:
        jax.set_mesh(MESH)
    for name, value in OPTIONS[OPTION].items():
        jax.config.update(name, value)
    wrong = {}
    for cell, run in cells.items():
        try:
            run()
        except Exception as error:
            ours = [f for f in traceback.extract_tb(error.__traceback__) if "lrax" in f.filename]
            places = [f"{os.path.basename(f.filename)}:{f.lineno}" for f in ours[-2:]]
            wrong[cell] = f"{type(error).__name__} {error!s:.200} {places}"
    print(json.dumps({"cells": len(cells), "wrong": wrong}))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
