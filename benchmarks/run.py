"""Everything that lrax promises about its cost, beside its peers, in one table.

    python benchmarks/run.py [--seed 1] [--only host,loops]

Writes benchmarks/RESULTS.md, unless only some sections are run. torch and braintools are peers if they
are installed. A bound that is missed makes the exit status 1.
"""

import argparse
import secrets
import sys
import time

import bandwidth
import first
import host
import jax
import loops
import train_steps
from models import KNOWN
from report import HEAD, RESULTS, load, machine, measured, versions, write

SECTIONS = {
    "host": host.beside_torch,
    "python": host.beside_python,
    "steps": train_steps.small_models,
    "many": train_steps.many_states,
    "hyperparameters": train_steps.hyperparameters,
    "memory": train_steps.peak_memory,
    "other": train_steps.other_ways,
    "loops": loops.in_one_loop,
    "sweeps": loops.sweeps,
    "large": bandwidth.large_weights,
    "first": first.first_steps,
    "imports": first.imports,
}
REMARKS = {
    "cpu": (
        """What lies near its bound goes either way: three runs within a day, of the same program, met 38, 39 and 41.""",
        """A small step is measured beside one that is written by hand in the same way: inside, optax works out the
learning rate; outside, Python does, and each step is handed a fresh one. Handing it in costs a step by hand
4 µs in a row and 10 to 33 µs one by one. What `lrax.jit` adds is Python, of one Linear with AdamW in a row:
1.1 µs to take the values of the States, 1.2 to flatten them, 1.9 to see that nobody else holds them, 2.6 to
put the new ones together and write them, 1.8 around it, all that twice where the caches are cold, and 3 µs
(cold, 6 to 9) for a step of the scheduler outside.
Seeing that the States hold what the last call left, instead of flattening them, takes 1 to 3 µs (cold, up
to 6) off what is done before XLA begins, and adds as much after it: at + 13 in place of + 25 µs one by one for
one Linear with AdamW, but + 28 in place of + 29 for the MLP with 6 States, it was not worth its code.
Nor was it to keep the weights where they are and give only the moments away: for 12 models with AdamW a step took
25 µs more, with SGD as much as before in the mean (- 75 to + 17), and for 500 States it took 200 to 550 µs more.""",
        """After a jitted step a step on the host takes 5 µs more than in a row, and one of torch 1.5: caches are cold, the
clock is read out of the memory of its array (0.7 µs, where NumPy takes 1.3), and the two arrays that are
replaced are freed (0.6 µs).""",
        """XLA hands some of the kernels that are ready to another thread as soon as they are more than eight, and on
two cores a small step takes 20 to 60 µs longer or shorter for it: the same step written by hand takes as
much more or less if its weights only stand in another order. Counters, which are ready at once, are one
kernel in lrax: for 14 models that were drawn, with SGD and AdamW, a step in a row then took 7 µs more than by
hand in the mean, and one by one 30; with a kernel for each counter it took 23 and 33 more. With SGD and
matrices of 90 × 90 it is the other way round, by up to 70 µs one by one.""",
        """Where nothing but the weights is kept, as with SGD, there is nothing to update together, and a step is what it is
by hand: of 250 layers of width 8 the program alone took 1.25 ms beside 1.28 by hand, and 1.44 beside 2.13 with
momentum, both without donation. To that Python adds 95 µs for 500 States.""",
        """XLA's CPU program for AdamW has three kernels for each weight (three `multiply_add_fusion` in the HLO, no
copies): the first moment from itself and the gradient, the second one in the same way, and the weight
from itself and both, which are ten passes over memory where seven would do. So 1.43 times the limit is
what it can reach; optax by hand has the same kernels. It fuses no kernels with several results, and in
blocks of rows (`fori_loop` with `dynamic_update_slice`) it copies whole arrays in each round: 60 times
slower. An experimental option of XLA's, which no program can set for itself, joins two of the three:
`XLA_FLAGS=--xla_backend_extra_options=xla_cpu_use_multi_output_fusion` took optax by hand from 22.0 to 18.6 ms
with 25 M weights, beside 12.5 of torch.""",
    ),
    "gpu": (
        """For AdamW there is one kernel for each weight (`loop_add_fusion` in the profile), which reads and writes all
seven arrays once, in lrax and in optax: 24 of them take 2041 µs for 302 M weights, 4.1 of the 4.8 TB/s that
the card is said to have.""",
        """A learning rate that is handed in costs a small step by hand 77 to 130 µs, and one of lrax 100 to 220 µs, as the
transfer of each number takes some 50 µs: on a GPU a scheduler is best stepped inside.""",
    ),
}
REPEATING = 5 * 60
"""Seconds after which nothing is measured again."""


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--seed", type=int, default=secrets.randbelow(10**6), help="draws two models"
    )
    parser.add_argument("--only", default=",".join(SECTIONS), help=f"some of {', '.join(SECTIONS)}")
    options = parser.parse_args()
    begin, before, rows = time.perf_counter(), load(), []
    print(f"{machine()}, load {before}, seed {options.seed}; {versions()}\n\n{HEAD}", flush=True)
    for name in options.only.split(","):
        for measure in SECTIONS[name](options.seed):
            again = time.perf_counter() - begin < REPEATING
            found = measured(measure, again=again)
            rows += found
            print(*found, sep="\n", flush=True)
        print(f"{name}: {time.perf_counter() - begin:.0f} s", file=sys.stderr, flush=True)
    missed = sum(not row.met for row in rows)
    judged = sum(row.bound is not None for row in rows)
    took = time.perf_counter() - begin
    remarks = [
        f"{judged - missed} of {judged} bounds are met. Load {before} before, {load()} after {took:.0f} s.",
        f"Two of the models are drawn by seed {options.seed}. The authors tuned on neither of them, and on no "
        f"other model but {' and '.join(map(str, KNOWN))}.",
    ]
    remarks += REMARKS[jax.devices()[0].platform]
    print("", *remarks, sep="\n")
    if options.only == ",".join(SECTIONS):
        write(rows, remarks)
        print(f"Written to {RESULTS}.")
    sys.exit(missed > 0)


if __name__ == "__main__":
    main()
