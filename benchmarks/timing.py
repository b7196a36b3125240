"""Timing that survives a busy machine: interleaved repetitions, and ratios within one run."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

_compiled: list[float] = []


def _listen(event: str, seconds: float, **_: Any) -> None:
    if event == "/jax/core/compile/backend_compile_duration":
        _compiled.append(seconds)


jax.monitoring.register_event_duration_secs_listener(_listen)


def interleaved(
    functions: Mapping[Any, Callable[[], Any]],
    *,
    seconds: float,
    turn: float = 5e-4,
    calls: int | None = None,
    block: bool = False,
    before: Callable[[Any], Any] = lambda name: None,
    warmups: int = 3,
    fewest: int = 5,
    compiles: bool = False,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[Any, np.ndarray]:
    """Seconds per call of each function in each round; the functions take turns in every round.

    Their order is another one in each round, since what ran before leaves caches and garbage behind.
    There are at least `fewest` rounds, and as many as fit into `seconds`.

    `calls` is how often each function runs in its turn; None: so that it takes some `turn` seconds, as
    one of longer turns is interrupted more often. With `block` a turn ends when the last result is there. `before` gets the name of the
    function whose turn comes, and is not timed. Unless it `compiles`, nothing may be compiled in a turn.
    """
    wait = jax.block_until_ready if block else (lambda result: result)
    repeats = dict.fromkeys(functions, calls or 1)
    for name, function in functions.items():
        # The first call compiles, and the second may still meet values of other kinds.
        for _ in range(warmups):
            jax.block_until_ready(before(name))
            begin = time.perf_counter()
            wait(function())
            once = time.perf_counter() - begin
            repeats[name] = calls or int(np.clip(turn / once, 1, 10_000))
    found: dict[Any, list[float]] = {name: [] for name in functions}
    names, rng, end = list(functions), np.random.default_rng(0), time.perf_counter() + seconds
    while time.perf_counter() < end or len(found[names[0]]) < fewest:
        for i in rng.permutation(len(names)):
            name, result = names[i], None
            function = functions[name]
            jax.block_until_ready(before(name))
            already, begin = len(_compiled), clock()
            for _ in range(repeats[name]):
                result = function()
            wait(result)
            found[name].append((clock() - begin) / repeats[name])
            assert compiles or len(_compiled) == already, f"{name} compiled while it was timed"
    return {name: np.array(values) for name, values in found.items()}


def median(values: np.ndarray) -> float:
    return float(np.median(values))


def shown(seconds: float) -> str:
    """A duration with three digits and the unit that suits it."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if abs(seconds) >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"
