"""Reference values of torch, braintools, optax and transformers: cases, the files they are kept in, and where ours differs.

The cases stand in the entries of the registry; tools/make_golden.py runs the libraries on them and
writes tests/data/golden_*.json, which the tests compare with.
"""

import functools
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lrax

DATA = Path(__file__).parent / "data"

# --- Cases ------------------------------------------------------------------------------------------

EPOCHS = 64

# A loss that falls, stalls, creeps just below and just above the default threshold, and rises again.
STALLS = [5, 4, 4, 4, 4, 3, 2, 1, 1, 1, 1, 1, 1, 1.0005, 0.9999, 0.9998, 0.5] + [0.6] * 8
# A loss that falls with a ripple, at three decimals, and one that is lost for two epochs.
RIPPLE = [round(5 * math.exp(-0.08 * t) + 0.4 * math.sin(1.7 * t) + 0.5, 3) for t in range(EPOCHS)]
LOST = [2.0, 1.0, None, None, 1.5, 0.5, None, 0.4] + [0.4] * 8
FLAT_NEGATIVE = [-2.0] * 30
BELOW_ZERO = [round(-1 - 0.05 * t + 0.3 * math.sin(t), 3) for t in range(EPOCHS)]

FUNCTIONS = {
    "inverse_sqrt": lambda t: (t + 1.0) ** -0.5,
    "inverse": lambda c: 1.0 / c,
    "three_quarters": lambda t: 0.75**t,
    "nearer_to_one": lambda t: (t + 0.5) / (t + 1),
    "ramp_8": lambda t: t / 8 if t < 8 else 1.0,
}
"""A function among the arguments is stored by its name here."""


def case(lr=None, length=EPOCHS, metrics=None, **kwargs):
    """Arguments, and for how many epochs or on which metrics; `lr` is that of torch's optimizer."""
    found = {"kwargs": kwargs}
    if lr is not None:
        found["lr"] = lr
    if metrics is not None:
        found["metrics"] = metrics
    return found, length


def sub(name, **kwargs):
    """A scheduler among the arguments."""
    return {"name": name, "kwargs": kwargs}


def function(name):
    return {"function": name}


# --- Files ------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False, repr=False)
class Case:
    library: str
    key: str
    name: str
    kwargs: dict
    values: list
    lr: float | None = None
    metrics: list | None = None

    def __str__(self):
        return f"{self.library}: {self.key}"

    __repr__ = __str__

    @property
    def lrax_class(self):
        import registry  # whose entries are written with the functions here

        name = registry.OPTAX[self.name][0].name if self.library == "optax" else self.name
        return getattr(lrax, name)

    def build(self):
        if self.library == "optax":
            return from_optax(self.name, self.kwargs)
        return from_spec(self.name, self.kwargs, self.lr)

    @property
    def metric_values(self):
        return [math.nan if metric is None else metric for metric in self.metrics]


def read(library):
    document = json.loads((DATA / f"golden_{library}.json").read_text())
    assert document["library"] == library
    return [Case(library, **case) for case in document["cases"]]


@functools.cache
def cases():
    """All cases, by a name that is an id of the tests."""
    return {
        str(case): case
        for library in ("torch", "braintools", "optax", "transformers")
        for case in read(library)
    }


def from_optax(name, kwargs):
    """Our scheduler for a function of optax."""
    import registry

    return registry.OPTAX[name][1](**kwargs)


def from_spec(name, kwargs, lr):
    """Our scheduler of the same name; torch's learning rate of the optimizer is our ``base_lr``."""
    kwargs = dict(kwargs)
    if "schedulers" in kwargs:
        kwargs["schedulers"] = [from_spec(s["name"], s["kwargs"], lr) for s in kwargs["schedulers"]]
    elif lr is not None:
        kwargs = {"base_lr": lr, **kwargs}
    for key, value in kwargs.items():
        if isinstance(value, dict):
            kwargs[key] = FUNCTIONS[value["function"]]
    return getattr(lrax, name)(**kwargs)


# --- Differences ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Difference:
    """Cases in which ours differs from another library by decision, and what ours gives there."""

    library: str
    why: str
    when: Callable[[Case], bool]
    expected: Callable[[Case], list]
    name: str = ""
    """The function of optax; else it is that of the entry."""

    def covers(self, case: Any) -> bool:
        return case.library == self.library and case.name == self.name and self.when(case)


def difference(case):
    import registry

    found = [d for d in registry.DIFFERENCES if d.covers(case)]
    assert len(found) <= 1, f"{case} is listed twice"
    return found[0] if found else None


def expected(case):
    """The values that ours must have in this case."""
    listed = difference(case)
    return listed.expected(case) if listed else case.values


def held(last):
    """The case's values, of which the one at epoch `last` is held."""
    return lambda case: [
        *case.values[: last(case)],
        *[case.values[last(case)]] * (len(case.values) - last(case)),
    ]


def constant(value):
    return lambda case: [value(case)] * len(case.values)


def same_as(library):
    """What is expected in the case of another library that has the same arguments."""

    def find(case):
        renamed = {"base_lr": case.lr, **case.kwargs} if case.lr is not None else case.kwargs
        for other in cases().values():
            theirs = {"base_lr": other.lr, **other.kwargs} if other.lr is not None else other.kwargs
            if (other.library, other.name, other.metrics) == (
                library,
                case.name,
                case.metrics,
            ) and theirs == renamed:
                return expected(other)
        raise LookupError(f"no case of {library} is like {case}")

    def extended(case):
        values = find(case)[: len(case.values)]
        return values + [values[-1]] * (len(case.values) - len(values))

    return extended
