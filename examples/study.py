"""Eleven schedules, each with many peak rates, lengths and seeds, on two tasks: which of them is best, and how much it matters.

    python examples/study.py             # eleven minutes on two cores; after a kill the same command goes on
    python examples/study.py --quick     # the same program with next to no training, in half a minute

Each (task, length, schedule) is one program: the training is written for one peak and one seed, and `vmap` maps it
over all of them, scheduler and optimizer included. Its losses are written to --out as soon as it is done. The tables
that are printed at the end, and what follows from them, are in docs/choose.md.
"""

import argparse
import dataclasses
import hashlib
import importlib
import inspect
import json
import math
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import brainstate
import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn.datasets import load_digits
from tqdm import tqdm

import lrax

# Of n updates the first w are a warmup, but for one-cycle, which brings its own.
SCHEDULES: dict[str, Callable[..., lrax.LRScheduler]] = {
    "constant": lambda peak, n, w: lrax.WarmupScheduler(peak, w),
    "inverse square root": lambda peak, n, w: lrax.InverseSqrtLR(peak, w),
    "plateau": lambda peak, n, w: lrax.ReduceLROnPlateau(
        peak, factor=0.5, patience=1, accumulation_size=n // 40
    ).with_warmup(w),
    # Three cycles, each twice as long as the one before.
    "warm restarts": lambda peak, n, w: lrax.CosineAnnealingWarmRestarts(
        peak, T_0=math.ceil((n - w) / 7), T_mult=2
    ).with_warmup(w),
    "step": lambda peak, n, w: lrax.MultiStepLR(
        peak, [n // 2 - w, n * 3 // 4 - w], gamma=0.1
    ).with_warmup(w),
    "one-cycle": lambda peak, n, w: lrax.OneCycleLR(peak, n),
    "cosine": lambda peak, n, w: lrax.WarmupCosineSchedule(peak, w, n),
    "linear": lambda peak, n, w: lrax.WSDSchedule(peak, w, n),
    "WSD, linear": lambda peak, n, w: lrax.WSDSchedule(peak, w, n, n // 5),
    "WSD, 1-sqrt": lambda peak, n, w: lrax.WSDSchedule(peak, w, n, n // 5, decay="1-sqrt"),
    "WSD, square": lambda peak, n, w: lrax.WSDSchedule(peak, w, n, n // 5, decay="square"),
}


@dataclasses.dataclass(frozen=True)
class Task:
    """What is trained. A batch is an entry of each of the arrays that `batches` gives for a seed."""

    weights: Callable[[np.random.Generator], dict[str, np.ndarray]]
    batches: Callable[[np.random.Generator, int], tuple[np.ndarray, ...]]
    loss: Callable[..., jax.Array]
    validation: Callable[[dict[str, jax.Array]], jax.Array]
    optimizer: Callable[[lrax.LRScheduler], Any]
    data: bytes


def matrix(rng, inputs, outputs, gain=1.0):
    return rng.normal(scale=gain / inputs**0.5, size=(inputs, outputs))


def cross_entropy(logits, labels):
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


NOISE = 0.2
LAYERS = [(64, 64), (64, 64), (64, 10)]


def perceptron_weights(rng):
    found = {f"weight {i}": matrix(rng, *sizes, gain=2**0.5) for i, sizes in enumerate(LAYERS)}
    return found | {f"bias {i}": np.zeros(outputs) for i, (_, outputs) in enumerate(LAYERS)}


def perceptron(w, x):
    for i in range(len(LAYERS)):
        x = (x if i == 0 else jax.nn.relu(x)) @ w[f"weight {i}"] + w[f"bias {i}"]
    return x


def digits():
    """scikit-learn's handwritten digits. A fifth of the labels is drawn at random, anew in each batch.

    The validation loss is the expected one for labels with this noise, less the least that it can be.
    """
    images, labels = load_digits(return_X_y=True)
    images, labels = images.astype(np.float32) / 16, labels.astype(np.int32)
    validation, training = np.split(np.random.default_rng(0).permutation(len(images)), [397])
    x, x_val = jnp.asarray(images[training]), jnp.asarray(images[validation])
    y, y_val = labels[training], jnp.asarray(labels[validation])

    def batches(rng, steps):
        batch = rng.integers(len(x), size=(steps, 32))
        noisy = rng.random(batch.shape) < NOISE
        return batch, np.where(noisy, rng.integers(10, size=batch.shape), y[batch])

    def excess(w):
        targets = (1 - NOISE) * jax.nn.one_hot(y_val, 10) + NOISE / 10
        return optax.kl_divergence(jax.nn.log_softmax(perceptron(w, x_val)), targets).mean()

    return Task(
        weights=perceptron_weights,
        batches=batches,
        loss=lambda w, batch, labels: cross_entropy(perceptron(w, x[batch]), labels),
        validation=excess,
        optimizer=lambda scheduler: lrax.SGD(lr=scheduler, momentum=0.9),
        data=images.tobytes() + labels.tobytes(),
    )


# fmt: off
TRAINING = [
    "argparse", "ast", "bdb", "calendar", "cmd", "configparser", "difflib", "doctest", "enum", "fractions", "ftplib",
    "functools", "inspect", "ipaddress", "mailbox", "optparse", "pdb", "pickletools", "pydoc", "random", "smtplib",
    "socket", "string", "tarfile", "tempfile", "textwrap", "threading", "tokenize", "traceback", "typing", "uuid",
]
# fmt: on
VALIDATION = ["statistics", "subprocess"]
CONTEXT, WIDTH, HEADS = 32, 32, 2


def characters(modules):
    """The sources of some modules, joined: 0 is a new line, and the rest are the printable ASCII characters."""
    text = "".join(inspect.getsource(importlib.import_module(name)) for name in modules)
    codes = np.frombuffer(text.encode("ascii", "ignore"), np.uint8)
    return np.where(codes < 32, 0, codes - 31).astype(np.int32)


def normalized(x):
    return x * jax.lax.rsqrt(jnp.mean(x * x, axis=-1, keepdims=True) + 1e-6)


def transformer_weights(rng):
    return {
        "characters": rng.normal(scale=0.2, size=(96, WIDTH)),
        "positions": rng.normal(scale=0.2, size=(CONTEXT, WIDTH)),
        "attention": matrix(rng, WIDTH, 3 * WIDTH),
        "mix": matrix(rng, WIDTH, WIDTH, gain=0.5),
        "up": matrix(rng, WIDTH, 4 * WIDTH),
        "down": matrix(rng, 4 * WIDTH, WIDTH, gain=0.5),
        "out": matrix(rng, WIDTH, 96),
    }


def transformer(w, tokens):
    """The logits of the next character after each of `tokens`, of one layer."""
    x = w["characters"][tokens] + w["positions"]
    heads = (normalized(x) @ w["attention"]).reshape(*tokens.shape, 3 * HEADS, -1)
    query, key, value = jnp.split(heads, 3, axis=-2)
    scores = jnp.einsum("bqhd,bkhd->bhqk", query, key) * (WIDTH / HEADS) ** -0.5
    causal = jnp.tril(jnp.ones((CONTEXT, CONTEXT), bool))
    shares = jax.nn.softmax(jnp.where(causal, scores, -jnp.inf))
    x = x + jnp.einsum("bhqk,bkhd->bqhd", shares, value).reshape(x.shape) @ w["mix"]
    x = x + jax.nn.relu(normalized(x) @ w["up"]) @ w["down"]
    return normalized(x) @ w["out"]


def text():
    """The source of the standard library, each character to be told from at most 32 before it."""
    training, validation = characters(TRAINING), characters(VALIDATION)
    source, unseen = jnp.asarray(training), jnp.asarray(validation)
    places = jnp.arange(256) * ((len(unseen) - CONTEXT - 1) // 255)

    def loss(w, starts, source=source):
        window = source[starts[:, None] + jnp.arange(CONTEXT + 1)]
        return cross_entropy(transformer(w, window[:, :-1]), window[:, 1:])

    return Task(
        weights=transformer_weights,
        batches=lambda rng, steps: (rng.integers(len(training) - CONTEXT, size=(steps, 8)),),
        loss=loss,
        validation=lambda w: loss(w, places, unseen),
        optimizer=lambda scheduler: lrax.AdamW(
            lr=scheduler, betas=(0.9, 0.99), weight_decay=0.1, grad_clip_norm=1.0
        ),
        data=training.tobytes() + validation.tobytes(),
    )


TASKS = {"digits": digits, "text": text}
PLAN = {
    "digits": {
        "peaks": [0.005 * 2**i for i in range(7)],
        "lengths": [300, 1000, 3000],
        "seeds": 8,
        "schedules": [*SCHEDULES],
    },
    "text": {
        "peaks": [0.002 * 2**i for i in range(6)],
        "lengths": [200, 600, 1800],
        "seeds": 4,
        "schedules": [*SCHEDULES],
    },
}
QUICK = {
    "digits": {
        "peaks": [0.05, 0.1],
        "lengths": [40],
        "seeds": 2,
        "schedules": ["plateau", "linear"],
    },
    "text": {"peaks": [0.01, 0.02], "lengths": [40], "seeds": 2, "schedules": ["linear"]},
}


def program(task, name, steps):
    """A compiled function of peaks, and of weights and batches by seed: the losses, [peak, seed]."""

    def train(peak, weights, batches):
        params = {key: brainstate.ParamState(value) for key, value in weights.items()}
        scheduler = SCHEDULES[name](peak, steps, steps // 20)
        optimizer = task.optimizer(scheduler)
        optimizer.register_trainable_weights(params)

        def values():
            return {key: state.value for key, state in params.items()}

        def step(*batch):
            grads, loss = brainstate.transform.grad(
                lambda: task.loss(values(), *batch), params, return_value=True
            )()
            optimizer.step(grads)
            scheduler.step(**({"metric": loss} if name == "plateau" else {}))

        brainstate.transform.for_loop(step, *batches)
        return task.validation(values())

    return lrax.jit(jax.vmap(jax.vmap(train, (None, 0, 0)), (0, None, None)))


def stacked(trees):
    """One tree with the leaves of all, of 32 bits."""
    kinds = {"f": np.float32, "i": np.int32}
    return jax.tree.map(lambda *x: np.stack(x).astype(kinds[x[0].dtype.kind]), *trees)


def losses(task, name, steps, peaks, seeds):
    """The validation losses after the training, [peak, seed]."""
    rngs = [np.random.default_rng([0, seed]) for seed in range(seeds)]
    weights = stacked([task.weights(rng) for rng in rngs])
    batches = stacked([task.batches(rng, steps) for rng in rngs])
    return np.asarray(program(task, name, steps)(np.float32(peaks), weights, batches))


def machine():
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    versions = {
        "python": platform.python_version(),
        "jax": jax.__version__,
        "lrax": lrax.__version__,
    }
    return {"cores": cores, "system": platform.platform(terse=True)} | versions


def write(path, results):
    """All or nothing, so that a kill in the middle of it loses nothing; a line for each program."""
    head = json.dumps({key: value for key, value in results.items() if key != "runs"}, indent=1)
    runs = ",\n  ".join(map(json.dumps, results["runs"]))
    new = path.with_name(path.name + ".new")
    new.write_text(f'{head[:-2]},\n "runs": [\n  {runs}\n ]\n}}\n', encoding="utf-8")
    os.replace(new, path)


def study(plan, path):
    """Run what is not in the file yet, the shortest first; what is in it then."""
    tasks = {name: TASKS[name]() for name in plan}
    hashes = {name: hashlib.sha256(task.data).hexdigest()[:16] for name, task in tasks.items()}
    settings = {name: {**plan[name], "data": hashes[name]} for name in plan}
    results = {"machine": machine(), "settings": settings, "runs": []}
    if path.exists():
        results = json.loads(path.read_text(encoding="utf-8"))
        if results["settings"] != settings:
            sys.exit(
                f"{path} is from other settings or other data: move it away, or give another --out"
            )
    done = {(run["task"], run["steps"], run["schedule"]) for run in results["runs"]}
    todo = [
        (key, steps, name)
        for key in plan
        for steps in plan[key]["lengths"]
        for name in plan[key]["schedules"]
    ]
    with tqdm(total=len(todo), initial=len(done), unit="program") as bar:
        for key, steps, name in todo:
            if (key, steps, name) in done:
                continue
            bar.set_postfix_str(f"{key}, {steps} steps, {name}")
            begin = time.perf_counter(), time.process_time()
            found = losses(tasks[key], name, steps, plan[key]["peaks"], plan[key]["seeds"])
            spent = time.perf_counter() - begin[0], time.process_time() - begin[1]
            rounded = [
                [float(f"{x:.5g}") if np.isfinite(x) else None for x in row] for row in found
            ]
            run = {"task": key, "steps": steps, "schedule": name, "losses": rounded}
            run["seconds"], run["processor seconds"] = (round(x, 1) for x in spent)
            results["runs"].append(run)
            write(path, results)
            bar.update()
    return results


def row(schedule, runs, peaks):
    """The best peak of each length: mean, deviation, and where it is; and what its half and double cost at the last."""
    losses = [np.array(run["losses"], float) for run in runs]
    means = [np.nan_to_num(table.mean(axis=1), nan=np.inf) for table in losses]
    bests = [int(mean.argmin()) for mean in means]
    cells = [schedule]
    for table, mean, i in zip(losses, means, bests, strict=True):
        cells.append(f"{mean[i]:.3f} ± {table[i].std(ddof=1):.3f} at {peaks[i]:g}")
    mean, best = means[-1], bests[-1]
    for i in (best - 1, best + 1):
        if not 0 <= i < len(peaks):
            cells.append("not tried")
        else:
            cells.append(f"{mean[i] / mean[best] - 1:+.1%}" if mean[i] < np.inf else "diverges")
    return "| " + " | ".join(cells) + " |"


def tables(results):
    """The tables of docs/choose.md, to standard output."""
    for task, settings in results["settings"].items():
        runs = [run for run in results["runs"] if run["task"] == task]
        lengths = [f"{steps} updates" for steps in settings["lengths"]]
        print("\n| " + " | ".join([task, *lengths, "half the peak", "twice the peak"]) + " |")
        print("|---" * (len(lengths) + 3) + "|")
        for name in settings["schedules"]:
            print(row(name, [run for run in runs if run["schedule"] == name], settings["peaks"]))
    wall, processor = (
        sum(run[key] for run in results["runs"]) for key in ("seconds", "processor seconds")
    )
    print(f"\n{wall / 60:.1f} minutes, {processor / 60:.1f} minutes of processor time")


def main():
    parser = argparse.ArgumentParser(description="Compare eleven schedules on two tasks.")
    parser.add_argument("--quick", action="store_true", help="three programs, hardly trained")
    parser.add_argument("--out", type=Path, default=Path("study.json"), metavar="FILE")
    args = parser.parse_args()
    tables(study(QUICK if args.quick else PLAN, args.out))


if __name__ == "__main__":
    main()
