"""What a train step costs with lrax, beside hand-written JAX and beside braintools."""

from collections.abc import Iterator

import brainstate
import jax
import jax.numpy as jnp
import numpy as np
import optax
from report import Row, limit
from timing import interleaved

import lrax

try:
    import braintools
except ImportError:
    braintools = None

transform = brainstate.transform
PEAK, WARMUP, TOTAL, DECAY, BATCH = 1e-3, 100, 100_000, 1e-4, 32


class Task:
    """A classifier of `layers` dense layers, two arrays each, and one batch for it."""

    def __init__(self, layers, width):
        rng = np.random.default_rng(0)
        sizes = [64, *[width] * (layers - 1), 10]
        self.weights = {}
        for i in range(layers):
            scale = sizes[i] ** -0.5
            self.weights[f"w{i}"] = scale * rng.normal(size=(sizes[i], sizes[i + 1]))
            self.weights[f"b{i}"] = np.zeros(sizes[i + 1])
        self.layers = layers
        self.x = jnp.asarray(rng.normal(size=(BATCH, 64)), jnp.float32)
        self.y = jnp.asarray(rng.integers(0, 10, size=BATCH))

    def arrays(self):
        return {name: jnp.asarray(value, jnp.float32) for name, value in self.weights.items()}

    def states(self):
        return {name: brainstate.ParamState(value) for name, value in self.arrays().items()}

    def loss(self, weights, x, y):
        for i in range(self.layers):
            x = x @ weights[f"w{i}"] + weights[f"b{i}"]
            x = jax.nn.relu(x) if i < self.layers - 1 else x
        return optax.softmax_cross_entropy_with_integer_labels(x, y).mean()


def optax_chain():
    return optax.adamw(
        optax.warmup_cosine_decay_schedule(0.0, PEAK, WARMUP, TOTAL), weight_decay=DECAY
    )


def hand_step(task, tx):
    """The step of a hand-written loop, not yet compiled."""

    def step(weights, state, x, y):
        loss, grads = jax.value_and_grad(task.loss)(weights, x, y)
        updates, state = tx.update(grads, state, weights)
        return optax.apply_updates(weights, updates), state, loss

    return step


def by_hand(task, counting=False):
    """``jax.jit`` with donation, and a loop that carries weights and optimizer state along.

    With `counting` the loop also knows its step, as one that logs or saves does.
    """
    tx = optax_chain()

    def step(weights, state, count, x, y):
        weights, state, loss = hand_step(task, tx)(weights, state, x, y)
        return weights, state, count + 1 if counting else None, loss

    compiled = jax.jit(step, donate_argnums=(0, 1, 2))
    weights = task.arrays()
    carried = [weights, tx.init(weights), jnp.int32(0) if counting else None]

    def run():
        *carried[:], loss = compiled(*carried, task.x, task.y)
        return loss

    return run


def lrax_parts(task, peak=PEAK, warmup=WARMUP, total=TOTAL):
    states = task.states()
    scheduler = lrax.WarmupCosineSchedule(peak, warmup_steps=warmup, total_steps=total)
    optimizer = lrax.AdamW(lr=scheduler, weight_decay=DECAY)
    optimizer.register_trainable_weights(states)
    return states, optimizer, scheduler


def braintools_parts(task):
    states = task.states()
    scheduler = braintools.optim.WarmupCosineSchedule(PEAK, warmup_steps=WARMUP, total_steps=TOTAL)
    optimizer = braintools.optim.AdamW(lr=scheduler, weight_decay=DECAY)
    optimizer.register_trainable_weights(states)
    return states, optimizer, scheduler


def state_step(task, states, optimizer, scheduler=None):
    """The step of a loop on brainstate States, not yet compiled; it steps the scheduler that it is given."""

    def step(x, y):
        loss_fn = lambda: task.loss({k: s.value for k, s in states.items()}, x, y)  # noqa: E731
        grads, loss = transform.grad(loss_fn, states, return_value=True)()
        optimizer.step(grads)
        if scheduler is not None:
            scheduler.step()
        return loss

    return step


def with_states(task, parts, jit, *, inside=True):
    """The same loop on brainstate States, with the scheduler stepped inside or outside the step."""
    states, optimizer, scheduler = parts(task)
    compiled = jit(state_step(task, states, optimizer, scheduler if inside else None))

    def run():
        loss = compiled(task.x, task.y)
        if not inside:
            scheduler.step()
        return loss

    return run


