"""Everything that lrax promises about its cost, beside its peers, in one table.

    python benchmarks/run.py [--rounds 31]

Writes benchmarks/RESULTS.md. torch and braintools are peers if they are installed. A bound that is
missed makes the exit status 1.
"""

import argparse
import itertools
import sys
import time

import bandwidth
import host
from report import HEAD, RESULTS, machine, versions, write

import training

THREADS = """In the step of 6 States nine kernels can begin at once when it is written by hand. XLA's CPU runtime
hands a part of the work to other threads from ten on, which costs such a small step some 50 µs: one
more counter in the hand-written loop does it. lrax keeps its counters in one array."""


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=31)
    rounds = parser.parse_args().rounds
    print(f"{machine()}; {versions()}\n\n{HEAD}")
    begin, rows = time.perf_counter(), []
    for row in itertools.chain(
        host.rows(rounds),
        training.train_steps(rounds),
        training.hyperparameters(rounds),
        training.peak_memory(),
        training.eager_steps(rounds),
        training.loops(rounds),
        training.sweeps(rounds),
        bandwidth.rows(max(rounds // 3, 5)),
    ):
        rows.append(row)
        print(row, flush=True)
    missed = sum(not row.met for row in rows)
    judged = sum(row.bound is not None for row in rows)
    remark = f"{judged - missed} of {judged} bounds are met."
    write(rows, [remark, THREADS])
    print(f"\n{remark} {time.perf_counter() - begin:.0f} s. Written to {RESULTS}.")
    sys.exit(missed > 0)


if __name__ == "__main__":
    main()
