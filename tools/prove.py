"""Compare host, NumPy and jit on every epoch there is, 0 to 2**31 - 1, bit for bit, and with 80-bit arithmetic.

    python tools/prove.py                             all of it: hours of four cores; Ctrl-C, and it resumes
    python tools/prove.py --seconds 3000 --processes 2
    python tools/prove.py --only cosine --chunks 4 --epochs 1000     few of them, spread, for a try
    python tools/prove.py --write                     put what is known so far into docs/accuracy.md

Each epoch is evaluated four times: from Python numbers, as `step()` does outside of a program; by NumPy;
by a program for an array of epochs; and by a program that takes one epoch after the other, as a compiled
training does. The schedules, and the references, are in tools/prove_schedules.py.

The status is 1 if two of them are more than one ulp apart, or one is further off the reference than
rounding to float32 explains. Two that are neighbours are counted and shown, and are no failure: their
float64 values, which may differ in the last bits, lie on two sides of a rounding boundary.
"""

import argparse
import contextlib
import functools
import hashlib
import itertools
import json
import multiprocessing
import os
import platform
import signal
import sys
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

import exact
import lrax
from lrax.formulas.evaluate import evaluate_host
from prove_schedules import SCHEDULES, Wide, reference

EPOCHS = 2**31
BLOCK = 2**18
"""Epochs that are evaluated at once, so that they stay in the cache."""

BOUND = 0.5 + 2.0**-19
"""In ulp: half of one for the rounding to float32. The rest is 512 times the rounding error of float64; the
pieces of formulas are at most 12 times it off, a power up to 88 times, which is the logarithm of the largest float32."""

SHOWN = 10
"""Epochs of each schedule that are kept as examples."""

WIDE = np.finfo(Wide).nmant >= 63  # elsewhere it is float64, which could prove nothing

Found = dict[str, Any]

# --- One chunk ------------------------------------------------------------------------------------


def on_host(scheduler: Any) -> Callable[[range], np.ndarray]:
    """What `step()` computes, one epoch after the other, from Python numbers."""
    rates = functools.partial(
        evaluate_host, scheduler.formulas, tuple(scheduler.base_lrs), kind=type(scheduler)
    )
    return lambda epochs: np.frombuffer(b"".join(map(rates, epochs)), np.float32)


def in_numpy(scheduler: Any) -> Callable[[range], np.ndarray]:
    return lambda epochs: scheduler(np.arange(epochs.start, epochs.stop))


def compiled(program: Callable[[Any, jax.Array], jax.Array]) -> Callable[[Any], Any]:
    def evaluation(scheduler: Any) -> Callable[[range], np.ndarray]:
        jitted = jax.jit(functools.partial(program, scheduler))
        return lambda epochs: np.asarray(
            jitted(np.arange(epochs.start, epochs.stop, dtype=np.int32))
        )

    return evaluation


EVALUATIONS: dict[str, Callable[[Any], Callable[[range], np.ndarray]]] = {
    "host": on_host,
    "NumPy": in_numpy,
    "jit": compiled(lambda scheduler, epochs: scheduler(epochs)),
    "loop in jit": compiled(lambda scheduler, epochs: jax.lax.map(scheduler, epochs)),
}


@functools.cache
def evaluations(label: str) -> dict[str, Callable[[range], np.ndarray]]:
    scheduler = SCHEDULES[label].build()
    return {name: evaluation(scheduler) for name, evaluation in EVALUATIONS.items()}


def errors(rates: np.ndarray, exact_values: Any) -> np.ndarray:
    """In float32 ulp; below the smallest normal number zero is exact, and all else infinitely off."""
    ulp = np.ldexp(1.0, np.frexp(np.maximum(exact_values, exact.SMALLEST))[1] - 24)
    off = np.abs(rates.astype(Wide) - exact_values) / ulp
    off = np.where(exact_values < exact.SMALLEST, np.where(rates == 0, 0, np.inf), off)
    return np.where(np.isfinite(off), off, np.inf).astype(np.float64)


