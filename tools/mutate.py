"""Break each schedule in every small way, and see that the tests notice: a check of the tests.

    PYTHONPATH=tests python tools/mutate.py             # all schedules, some ten minutes
    PYTHONPATH=tests python tools/mutate.py _Cosine     # one formula

The mutants of a formula: the learning rate times 1.001, the epoch one more and one less, each `where`
with its branches swapped, each `choose` and `steps` reversed, each clamp (`minimum`, `maximum`)
dropped. A mutant is killed by the first test that fails. One that survives makes the exit status 1,
unless it is listed below with the reason why it gives the same learning rates.
"""

import contextlib
import dataclasses
import io
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import jax
import numpy as np
import pytest

import registry
from internals import HOST

ROOT = Path(__file__).resolve().parents[1]
# By name first, which is fast; what survives meets all of these.
GOLDEN = ["tests/test_golden.py::test_eager_steps", "tests/test_golden.py::test_pure_call"]
FAST = [
    *GOLDEN,
    "tests/test_accuracy.py",
    "tests/test_plateau.py",
    "tests/test_parameter_groups.py",
    "tests/test_properties.py",
]
PLATEAU = ["tests/test_plateau.py"]

EQUIVALENT: dict[tuple[str, str], str] = {}

SWAPPED, REVERSED, DROPPED = "where {} swapped", "choose {} reversed", "clamp {} dropped"


class Tampered:
    """The arithmetic, with one of its calls changed; counts the calls."""

    def __init__(self, x: Any, change: str = "") -> None:
        self._x, self._change = x, change
        self.counts = {SWAPPED: 0, REVERSED: 0, DROPPED: 0}

    def _hit(self, kind: str) -> bool:
        number = self.counts[kind]
        self.counts[kind] += 1
        return self._change == kind.format(number)

    def where(self, condition: Any, a: Any, b: Any) -> Any:
        return (
            self._x.where(condition, b, a) if self._hit(SWAPPED) else self._x.where(condition, a, b)
        )

    def choose(self, starts: Any, t: Any, branch: Any) -> Any:
        backwards = lambda i: branch(len(starts) - i)  # noqa: E731
        return self._x.choose(starts, t, backwards if self._hit(REVERSED) else branch)

    def steps(self, starts: Any, t: Any, values: Any) -> Any:
        return self._x.steps(starts, t, values[::-1] if self._hit(REVERSED) else values)

    def minimum(self, a: Any, b: Any) -> Any:
        return a if self._hit(DROPPED) else self._x.minimum(a, b)

    def maximum(self, a: Any, b: Any) -> Any:
        return a if self._hit(DROPPED) else self._x.maximum(a, b)

    def since(self, t: Any, start: Any) -> Any:
        return t - start if self._hit(DROPPED) else self._x.since(t, start)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._x, name)


def examples() -> dict[type, tuple[set[str], list[Any]]]:
    """For each formula the schedulers that use it by name, and some of them."""
    made = [make() for make in registry.KINDS.values()]
    made += [spec.build() for spec in registry.EVERY.values()]
    found: dict[type, tuple[set[str], list[Any]]] = {}
    for scheduler in made:
        formula = type(scheduler.formulas[0])
        if formula.__module__.startswith("lrax.schedulers") and "raw" in vars(formula):
            names, some = found.setdefault(formula, (set(), []))
            names.add(type(scheduler).__name__)
            some.append(scheduler)
    return found


def calls(some: list[Any]) -> dict[str, int]:
    """How many calls of each kind the formula makes at most."""
    most: dict[str, int] = {}
    for scheduler in some:
        for formula in scheduler.formulas:
            for t in (0, 1, 5, 12, 40, 10**9):
                x = Tampered(HOST)
                with contextlib.suppress(ValueError):  # of a product of that many factors
                    formula.raw(t, float(scheduler.base_lrs[0]), x)
                most = {kind: max(n, most.get(kind, 0)) for kind, n in x.counts.items()}
    return most


