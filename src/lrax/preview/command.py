"""The command ``lrax``: a schedule drawn in the terminal, before anything is trained."""

import argparse
import contextlib
import csv
import dataclasses
import json
import os
import shutil
import sys
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..formulas.phases import MOST
from ..pictures.curve import Curve, curve, labels, length
from ..pictures.pictured import plot
from ..schedulers.scheduler import LRScheduler
from .checkup import check
from .examples import examples
from .expression import scheduler_of
from .terminal import drawing, marks, sparkline, table

_MOST_PRINTED = 10_000_000

_EPILOG = """\
examples:
  lrax list
  lrax 'WSDSchedule(1e-3, warmup_steps=100, total_steps=10_000, decay_steps=2000)'
  lrax '0.5 * CosineAnnealingLR(0.1, T_max=900).with_warmup(100)' --steps 2000 --log
  lrax 'StepLR(0.1, 30)' --compare 'ExponentialLR(0.1, 0.97)' --png both.png
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit status is 2 for what is not understood."""
    if sys.stdout is None:  # closed by whoever has started it
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            return main(arguments)
    options = _parser().parse_args(arguments)
    try:
        if options.expression == "list":
            if options != _parser().parse_args(["list"]):
                raise ValueError("list takes no options: it shows all schedules there are.")
            _list()
        else:
            _show(options)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever reads has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except RecursionError:
        print(
            "lrax: the expression is too deep to be drawn: write fewer operators and methods.",
            file=sys.stderr,
        )
        return 2
    except MemoryError:
        print("lrax: there is not enough memory for so many steps.", file=sys.stderr)
        return 2
    except (TypeError, ValueError, ArithmeticError, ImportError, OSError) as error:
        print(f"lrax: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lrax",
        description="Draw a learning-rate schedule, and say what is probably not meant in it.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("expression", help="a scheduler as in Python, or 'list' for all there are")
    add("--steps", type=int, metavar="N", help="length of the run; without, that of the schedule")
    add("--compare", action="append", default=[], metavar="EXPR", help="draw this one, too")
    add("--log", action="store_true", help="powers of ten upwards")
    add("--png", metavar="FILE", help="save a picture (needs matplotlib)")
    form = parser.add_mutually_exclusive_group()
    form.add_argument(
        "--csv", action="store_true", help="print every step as comma-separated values"
    )
    form.add_argument("--json", action="store_true", help="print everything as JSON")
    return parser


def _show(options: argparse.Namespace) -> None:
    schedulers = [scheduler_of(text) for text in (options.expression, *options.compare)]
    steps = length(schedulers, options.steps)
    if options.png is not None:
        figure: Any = plot(schedulers, steps, log=options.log).figure
        figure.savefig(options.png, dpi=150, format="png")
    whole = options.csv or options.json
    if whole and steps > _MOST_PRINTED:
        raise ValueError(
            f"--steps must be <= {_MOST_PRINTED} with --csv or --json, which print every step, got {steps}. Call the scheduler "
            "in Python: scheduler(np.arange(n))."
        )
    named = zip(schedulers, labels(schedulers), strict=True)
    curves = [curve(scheduler, steps, label, whole) for scheduler, label in named]
    if options.csv:
        _print_csv(curves)
    elif options.json:
        known = zip(schedulers, curves, strict=True)
        described = [_described(s, drawn, options.steps) for s, drawn in known]
        print(json.dumps({"steps": steps, "schedules": described}))
    else:
        _print_text(schedulers, curves, options)


def _print_text(
    schedulers: Sequence[LRScheduler], curves: Sequence[Curve], options: argparse.Namespace
) -> None:
    names = [name for name, _ in _columns(curves)]
    width = max(shutil.get_terminal_size((80, 24)).columns, 24)
    heads = ["learning rate"]
    if len(schedulers) == 1:
        print(textwrap.fill(repr(schedulers[0]), width), end="\n\n")
    if len(names) > 1:
        heads = marks(len(names))
        for mark, name in zip(heads, names, strict=True):
            print(textwrap.fill(f"{mark}  {name}", width, subsequent_indent="   "))
        print()
    print(drawing(curves, width, options.log, _unicode()), end="\n\n")
    print(_boundaries(schedulers, curves, heads))
    findings = [
        f"! {drawn.label}: {finding}" if len(curves) > 1 else f"! {finding}"
        for scheduler, drawn in zip(schedulers, curves, strict=True)
        for finding in check(scheduler, options.steps)
    ]
    for finding in findings or ["No warnings."]:
        print("\n" + textwrap.fill(finding, width, subsequent_indent="  "))
    if options.png:
        print(f"\nsaved {options.png}")


def _boundaries(
    schedulers: Sequence[LRScheduler], curves: Sequence[Curve], heads: Sequence[str]
) -> str:
    """A table of the learning rates where something begins, as far as that is known, and at the end."""
    steps = curves[0].steps
    at = {0, steps, *(b for s in schedulers for b in s.boundaries if b <= steps)}
    rows = [["step", *heads, ""]]
    for epoch in sorted(at):
        rates = np.concatenate([s.lr_at(epoch) for s in schedulers])
        then = [s.phase_at(epoch) for s in schedulers]
        rows.append([str(epoch), *(f"{rate:.4g}" for rate in rates), " | ".join(then)])
    if any(len(s.boundaries) >= MOST and s.boundaries[-1] < steps for s in schedulers):
        rows.insert(-1, ["...", *("" for _ in heads), f"after the first {MOST} boundaries"])
    return table(rows)


def _columns(curves: Sequence[Curve]) -> list[tuple[str, np.ndarray]]:
    """Every line of a picture with a name: the learning rates of all groups."""
    found = []
    for drawn in curves:
        groups = drawn.rates.shape[1]
        for group in range(groups):
            name = f"{drawn.label} group {group}" if groups > 1 else drawn.label
            found.append((name, drawn.rates[:, group]))
    return found


def _print_csv(curves: Sequence[Curve]) -> None:
    columns = _columns(curves) + [
        (f"{drawn.label} {name}", values) for drawn in curves for name, values in drawn.hyper
    ]
    out = csv.writer(sys.stdout, lineterminator="\n")
    out.writerow(["step", *(name for name, _ in columns)])
    lists = [map(str, values) for _, values in columns]
    out.writerows(zip(curves[0].epochs.tolist(), *lists, strict=True))


def _described(scheduler: LRScheduler, drawn: Curve, steps: int | None) -> dict[str, Any]:
    return {
        "scheduler": repr(scheduler),
        "boundaries": [b for b in scheduler.boundaries if b <= drawn.steps],
        "phases": [dataclasses.asdict(phase) for phase in drawn.phases],
        "learning_rates": [_numbers(rates) for rates in drawn.rates.T],
        "hyperparameters": {name: _numbers(values) for name, values in drawn.hyper},
        "warnings": [dataclasses.asdict(finding) for finding in check(scheduler, steps)],
    }


def _numbers(values: np.ndarray) -> list[float]:
    """As few digits as tell the float32 from its neighbours."""
    return [float(str(value)) for value in values]


def _list() -> None:
    unicode = _unicode()
    for text, rates in examples().values():
        print(f"{sparkline(rates[::2], unicode)} {text}")
    print("\nDraw one: lrax 'StepLR(0.1, step_size=12, gamma=0.6)'")


def _unicode() -> bool:
    """Whether the terminal, or the file that is written, can hold blocks."""
    try:
        "█│".encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True
