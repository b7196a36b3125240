"""Write a checkpoint of every kind of scheduler and optimizer, to be loaded by every later version.

    python tools/make_checkpoint.py     # for a new scheduler, and once more for each release

Each file in tests/data/checkpoints/<version> holds a state dict and what came after it, which the
tests compare. The kinds are those of the registry. Files that are missing are written, files that are
there stay as they are: to make one anew, delete it. A version is released when its heading in
CHANGELOG.md no longer says "(not yet released)"; from then on nothing is written for it.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

import jax
import msgpack
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

import lrax
from helpers import METRICS, takes_metric
from network import gradient_of
from registry import NO_CONFIG, SCHEDULERS
from saved import OPTIMIZERS, begin

CHANGELOG = ROOT / "CHANGELOG.md"
DATA = ROOT / "tests" / "data" / "checkpoints"
EPOCH = 13
STEPS = 40


def scheduler_checkpoint(kind: str) -> dict[str, Any]:
    scheduler = SCHEDULERS[kind]()
    metrics = np.asarray(METRICS)[: EPOCH + STEPS].tolist() if takes_metric(scheduler) else None
    options = [{"metric": m} for m in metrics] if metrics else [{}] * (EPOCH + STEPS)
    for option in options[:EPOCH]:
        scheduler.step(**option)
    saved = {
        "config": None if kind in NO_CONFIG else scheduler.config,
        "state_dict": scheduler.state_dict(),
        "metrics": metrics and metrics[EPOCH:],
    }
    rates = []
    for option in options[EPOCH:]:
        scheduler.step(**option)
        rates.append([float(rate) for rate in scheduler.get_last_lr()])
    return {**saved, "rates": rates}


def optimizer_checkpoint(name: str) -> dict[str, Any]:
    optimizer, states = begin(name)
    gradients = []

    def weights():
        return {key: np.asarray(state.value) for key, state in states.items()}

    def step():
        gradients.append(gradient_of(weights()))
        optimizer.step(gradients[-1])
        optimizer.lr_scheduler.step()

    for _ in range(4):
        step()
    saved = {"weights": weights(), "state_dict": optimizer.state_dict()}
    gradients.clear()
    for _ in range(3):
        step()
    later = {
        "weights": weights(),
        "rates": [float(rate) for rate in optimizer.lr_scheduler.get_last_lr()],
    }
    return {**saved, "gradients": {str(i): g for i, g in enumerate(gradients)}, "later": later}


def pack_array(value: Any) -> msgpack.ExtType:
    """The same bytes that flax.serialization and braintools.file write."""
    if not isinstance(value, (np.ndarray, jax.Array)):
        raise TypeError(f"cannot pack {value!r}")
    array = np.asarray(value)
    return msgpack.ExtType(1, msgpack.packb((array.shape, array.dtype.name, array.tobytes())))


def released(version: str) -> bool:
    headings = re.findall(rf"^## {re.escape(version)}\b.*$", CHANGELOG.read_text("utf-8"), re.M)
    if len(headings) != 1:
        sys.exit(f"CHANGELOG.md must have one heading for version {version}, has {headings}")
    return "(not yet released)" not in headings[0]


def main() -> None:
    if released(lrax.__version__):
        sys.exit(
            f"Version {lrax.__version__} is released: its checkpoints are what users have. "
            "Begin the next version (src/lrax/__init__.py, CHANGELOG.md) and run this again."
        )
    folder = DATA / lrax.__version__
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for kind in SCHEDULERS:
        file = folder / f"{kind.replace(' ', '-')}.json"
        if not file.exists():
            text = json.dumps(scheduler_checkpoint(kind), allow_nan=True)
            file.write_text(text + "\n", encoding="utf-8")
            written.append(file.name)
    for name in OPTIMIZERS:
        file = folder / f"{name.replace(' ', '-')}.msgpack"
        if not file.exists():
            file.write_bytes(msgpack.packb(optimizer_checkpoint(name), default=pack_array))
            written.append(file.name)
    print(f"{len(written)} written to {folder}:", *(written or ["nothing was missing"]))


if __name__ == "__main__":
    main()
