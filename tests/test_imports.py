"""What the tests promise of themselves: subjects do not lean on each other, nor on what lrax keeps private."""

import ast
from pathlib import Path

import lrax

TESTS = Path(__file__).parent
FILES = [*TESTS.rglob("*.py"), *(TESTS.parent / "tools").glob("*.py")]


def imported(path):
    """The modules that a file imports, anywhere in it; names out of a package as modules, too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def offenders(wrong):
    found = {path.name: [name for name in imported(path) if wrong(name)] for path in FILES}
    return {name: modules for name, modules in found.items() if modules}


def test_nothing_is_imported_from_a_test():
    """What two of them need is a helper, and has a file of its own."""
    assert len(FILES) > 50
    assert offenders(lambda name: name.startswith("test_")) == {}


def test_what_is_not_public_in_lrax_is_imported_in_one_place():
    public = ("formulas", "interop", "optim")

    def private(name):
        first, *rest = name.split(".")
        return first == "lrax" and bool(rest) and rest[0] not in (*public, *lrax.__all__)

    assert offenders(private).keys() == {"internals.py"}
