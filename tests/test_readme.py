"""README.md: its picture, its output, its tables and its links are those of today. Its code is run by test_docs.py."""

import inspect
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import optax
import pytest

import exact
import lrax
import registry
from golden import DATA
from internals import examples

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def rows(text):
    """The cells of all lines of tables."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def rows_of_readme(second):
    """Of the table with this name above the second column: the head, and the rest by first cell."""
    (table,) = re.findall(rf"^\| \| .*\b{second}\b.*\n(?:\|.*\n)+", README, flags=re.MULTILINE)
    head, _, *body = rows(table)
    return head, {row[0]: row[1:] for row in body}


def test_it_is_about_one_screen():
    lines = [line for line in README.splitlines() if not line.startswith("<!--")]
    assert len(lines) <= 120
    assert max(len(line) for line in lines if line[:1] != "|" and "pip install" not in line) <= 120


# --- The picture ---------------------------------------------------------------------------------

X = [6 + 144 * step / 48 for step in range(49)]
"""Where the steps of the picture are, in pixels."""

BY_HAND = {"ReduceLROnPlateau", "GreedyLR", "LambdaLR", "MultiplicativeLR"}


def in_fifty_digits(text):
    """The learning rates of an expression at steps 0 to 48, by the formulas of the registry."""

    def maker(name):
        def make(*args, **kwargs):
            bound = inspect.signature(getattr(lrax, name)).bind(*args, **kwargs)
            bound.apply_defaults()
            return exact.Spec(name, {k: v for k, v in bound.arguments.items() if k in known})

        known = inspect.signature(registry.ENTRIES[name].exact or make).parameters
        return make

    spec = eval(text, {name: maker(name) for name in registry.ENTRIES if hasattr(lrax, name)})
    return [float(exact.value(spec, t)) for t in range(49)]


def drawn():
    """Of each curve of the picture the expression and the corners, by name."""
    name = "{http://www.w3.org/2000/svg}"
    for panel in ET.parse(ROOT / "docs" / "all_schedules.svg").getroot().iter(f"{name}g"):
        corners = panel.find(f"{name}polyline").get("points").split()
        x, y = zip(*(map(float, corner.split(",")) for corner in corners), strict=True)
        yield panel.get("id"), panel.find(f"{name}title").text, x, y


def test_picture():
    """Its corners lie where exact arithmetic has the learning rates, to the last digit that is written."""
    current, panels = examples(), list(drawn())
    named = {n for n, cls in vars(lrax).items() if isinstance(cls, type) and n in current}
    composed = {n for n in named if not current[n][0].startswith(n)}
    assert {name for name, *_ in panels} == named - composed
    assert len(composed) == 9, "made by operators and methods"
    for name, text, x, y in panels:
        assert text == current[name][0]
        rates = list(current[name][1]) if name in BY_HAND else in_fifty_digits(text)
        assert x == pytest.approx(X, abs=0.051), name
        assert y == pytest.approx([66 - 44 * r / max(rates) for r in rates], abs=0.051), name


# --- What it says --------------------------------------------------------------------------------


def test_the_first_program_is_short():
    program = re.search(r"^```python\n(.*?)^```$", README, flags=re.DOTALL | re.MULTILINE)[1]
    assert len(re.findall(r"^[^\n]", program, flags=re.MULTILINE)) <= 15
    for part in ("seed(0)", "lrax.jit", "groups=", "weight_decay=10 * scheduler"):
        assert part in program
    assert "  #> " in program, "what it prints is compared by test_docs.py"


MARKS = {"Y": "✓", "~": "in part", "!": "wrong", "": ""}
PEERS = {
    "step gamma": {"torch": "StepLR", "braintools": "StepLR"},
    "cosine, clamped": {"optax": "cosine_decay_schedule", "braintools": "CosineAnnealingLR"},
    "one-cycle cosine": {
        "torch": "OneCycleLR",
        "optax": "cosine_onecycle_schedule",
        "braintools": "OneCycleLR",
    },
    "momentum coupled to the LR cycle": {
        "torch": "test_cycle_momentum.py::test_what_is_written_down_is_torch"
    },
    "plateau": {
        "torch": "ReduceLROnPlateau",
        "optax": "reduce_on_plateau",
        "braintools": "ReduceLROnPlateau",
    },
    "plateau jit-able": {"optax": "reduce_on_plateau"},
    "any hyper-parameter": {"optax": "inject_hyperparams"},
    "SWA": {"torch": "SWALR"},
}
"""What a mark of another library stands for: what it was recorded with, or a test that runs it."""


def exists(test):
    file, _, name = test.partition("::")
    return f"def {name}(" in (ROOT / "tests" / file).read_text(encoding="utf-8")


def recorded(library, name):
    files = (DATA / f"golden_{library}.json", DATA / "coming_from" / f"{library}.json")
    return any(f'"{name}' in file.read_text() for file in files if file.exists())


def test_the_comparison_is_the_one_of_the_capabilities():
    """✓ of ours: test_capabilities.py tests it. Of others: the real library was run. "wrong": ours differs by decision."""
    head, found = rows_of_readme("braintools")
    page = ROOT / "docs" / "coming_from" / "capabilities.md"
    columns, *table = rows(page.read_text(encoding="utf-8"))
    known = {row[0]: dict(zip(columns, row, strict=True)) for row in table}
    for row, cells in found.items():
        marks = {peer: MARKS[known[row][peer].partition(":")[0]] for peer in head[1:]}
        assert dict(zip(head[1:], cells, strict=True)) == marks, row
        marks.pop("lrax")
        backed = PEERS.get(row, {})
        assert backed.keys() == {peer for peer, mark in marks.items() if mark in ("✓", "wrong")}, (
            row
        )
        for peer, name in backed.items():
            is_there = exists(name) if "::" in name else recorded(peer, name)
            assert is_there or (peer == "optax" and hasattr(optax, name)), (row, peer)
            if marks[peer] == "wrong":
                assert peer in {d.library for d in registry.ENTRIES[name].differs}, (row, peer)
    assert "" in {cells[0] for cells in found.values()}, "a row that ours lacks, too"


def test_what_it_costs_is_what_was_measured():
    """If not, the message has the row as it is now."""
    results = (ROOT / "benchmarks" / "RESULTS.md").read_text(encoding="utf-8")
    known = {row[0]: row for row in rows(results) if len(row) == 9}
    _, found = rows_of_readme("ratio")
    for what, cells in found.items():
        _, _, ours, theirs, peer, ratio, bound, met, _ = known[what]
        now = [ours, theirs, peer, ratio.split()[0], bound, met.strip("*")]
        assert cells == now, f"| {' | '.join([what, *now])} |"
    assert {cells[-1] for cells in found.values()} == {"yes", "no"}, "not only the good news"
    assert re.search(r"(\d+ of \d+) bounds are met", results)[1] in README


def test_tests_that_it_names_exist():
    named = re.findall(r"^<!-- tested by: (.*) -->$", README, flags=re.MULTILINE)
    assert len(named) >= 4
    for test in ", ".join(named).split(", "):
        assert exists(test), test


def test_links():
    targets = re.findall(r"\]\((?!http)([^)#]+)", README)
    assert len(targets) > 15
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_change_of_the_import():
    line = re.search(r"`(from lrax\.optim import .*?)`", README)[1]
    assert f"`{line.replace('lrax', 'braintools')}`" in README
    exec(line, found := {})
    assert found["StepLR"] is lrax.StepLR