def ulps_apart(rates: np.ndarray) -> np.ndarray:
    """How many float32 numbers the lowest and the highest of several evaluations are apart."""
    low, high = rates.min(axis=0), rates.max(axis=0)
    return np.where((low >= 0) & (high < np.inf), exact.ulps_apart(low, high), np.inf)


def check_block(label: str, epochs: range) -> Found:
    names, runs = zip(*evaluations(label).items(), strict=True)
    rates = np.stack([run(epochs) for run in runs])
    differ = rates.view(np.uint32) != rates.view(np.uint32)[0]
    where = np.flatnonzero(differ.any(axis=0))
    apart = ulps_apart(rates[:, where])
    t = np.arange(epochs.start, epochs.stop)
    off = np.full(rates.shape, np.nan)
    if WIDE:
        exact_values = reference(SCHEDULES[label], t)
        off[0] = errors(rates[0], exact_values)
        off[1:] = off[0]  # the same bits
        off[:, where] = errors(rates[:, where], exact_values[where])
    worst = off.max(axis=0)
    return {
        "epochs": len(epochs),
        "differ": dict(zip(names[1:], differ[1:].sum(axis=1).tolist(), strict=True)),
        "apart": apart.max(initial=0),
        "error": worst.max(),
        "error_at": int(t[worst.argmax()]),
        "examples": [
            {
                "epoch": int(t[where[i]]),
                "apart": apart[i],
                "rates": dict(zip(names, rates[:, where[i]].tolist(), strict=True)),
                "off": dict(zip(names, off[:, where[i]].tolist(), strict=True)),
            }
            for i in np.argsort(-apart, kind="stable")[:SHOWN]
        ],
    }


def merged(a: Found, b: Found) -> Found:
    worst = max(a, b, key=lambda found: found["error"])
    examples = sorted(a["examples"] + b["examples"], key=lambda e: (-e["apart"], e["epoch"]))
    return {
        "epochs": a["epochs"] + b["epochs"],
        "seconds": a.get("seconds", 0) + b.get("seconds", 0),
        "differ": {name: count + b["differ"][name] for name, count in a["differ"].items()},
        "apart": max(a["apart"], b["apart"]),
        "error": worst["error"],
        "error_at": worst["error_at"],
        "examples": examples[:SHOWN],
    }


Task = tuple[str, int, int]


def check(task: Task) -> tuple[Task, Found]:
    """A chunk of a schedule: the label, how many epochs it has, and the number of the chunk."""
    begin = time.process_time()
    label, size, chunk = task
    stop = min((chunk + 1) * size, EPOCHS)
    starts = range(chunk * size, stop, BLOCK)
    blocks = [check_block(label, range(start, min(start + BLOCK, stop))) for start in starts]
    found = functools.reduce(merged, blocks)
    return task, {**found, "seconds": time.process_time() - begin}


# --- What comes when ------------------------------------------------------------------------------


def order(label: str, size: int) -> Iterator[int]:
    """The chunks of a schedule: first those at a boundary, then the others, ever closer together."""
    marks = [0, 2**24, EPOCHS - 1, *exact.boundaries(SCHEDULES[label])]
    first = dict.fromkeys(max(mark - d, 0) // size for mark in marks for d in (0, 1))
    count = -(-EPOCHS // size)
    bits = (count - 1).bit_length()
    reversed_bits = (int(f"{i:0{bits}b}"[::-1], 2) for i in range(2**bits))
    yield from first
    yield from (chunk for chunk in reversed_bits if chunk < count and chunk not in first)


def planned(labels: list[str], size: int, chunks: int | None) -> Iterator[Task]:
    """The first chunk of every schedule, then the second of every one, ..."""
    orders = [
        [(label, size, chunk) for chunk in itertools.islice(order(label, size), chunks)]
        for label in labels
    ]
    for tasks in itertools.zip_longest(*orders):
        yield from filter(None, tasks)


# --- What is known --------------------------------------------------------------------------------


@functools.cache
def versions() -> dict[str, str]:
    """What the results depend on."""
    files = [*Path(lrax.__file__).parent.rglob("*.py"), *(ROOT / "tools").glob("prove*.py")]
    sources = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(files)))
    return {
        "lrax": lrax.__version__,
        "sources": sources.hexdigest()[:16],
        "jax": jax.__version__,
        "jaxlib": metadata.version("jaxlib"),
        "NumPy": np.__version__,
        "Python": platform.python_version(),
        "platform": platform.platform(),
        "device": jax.devices()[0].device_kind,
    }


