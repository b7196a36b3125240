"""Every way to get a learning rate out of a scheduler, as functions (scheduler, epochs) -> float32 array(s)."""

import dataclasses
from collections.abc import Callable
from typing import Any

import brainstate
import jax
import jax.numpy as jnp
import numpy as np

import exact


@dataclasses.dataclass(frozen=True)
class Mode:
    run: Callable[[Any, np.ndarray], Any]
    share: float = 1.0
    """The share of the epochs it gets, for modes that are slow."""
    most: int | None = None
    below: int = 2**31
    """Epochs that the epoch's type can hold exactly."""

    def epochs(self, epochs: np.ndarray) -> np.ndarray:
        count = max(int(len(epochs) * self.share), 1)
        epochs = epochs[epochs < self.below]
        if self.most is not None:
            count = min(count, self.most)
        return epochs[np.linspace(0, len(epochs) - 1, count).astype(int)]


def one_by_one(number):
    return lambda f, t: np.array([f(number(e)) for e in t.tolist()])


def as_array(array, dtype):
    return lambda f, t: f(array(t, dtype))


def step_to(f, t):
    rates = np.empty(len(t), np.float32)
    for i, epoch in enumerate(t.tolist()):
        f.step(epoch)
        rates[i] = f.get_last_lr()[0]
    return rates


def step_from(f, t):
    rates = np.empty(len(t), np.float32)
    for i, epoch in enumerate(t.tolist()):
        f.step(max(epoch - 1, 0))
        if epoch:
            f.step()
        rates[i] = f.get_last_lr()[0]
    return rates


def clock_written(f, t):
    rates = np.empty(len(t), np.float32)
    for i, epoch in enumerate(t.tolist()):
        f.last_epoch.value = epoch
        rates[i] = f.get_lr()[0]
    return rates


def jit_scalar(f, t):
    jitted = jax.jit(lambda epoch: f(epoch))
    return np.array([jitted(e) for e in t])


def jit_constant(f, t):
    """Constants that XLA folds, and Python numbers that never reach it."""
    on_host = jax.jit(lambda: jnp.stack([jnp.asarray(f(e)) for e in t.tolist()]))()
    folded = jax.jit(lambda: jnp.stack([f(jnp.int32(e)) for e in t.tolist()]))()
    return folded, on_host


def jit_step(f, t):
    jitted = brainstate.transform.jit(lambda epoch: (f.step(epoch), f.get_last_lr()[0])[1])
    return np.array([jitted(e) for e in t.astype(np.int32)])


def scan(f, t):
    """Mapped over a vector and looped over, in one program."""

    @jax.jit
    def program(epochs):
        scanned = jax.lax.scan(lambda carry, e: (carry, f(e)), 0, epochs)[1]
        return jax.vmap(lambda e: f(e))(epochs), scanned

    return program(jnp.asarray(t, jnp.int32))


def loop(f, t):
    """One step to each epoch, and a jump to each epoch, in one compiled loop."""

    def body(epoch):
        f.step(jnp.maximum(epoch - 1, 0))
        f.step()
        advanced = f.get_last_lr()[0]
        f.step(epoch)
        return advanced, f.get_last_lr()[0]

    advanced, jumped = brainstate.transform.for_loop(body, jnp.asarray(t, jnp.int32))
    return np.where(t > 0, advanced, jumped), jumped


MODES = {
    "scheduler(int)": Mode(one_by_one(int)),
    "scheduler(float)": Mode(one_by_one(float), 0.1),
    "scheduler(np.int64)": Mode(one_by_one(np.int64), 0.1),
    "scheduler(np.float64)": Mode(one_by_one(np.float64), 0.1),
    "scheduler(jnp.int32)": Mode(one_by_one(jnp.int32), 0.01, most=8),
    "int32 array": Mode(as_array(np.asarray, np.int32)),
    "uint64 array": Mode(as_array(np.asarray, np.uint64), 0.1),
    "float64 array": Mode(as_array(np.asarray, np.float64)),
    "float32 array": Mode(as_array(np.asarray, np.float32), below=2**24 + 1),
    "jax int32 array": Mode(as_array(jnp.asarray, np.int32)),
    "jax uint32 array": Mode(as_array(jnp.asarray, np.uint32), 0.1),
    "jax float32 array": Mode(as_array(jnp.asarray, np.float32), below=2**24 + 1),
    "step(epoch)": Mode(step_to, 0.1),
    "step()": Mode(step_from, 0.05),
    "get_lr()": Mode(clock_written, 0.1),
    "jit, array": Mode(lambda f, t: jax.jit(lambda e: f(e))(jnp.asarray(t, jnp.int32))),
    "jit, scalar": Mode(jit_scalar, 0.05),
    "jit, constant": Mode(jit_constant, 1, most=6),
    "jit, step(epoch)": Mode(jit_step, 0.01),
    "vmap": Mode(lambda f, t: jax.vmap(f)(jnp.asarray(t, jnp.int32)), 0.1),
    "scan, jit of vmap": Mode(scan, 0.25),
    "for_loop, step()": Mode(loop, 0.1),
}  # fmt: skip


def x64_array(f, t):
    return f(jnp.asarray(t, jnp.int64))


def x64_jit(f, t):
    return jax.jit(lambda i, r: (f(i), f(r)))(
        jnp.asarray(t, jnp.int64), jnp.asarray(t, jnp.float64)
    )


X64_MODES = {
    "scheduler(int)": Mode(one_by_one(int), 0.1),
    "jax int64 array": Mode(x64_array, 0.1),
    "step(epoch)": Mode(step_to, 0.1),
    "jit, int64 and float64 array": Mode(x64_jit),
    "for_loop, step()": Mode(loop, 0.1),
}


def sample(spec: exact.Spec, count: int, last: int = exact.LAST_EPOCH) -> np.ndarray:
    """The first epochs, those around boundaries, and random ones of every size."""
    rng = np.random.default_rng(0)
    marks = exact.boundaries(spec)
    near = {m + d for m in [*marks, 2**24, last] for d in range(-2, 3)}
    some = np.array([*range(min(2001, count // 4)), *sorted(near)])
    rest = 2 * max(count - len(some), 0)  # many of them twice
    horizon = max([m for m in marks if m < last] or [0]) + 1
    spread = [
        rng.integers(0, horizon + horizon // 8 + 1, rest // 2),
        np.exp2(rng.uniform(0, 31, rest - rest // 2)).astype(np.int64),
    ]
    epochs = np.concatenate([some, *spread])
    epochs = np.unique(epochs[(epochs >= 0) & (epochs <= last)])
    # One size for all schedulers, so that jax compiles an operation once.
    return epochs[np.linspace(0, len(epochs) - 1, count).astype(int)]


def apart(got: Any, expected: np.ndarray) -> np.ndarray:
    """How many float32 numbers each value is off; a mode that gives several arrays must get all of them right."""
    arrays = got if isinstance(got, tuple) else (got,)
    return np.max([exact.ulps_apart(array, expected) for array in arrays], axis=0)
