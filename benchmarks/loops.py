"""Whole trainings on the device: in one loop, and many beside each other by vmap."""

import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from models import MLP, MODELS, Model, drawn, mlp
from report import Measurement, Row, number
from timing import interleaved
from two_ways import (
    held,
    lrax_parts,
    megabytes,
    optax_parts,
    optax_schedule,
    state_step,
    transform,
)

import lrax

STEPS = 10_000
SWEPT = (64, 512, 4096)


def scanned(model: Model, step: Any, carried: list[Any], length: int) -> jax.Array:
    """The losses of a loop written by hand."""

    def body(carry, _):
        *carry, loss = step(*carry, model.x, model.y)
        return tuple(carry), loss

    return jax.lax.scan(body, tuple(carried), length=length)[1]


def in_one_loop(seed: int) -> Iterator[Measurement]:
    for model in (MODELS[0], MLP, drawn(seed)[0]):
        step, carried = optax_parts(model, "AdamW")

        def loop(model=model):
            one = state_step(model, *lrax_parts(model, "AdamW"))
            return transform.for_loop(lambda _: one(model.x, model.y), jnp.arange(STEPS))

        scan = jax.jit(lambda carried, model=model, step=step: scanned(model, step, carried, STEPS))
        functions = {"lrax": lrax.jit(loop), "optax": functools.partial(scan, carried)}
        losses = [np.asarray(function())[:20] for function in functions.values()]
        np.testing.assert_allclose(*losses, rtol=1e-5)

        def measure(model=model, functions=functions) -> list[Row]:
            found = interleaved(functions, seconds=2, fewest=3, calls=1, warmups=1, block=True)
            what = f"{STEPS} steps of {model}, AdamW, in `for_loop`"
            return [Row(what, found["lrax"], found["optax"], "`lax.scan` + optax", 1.02)]

        yield measure


def sweeps(seed: int, steps: int = 10) -> Iterator[Measurement]:
    """Trainings that differ in their learning rate."""
    model = mlp("MLP", 3, 32)

    def train(peak):
        one = state_step(model, *lrax_parts(model, "AdamW", peak))
        return transform.for_loop(lambda _: one(model.x, model.y), jnp.arange(steps))

    def train_by_hand(peak):  # optax compares its peak with 0, which no traced number allows
        schedule = optax_schedule(1.0)
        parts = optax_parts(model, "AdamW", lambda count: peak * schedule(count))
        return scanned(model, *parts, steps)

    def compiled(function, peaks):
        program = jax.jit(function).lower(peaks).compile()
        return program, number(held(program) / peaks.size)

    each = [*jnp.geomspace(1e-4, 1e-2, SWEPT[0])]
    single, of_single = compiled(train, each[0])
    for count in SWEPT:
        peaks = jnp.geomspace(1e-4, 1e-2, count)
        ours, of_ours = compiled(transform.vmap(train), peaks)
        hand, of_hand = compiled(jax.vmap(train_by_hand), peaks)
        # Of so many some meet a gradient near 0, whose sign is all that Adam's first steps see.
        np.testing.assert_allclose(ours(peaks), hand(peaks), rtol=1e-2)
        functions = {
            "lrax": functools.partial(ours, peaks),
            "by hand": functools.partial(hand, peaks),
            "one by one": lambda: [single(peak) for peak in each],
        }

        def measure(
            what=f"{count} configurations by vmap, {steps} steps",
            count=count,
            functions=functions,
            of_ours=of_ours,
            of_hand=of_hand,
        ) -> list[Row]:
            found = interleaved(functions, seconds=2, fewest=3, calls=1, warmups=1, block=True)
            time, by_hand = found["lrax"] / count, found["by hand"] / count
            alone = found["one by one"] / len(each)
            peer, singly = "`jax.vmap` + optax", "one by one, compiled once"
            return [
                Row(f"{what}: time of each", time, by_hand, peer, 1.05),
                Row(f"{what}: time of each, alone", time, alone, singly),
                Row(f"{what}: memory of each", of_ours, of_hand, peer, 1.01, show=megabytes),
                Row(f"{what}: memory of each, alone", of_ours, of_single, singly, show=megabytes),
            ]

        yield measure
