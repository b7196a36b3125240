"""How the source is built: rooms whose imports point one way, files and functions that can be read at once."""

import ast
from pathlib import Path

import pytest

import lrax

ROOT = Path(lrax.__file__).parent
FILES = {
    ".".join(("lrax", *p.relative_to(ROOT).with_suffix("").parts)): p for p in ROOT.rglob("*.py")
}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in FILES.items()}


def imports(name):
    """The modules of lrax that a module imports, also where only a type checker would."""
    package = name.split(".")[:-1]
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            module = ".".join([*base, *(node.module or "").split(".")]).rstrip(".")
            for alias in node.names:
                for found in (
                    f"{module}.{alias.name}",
                    f"{module}.{alias.name}.__init__",
                    module,
                    f"{module}.__init__",
                ):
                    if found in FILES:
                        yield found
                        break


def test_imports_have_no_circle():
    seen, done = [], set()

    def visit(name):
        assert name not in seen, " -> ".join([*seen, name])
        if name in done:
            return
        seen.append(name)
        for found in imports(name):
            visit(found)
        seen.pop()
        done.add(name)

    for name in FILES:
        visit(name)
    assert len(done) == len(FILES) > 30


ROOMS = [
    *("preview", "interop", "finder", "optimizers", "jit", "schedulers", "pictures"),
    *("states", "formulas"),
]
"""From the top floor down: a room imports from those below it only."""


def test_rooms_import_from_below():
    edges = {
        (a, b)
        for name in FILES
        for found in imports(name)
        if (a := name.split(".")[1]) in ROOMS and (b := found.split(".")[1]) in ROOMS and a != b
    }
    assert len(edges) > 5
    assert [(a, b) for a, b in edges if ROOMS.index(a) > ROOMS.index(b)] == []


@pytest.mark.parametrize("room", ["formulas"])
def test_formulas_know_no_state(room):
    for name, tree in TREES.items():
        if name.startswith(f"lrax.{room}."):
            names = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
            names |= {n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
            assert not any(found.startswith("brainstate") for found in names), name


THEIRS = {
    "lrax.states.internals": "brainstate's and jax's",
    "lrax.interop.braintools": "braintools'",
    "lrax.interop.torch": "torch's",
}
"""Modules that use private names of other libraries, and whose."""


def test_private_names_are_used_by_their_owner_only():
    for name, tree in TREES.items():
        if name in THEIRS:
            continue
        for node in ast.walk(tree):
            private = isinstance(node, ast.Attribute) and node.attr[0] == "_"
            if private and node.attr[:2] != "__" and node.attr != "_replace":  # of named tuples
                owner = node.value.id if isinstance(node.value, ast.Name) else ""
                assert owner in ("self", "cls", "other"), (
                    f"{name}:{node.lineno}: {ast.unparse(node)}"
                )


def docstring_lines(node):
    first = node.body[0]
    is_text = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    is_text = is_text and isinstance(first.value.value, str)
    return first.end_lineno - first.lineno + 1 if is_text else 0


def test_functions_can_be_read_at_once():
    for name, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                lines = node.end_lineno - node.lineno + 1 - docstring_lines(node)
                assert lines <= 40, f"{name}:{node.lineno}: {node.name} has {lines} lines"


def test_files_have_one_subject():
    """At most 400 lines, not counting the docstrings of classes, by which a family grows."""
    for name, tree in TREES.items():
        lines = len(FILES[name].read_text(encoding="utf-8").splitlines())
        classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
        assert lines - sum(map(docstring_lines, classes)) <= 400, name
