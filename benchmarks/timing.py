"""Timing that survives a busy machine: interleaved repetitions, and ratios within one run."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np


def interleaved(
    functions: Mapping[str, Callable[[], Any]],
    *,
    rounds: int = 31,
    calls: int | None = None,
    block: bool = False,
    before: Mapping[str, Callable[[], Any]] | None = None,
) -> dict[str, np.ndarray]:
    """Seconds per call of each function in each round; the functions take turns in every round.

    Their order is another one in each round, since what ran before leaves caches and garbage behind.

    `calls` is how often each function runs in its turn; None: so that the slowest takes some two
    milliseconds. With `block` a turn ends when the last result is there. What is in `before` runs
    before a turn and is not timed.
    """
    before, slowest = before or {}, 0.0
    wait = jax.block_until_ready if block else (lambda result: result)
    for function in functions.values():
        # The first call compiles, and the second may still meet values of other kinds.
        for _ in range(3):
            begin = time.perf_counter()
            wait(function())
            once = time.perf_counter() - begin
        slowest = max(slowest, once)
    calls = calls or int(np.clip(2e-3 / slowest, 1, 1000))
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    names, rng = list(functions), np.random.default_rng(0)
    for _ in range(rounds):
        for name in rng.permutation(names):
            function, result = functions[name], None
            if name in before:
                jax.block_until_ready(before[name]())
            begin = time.perf_counter()
            for _ in range(calls):
                result = function()
            if block:
                jax.block_until_ready(result)
            seconds[name].append((time.perf_counter() - begin) / calls)
    return {name: np.array(values) for name, values in seconds.items()}


def median(seconds: np.ndarray) -> float:
    return float(np.median(seconds))


def low(seconds: np.ndarray) -> float:
    """The tenth percentile: what it costs when nothing else runs."""
    return float(np.percentile(seconds, 10))


def shown(seconds: float) -> str:
    """A duration with three digits and the unit that suits it."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"
