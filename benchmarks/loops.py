"""Whole trainings on the device: in one loop, and many beside each other by vmap."""

import itertools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from models import MLP, MODELS, drawn, mlp
from report import Measurement, Row, number
from timing import interleaved
from two_ways import OPTIMIZERS, held, lrax_parts, megabytes, optax_parts, state_step, transform

import lrax

STEPS = 10_000
SWEPT = (64, 512, 4096)


def in_one_loop(seed: int) -> Iterator[Measurement]:
    models = [MODELS[0], MLP, drawn(seed)[0]]
    for model, optimizer in itertools.product(models, OPTIMIZERS):
        step, carried = optax_parts(model, optimizer)

        @jax.jit
        def scan(weights, state, model=model, step=step):
            def body(carry, _):
                *carry, loss = step(*carry, model.x, model.y)
                return tuple(carry), loss

            return jax.lax.scan(body, (weights, state), length=STEPS)

        def loop(model=model, optimizer=optimizer):
            one = state_step(model, *lrax_parts(model, optimizer))
            return transform.for_loop(lambda _: one(model.x, model.y), jnp.arange(STEPS))

        functions = {
            "lrax": lrax.jit(loop),
            "optax": lambda scan=scan, carried=carried: scan(*carried)[1],
        }
        losses = [np.asarray(function())[:20] for function in functions.values()]
        np.testing.assert_allclose(*losses, rtol=1e-5)

        def measure(model=model, optimizer=optimizer, functions=functions) -> list[Row]:
            found = interleaved(functions, seconds=3, calls=1, warmups=1, block=True)
            what = f"{STEPS} steps of {model}, {optimizer}, in `for_loop`"
            return [Row(what, found["lrax"], found["optax"], "`lax.scan` + optax", 1.02)]

        yield measure


def sweeps(seed: int, steps: int = 20) -> Iterator[Measurement]:
    """Trainings that differ in learning rate and warmup."""
    model = mlp("MLP", 3, 32)

    def train(lr, warmup):
        one = state_step(model, *lrax_parts(model, "AdamW", lr, warmup))
        return transform.for_loop(lambda _: one(model.x, model.y), jnp.arange(steps))

    def configurations(count):
        return jnp.geomspace(1e-4, 1e-1, count), jnp.arange(count) % 8 + 2

    few = [*zip(*configurations(SWEPT[0]), strict=True)]
    single = jax.jit(train).lower(*few[0]).compile()
    for count in SWEPT:
        arguments = configurations(count)
        swept = jax.jit(transform.vmap(train)).lower(*arguments).compile()
        functions = {
            "vmap": lambda swept=swept, arguments=arguments: swept(*arguments),
            "one by one": lambda: [single(*one) for one in few],
        }
        if count == len(few):
            both = functions["vmap"](), jnp.stack(functions["one by one"]())
            np.testing.assert_allclose(*both, rtol=1e-4)
        memory = number(held(swept) / count), number(held(single))

        def measure(count=count, functions=functions, memory=memory) -> list[Row]:
            found = interleaved(functions, seconds=3, calls=1, warmups=1, block=True)
            what, peer = (
                f"{count} configurations by vmap, {steps} steps",
                "one by one, compiled once",
            )
            times = found["vmap"] / count, found["one by one"] / len(few)
            return [
                Row(f"{what}: time of each", *times, peer, 1),
                Row(f"{what}: memory of each", *memory, peer, 1, show=megabytes),
            ]

        yield measure
