"""The table of a benchmark: what lrax takes, what its peer takes, and whether a bound is met."""

import dataclasses
import datetime
import importlib.metadata
import os
import pathlib
import platform
import re
from collections.abc import Callable, Iterable

import jax
import numpy as np
from timing import median, shown

RESULTS = pathlib.Path(__file__).with_name("RESULTS.md")
TITLE = """# What lrax costs

Written by `python benchmarks/run.py`, one section for each machine. Functions take turns, and a ratio
is the median of those of the single rounds: what slows the machine down slows both. In brackets are
the quartiles. What is outside its bound is measured three times, if less than five minutes have passed,
and all rounds count. What is measured in several ways has one row, that of the worst way.

"""
HEAD = "| what | worst way | lrax | peer | | ratio | bound | met | times |\n|---|---|---|---|---|---|---|---|---|"


@dataclasses.dataclass(frozen=True)
class Row:
    """`ours` and `peer` are seconds in each round (or what `show` shows); `bound` is on their ratio, or else `extra` on what lrax adds."""

    what: str
    ours: np.ndarray
    peer: np.ndarray
    peer_name: str
    bound: float | None = None
    extra: float = 0.0
    way: str = ""
    show: Callable[[float], str] = shown
    times: int = 1

    def with_more(self, other: "Row") -> "Row":
        """The rounds of both."""
        ours = np.concatenate([self.ours, other.ours])
        peer = np.concatenate([self.peer, other.peer])
        return dataclasses.replace(self, ours=ours, peer=peer, times=self.times + other.times)

    @property
    def excess(self) -> float:
        """At most 1 if the bound is met."""
        share = median(self.ours / self.peer) / (self.bound or 1)
        return min(share, self.added / self.extra) if self.extra else share

    @property
    def added(self) -> float:
        return median(self.ours - self.peer)

    @property
    def met(self) -> bool:
        return self.bound is None or self.excess <= 1

    def __str__(self) -> str:
        bound = "" if self.bound is None else f"{self.bound:g}"
        low, middle, high = np.percentile(self.ours / self.peer, (25, 50, 75))
        ratio = f"{middle:.2f} ({low:.2f}–{high:.2f})"
        if self.extra:
            bound += f", or + {self.show(self.extra)}"
            ratio += f", {'+' if self.added > 0 else '-'} {self.show(abs(self.added))}"
        cells = (
            self.what,
            self.way,
            self.show(median(self.ours)),
            self.show(median(self.peer)),
            self.peer_name,
            ratio,
            bound,
            "" if self.bound is None else "yes" if self.met else "**no**",
            str(self.times),
        )
        return f"| {' | '.join(cells)} |"


Measurement = Callable[[], list[Row]]
"""Measures the same rows at each call."""


def number(value: float) -> np.ndarray:
    """Something that has no rounds."""
    return np.array([value])


def measured(measure: Measurement, *, again: bool = True) -> list[Row]:
    """The rows, from three measurements if one of them is outside its bound; of those with the same name the worst."""
    rows = measure()
    for _ in range(2 if again and not all(row.met for row in rows) else 0):
        rows = [row.with_more(other) for row, other in zip(rows, measure(), strict=True)]
    worst: dict[str, Row] = {}
    for row in rows:
        if row.what not in worst or row.excess > worst[row.what].excess:
            worst[row.what] = row
    return list(worst.values())


def machine() -> str:
    """The processor, or the accelerator if there is one."""
    device = jax.devices()[0]
    if device.platform != "cpu":
        return f"{jax.device_count()} x {device.device_kind}"
    cpu = pathlib.Path("/proc/cpuinfo")
    models = re.findall(r"model name\s*: (.*)", cpu.read_text()) if cpu.exists() else []
    return f"{os.cpu_count()} x {models[0] if models else platform.processor()}"


def load() -> str:
    """How many programs wanted to run in the last minute."""
    return f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"


def versions() -> str:
    found = [f"Python {platform.python_version()}"]
    for name in ("jax", "jaxlib", "optax", "brainstate", "braintools", "torch", "numpy"):
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return ", ".join(found)


def write(rows: Iterable[Row], remarks: list[str]) -> None:
    """Replace the section of this machine in RESULTS.md."""
    text = RESULTS.read_text() if RESULTS.exists() else ""
    sections = dict(re.findall(r"^## ([^\n]*)\n\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))
    facts = f"{datetime.date.today()}; {versions()}."
    body = [facts, *remarks, "\n".join([HEAD, *map(str, rows)])]
    sections[machine()] = "\n\n".join(body) + "\n\n"
    parts = [f"## {name}\n\n{section.strip()}\n" for name, section in sections.items()]
    RESULTS.write_text(TITLE + "\n".join(parts))
