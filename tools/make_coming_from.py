"""Write tests/data/coming_from/*.json: learning rates of the libraries that docs/coming_from tells of.

    pip install torch optax transformers timm keras paddlepaddle fastai
    pip install --no-deps mosaicml                          # see tools/coming_from/composer.py
    pip install mmengine draccus ml_collections             # with what others.py names
    pip install --no-deps --pre megatron-core torchtitan nanotron marin-levanter
    python tools/make_coming_from.py timm keras             # rewrite their files; all if none is named
    python tools/make_coming_from.py --check timm           # compare with the installed library
    python tools/make_coming_from.py --checkout scenic=/path/to/scenic scenic

Each library has a module in tools/coming_from, with a function ``cases(checkout)`` that runs the real
library, and ``version(checkout)``. A library that is not on PyPI is given by the path of a checkout. A
file has one case a line: a short key, their call, and the learning rate at epochs 0, 1, 2, ...: what
update t uses. A case with metrics has the learning rate after each of them.
"""

import argparse
import importlib
import json
import pkgutil
import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import coming_from

DATA = Path(__file__).parents[1] / "tests" / "data" / "coming_from"
LIBRARIES = sorted(module.name for module in pkgutil.iter_modules(coming_from.__path__))


def document(library, checkout):
    """The text of a library's file, made by the library itself."""
    module = importlib.import_module(f"coming_from.{library}")
    lines = {}
    for case in module.cases(checkout):
        if case["key"] in lines:
            raise ValueError(f"two cases of {library} are called {case['key']}")
        lines[case["key"]] = json.dumps(case)
    header = json.dumps({"library": library, "version": module.version(checkout)})
    return header[:-1] + ', "cases": [\n' + ",\n".join(lines.values()) + "\n]}\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare only, write nothing")
    parser.add_argument(
        "--checkout",
        action="append",
        default=[],
        metavar="LIBRARY=PATH",
        help="where a library lies that is not installed",
    )
    parser.add_argument("libraries", nargs="*", help=", ".join(LIBRARIES))
    options = parser.parse_args()
    checkouts = dict(entry.split("=", 1) for entry in options.checkout)
    warnings.simplefilter("ignore")  # what they warn of is their business
    stale = []
    for library in options.libraries or LIBRARIES:
        path = DATA / f"{library}.json"
        text = document(library, checkouts.get(library))
        if not options.check:
            path.write_text(text)
            print(f"{path.name}: {text.count(chr(10)) - 2} cases, {len(text) / 1000:.0f} kB")
        elif json.loads(text)["cases"] != json.loads(path.read_text())["cases"]:
            stale.append(path.name)
    if stale:
        sys.exit(f"differs from the installed library: {', '.join(stale)}")


if __name__ == "__main__":
    main()
