"""The table of a benchmark: what lrax takes, what its peer takes, and whether a bound is met."""

import dataclasses
import datetime
import importlib.metadata
import os
import pathlib
import platform
import re
from collections.abc import Callable

import jax
import numpy as np
from timing import low, median, shown

RESULTS = pathlib.Path(__file__).with_name("RESULTS.md")
TITLE = """# What lrax costs

Written by `python benchmarks/run.py`, one section for each machine. Functions take turns, and a ratio
is the median of those of the single rounds: what slows the machine down slows both. In brackets is
the ratio of the tenth percentiles.

"""
HEAD = "| what | lrax | peer | | ratio | bound | met |\n|---|---|---|---|---|---|---|"


@dataclasses.dataclass(frozen=True)
class Row:
    """`ours` and `peer` are seconds in each round (or what `show` shows); `bound` is on their ratio, or on what lrax adds."""

    what: str
    ours: np.ndarray
    peer: np.ndarray
    peer_name: str
    bound: float | None = None
    extra: float = 0.0
    note: str = ""
    show: Callable[[float], str] = shown

    @property
    def ratio(self) -> float:
        return median(self.ours / self.peer)

    @property
    def met(self) -> bool:
        if self.bound is None:
            return True
        return self.ratio <= self.bound or median(self.ours - self.peer) <= self.extra

    def __str__(self) -> str:
        bound = "" if self.bound is None else f"{self.bound:g}"
        if self.extra:
            bound += f", or + {self.show(self.extra)}"
        cells = (
            self.what + self.note,
            self.show(median(self.ours)),
            self.show(median(self.peer)),
            self.peer_name,
            f"{self.ratio:.2f} ({low(self.ours) / low(self.peer):.2f})",
            bound,
            "" if self.bound is None else "yes" if self.met else "**no**",
        )
        return f"| {' | '.join(cells)} |"


def limit(seconds: float) -> np.ndarray:
    """A peer that is a number."""
    return np.array([seconds])


def machine() -> str:
    """The processor, or the accelerator if there is one."""
    device = jax.devices()[0]
    if device.platform != "cpu":
        return f"{jax.device_count()} x {device.device_kind}"
    cpu = pathlib.Path("/proc/cpuinfo")
    models = re.findall(r"model name\s*: (.*)", cpu.read_text()) if cpu.exists() else []
    return f"{os.cpu_count()} x {models[0] if models else platform.processor()}"


def versions() -> str:
    found = [f"Python {platform.python_version()}"]
    for name in ("jax", "jaxlib", "optax", "brainstate", "braintools", "torch", "numpy"):
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return ", ".join(found)


def write(rows: list[Row], remarks: list[str]) -> None:
    """Replace the section of this machine in RESULTS.md."""
    text = RESULTS.read_text() if RESULTS.exists() else ""
    sections = dict(re.findall(r"^## ([^\n]*)\n\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    facts = f"{datetime.date.today()}{load}; {versions()}."
    body = [facts, *remarks, "\n".join([HEAD, *map(str, rows)])]
    sections[machine()] = "\n\n".join(body) + "\n\n"
    parts = [f"## {name}\n\n{section.strip()}\n" for name, section in sections.items()]
    RESULTS.write_text(TITLE + "\n".join(parts))
