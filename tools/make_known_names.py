"""Write tests/data/known_names.json: what schedules are called in the libraries that people come from.

    pip install torch braintools optax
    pip install --no-deps timm transformers      # their sources are read, and nothing is run
    python tools/make_known_names.py             # or with --check: compare only

The site must find every one of them: see tests/test_site.py.
"""

import argparse
import ast
import importlib.metadata
import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path

FILE = Path(__file__).parents[1] / "tests" / "data" / "known_names.json"


def parsed(library: str, file: str) -> list[ast.stmt]:
    spec = importlib.util.find_spec(library)
    if spec is None or spec.origin is None:
        raise SystemExit(f"{library} is not installed: see the first lines of {__file__}.")
    return ast.parse((Path(spec.origin).parent / file).read_text(encoding="utf-8")).body


def listed(library: str, file: str) -> Iterator[str]:
    """``__all__``."""
    for node in parsed(library, file):
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            yield from ast.literal_eval(node.value)


def imported(library: str, file: str, package: str = "") -> Iterator[str]:
    """What a package takes from its modules."""
    for node in parsed(library, file):
        if isinstance(node, ast.ImportFrom) and (
            node.level or str(node.module).startswith(package)
        ):
            yield from (name.name for name in node.names)


def defined(library: str, file: str, *ends: str) -> Iterator[str]:
    """Public functions and classes whose names have one of these in them."""
    for node in parsed(library, file):
        public = isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name[0] != "_"
        if public and any(end in node.name for end in ends):
            yield node.name


def values(library: str, file: str, name: str) -> Iterator[str]:
    """Of an enumeration."""
    for node in parsed(library, file):
        if isinstance(node, ast.ClassDef) and node.name == name:
            yield from (ast.literal_eval(n.value) for n in node.body if isinstance(n, ast.Assign))


def names() -> dict[str, list[str]]:
    return {
        "torch": [
            *listed("torch", "optim/lr_scheduler.py"),
            *listed("torch", "optim/swa_utils.py"),
        ],
        "optax": [
            *imported("optax", "schedules/__init__.py", "optax.schedules."),
            *defined("optax", "contrib/_reduce_on_plateau.py", "reduce_on_plateau"),
        ],
        "transformers": [
            *defined("transformers", "optimization.py", "schedule", "Schedule", "GreedyLR"),
            *values("transformers", "trainer_utils.py", "SchedulerType"),
        ],
        "timm": [*imported("timm", "scheduler/__init__.py")],
        "braintools": [*listed("braintools", "optim/_optax_lr_scheduler.py")],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare only, write nothing")
    found = {
        library: {"version": importlib.metadata.version(library), "names": sorted(set(those))}
        for library, those in names().items()
    }
    text = json.dumps(found, indent=1) + "\n"
    if not parser.parse_args().check:
        FILE.write_text(text, encoding="utf-8")
    elif text != FILE.read_text(encoding="utf-8"):
        sys.exit(f"{FILE} is not what these libraries have. Write it again.")


if __name__ == "__main__":
    main()