def train_steps(rounds: int) -> Iterator[Row]:
    """Many steps in a row, and steps whose loss is waited for one by one."""
    for layers, width in ((3, 128), (250, 8)):
        task = Task(layers, width)
        makers = {
            "hand": lambda task: by_hand(task),
            "counting": lambda task: by_hand(task, counting=True),
            "inside": lambda task: with_states(task, lrax_parts, lrax.jit),
            "outside": lambda task: with_states(task, lrax_parts, lrax.jit, inside=False),
            "brainstate": lambda task: with_states(task, lrax_parts, transform.jit),
        }
        if braintools is not None:
            makers["braintools"] = lambda task: with_states(task, braintools_parts, transform.jit)
        found = {how: {name: [] for name in makers} for how in ("in a row", "one by one")}
        # Where a function's objects lie in memory depends on what was made before it, and is worth up to
        # ten percent with 500 States. So all are made eight times, in other orders.
        rng = np.random.default_rng(0)
        for order in [rng.permutation(list(makers)) for _ in range(8)]:
            functions = {name: makers[name](task) for name in order}
            for how, seconds in found.items():
                calls, repeat = (1, 2 * rounds) if layers == 3 else (1, rounds // 4)
                if how == "in a row":
                    calls, repeat = (100 if layers == 3 else 10), rounds // 4
                timed = interleaved(functions, rounds=repeat, calls=calls, block=True)
                for name, times in timed.items():
                    seconds[name].append(times)
        for how, seconds in found.items():
            times = {name: np.concatenate(parts) for name, parts in seconds.items()}
            of = f"train step, {2 * layers} States, {how}"
            hand, peer = times["hand"], "`jax.jit` + optax, donated"
            yield Row(f"{of}: by hand, counting its steps", times["counting"], hand, peer)
            for where in ("inside", "outside"):
                what = f"{of}: `lrax.jit`, scheduler stepped {where}"
                yield Row(what, times[where], hand, peer, 1.15, extra=30e-6)
            if braintools is not None:
                what = f"{of}: `brainstate.transform.jit`"
                yield Row(what, times["brainstate"], times["braintools"], "braintools", 1)


def four_groups(task, schedules):
    """Four groups, with a scheduled weight decay and a scheduled beta1 if there are to be `schedules`."""
    states = task.states()
    scheduler = lrax.WarmupCosineSchedule(PEAK, warmup_steps=WARMUP, total_steps=TOTAL)
    decay, beta1 = DECAY, 0.9
    if schedules:
        decay = lrax.CosineAnnealingLR(DECAY, T_max=TOTAL)
        beta1 = lrax.LinearLR(0.9, start_factor=0.9, end_factor=1.0, total_iters=WARMUP)
    patterns = ("^w0", "^b0", "^b")
    groups = {pattern: {"lr_scale": 0.5 + 0.1 * i} for i, pattern in enumerate(patterns)}
    optimizer = lrax.AdamW(lr=scheduler, betas=(beta1, 0.999), weight_decay=decay, groups=groups)
    optimizer.register_trainable_weights(states)
    return states, optimizer, scheduler


def hyperparameters(rounds: int) -> Iterator[Row]:
    """Two hyper-parameters that follow schedules, in four groups, beside numbers in their place."""
    for layers, width in ((3, 128), (25, 32)):
        task = Task(layers, width)
        functions = {
            f"{kind}, {where}": with_states(
                task,
                lambda task, kind=kind: four_groups(task, kind == "schedules"),
                lrax.jit,
                inside=where == "inside",
            )
            for kind in ("numbers", "schedules")
            for where in ("inside", "outside")
        }
        found = interleaved(functions, rounds=rounds, calls=20, block=True)
        for where in ("inside", "outside"):
            what = f"train step, {2 * layers} States, 4 groups, 2 schedules, stepped {where}"
            ours, numbers = found[f"schedules, {where}"], found[f"numbers, {where}"]
            yield Row(what, ours, numbers, "numbers in their place", 1.05)


def peak_memory() -> Iterator[Row]:
    """Bytes that a step holds at once, as XLA plans them."""
    task = Task(4, 1024)
    weights, tx = task.arrays(), optax_chain()
    hand = jax.jit(hand_step(task, tx), donate_argnums=(0, 1))
    parts = {"by hand": hand.lower(weights, tx.init(weights), task.x, task.y)}
    for donate in (True, False):
        step = lrax.jit(state_step(task, *lrax_parts(task)), donate=donate)
        parts[donate] = step.lower(task.x, task.y)
    peak = {}
    for name, lowered in parts.items():
        m = lowered.compile().memory_analysis()
        held = m.argument_size_in_bytes + m.output_size_in_bytes - m.alias_size_in_bytes
        peak[name] = limit(held + m.temp_size_in_bytes)
    size = sum(weight.nbytes for weight in weights.values())
    own = limit(4 * size)
    what, show = f"peak memory of a step, {megabytes(size)} of weights", megabytes
    peer = "`jax.jit` + optax, donated"
    yield Row(f"{what}: `lrax.jit`", peak[True], peak["by hand"], peer, 1.01, show=show)
    yield Row(f"{what}: `lrax.jit`", peak[True], own, "weights, 2 moments, gradients", show=show)
    yield Row(f"{what}: `donate=False`", peak[False], peak["by hand"], peer, show=show)


def megabytes(size: float) -> str:
    return f"{size / 1e6:.3g} MB"


def eager_steps(rounds: int) -> Iterator[Row]:
    """``optimizer.step(grads)`` outside jit, with 50 weights."""
    task = Task(25, 32)
    grads = task.arrays()
    functions = {}
    parts = {"lrax": lrax_parts, "braintools": braintools_parts if braintools is not None else None}
    for name, make in parts.items():
        if make is None:
            continue
        _, optimizer, _ = make(task)
        functions[name] = lambda optimizer=optimizer: optimizer.step(grads)
    _, jitted, _ = lrax_parts(task)
    step = lrax.jit(jitted.step)
    functions["jitted"] = lambda: step(grads)
    found = interleaved(functions, rounds=max(rounds // 2, 5), block=True)
    what = "`optimizer.step(grads)` outside jit, 50 weights"
    yield Row(what, found["lrax"], found["jitted"], "the same in `lrax.jit`", 2)
    if braintools is not None:
        yield Row(what, found["lrax"], found["braintools"], "braintools")


def loops(rounds: int, steps: int = 10_000) -> Iterator[Row]:
    """A whole training on the device."""
    task = Task(3, 128)
    tx = optax_chain()
    step = hand_step(task, tx)

    @jax.jit
    def scan(weights, state):
        def body(carry, _):
            weights, state, loss = step(*carry, task.x, task.y)
            return (weights, state), loss

        return jax.lax.scan(body, (weights, state), length=steps)

    weights = task.arrays()
    state = tx.init(weights)
    one = state_step(task, *lrax_parts(task))
    run = lrax.jit(lambda: transform.for_loop(lambda _: one(task.x, task.y), jnp.arange(steps)))
    functions = {"lrax": run, "optax": lambda: scan(weights, state)[1]}
    found = interleaved(functions, rounds=max(rounds // 4, 5), calls=1, block=True)
    what = f"{steps} steps in `for_loop`"
    yield Row(what, found["lrax"], found["optax"], "`lax.scan` + optax", 1.1)


def sweeps(rounds: int, runs: int = 64, steps: int = 200) -> Iterator[Row]:
    """Trainings that differ in learning rate and warmup: all in one program, and one after the other."""
    task = Task(3, 32)

    def train(lr, warmup):
        one = state_step(task, *lrax_parts(task, lr, warmup, steps))
        return transform.for_loop(lambda _: one(task.x, task.y), jnp.arange(steps))

    lrs = jnp.geomspace(1e-4, 1e-1, runs)
    warmups = jnp.arange(runs) % 8 * 10
    swept, single = jax.jit(transform.vmap(train)), jax.jit(train)
    functions = {
        "one program": lambda: swept(lrs, warmups),
        "one by one": lambda: [single(lr, n) for lr, n in zip(lrs, warmups, strict=True)],
    }
    found = interleaved(functions, rounds=max(rounds // 6, 3), calls=1, block=True)
    what = f"{runs} trainings in one program"
    yield Row(what, found["one program"], found["one by one"], "one by one, compiled once", 1)
