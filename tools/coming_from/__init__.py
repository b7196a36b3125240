"""One module a library: ``cases(checkout)`` yields cases, ``version(checkout)`` says of which version.

``checkout`` is the path that was given with ``--checkout``, or None.
"""

import math
from importlib import metadata

import numpy as np

# A loss that falls, stalls, creeps just below the default threshold, and rises again.
METRICS = [5, 4, 4, 4, 4, 3, 2, 1, 1, 1, 1, 1, 1, 1.0005, 0.9999, 0.9998, 0.5] + [0.6] * 8


def shortest(value):
    """The shortest decimal that reads back as the same float, of float32 where the library computes in it."""
    if isinstance(value, np.ndarray) or hasattr(value, "dtype"):
        value = np.asarray(value)[()]
    value = float(str(value)) if isinstance(value, np.float32) else float(value)
    if not math.isfinite(value):
        raise ValueError(f"{value} is no learning rate")
    return value


def case(key, call, values, metrics=None):
    """One line of a file; with `metrics`, ``values[i]`` is the learning rate after ``metrics[i]``."""
    found = {"key": key, "call": call, "values": [shortest(value) for value in values]}
    return found if metrics is None else {**found, "metrics": list(metrics)}


def installed(distribution):
    """The version of an installed library."""
    return metadata.version(distribution).split("+")[0]
