"""Documentation that runs (README.md, docs, docstrings), and docstrings that leave nothing out."""

import doctest
import importlib.util
import inspect
import re
from pathlib import Path

import pytest
from sybil.document import Document, PythonDocStringDocument
from sybil.parsers.markdown import PythonCodeBlockParser, SkipParser
from sybil.parsers.rest import DocTestParser

import lrax

ROOT = Path(__file__).parents[1]
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES.remove(ROOT / "docs" / "contributing.md")
"""That one is run by test_contributing.py, and those in docs/coming_from by test_coming_from.py."""
WITH_OTHERS = ROOT / "docs" / "with_others.md"
GUESTS = ("flax", "equinox", "keras")
MODULES = sorted(Path(lrax.__file__).parent.rglob("*.py"))

CLASSES = {n: c for n, c in vars(lrax).items() if n in lrax.__all__ and isinstance(c, type)}
SCHEDULERS = {
    name: cls
    for name, cls in CLASSES.items()
    if issubclass(cls, lrax.LRScheduler) and cls is not lrax.LRScheduler
}
SECTIONS = ("Parameters", "Attributes", "Raises", "Examples", "Notes", "References")


def run(document, *parsers):
    """Run the examples of a document, in order and in one namespace; how many there were."""
    for parser in parsers:
        for region in parser(document):
            document.add(region)
    examples = list(document.examples())
    for example in examples:
        example.evaluate()
    return len(examples)


def run_page(page, capsys):
    """``print(...)  #> text`` prints this text, and a text block shows what was printed."""
    text = page.read_text(encoding="utf-8")
    blocks = run(Document(text, str(page)), PythonCodeBlockParser((), OPTIONS), SkipParser())
    assert blocks == text.count("\n```python\n")
    printed = capsys.readouterr().out.splitlines()
    shown = re.findall(r"^ *print\(.*\)  #> (.*)$", text, flags=re.MULTILINE)
    for block in re.findall(r"^```text\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE):
        shown += block.splitlines()
    assert {*shown} <= {*printed}
    outside = re.sub(r"^```python\n.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    assert ">>>" not in outside, "examples belong in ```python blocks, where they are run"


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if page != WITH_OTHERS],
    ids=lambda page: page.relative_to(ROOT).as_posix(),
)
def test_code_blocks_of_a_page(page, capsys):
    run_page(page, capsys)


@pytest.mark.braintools
# keras saves arrays in a way that NumPy 2 warns of.
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning")
def test_code_blocks_of_with_others(capsys):
    # Not importorskip: before keras is imported, the page chooses what it runs on.
    missing = [name for name in GUESTS if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")
    run_page(WITH_OTHERS, capsys)


def docstrings():
    for path in MODULES:
        source = path.read_text(encoding="utf-8")
        for start, _, text in PythonDocStringDocument.extract_docstrings(source):
            if ">>>" in text:
                line = source.count("\n", 0, start) + 1
                yield pytest.param(path, line, text, id=f"{path.stem}:{line}")


@pytest.mark.parametrize("path, line, text", list(docstrings()))
def test_examples_of_a_docstring(path, line, text):
    """Each runs by itself, from the imports on, as a reader would copy it."""
    assert run(Document(text, f"{path}, docstring at line {line},"), DocTestParser(OPTIONS))


def split(cls):
    """The docstring's lines, and its sections: '' is what stands before the first heading."""
    text = inspect.cleandoc(cls.__doc__)
    parts = re.split(r"^(\w[\w ]*)\n-+$", text, flags=re.MULTILINE)
    return text.split("\n"), dict(zip(("", *parts[1::2]), parts[0::2], strict=True))


def described(section):
    """``{argument: what stands behind the colon}``; ``a, b : int, default 1 and 2`` are two."""
    found = {}
    for names, text in re.findall(r"^(\w[\w, ]*) : (.*)$", section, flags=re.MULTILINE):
        names = names.split(", ")
        kind, _, default = text.partition("default ")
        defaults = default.split(" and ") if default else [""] * len(names)
        for name, value in zip(names, defaults, strict=True):
            assert name not in found
            found[name] = (kind, value)
    return found


def constructor(cls):
    """The arguments of the constructor."""
    _, *arguments = inspect.signature(cls.__init__).parameters.items()
    return dict(arguments)


def documentable(cls):
    """Those that have a name of their own."""
    found = constructor(cls).items()
    return {name: p for name, p in found if p.kind is not inspect.Parameter.VAR_KEYWORD}


@pytest.mark.parametrize("name", CLASSES)
def test_signature_that_editors_show(name):
    assert dict(inspect.signature(CLASSES[name]).parameters) == constructor(CLASSES[name])


@pytest.mark.parametrize("name", CLASSES)
def test_docstring(name):
    cls = CLASSES[name]
    assert vars(cls).get("__doc__"), "has no docstring of its own"
    lines, sections = split(cls)
    assert len(lines) <= 60
    assert max(map(len, lines)) <= 96
    assert lines[0].endswith(".")
    assert lines[1] == ""
    headings = list(sections)[1:]
    assert headings == [s for s in SECTIONS if s in headings], "unknown heading, or another order"

    if cls not in (lrax.Formula, lrax.LRScheduler):
        assert re.search(r"::\n\n    .*=", sections[""]), "has no formula"
    arguments = documentable(cls)
    documented = described(sections.get("Parameters", ""))
    assert list(documented) == list(arguments)
    for argument, (kind, default) in documented.items():
        given = arguments[argument].default
        if given is inspect.Parameter.empty:
            assert not default, f"{argument} has no default"
        elif default:
            assert given in (None, eval(default)), f"{argument} = {given}, not {default}"
        else:
            assert given is None, f"the default of {argument}, {given}, is missing"
            assert "optional" in kind or "Required" in sections["Parameters"]
    assert ">>>" in sections.get("Examples", "")
    if arguments:
        assert "Raises" in sections


@pytest.mark.parametrize("name", SCHEDULERS)
def test_docstring_of_a_scheduler(name):
    _, sections = split(SCHEDULERS[name])
    for library in ("torch", "braintools", "optax"):
        assert re.search(rf"\b{library}\b", sections["Notes"]), f"nothing on {library}"
    assert f"| `{name}` |" in (ROOT / "docs/schedules/index.md").read_text(encoding="utf-8")


def test_public_names():
    def order(name):  # constants and acronyms, classes, functions, each by the alphabet
        return 0 if name.isupper() else 1 if name[0].isupper() else 2, name

    for names in (lrax.optimizers.__all__, lrax.schedulers.catalogue.__all__):
        assert names == sorted(set(names), key=order)
    assert len({*lrax.__all__}) == len(lrax.__all__)
    public = {
        name
        for name, value in vars(lrax).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    }
    assert public == set(lrax.__all__)
    for name in lrax.__all__:
        value = getattr(lrax, name)
        assert getattr(lrax.optim, name) is value
        assert value.__module__.startswith("lrax.")
        assert inspect.getdoc(value)
