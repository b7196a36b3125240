"""Compare every way to get a learning rate on a million epochs a scheduler, and print what differs.

    python tools/sweep_modes.py [--epochs 1000000] [--only cosine]

The tests do the same with 20 000 epochs. The reference is NumPy on the host; a mode that agrees with it
agrees with all the others. It takes some ten minutes of one core.
"""

import argparse
import dataclasses
import sys
import time
from pathlib import Path

import jax
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import modes
import registry

HORIZON = 10**9 + 7
COMPILED_LOOPS = (
    "scan, jit of vmap",
    "for_loop, step()",
)  # the tests give them a share, here they get all


def schedules():
    """One with a far horizon where there is a horizon, so that the epochs do not repeat."""
    far = {f"{label}, far": s for label, s in registry.at_horizon(HORIZON).items()}
    short = {
        label: s
        for label, s in registry.EVERY.items()
        if s.name
        in (
            "ExponentialLR",
            "LambdaLR",
            "CyclicLR",
            "CosineAnnealingWarmRestarts",
            "SequentialLR",
            "ChainedScheduler",
        )
        or s.kwargs.get("end_value")
    }
    return far | short


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--epochs", type=int, default=1_000_000)
    parser.add_argument("--only", default="", help="part of the label of a schedule")
    arguments = parser.parse_args()
    total, mismatches, worst = 0, 0, 0
    print("| schedule | values compared | mismatches | most ulp apart | seconds |")
    print("|---|---|---|---|---|")
    for label, s in schedules().items():
        if arguments.only not in label:
            continue
        scheduler, epochs = s.build(), modes.sample(s, arguments.epochs)
        begin, compared, off, most, where = time.perf_counter(), 0, 0, 0, []
        for x64, chosen in ((False, modes.MODES), (True, modes.X64_MODES)):
            for name, mode in chosen.items():
                share = 1.0 if mode.share == 1 or name in COMPILED_LOOPS else mode.share / 10
                some = dataclasses.replace(mode, share=share).epochs(epochs)
                with jax.enable_x64(x64):
                    apart = modes.apart(mode.run(scheduler, some), scheduler(some))
                compared += some.size
                off += int((apart > 0).sum())
                most = max(most, int(apart.max()))
                where += [f"{name}{' (x64)' if x64 else ''} at {t}" for t in some[apart > 0][:3]]
        seconds = time.perf_counter() - begin
        print(f"| {label} | {compared} | {off} | {most} | {seconds:.0f} |", *where, flush=True)
        total, mismatches, worst = total + compared, mismatches + off, max(worst, most)
    print(f"\n{total} values, {mismatches} mismatches, at most {worst} ulp apart.")
    if worst > 1:
        sys.exit(1)


if __name__ == "__main__":
    np.seterr(all="raise", under="ignore")
    main()
