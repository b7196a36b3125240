"""The command line: what it understands, and that its drawings, tables and numbers are those of the formula."""

import csv
import io
import json
import math
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import matplotlib
import numpy as np
import pytest

import lrax
from internals import examples, main, scheduler_of

matplotlib.use("Agg")
ROOT = Path(__file__).parents[1]
WSD = "WSDSchedule(0.02, warmup_steps=50, total_steps=1_000, decay_steps=300)"


def wsd(t):
    return 0.02 * min(t / 50, 1.0, (1000 - t) / 300)


def output(capsys, *arguments):
    """What is printed, where nothing goes wrong."""
    assert main(arguments) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    return printed.out


# --- Expressions ---------------------------------------------------------------------------------

UNDERSTOOD = [
    WSD,
    "lrax.StepLR(0.1, step_size=30)",
    "StepLR([0.1, 0.05], 30, gamma=1e-1)",
    "2 * StepLR(0.1) + 1e-5",
    "StepLR(0.1) / 4 * ExponentialLR(1.0)",
    "CosineAnnealingLR(0.1, T_max=10 * (90 - 5)).with_warmup(5 * 10, 'cosine', start_lr=0.01)",
    "WSDSchedule(0.1, 10, 100, decay=('power', 3.0))",
    "minimum(StepLR(0.1), lrax.maximum(ExponentialLR(0.1), 0.05), 0.09)",
    "SequentialLR([ConstantLR(0.1, factor=1, total_iters=0), StepLR(0.1)], milestones=[5]).delay(5)",
    "get_scheduler('linear', 1e-3, num_warmup_steps=10, num_training_steps=100)",
    "StepLR(0.1).clip(0.01, 0.05).stretch(2).repeat(100, limit=3).with_cooldown(250, 50)",
    "CyclicLR(step_size_down=None, cycle_momentum=True)",
]


@pytest.mark.parametrize("text", UNDERSTOOD)
def test_an_expression_is_what_it_is_in_python(text):
    names = {name: getattr(lrax, name) for name in lrax.__all__}
    assert scheduler_of(f"  {text} ") == eval(text, {"lrax": lrax, **names})


