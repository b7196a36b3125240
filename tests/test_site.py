"""The site: an entry for every public name, and every name that people know from elsewhere."""

import inspect
import re
from pathlib import Path

import pytest

import lrax
from public_names import KNOWN, PUBLIC

DOCS = Path(__file__).parents[1] / "docs"
PAGES = [page for page in DOCS.rglob("*.md") if page.parent.name != "gallery"]
LISTS = re.compile(r"^```\{(entries|schedules)\}\n(.*?)^```$", re.MULTILINE | re.DOTALL)
RETURNED = ["lrax.finder.result.RangeTest", "lrax.preview.checkup.Finding", "lrax.states.view.View"]

OF_OTHERS = ["lrax.interop.from_torch", "lrax.interop.to_braintools"]


def listed(kind):
    """The names that pages have an entry for, those of schedules with a picture."""
    texts = [page.read_text(encoding="utf-8") for page in PAGES]
    lists = [names for text in texts for which, names in LISTS.findall(text) if which == kind]
    return [name for names in lists for name in names.split()]


def test_every_public_name_has_an_entry():
    schedules = [f"lrax.{name}" for name in listed("schedules")]
    assert sorted(listed("entries") + schedules) == sorted([*PUBLIC, *RETURNED])


def test_every_schedule_has_a_picture():
    public = [name for name in lrax.schedulers.catalogue.CLASSES if name != "LRScheduler"]
    assert sorted(listed("schedules")) == sorted(public)


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_has_an_example(name):
    """Which test_docs.py runs; that of another library's objects is run where the library is."""
    start = "::\n\n    " if name in OF_OTHERS else ">>> "
    assert start in inspect.getdoc(PUBLIC[name])


def test_optim_has_nothing_of_its_own():
    public = {name for name in vars(lrax.optim) if name[0] != "_"}
    assert public <= {*lrax.__all__}


def words(text):
    return {*re.findall(r"\w+", text)}


@pytest.mark.parametrize("library", KNOWN)
def test_names_known_from(library):
    """On the page of their library; those of braintools are ours."""
    pages = PAGES if library == "braintools" else [DOCS / "coming_from" / f"{library}.md"]
    found = {word for page in pages for word in words(page.read_text(encoding="utf-8"))}
    assert not {*KNOWN[library]["names"]} - found
    assert len(KNOWN[library]["names"]) >= 10
