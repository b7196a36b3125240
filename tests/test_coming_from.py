"""What docs/coming_from says: each recipe beside the learning rates of the library that it is for.

tests/data/coming_from holds what tools/make_coming_from.py got out of the real libraries. The comment
above a code block names the cases that its `scheduler` reproduces::

    <!-- same as: cosine_with_warmup, cosine_half, to epoch 50 -->

all epochs of them, or only those ``from epoch`` and ``to epoch``, where the page says how ours differs.
``<!-- by itself: why -->`` stands above a block that is only run.
"""

import functools
import json
import re
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import last_lr, looped, stepped

PAGES = Path(__file__).parents[1] / "docs" / "coming_from"
DATA = Path(__file__).parent / "data" / "coming_from"
LIBRARIES = sorted(path.stem for path in DATA.glob("*.json"))
OVERVIEWS = {"index", "capabilities", "braintools"}

RTOL = 2e-6
"""Some of them compute in float32, too, and are still as near as that."""


@dataclass(frozen=True)
class Recipe:
    """A code block, the cases that it is to reproduce, and which of their epochs."""

    library: str
    line: int
    code: str
    keys: tuple[str, ...]
    first: int
    last: int | None

    def __str__(self):
        return f"{self.library}:{self.line}"

    def scheduler(self):
        names = {}
        exec(imports(self.library), names)
        exec(compile(self.code, f"{self.library}.md:{self.line}", "exec"), names)
        return names["scheduler"]

    def epochs(self, case):
        return slice(self.first, len(case["values"]) if self.last is None else self.last + 1)


BLOCK = re.compile(
    r"(?:^<!-- (?P<names>(?:same as|by itself): .*?) -->\s*\n\s*)?^```python\n(?P<code>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)
WINDOW = re.compile(r"(from|to) epoch (\d+)")


@functools.cache
def blocks(library):
    """Of every code block of a page: the line, the names above it, and the code."""
    text = (PAGES / f"{library}.md").read_text(encoding="utf-8")
    assert text.count("```python") == len(list(BLOCK.finditer(text)))
    return [
        (text.count("\n", 0, found.start("code")), found["names"], found["code"])
        for found in BLOCK.finditer(text)
    ]


def imports(library):
    """The first block of a page, which all others need."""
    return blocks(library)[0][2]


def recipes(library):
    found = []
    for line, names, code in blocks(library)[1:]:
        assert names, f"{library}.md:{line}: no case is named above this block"
        how, names = names.split(": ", 1)
        bounds = dict(WINDOW.findall(names))
        keys = (
            []
            if how == "by itself"
            else [name.strip() for name in names.split(",") if not WINDOW.search(name)]
        )
        first, last = int(bounds.get("from", 0)), bounds.get("to")
        found.append(
            Recipe(library, line, code, tuple(keys), first, None if last is None else int(last))
        )
    return found


@functools.cache
def cases(library):
    document = json.loads((DATA / f"{library}.json").read_text())
    assert document["library"] == library
    assert document["version"]
    found = {case["key"]: case for case in document["cases"]}
    assert len(found) == len(document["cases"])
    return found


def assert_same(ours, theirs):
    """Within a relative tolerance; where one of the two is 0, within 1e-7 of the largest."""
    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    assert ours.shape == theirs.shape, (ours.shape, theirs.shape)
    assert theirs.size > 2, "hardly anything to compare"
    zero = (ours == 0) | (theirs == 0)
    np.testing.assert_allclose(ours[zero], theirs[zero], rtol=0, atol=1e-7 * np.abs(theirs).max())
    np.testing.assert_allclose(ours[~zero], theirs[~zero], rtol=RTOL, atol=0)


def remembers(scheduler):
    """Whether its learning rate depends on more than the epoch, so that it has to be stepped."""
    try:
        scheduler.refuse_memory()
    except TypeError:
        return True
    return False


def stepped_by(scheduler, epochs, metrics):
    """Its learning rates: before each of the steps, or after each of the metrics."""
    if metrics is None:
        return stepped(scheduler, epochs)
    values = []
    for metric in metrics:
        scheduler.step(metric=metric)
        values.append(last_lr(scheduler))
    return np.array(values)


ALL = [recipe for library in LIBRARIES for recipe in recipes(library)]


@pytest.mark.parametrize("recipe", ALL, ids=str)
def test_recipe(recipe):
    assert np.isfinite(recipe.scheduler().get_last_lr()).all()
    for key in recipe.keys:
        case, scheduler = cases(recipe.library)[key], recipe.scheduler()
        values, metrics = np.array(case["values"]), case.get("metrics")
        if remembers(scheduler):
            found = stepped_by(scheduler, len(values), metrics)
        else:
            found = scheduler(np.arange(len(values)))
        window = recipe.epochs(case)
        assert_same(found[window], values[window])


@pytest.mark.parametrize("library", LIBRARIES)
def test_recipes_compiled(library):
    """All of a page in one compiled program."""
    made, wanted = {}, {}
    for recipe in recipes(library):
        for key in recipe.keys:
            name = f"{recipe.line} {key}"
            made[name], case = recipe.scheduler(), cases(library)[key]
            wanted[name] = recipe, case
    apart = {name: scheduler for name, scheduler in made.items() if remembers(scheduler)}

    def all_of_them():
        lengths = {name: len(case["values"]) for name, (_, case) in wanted.items()}
        return {
            name: made[name](jnp.arange(length))
            for name, length in lengths.items()
            if name not in apart
        }

    found = jax.jit(all_of_them)()
    for name, scheduler in apart.items():
        case = wanted[name][1]
        metrics = case.get("metrics")
        metrics = None if metrics is None else {name: jnp.array(metrics, jnp.float32)}
        found |= looped({name: scheduler}, len(case["values"]), metrics)
    for name, (recipe, case) in wanted.items():
        window = recipe.epochs(case)
        assert_same(found[name][window], np.array(case["values"])[window])


@pytest.mark.parametrize("library", LIBRARIES)
def test_every_case_has_a_recipe(library):
    named = {key for recipe in recipes(library) for key in recipe.keys}
    assert named == set(cases(library))


def test_pages_and_data():
    assert {page.stem for page in PAGES.glob("*.md")} - OVERVIEWS == set(LIBRARIES)
    index = (PAGES / "index.md").read_text(encoding="utf-8")
    for library in LIBRARIES:
        assert f"({library}.md)" in index, f"docs/coming_from/index.md has no link to {library}"


@pytest.mark.parametrize("library", LIBRARIES)
def test_page_names_what_is_not_reproduced(library):
    text = (PAGES / f"{library}.md").read_text(encoding="utf-8")
    assert "\n## What we do not reproduce\n" in text
    assert "\n| theirs | ours | how it differs |\n" in text
