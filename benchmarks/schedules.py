"""What a schedule costs inside jit, beside optax: per evaluation, vectorised, and to compile.

    python benchmarks/schedules.py

Everything is measured in turns. A bound that is missed makes the exit status 1.
"""

import argparse
import functools
import itertools
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
from report import HEAD, Row, number
from timing import interleaved

import lrax

BASE, T, EPOCHS = 0.1, 100_000, 10_000_000
PAIRS = {
    "line": (lambda: lrax.LinearLR(BASE, 1.0, 0.1, T), lambda: optax.linear_schedule(BASE, 0.01, T)),
    "cosine": (lambda: lrax.CosineAnnealingLR(BASE, T_max=T), lambda: optax.cosine_decay_schedule(BASE, T)),
    "warmup cosine": (
        lambda: lrax.WarmupCosineSchedule(BASE, warmup_steps=1000, total_steps=T),
        lambda: optax.warmup_cosine_decay_schedule(0.0, BASE, 1000, T),
    ),
    "polynomial": (
        lambda: lrax.PolynomialLR(BASE, total_iters=T, power=0.9),
        lambda: optax.polynomial_schedule(BASE, 0.0, 0.9, T),
    ),
    "exponential": (
        lambda: lrax.ExponentialDecayLR(BASE, 1000, 0.9),
        lambda: optax.exponential_decay(BASE, 1000, 0.9),
    ),
    "stairs": (
        lambda: lrax.ExponentialDecayLR(BASE, 1000, 0.9, staircase=True),
        lambda: optax.exponential_decay(BASE, 1000, 0.9, staircase=True),
    ),
    "one cycle": (lambda: lrax.OneCycleLR(BASE, total_steps=T), lambda: optax.cosine_onecycle_schedule(T, BASE)),
    "milestones": (
        lambda: lrax.MultiStepLR(BASE, [T // 4, T // 2, T], 0.1),
        lambda: optax.piecewise_constant_schedule(BASE, dict.fromkeys((T // 4, T // 2, T), 0.1)),
    ),
    "10 restarts": (
        lambda: lrax.CosineAnnealingWarmRestarts(BASE, 1000, 2),
        lambda: optax.sgdr_schedule(
            [
                {"init_value": BASE, "peak_value": BASE, "warmup_steps": 0, "decay_steps": 1000 * 2**i}
                for i in range(10)
            ]
        ),
    ),
}  # fmt: skip


def joined(n):
    """`n` different lines, one after the other."""
    values = np.linspace(0.01, BASE, n + 1).tolist()
    starts = [1000 * (i + 1) for i in range(n - 1)]
    return (
        lambda: lrax.SequentialLR(
            [lrax.LinearLR(a, 1.0, b / a, 1000) for a, b in itertools.pairwise(values)],
            starts,
        ),
        lambda: optax.join_schedules(
            [optax.linear_schedule(a, b, 1000) for a, b in itertools.pairwise(values)],
            starts,
        ),
    )


def mixed(n):
    """`n` pieces of several kinds."""
    kinds = [
        (
            lambda: lrax.CosineAnnealingLR(BASE, T_max=1000),
            lambda: optax.cosine_decay_schedule(BASE, 1000),
        ),
        (
            lambda: lrax.LinearLR(BASE, 1.0, 0.1, 1000),
            lambda: optax.linear_schedule(BASE, 0.01, 1000),
        ),
        (lambda: lrax.ExponentialLR(BASE, 0.99), lambda: optax.exponential_decay(BASE, 1, 0.99)),
    ]
    starts = [1000 * (i + 1) for i in range(n - 1)]
    return (
        lambda: lrax.SequentialLR([kinds[i % 3][0]() for i in range(n)], starts),
        lambda: optax.join_schedules([kinds[i % 3][1]() for i in range(n)], starts),
    )


GROWING = {
    "milestones": lambda n: lrax.MultiStepLR(BASE, np.linspace(10, T, n, dtype=int).tolist(), 0.99),
    "boundaries": lambda n: lrax.PiecewiseConstantSchedule(
        boundaries=np.linspace(10, T, n, dtype=int).tolist(),
        values=np.linspace(BASE, 0.01, n + 1).tolist(),
    ),
    "cycles": lambda n: lrax.CosineAnnealingWarmRestarts(BASE, T_0=T // n),
    "triangles": lambda n: lrax.CyclicLR(0.01, BASE, step_size_up=T // n // 2),
}


def compiling(make):
    """Trace and compile: what a train step pays once."""
    schedule = make()

    def run():
        jax.jit(lambda t: schedule(t)).lower(jax.ShapeDtypeStruct((), jnp.int32)).compile()

    return run


def evaluating(make, epochs):
    schedule = make()
    program = jax.jit(lambda t: jnp.asarray(schedule(t)))
    return lambda: program(epochs)


def rows():
    for name, (ours, peer) in PAIRS.items():
        step = jnp.int32(T // 3)
        functions = {"lrax": evaluating(ours, step), "optax": evaluating(peer, step)}
        found = interleaved(functions, seconds=0.5, block=True)
        yield Row(f"one evaluation in jit, {name}", found["lrax"], found["optax"], "optax", 1.2)
    for name, (ours, peer) in PAIRS.items():
        yield compiled(f"compile, {name}", ours, peer, "optax", 1.2)
    epochs = jnp.arange(EPOCHS, dtype=jnp.int32) % (T + T // 10)
    for name, (ours, peer) in PAIRS.items():
        try:
            functions = {"lrax": evaluating(ours, epochs), "optax": evaluating(peer, epochs)}
            found = interleaved(functions, seconds=2, calls=1, block=True)
        except TypeError:  # optax.cosine_onecycle_schedule takes no arrays
            continue
        yield Row(f"1e7 epochs at once, {name}", found["lrax"], found["optax"], "optax", 3)
    for name, make in GROWING.items():
        many, one = functools.partial(make, 1000), functools.partial(make, 1)
        yield compiled(f"compile 1000 {name}", many, one, "1 of them", 3)
    for label, pieces in (("lines", joined), ("pieces of three kinds", mixed)):
        for n in (2, 10, 100):
            yield compiled(f"compile {n} joined {label}", *pieces(n), "optax", 1)


def compiled(what, ours, peer, peer_name, bound):
    """Compile times by their tenth percentiles: they are long, and a busy machine only ever adds to them."""
    functions = {"ours": compiling(ours), "peer": compiling(peer)}
    found = interleaved(functions, seconds=5, calls=1, compiles=True)
    low = {name: number(np.percentile(times, 10)) for name, times in found.items()}
    return Row(what, low["ours"], low["peer"], peer_name, bound)


def main():
    argparse.ArgumentParser(description=__doc__.split("\n")[0]).parse_args()
    met = True
    print(HEAD)
    for row in rows():
        print(row, flush=True)
        met &= row.met
    sys.exit(not met)


if __name__ == "__main__":
    main()