def mutants(formula: type, some: list[Any]) -> Iterator[tuple[str, str, Callable[..., Any]]]:
    """What is changed, the method to replace, and what by."""
    raw = formula.raw  # type: ignore[attr-defined]
    yield "lr * 1.001", "raw", lambda self, t, base, x: raw(self, t, base, x) * 1.001
    if hasattr(formula, "reductions"):
        for name, by in (("one reduction more", 1), ("one reduction less", -1)):
            yield (
                name,
                "raw",
                lambda self, t, base, x, by=by: raw(
                    dataclasses.replace(self, reductions=x.maximum(self.reductions + by, 0)),
                    t,
                    base,
                    x,
                ),
            )
    else:
        yield "epoch + 1", "raw", lambda self, t, base, x: raw(self, t + 1, base, x)
        yield "epoch - 1", "raw", lambda self, t, base, x: raw(self, x.maximum(t - 1, 0), base, x)
    for kind, count in calls(some).items():
        for i in range(count):
            change = kind.format(i)
            yield (
                change,
                "raw",
                lambda self, t, base, x, change=change: raw(self, t, base, Tampered(x, change)),
            )
    if hasattr(formula, "_observe"):
        observe = formula._observe
        for i in range(8):
            change = SWAPPED.format(i)
            yield (
                f"observe: {change}",
                "_observe",
                lambda self, memory, metric, x, change=change: observe(
                    self, memory, metric, Tampered(x, change)
                ),
            )


def of_better(better: Callable[..., Any]) -> dict[str, Callable[..., Any]]:
    """Mutants of the function that compares a metric with the best."""
    return {
        "metric * 1.001": lambda rules, metric, best, x: better(rules, metric * 1.001, best, x),
        "never better": lambda rules, metric, best, x: better(rules, metric, best, x) & False,
        "always better": lambda rules, metric, best, x: better(rules, metric, best, x) | True,
    }


class FirstFailure:
    """A pytest plugin that remembers which test failed first."""

    def __init__(self) -> None:
        self.name, self.ran = "", 0

    def pytest_runtest_logreport(self, report: Any) -> None:
        self.ran += report.when == "call"
        if report.failed and not self.name:
            self.name = report.nodeid

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed and not self.name:
            self.name = f"collecting {report.nodeid}"


def killer(tests: list[str], select: str = "") -> str:
    """The first test that fails, or ''."""
    jax.clear_caches()
    for module in list(sys.modules.values()):
        if str(ROOT / "tests") in (getattr(module, "__file__", None) or ""):
            for value in vars(module).values():
                if hasattr(value, "cache_clear"):  # it remembers learning rates of another mutant
                    value.cache_clear()
    first, options = FirstFailure(), ["-x", "-q", "-p", "no:cacheprovider", "-n0"]
    options += ["-m", "slow or not slow"]
    # The registry has imported hypothesis, which is a plugin of pytest as well.
    options += ["-W", "ignore:Module already imported:pytest.PytestAssertRewriteWarning"]
    options += ["-k", select] if select else []
    with contextlib.redirect_stdout(io.StringIO()):
        pytest.main([*options, *(str(ROOT / test) for test in tests)], plugins=[first])
    if not first.ran:
        sys.exit(f"no test ran: {tests} {select}")
    return first.name


def main() -> None:
    chosen = sys.argv[1:]
    print("unchanged, every test must pass", flush=True)
    if failed := killer(GOLDEN if chosen else FAST):
        sys.exit(f"{failed} fails without any mutant")
    wrong = 0
    for formula, (names, some) in sorted(examples().items(), key=lambda item: item[0].__name__):
        if chosen and formula.__name__ not in chosen:
            continue
        module = sys.modules[formula.__module__]
        changes = [(formula, *mutant) for mutant in mutants(formula, some)]
        if hasattr(module, "is_better"):
            found = of_better(module.is_better).items()
            changes += [(module, change, "is_better", by) for change, by in found]
        for changed, change, name, replacement in changes:
            with mock.patch.object(changed, name, replacement):
                by = killer(GOLDEN, " or ".join(sorted(names)))
                by = by or (hasattr(formula, "reductions") and killer(PLATEAU)) or killer(FAST)
            reason = EQUIVALENT.get((formula.__name__, change))
            wrong += bool(by) == bool(reason)
            by = by.rpartition("::")[2] or (f"the same: {reason}" if reason else "SURVIVED")
            print(f"{formula.__name__:20} {change:24} {by:.100}", flush=True)
    print(f"{wrong} mutants are not as they should be" if wrong else "all as it should be")
    sys.exit(wrong > 0)


if __name__ == "__main__":
    np.seterr(all="ignore")  # a mutant may divide by zero
    main()
