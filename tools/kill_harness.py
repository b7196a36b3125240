"""Kill `examples/resume.py` with SIGKILL at random moments until it is done, and compare with a run left alone.

    python tools/kill_harness.py --kills 100

Half of the kills come at a random time after the start, the other half while a checkpoint is being
written, which is when its temporary folder is there. A training that has finished is started over in
a new folder until there were enough kills. Each must end in the state of the undisturbed run, bit for bit.
"""

import argparse
import contextlib
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def train(out: Path, epochs: int) -> None:
    """In a process of its own: the example, with what it prints in a file."""
    resume = sys.modules["resume"]  # imported by the server
    with (
        (out / "printed").open("a", buffering=1, encoding="utf-8") as printed,
        contextlib.redirect_stdout(printed),
    ):
        resume.main(["--out", str(out), "--epochs", str(epochs)])


def being_written(out: Path) -> set[tuple[str, int]]:
    """The temporary folders of saves that are under way, or were cut short."""
    found = set()
    with contextlib.suppress(FileNotFoundError):
        for entry in (out / "checkpoints").iterdir():
            if "tmp" in entry.name:
                found.add((entry.name, entry.stat().st_ino))
    return found


def last_epoch(out: Path) -> int:
    """The newest complete checkpoint."""
    with contextlib.suppress(FileNotFoundError):
        names = [entry.name for entry in (out / "checkpoints").iterdir()]
        return max([int(name) for name in names if name.isdigit()], default=0)
    return 0


def kill_at_some_time(process, out: Path, rng: random.Random, duration: float) -> None:
    process.join(rng.uniform(0, duration))


def kill_in_a_save(process, out: Path, rng: random.Random, duration: float) -> None:
    """Some epochs on, and a few milliseconds into the save."""
    leftovers = being_written(out)
    until = last_epoch(out) + rng.randint(0, 3)
    while process.is_alive():
        if last_epoch(out) >= until and being_written(out) - leftovers:
            time.sleep(rng.uniform(0, 0.03))
            return
        time.sleep(0.0005)


def final_state(out: Path) -> str:
    """What the finished run printed last: the checksum of its state."""
    return (out / "printed").read_text(encoding="utf-8").strip().splitlines()[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description="Kill examples/resume.py until it is done.")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=12, help="length of a training")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng = random.Random(args.seed)

    # The imports take longer than the training: a server does them once, and forks.
    path = [str(EXAMPLES), *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ["PYTHONPATH"] = os.pathsep.join(path)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["resume"])

    def start(out: Path):
        process = context.Process(target=train, args=(out, args.epochs))
        process.start()
        return process

    folder = Path(tempfile.mkdtemp(prefix="lrax-kills-"))
    undisturbed = folder / "undisturbed"
    for name in ("first", "undisturbed"):  # the first one waits for the imports
        (folder / name).mkdir()
        begin = time.monotonic()
        process = start(folder / name)
        process.join()
        duration = time.monotonic() - begin
        if process.exitcode != 0:
            sys.exit(f"the example failed undisturbed: exit code {process.exitcode}")
    expected = final_state(undisturbed)
    print(f"undisturbed: {duration:.1f} s, {expected}", flush=True)
    if final_state(folder / "first") != expected:
        sys.exit("two undisturbed runs differ")

    kills, saves, runs, longest = 0, 0, 0, 0
    while kills < args.kills or runs == 0:
        out = folder / f"run-{runs}"
        out.mkdir()
        in_a_row = 0
        while True:
            leftovers = being_written(out)
            process = start(out)
            if kills < args.kills:
                way = kill_in_a_save if kills % 2 else kill_at_some_time
                way(process, out, rng, duration)
                process.kill()
            process.join()
            if process.exitcode == 0:
                break
            if process.exitcode != -9:
                sys.exit(f"run {runs} failed: exit code {process.exitcode}; see {out}")
            kills, in_a_row = kills + 1, in_a_row + 1
            saves += bool(being_written(out) - leftovers)
        runs, longest = runs + 1, max(longest, in_a_row)
        if final_state(out) != expected:
            sys.exit(f"run {runs} ended in another state, {final_state(out)}; see {out}")
        print(f"run {runs}: {in_a_row} kills, then the same state", flush=True)
    shutil.rmtree(folder)
    print(
        f"{kills} kills in {runs} runs, {saves} of them during a save: all ended in the same state"
    )
    if args.kills >= 10 and not saves:
        sys.exit("no save was hit")


if __name__ == "__main__":
    main()
