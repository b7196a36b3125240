"""What the seed programs share: their formulas in plain Python, and ways to run them in full."""

import math

import brainstate
import jax.numpy as jnp
import numpy as np


def cosine(base, low, t, period):
    return low + (base - low) * (1 + math.cos(math.pi * t / period)) / 2


def restarts(base, low, first, growth, epochs):
    """The documented formula of warm restarts, one cycle after the other, in float64."""
    values, length = [], first
    while len(values) < epochs:
        values += [cosine(base, low, t, length) for t in range(length)]
        length *= growth
    return values[:epochs]


def warmup(base, start, length, epochs):
    return [start + (base - start) * t / length if t < length else base for t in range(epochs)]


def run(task, optimizer, scheduler, epochs):
    """`epochs` of training, one scheduler step each; the learning rates that were used."""
    train_epoch = task.epoch(optimizer)
    before, used = task.total_loss(), []
    for _ in range(epochs):
        used.append(float(optimizer.current_lr))
        train_epoch()
        scheduler.step()
    assert task.total_loss() < before
    return used


def run_single_updates(task, optimizer, scheduler, epochs):
    """The same with one eager ``optimizer.step(grads)`` an epoch."""
    before, used = task.total_loss(), []
    for epoch in range(epochs):
        used.append(float(optimizer.current_lr))
        grads = task.grads(epoch)
        optimizer.step(grads)
        scheduler.step()
    assert task.total_loss() < before
    return used


def advance(scheduler, steps):
    """Step inside a compiled loop, where the program would train; the learning rates on the way."""

    def body(_):
        lr = scheduler.get_last_lr()[0]
        scheduler.step()
        return lr

    return np.asarray(brainstate.transform.for_loop(body, jnp.arange(steps)))
