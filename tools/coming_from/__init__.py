"""One module a library: ``cases(checkout)`` yields cases, ``version(checkout)`` says of which version.

``checkout`` is the path that was given with ``--checkout``, or None.
"""

import ast
import importlib
import importlib.util
import math
import subprocess
import sys
import types
from importlib import metadata
from pathlib import Path
from unittest.mock import MagicMock

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


def called(call, *names):
    """What an expression gives, with all that is in modules or dictionaries `names` at hand."""
    found = {}
    for each in names:
        found |= each if isinstance(each, dict) else vars(each)
    return eval(call, found)


def module(name, shells=()):
    """A module of a package, without what the packages around it import.

    A schedule needs little of a library for training; `shells` are imported as empty objects.
    """
    for shell in shells:
        sys.modules[shell] = MagicMock(name=shell)
    parts = name.split(".")
    for package in (".".join(parts[:i]) for i in range(1, len(parts))):
        spec = importlib.util.find_spec(package)
        bare = sys.modules[package] = types.ModuleType(package)
        bare.__spec__, bare.__path__ = spec, list(spec.submodule_search_locations)
    return importlib.import_module(name)


def definitions(path, names, **given):
    """Functions and classes out of a file, run without its imports: what they need is `given`."""
    body = ast.parse(Path(str(path)).read_text()).body
    body = [node for node in body if getattr(node, "name", "") in names]
    assert len(body) == len(names), f"{path} defines not all of {names}"
    exec(compile(ast.Module(body, type_ignores=[]), str(path), "exec"), given)
    return given


def revision(checkout):
    """The commit of a checkout, as its version."""
    git = ["git", "-C", str(checkout), "log", "-1", "--format=%h of %cs"]
    return subprocess.run(git, check=True, capture_output=True, text=True).stdout.strip()


def sgd(lr=0.1):
    """An optimizer of torch for a scheduler to set the learning rate of."""
    import torch

    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr, momentum=0.9)


def stepped(scheduler, optimizer, epochs, key="lr"):
    """The optimizer's learning rate at updates 0, 1, 2, ..., where `step()` follows each."""
    values = []
    for _ in range(epochs):
        values.append(optimizer.param_groups[0][key])
        optimizer.step()
        scheduler.step()
    return values
