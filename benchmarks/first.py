"""What it costs to begin: the first step of a training, and the import."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator

import jax
import numpy as np
from models import MANY_STATES, mlp
from report import Measurement, Row
from timing import interleaved
from two_ways import PEER, SMALL, Step, by_hand, lrax_parts, with_states


def first_steps(seed: int) -> Iterator[Measurement]:
    """Tracing, compiling and running one step, with nothing in jax's caches, in processor time."""
    for model, optimizer, bound, rounds in (
        *((mlp("MLP, 20 layers", 20, 64), optimizer, 1.1, 5) for optimizer in SMALL),
        (MANY_STATES, "AdamW", 1.2, 2),
    ):
        makers = {
            "lrax": lambda model=model, name=optimizer: with_states(model, lrax_parts(model, name)),
            "by hand": lambda model=model, name=optimizer: by_hand(model, name),
        }
        fresh: dict[str, Step] = {}

        def forget(name, makers=makers, fresh=fresh):
            jax.clear_caches()
            fresh[name] = makers[name]()

        def measure(
            what=f"first step of {model}, {optimizer}, processor time",
            bound=bound,
            rounds=rounds,
            forget=forget,
            fresh=fresh,
        ) -> list[Row]:
            functions = {name: lambda name=name: fresh[name]() for name in ("lrax", "by hand")}
            found = interleaved(
                functions,
                seconds=0,
                fewest=rounds,
                calls=1,
                warmups=0,
                before=forget,
                block=True,
                compiles=True,
                clock=time.process_time,
            )
            return [Row(what, found["lrax"], found["by hand"], PEER, bound)]

        yield measure


_IMPORTS = """
from time import perf_counter as now
begin = now()
import brainstate, optax
between = now()
import lrax
print(now() - begin, between - begin)
"""


def imports(seed: int) -> Iterator[Measurement]:
    """In new processes, the one after the other, since the first takes a different second each time."""

    # The first import writes the bytecode, as an installation does.
    settings = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-c", _IMPORTS]

    def seconds() -> list[float]:
        shown = subprocess.run(command, check=True, env=settings, stdout=subprocess.PIPE, text=True)
        return [float(number) for number in shown.stdout.split()]

    def measure() -> list[Row]:
        _, *rounds = [seconds() for _ in range(8)]
        ours, others = np.array(rounds).T
        return [Row("`import lrax`", ours, others, "`import brainstate, optax`", 1, extra=0.1)]

    yield measure