class Progress:
    """What was found so far, in a file: nothing, where it was found with other versions or schedules."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.known: dict[str, Found] = {}
        with contextlib.suppress(FileNotFoundError):
            saved = json.loads(path.read_text())
            if saved["versions"] != versions():
                print(f"{path} is of other versions: starting anew.", file=sys.stderr)
                return
            self.known = {
                label: entry
                for label, entry in saved["schedules"].items()
                if label in SCHEDULES and entry["schedule"] == repr(SCHEDULES[label].build())
            }

    def has(self, task: Task) -> bool:
        label, size, chunk = task
        entry = self.known.get(label, {"size": size, "chunks": []})
        if entry["size"] != size:
            sys.exit(f"{self.path} has chunks of {entry['size']} epochs: go on with these.")
        return chunk in entry["chunks"]

    def add(self, task: Task, found: Found) -> None:
        label, size, chunk = task
        before = self.known.get(label)
        self.known[label] = {
            "schedule": repr(SCHEDULES[label].build()),
            "size": size,
            "chunks": [*(before["chunks"] if before else []), chunk],
            "found": merged(before["found"], found) if before else found,
        }
        beside = self.path.with_name(self.path.name + ".new")
        beside.write_text(json.dumps({"versions": versions(), "schedules": self.known}))
        os.replace(beside, self.path)


def spaced(number: float) -> str:
    return f"{number:,.0f}".replace(",", " ")


def table(known: dict[str, Found]) -> str:
    """What docs/accuracy.md shows."""
    others = [name for name in EVALUATIONS if name != "host"]
    heads = [f"{name} ≠ host" for name in others]
    heads = ["schedule", "epochs", *heads, "most ulp apart", "worst error in ulp"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    found = {label: known[label]["found"] for label in SCHEDULES if label in known}
    for label, f in found.items():
        error = "–" if np.isnan(f["error"]) else f"{f['error']:.8f}"
        cells = [f"{SCHEDULES[label].name}: {label}", spaced(f["epochs"])]
        cells += [spaced(f["differ"][name]) for name in others]
        lines.append(f"| {' | '.join([*cells, spaced(f['apart']), error])} |")
    epochs = sum(f["epochs"] for f in found.values())
    differ = sum(sum(f["differ"].values()) for f in found.values())
    hours = sum(f["seconds"] for f in found.values()) / 3600
    of = versions()
    total = (
        f"{spaced(epochs)} of {spaced(len(SCHEDULES) * EPOCHS)} epochs, differences: {spaced(differ)}, "
        f"in {hours:.1f} hours of one core. lrax {of['lrax']}, jax {of['jax']}, "
        f"NumPy {of['NumPy']}, Python {of['Python']}, {platform.machine()}, {of['device']}."
    )
    return "\n".join([*lines, "", total])


def shown(label: str, example: Found) -> str:
    """An epoch at which not all are the same: each rate, and how far off the exact value it is."""
    parts = [
        f"{name} {rate!r} ({example['off'][name]:.12f} ulp off)"
        for name, rate in example["rates"].items()
    ]
    return f"{label}, epoch {example['epoch']}, {spaced(example['apart'])} ulp apart: {', '.join(parts)}"


def write(text: str) -> None:
    path = ROOT / "docs" / "accuracy.md"
    start, end = "<!-- proven: written by tools/prove.py -->", "<!-- end of proven -->"
    head, rest = path.read_text().split(start)
    _, tail = rest.split(end)
    path.write_text(f"{head}{start}\n\n{text}\n\n{end}{tail}")


def failures(known: dict[str, Found]) -> list[str]:
    found = [(label, entry["found"]) for label, entry in known.items()]
    return [f"{label}: {spaced(f['apart'])} ulp apart" for label, f in found if f["apart"] > 1] + [
        f"{label}: {f['error']:.8f} ulp off at epoch {f['error_at']}"
        for label, f in found
        if f["error"] > BOUND
    ]


# --- Running --------------------------------------------------------------------------------------


class Lines:
    """A progress bar for where tqdm is missing."""

    def __init__(self, total: int) -> None:
        self.total, self.done, self.begin, self.shown = total, 0, time.monotonic(), 0.0

    def update(self, epochs: int) -> None:
        self.done += epochs
        now = time.monotonic()
        if now - self.shown >= 10:
            left = (now - self.begin) / self.done * (self.total - self.done)
            print(f"{self.done / self.total:.2%}, {left / 60:.0f} minutes left", file=sys.stderr)
            self.shown = now

    def close(self) -> None:
        pass


def progress_bar(total: int) -> Any:
    try:
        from tqdm import tqdm
    except ImportError:
        return Lines(total)
    often = 0.1 if sys.stderr.isatty() else 30
    return tqdm(total=total, unit="epoch", unit_scale=True, mininterval=often, smoothing=0.02)


def run(tasks: list[Task], progress: Progress, processes: int, seconds: float) -> None:
    """Until all is done, the time is up, or someone stops it."""
    until = time.monotonic() + seconds
    bar = progress_bar(sum(size for _, size, _ in tasks))
    with contextlib.ExitStack() as stack:
        stack.callback(bar.close)
        stack.enter_context(contextlib.suppress(KeyboardInterrupt))
        each = map
        if processes > 1:
            # The signal of Ctrl-C goes to all processes, and only this one is to act on it.
            ignore = (signal.SIGINT, signal.SIG_IGN)
            context = multiprocessing.get_context("spawn")
            pool = context.Pool(processes, signal.signal, ignore)
            each = stack.enter_context(pool).imap_unordered
        for task, found in each(check, tasks):
            progress.add(task, found)
            bar.update(found["epochs"])
            if time.monotonic() > until:
                break


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", default="", help="part of the label of a schedule")
    parser.add_argument("--shard", default="1/1", help="2/4: the second quarter of the schedules")
    parser.add_argument("--epochs", type=int, default=2**20, help="how many a chunk has")
    parser.add_argument("--chunks", type=int, help="how many of each schedule, instead of all")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after so many")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--progress", type=Path, default=ROOT / "prove.json")
    parser.add_argument("--table", action="store_true", help="print what is known, and do no more")
    parser.add_argument("--write", action="store_true", help="the same, into docs/accuracy.md")
    args = parser.parse_args(arguments)

    progress = Progress(args.progress)
    if not (args.table or args.write):
        shard, shards = map(int, args.shard.split("/"))
        labels = [label for label in SCHEDULES if args.only in label][shard - 1 :: shards]
        tasks = planned(labels, args.epochs, args.chunks)
        todo = [task for task in tasks if not progress.has(task)]
        run(todo, progress, args.processes, args.seconds)
    text = table(progress.known)
    if args.write:
        write(text)
    examples = [
        shown(k, e) for k, entry in progress.known.items() for e in entry["found"]["examples"]
    ]
    print("\n".join([text, "", *examples]))
    failed = failures(progress.known)
    for line in failed:
        print(f"wrong: {line}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # or the other processes would go on
    sys.exit(main())
