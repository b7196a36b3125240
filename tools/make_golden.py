"""Write tests/data/golden_*.json: learning rates produced by the real torch, braintools, optax and transformers.

    pip install torch braintools optax transformers
    python tools/make_golden.py            # rewrite the files
    python tools/make_golden.py --check    # compare the files with the installed libraries

The cases stand in the entries of tests/registry. Each file holds one case a line: the class or
function, its arguments, and the learning rate at epochs 0, 1, 2, ... (for the plateau: after each
metric). torch and transformers compute in float64; braintools and optax run in their usual float32. A function among
the arguments is stored by its name in `golden.FUNCTIONS`, a scheduler as its own name and arguments.
"""

import argparse
import json
import math
import sys
import warnings
from importlib.metadata import version
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from golden import DATA, FUNCTIONS
from registry import references


def run_torch(entry, epochs):
    import torch.optim.lr_scheduler

    return run_on_torch(torch.optim.lr_scheduler, entry, epochs)


def run_transformers(entry, epochs):
    import transformers.optimization

    return run_on_torch(transformers.optimization, entry, epochs)


def run_on_torch(library, entry, epochs):
    import torch

    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=entry.get("lr", 1.0))

    def build(spec):
        kwargs = dict(spec["kwargs"])
        if spec["name"] in ("CyclicLR", "OneCycleLR"):
            kwargs["cycle_momentum"] = False
        if "schedulers" in kwargs:
            kwargs["schedulers"] = [build(inner) for inner in kwargs["schedulers"]]
        for key, value in kwargs.items():
            if isinstance(value, dict):
                kwargs[key] = FUNCTIONS[value["function"]]
        scheduler = getattr(library, spec["name"])
        return (
            scheduler(**kwargs)
            if spec["name"] == "ChainedScheduler"
            else scheduler(optimizer, **kwargs)
        )

    scheduler = build(entry)
    optimizer.step()

    def current():
        return float(optimizer.param_groups[0]["lr"])

    if "metrics" in entry:
        values = []
        for metric in entry["metrics"]:
            scheduler.step(math.nan if metric is None else metric)
            values.append(current())
        return values
    if entry["name"] == "OneCycleLR":  # one more epoch than `total_steps` is the most torch allows
        epochs = min(epochs, scheduler.total_steps + 1)
    values = [current()]
    while len(values) < epochs:
        scheduler.step()
        values.append(current())
    return values


def run_braintools(entry, epochs):
    import braintools.optim

    def build(spec):
        kwargs = dict(spec["kwargs"])
        if "schedulers" in kwargs:
            kwargs["schedulers"] = [build(inner) for inner in kwargs["schedulers"]]
        for key, value in kwargs.items():
            if isinstance(value, dict):
                kwargs[key] = FUNCTIONS[value["function"]]
        return getattr(braintools.optim, spec["name"])(**kwargs)

    scheduler = build(entry)

    def current():
        return np.float32(scheduler.get_lr()[0])

    if "metrics" in entry:
        values = []
        for metric in entry["metrics"]:
            scheduler.step(math.nan if metric is None else metric)
            values.append(current())
        return values
    values = [current()]
    while len(values) < epochs:
        scheduler.step()
        values.append(current())
    return values


def run_optax(entry, epochs):
    import optax

    def build(spec):
        kwargs = dict(spec["kwargs"])
        if "schedules" in kwargs:
            kwargs["schedules"] = [build(inner) for inner in kwargs["schedules"]]
        if "boundaries_and_scales" in kwargs:
            kwargs["boundaries_and_scales"] = {
                int(k): v for k, v in kwargs["boundaries_and_scales"].items()
            }
        return getattr(optax, spec["name"])(**kwargs)

    if "metrics" in entry:
        transform = optax.contrib.reduce_on_plateau(**entry["kwargs"])
        state = transform.init(np.zeros(()))
        values = []
        for metric in entry["metrics"]:
            _, state = transform.update(np.zeros(()), state, value=np.float32(metric))
            values.append(np.float32(state.scale))
        return values
    schedule = build(entry)
    return [np.float32(schedule(t)) for t in range(epochs)]


LIBRARIES = {
    "torch": run_torch,
    "braintools": run_braintools,
    "optax": run_optax,
    "transformers": run_transformers,
}


def shortest(value):
    """The shortest decimal that reads back as the same float (float32 where the library computes in it)."""
    return float(str(value)) if isinstance(value, np.float32) else value


def describe(spec):
    parts = [f"{spec['lr']}"] if "lr" in spec else []
    for key, value in spec["kwargs"].items():
        if key in ("schedulers", "schedules"):
            parts.append("[" + ", ".join(describe(inner) for inner in value) + "]")
        elif isinstance(value, dict) and "function" in value:
            parts.append(f"{key}={value['function']}")
        else:
            parts.append(f"{key}={json.dumps(value)}".replace('"', ""))
    return f"{spec['name']}({', '.join(parts)})"


def document(library):
    run, lines = LIBRARIES[library], {}
    for entry, epochs in references(library):
        values = [shortest(value) for value in run(entry, epochs)]
        key = describe(entry)
        if "metrics" in entry:
            numbers = [m for m in entry["metrics"] if m is not None]
            key += f" on {len(entry['metrics'])} metrics {numbers[0]}..{numbers[-1]}"
        else:
            key += f" x{len(values)}"
        if key in lines:
            raise ValueError(f"two cases of {library} are called {key}")
        lines[key] = json.dumps({"key": key, **entry, "values": values}, separators=(",", ":"))
    header = json.dumps({"library": library, "version": version(library).split("+")[0]})
    return header[:-1] + ', "cases": [\n' + ",\n".join(lines.values()) + "\n]}\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare only, write nothing")
    parser.add_argument(
        "libraries",
        nargs="*",
        help="torch, braintools, optax, transformers; all of them if none is named",
    )
    options = parser.parse_args()
    warnings.simplefilter("error")
    # torch warns of two things that its SequentialLR does itself
    warnings.filterwarnings(
        "ignore", message=".*epoch parameter in `scheduler.step", category=UserWarning
    )
    warnings.filterwarnings(
        "ignore", message="Detected call of `lr_scheduler.step", category=UserWarning
    )
    stale = []
    for library in options.libraries or LIBRARIES:
        path = DATA / f"golden_{library}.json"
        text = document(library)
        if not options.check:
            path.write_text(text)
            print(f"{path.name}: {text.count(chr(10)) - 2} cases, {len(text) / 1000:.0f} kB")
        elif json.loads(text)["cases"] != json.loads(path.read_text())["cases"]:
            stale.append(path.name)
    if stale:
        sys.exit(f"differs from the installed library: {', '.join(stale)}")


if __name__ == "__main__":
    main()