REFUSED = {
    "StepL(0.1)": "'StepL' is not understood. Did you mean StepLR?",
    "lrax.steplr(0.1)": "'steplr' is not understood. It is called StepLR.",
    "EMA(0.1)": "'EMA' is not understood. Here that is AveragedWeights.",
    "open('x')": "'open' is not understood. 'lrax list' shows all schedules of lrax.",
    "__import__('os').system('exit 9')": "'__import__' is not understood.",
    "StepLR.__init__(0.1)": "'StepLR' is not understood. It is called: StepLR(...).",
    "StepLR": "'StepLR' is not understood. It is called: StepLR(...).",
    "StepLR(0.1).step()": "'step' is not understood. Schedulers have clip, delay,",
    "StepLR(0.1).__class__()": "'__class__' is not understood.",
    "StepLR(0.1).dela(5)": "'dela' is not understood. Did you mean delay?",
    "StepLR(0.1).delay": "'StepLR(0.1).delay' is not understood.",
    "'a'.join([])": "\"'a'.join\" is not understood. Only schedulers have methods.",
    "(lambda: 3)()": "'lambda: 3' is not understood.",
    "StepLR(0.1)()": "'StepLR(0.1)' is not understood. Only names of lrax",
    "StepLR(*[0.1])": "'StepLR(*[0.1])' is not understood. Write the arguments one by one.",
    "StepLR(**{})": "'StepLR(**{})' is not understood. Write the arguments one by one.",
    "LambdaLR(0.1, lambda t: 1)": "'lambda t: 1' is not understood. An expression has no functions: draw LambdaLR in Python",
    "[x for x in y]": "is not understood.",
    "StepLR(0.1) ** 2": "'StepLR(0.1) ** 2' is not understood.",
    "9 ** 9 ** 9": "is not understood.",
    "'a' * 9": "\"'a'\" is not understood. Operators take schedulers and numbers.",
    "StepLR(f'{1}')": "is not understood.",
    "StepLR(0.1": "'StepLR(0.1' must be an expression, but has an error: '(' was never closed.",
    "": "'' must be an expression, but has an error:",
    "(" * 5000: "must be an expression, but has an error:",
    "1 + 1": "'1 + 1' must be a scheduler, but is 2.",
    "SGD(0.1)": "'SGD' is an optimizer, and what is drawn is a schedule",
    "StepLR(" + "-" * 2000 + "0.1)": "too deep",
    "StepLR(0.1" + "+ 0.1" * 1500 + ")": "too deep",
    "StepLR(0.1)" + ".delay(1)" * 700: "too deep",
    "StepLR(0.1, gamma=0.1, gamma=0.2)": "is not understood. It has gamma twice.",
    "StepLR(lr=0.1)": "StepLR has no argument lr, got lr=0.1. It is called base_lr here.",
    "StepLR(0.1) - StepLR(0.1)": "StepLR - StepLR is no schedule: rates don't cancel",
    "-StepLR(0.1)": "-StepLR is no schedule",
    "StepLR(-0.1)": "base_lr must be a finite number >= 0, got -0.1.",
    "1 / 0": "division by zero",
    "ReduceLROnPlateau(0.1)": "ReduceLROnPlateau has no learning rate at a given epoch: it depends on the metrics",
}  # fmt: skip


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: text[:30])
def test_what_is_not_understood_is_named(text, capsys):
    assert main(["--steps", "9", "--", text]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("lrax: ")
    assert REFUSED[text] in printed.err
    assert printed.err.count("\n") == 1


def test_a_run_of_no_steps(capsys):
    assert main([WSD, "--steps", "0"]) == 2
    assert "steps must be a whole number >= 1, got 0." in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main([WSD, "--csv", "--json"])


# --- Numbers -------------------------------------------------------------------------------------


def test_csv(capsys):
    header, *rows = csv.reader(io.StringIO(output(capsys, WSD, "--csv")))
    assert header == ["step", "WSDSchedule"]
    assert [int(row[0]) for row in rows] == list(range(1001))
    rates = np.float32([row[1] for row in rows])
    np.testing.assert_allclose(rates, [wsd(t) for t in range(1001)], rtol=1e-6)
    np.testing.assert_array_equal(rates, scheduler_of(WSD)(np.arange(1001)))


def test_csv_of_several_with_groups_and_momentum(capsys):
    cycle = "OneCycleLR(0.1, total_steps=101, pct_start=31/101, cycle_momentum=True)"
    text = output(
        capsys, "ExponentialLR([0.1, 0.2], 0.9)", "--compare", cycle, "--csv", "--steps", "30"
    )
    header, *rows = csv.reader(io.StringIO(text))
    assert header == [
        "step",
        "ExponentialLR group 0",
        "ExponentialLR group 1",
        "OneCycleLR",
        "OneCycleLR momentum",
    ]
    assert len(rows) == 31
    for row in rows:
        t, *values = map(float, row)
        half = (1 - math.cos(math.pi * t / 30)) / 2
        expected = [0.1 * 0.9**t, 0.2 * 0.9**t, 0.004 + 0.096 * half, 0.95 - 0.1 * half]
        np.testing.assert_allclose(values, expected, rtol=1e-6)


def test_json(capsys):
    found = json.loads(
        output(capsys, WSD, "--compare", "StepLR(0.1, 400)", "--json", "--steps", "900")
    )
    assert found["steps"] == 900
    first, second = found["schedules"]
    assert scheduler_of(first["scheduler"]) == scheduler_of(WSD)
    np.testing.assert_allclose(first["learning_rates"], [[wsd(t) for t in range(901)]], rtol=1e-6)
    assert first["learning_rates"][0][25] == 0.01  # not 0.009999999776482582
    assert first["boundaries"] == [50, 700]
    assert [tuple(phase.values()) for phase in first["phases"]] == [
        (0, 50, "warmup"),
        (50, 700, "stable"),
        (700, 900, "decay"),
    ]
    assert [warning["name"] for warning in first["warnings"]] == ["ends_late"]
    assert second["boundaries"] == [400, 800]
    assert second["warnings"] == []


# --- Drawings ------------------------------------------------------------------------------------


def drawn(text):
    """The heights of the columns of the area that is drawn, from 0 to 1."""
    rows = [line[12:] for line in text.splitlines() if line[11:12] == "│"]
    assert len(rows) == 12
    blocks = " ▁▂▃▄▅▆▇█"
    width = max(map(len, rows))
    return np.sum([[blocks.index(c) for c in row.ljust(width)] for row in rows], axis=0) / 96


@pytest.mark.parametrize("width", [60, 80, 133])
def test_the_curve_is_as_wide_as_the_terminal(width, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    text = output(capsys, WSD)
    lines = text.splitlines()
    assert max(map(len, lines)) == width
    heights = drawn(text)
    assert len(heights) in (width - 12, width - 13)  # the end at 0 is no block
    edges = np.linspace(0, 1000, width - 11)
    for height, start, end in zip(heights, edges, edges[1:], strict=False):
        highest = max(wsd(t) for t in range(math.ceil(start), math.ceil(end))) / 0.02
        assert highest - 1e-6 <= height <= highest + 1 / 96 + 1e-6


def test_a_run_shorter_than_the_terminal_is_wide(capsys):
    heights = drawn(output(capsys, "PolynomialLR(0.1, 10)"))
    middles = (np.arange(len(heights)) + 0.5) / 68
    np.testing.assert_allclose(heights, 1 - middles, atol=0.03)


def test_no_peak_is_lost_where_it_has_a_column(capsys):
    text = output(capsys, "PiecewiseSchedule(1.0, [0, 5, 10], [0.1, 1, 0.1])")
    assert next(line for line in text.splitlines() if "│" in line).split()[0] == "1"


@pytest.mark.parametrize("form", ["--csv", "--json"])
def test_more_steps_than_can_be_printed(form, capsys):
    assert main(["StepLR(0.1, 30)", form, "--steps", "3000000000"]) == 2
    assert "--steps must be <= 10000000 with --csv or --json" in capsys.readouterr().err


def test_powers_of_ten(capsys):
    text = output(capsys, "ExponentialLR(0.1, gamma=0.9)", "--steps", "100", "--log")
    heights = drawn(text)
    assert len(heights) == 68
    np.testing.assert_allclose(np.diff(heights), -heights[0] / 72, atol=0.02)  # a straight line


def test_the_value_at_every_boundary(capsys):
    text = output(capsys, WSD, "--steps", "2000")
    rows = [line.split() for line in text.splitlines()]
    for row in (
        ["0", "0", "warmup"],
        ["50", "0.02", "stable"],
        ["700", "0.02", "decay"],
        ["1000", "0", "end"],
        ["2000", "0", "end"],
    ):
        assert row in rows
    assert ["warmup", "stable", "decay", "end"] in rows  # below the curve
    assert "! ends_early: the decay ends at step 1000" in text
    assert "No warnings." not in text
    assert "No warnings." in output(capsys, WSD)


def test_boundaries_of_a_thousand(capsys):
    text = output(capsys, "StepLR(0.1, 2, gamma=0.99)", "--steps", "1000")
    steps = [line.split()[0] for line in text.splitlines() if line.endswith("  decay")]
    assert steps[-501:] == [str(t) for t in range(0, 1001, 2)]


def test_the_rest_of_many_boundaries(capsys):
    lines = output(capsys, "StepLR(0.1, 30)", "--steps", "90000").splitlines()
    end = next(i for i, line in enumerate(lines) if line.split()[:1] == ["90000"])
    assert lines[end - 1].split(maxsplit=1) == ["...", "after the first 1000 boundaries"]
    assert lines[end - 2].split()[0] == "30000"
    assert "..." not in output(capsys, "StepLR(0.1, 30)", "--steps", "30000")


def test_several_are_letters(capsys):
    text = output(
        capsys, "ConstantLR(0.1, 1, 0)", "--compare", "LinearLR(0.1, 0, 1, 100)", "--steps", "100"
    )
    assert "a  ConstantLR\nb  LinearLR\n" in text
    rows = [line[12:] for line in text.splitlines() if line[11:12] == "│"]
    assert rows[0].startswith("aaaa")
    where = [(68 - row.index("b"), i) for i, row in enumerate(rows) if "b" in row]
    np.testing.assert_allclose([x / 68 for x, _ in where], [i / 11 for _, i in where], atol=0.12)
    lines = [line.split() for line in text.splitlines()]
    assert ["step", "a", "b"] in lines
    assert ["0", "0.1", "0", "end", "|", "warmup"] in lines


def test_more_than_there_are_small_letters(capsys):
    more = [word for i in range(29) for word in ("--compare", f"ConstantLR({0.1 * (i + 2)}, 1, 0)")]
    text = output(capsys, "ConstantLR(0.1, 1, 0)", *more, "--steps", "100")
    top = next(line for line in text.splitlines() if "│" in line)
    assert set(top[12:]) == {"D"}, "the thirtieth is the highest"


@pytest.mark.parametrize("width", [24, 30, 45])
def test_a_narrow_terminal(width, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    long = ["OneCycleLR(0.1, 100)", "CosineAnnealingWarmRestarts(0.1, 10)", "MultiStepLR(0.1, [9])"]
    alone = output(capsys, long[0]).splitlines()
    assert max(map(len, alone)) <= max(width, len("step  learning rate  warmup"))
    text = output(capsys, long[0], "--compare", long[1], "--compare", long[2], "--steps", "100")
    drawn, _, boundaries = text.partition("step  ")
    assert max(map(len, drawn.splitlines())) == width
    assert boundaries.split()[:3] == ["a", "b", "c"]


def test_png(tmp_path, capsys):
    file = tmp_path / "picture.png"
    assert f"saved {file}" in output(capsys, WSD, "--log", "--png", str(file))
    assert file.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    pixels = matplotlib.image.imread(file)
    assert pixels.std() > 0.05
    assert main([WSD, "--png", str(tmp_path / "no such folder" / "x.png")]) == 2
    assert "No such file" in capsys.readouterr().err


@pytest.mark.parametrize("option", [["--json"], ["--steps", "9"], ["--compare", "StepLR(0.1)"]])
def test_list_has_no_options(option, capsys):
    assert main(["list", *option]) == 2
    assert "list takes no options" in capsys.readouterr().err


def test_a_picture_is_the_file_that_was_named(tmp_path, capsys):
    output(capsys, WSD, "--png", str(tmp_path / "picture"))
    assert (tmp_path / "picture").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert main([WSD, "--png", ""]) == 2


def test_list_shows_every_schedule(capsys):
    public = {
        name
        for name, value in vars(lrax).items()
        if isinstance(value, type) and issubclass(value, lrax.LRScheduler)
    } - {"LRScheduler"}
    found = examples()
    assert found.keys() == public
    text = output(capsys, "list")
    for name, (expression, rates) in found.items():
        (line,) = (line for line in text.splitlines() if line.endswith(f" {expression}"))
        blocks = line[: -len(expression) - 1]
        assert len(blocks) == 25
        heights = np.array([" ▁▂▃▄▅▆▇█".index(block) for block in blocks])
        np.testing.assert_array_equal(heights, np.ceil(rates[::2] / rates[::2].max() * 8))
        assert rates.max() > 0
        if "function" not in expression:
            assert type(scheduler_of(expression)).__name__ == name
            if name not in ("ReduceLROnPlateau", "GreedyLR"):
                np.testing.assert_array_equal(
                    np.float32(rates), scheduler_of(expression)(np.arange(49))
                )
    assert [name for name, (_, rates) in found.items() if np.ptp(rates) < 0.01] == []


# --- Processes -----------------------------------------------------------------------------------


def run(*arguments, **options):
    environment = {k: v for k, v in os.environ.items() if k != "COLUMNS"}
    environment |= options.pop("env", {})
    command = [sys.executable, "-W", "error", "-m", "lrax", *arguments]
    return subprocess.run(command, capture_output=True, env=environment, **options)


def test_in_a_pipe_there_are_80_columns_of_ascii():
    found = run(WSD, env={"PYTHONIOENCODING": "ascii"})
    assert (found.returncode, found.stderr) == (0, b"")
    lines = found.stdout.decode("ascii").splitlines()
    assert max(map(len, lines)) == 80
    assert sum("#" in line for line in lines) == 12


def test_whoever_reads_may_have_read_enough():
    script = f'"{sys.executable}" -W error -m lrax "$0" --csv --steps 200000 | head -n 2; echo ${{PIPESTATUS[0]}}'
    found = subprocess.run(["bash", "-c", script, WSD], capture_output=True, text=True)
    assert found.stdout == "step,WSDSchedule\n0,0.0\n0\n"
    assert found.stderr == ""


def test_nobody_may_read_at_all(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    assert main([WSD]) == 0


def test_the_command_is_installed():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    module, _, name = project["scripts"]["lrax"].partition(":")
    assert getattr(sys.modules[module], name) is main
