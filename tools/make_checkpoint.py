"""Write one checkpoint for every kind of scheduler and optimizer, to be loaded by every later version.

    PYTHONPATH=tests python tools/make_checkpoint.py     # once for each release

Each file in tests/data/checkpoints/<version> holds a state dict and what came after it, which the
tests compare. A file of a released version is never written again.
"""

import json
import sys
from pathlib import Path
from typing import Any

import jax
import msgpack
import numpy as np

import lrax
from helpers import METRICS, takes_metric
from network import gradient_of
from registry import NO_CONFIG, SCHEDULERS
from saved import OPTIMIZERS, begin

DATA = Path(__file__).resolve().parents[1] / "tests" / "data" / "checkpoints"
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


def main() -> None:
    folder = DATA / lrax.__version__
    if folder.exists():
        sys.exit(
            f"{folder} exists already. Checkpoints of a released version are not written again."
        )
    folder.mkdir(parents=True)
    for kind in SCHEDULERS:
        text = json.dumps(scheduler_checkpoint(kind), allow_nan=True)
        (folder / f"{kind.replace(' ', '-')}.json").write_text(text + "\n", encoding="utf-8")
    for name in OPTIMIZERS:
        content = msgpack.packb(optimizer_checkpoint(name), default=pack_array)
        (folder / f"{name.replace(' ', '-')}.msgpack").write_bytes(content)
    print(f"{len(SCHEDULERS) + len(OPTIMIZERS)} checkpoints in {folder}")


if __name__ == "__main__":
    main()
