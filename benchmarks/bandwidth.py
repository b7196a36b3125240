"""The AdamW update of a large model: as fast as the memory allows?

    python benchmarks/bandwidth.py [--millions 300]

Every weight costs seven memory accesses of four bytes: weight, gradient and two moments are read,
weight and moments are written. The limit is the bandwidth that a plain copy reaches.
"""

import argparse
from collections.abc import Callable, Iterator

import brainstate
import jax
import jax.numpy as jnp
import optax
from report import HEAD, Measurement, Row, machine, measured, versions
from timing import interleaved, median

import lrax

try:
    import torch
except ImportError:
    torch = None

LAYER = (3072, 4096)
LR, DECAY = 1e-3, 0.01
ACCESSES = 7 * 4


def on_accelerator() -> bool:
    return jax.devices()[0].platform != "cpu"


def shapes(millions):
    size = LAYER[0] * LAYER[1]
    return {str(i): LAYER for i in range(max(1, -(-millions * 10**6 // size)))}


def arrays(sizes, value):
    return {name: jnp.full(shape, value, jnp.float32) for name, shape in sizes.items()}


class Running:
    """What is waited for at the end of a turn."""

    def __init__(self, wait: Callable[[], object]) -> None:
        self.block_until_ready = wait


def with_lrax(sizes, grads):
    states = {name: brainstate.ParamState(value) for name, value in arrays(sizes, 0.5).items()}
    scheduler = lrax.CosineAnnealingLR(LR, T_max=1000)
    optimizer = lrax.AdamW(lr=scheduler, weight_decay=DECAY)
    optimizer.register_trainable_weights(states)

    @lrax.jit
    def step(grads):
        optimizer.step(grads)
        scheduler.step()

    def run():
        step(grads)
        # Not their values: what is held is not given away, but copied.
        return Running(lambda: jax.block_until_ready([state.value for state in states.values()]))

    return run


def with_optax(sizes, grads):
    tx = optax.adamw(optax.cosine_decay_schedule(LR, 1000), weight_decay=DECAY)
    weights = arrays(sizes, 0.5)
    carried = [weights, tx.init(weights)]

    def step(weights, state, grads):
        updates, state = tx.update(grads, state, weights)
        return optax.apply_updates(weights, updates), state

    step = jax.jit(step, donate_argnums=(0, 1))

    def run():
        carried[:] = step(*carried, grads)
        return carried[0]

    return run


def with_torch(sizes):
    device = "cuda" if on_accelerator() else "cpu"
    weights = [torch.full(shape, 0.5, device=device) for shape in sizes.values()]
    for weight in weights:
        weight.grad = torch.full_like(weight, 0.1)
    optimizer = torch.optim.AdamW(weights, lr=LR, weight_decay=DECAY, fused=True)

    def run():
        optimizer.step()
        return Running(torch.cuda.synchronize if device == "cuda" else lambda: None)

    return run


def copying(number):
    """Read `number` floats and write them: two accesses each."""
    scale = jax.jit(lambda x: x * 1.5, donate_argnums=0)
    carried = [jnp.ones(number, jnp.float32)]

    def run():
        carried[0] = scale(carried[0])
        return carried[0]

    return run


def large_weights(seed: int, millions: int | None = None) -> Iterator[Measurement]:
    millions = millions or (300 if on_accelerator() else 50)
    sizes = shapes(millions)
    count = len(sizes) * LAYER[0] * LAYER[1]
    grads = arrays(sizes, 0.1)
    functions = {"lrax": with_lrax(sizes, grads), "optax": with_optax(sizes, grads)}
    if torch is not None and (torch.cuda.is_available() or not on_accelerator()):
        functions["torch"] = with_torch(sizes)
    functions["copy"] = copying(count)

    def measure() -> list[Row]:
        found = interleaved(functions, seconds=5, calls=5, block=True)
        limit = found.pop("copy") * ACCESSES / 8
        bandwidth = f"limit, {ACCESSES * count / median(limit) / 1e9:.0f} GB/s"
        what = f"AdamW, {count / 1e6:.0f} M weights"
        rows = [Row(f"{what}: `lrax.jit`", found["lrax"], found["optax"], "optax, donated", 1.05)]
        if "torch" in found:
            beside = f"{what}: `lrax.jit`, beside torch"
            rows.append(Row(beside, found["lrax"], found["torch"], "torch, fused", 1.15))
        for name, times in found.items():
            rows.append(Row(f"{what}: {name}, beside the bandwidth", times, limit, bandwidth))
        return rows

    yield measure


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--millions", type=int, default=None, help="300 on an accelerator, else 50")
    print(f"{machine()}; {versions()}\n\n{HEAD}")
    for measure in large_weights(0, parser.parse_args().millions):
        print(*measured(measure), sep="\n")
