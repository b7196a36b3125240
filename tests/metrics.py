"""Metrics of all kinds to learn from."""

import numpy as np


def random_metrics(rng, count, steps=48):
    """Float32 sequences of all kinds: falling, flat, noisy, around zero, huge and tiny, with NaN and infinity."""
    t = np.arange(steps)
    kinds = [
        lambda: np.exp(-t * rng.uniform(0, 0.3)) + rng.normal(0, 0.05, steps),
        lambda: rng.choice([-1.0, 0.0, 0.5, 2.0], steps),
        lambda: np.repeat(rng.normal(size=-(-steps // 6)), 6)[:steps],
        lambda: np.cumsum(rng.normal(size=steps)),
        lambda: rng.normal(size=steps) * 10.0 ** rng.integers(-30, 30),
        lambda: -np.exp(-t * rng.uniform(0, 0.3)),
        lambda: np.where(rng.uniform(size=steps) < 0.2, rng.choice([np.nan, np.inf, -np.inf]), rng.normal(size=steps)),
    ]  # fmt: skip
    return np.float32([kinds[i % len(kinds)]() for i in range(count)])
