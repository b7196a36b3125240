"""What docs/contributing.md says of a new scheduler and a new operator, done in a copy of the checkout."""

import itertools
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
COPIED = ("src", "tests", "tools", "docs", "pyproject.toml", "README.md", "CHANGELOG.md")
BLOCK = re.compile(r"^```(py|diff)\n(.*?)^```$", flags=re.DOTALL | re.MULTILINE)
FILE = re.compile(r"`((?:src|tests)/[\w/]+\.py|docs/schedules/\w+\.md)`")


def steps():
    """The blocks of the page, each with the file that is named first in the text before it."""
    text = (ROOT / "docs" / "contributing.md").read_text(encoding="utf-8")
    position = 0
    for block in BLOCK.finditer(text):
        yield block[1], block[2], FILE.findall(text[position : block.start()])[0]
        position = block.end()


def patched(text, diff):
    """`text` after a diff in which a line is put behind the one before it, or in place of it."""
    lines = diff.splitlines()
    for before, line in itertools.pairwise(lines):
        if line[0] == "+":
            found = f"\n{before[1:]}\n"
            assert found in text, before
            kept = "" if before[0] == "-" else found.rstrip("\n")
            text = text.replace(found, f"{kept}\n{line[1:]}\n", 1)
    return text


@pytest.mark.slow
def test_the_scheduler_and_the_operator_of_the_page(tmp_path):
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(
                ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__")
            )
        else:
            shutil.copy(ROOT / name, tmp_path / name)
    done = []
    for kind, content, file in steps():
        path = tmp_path / file
        text = path.read_text(encoding="utf-8")
        path.write_text(patched(text, content) if kind == "diff" else f"{text}\n\n{content}")
        done.append((kind, file))
    assert len(done) == 14

    def run(*command):
        found = subprocess.run(
            [sys.executable, *command],
            cwd=tmp_path,
            env={"PYTHONPATH": str(tmp_path / "src"), "PATH": "", "JAX_PLATFORMS": "cpu"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert found.returncode == 0, found.stdout + found.stderr
        return found.stdout

    assert "InverseTimeLR.json LargestLR.json" in run("tools/make_checkpoint.py")
    run("tools/make_readme_figure.py")
    chosen = (
        "(InverseTime or Largest or falling and time or larger and two or every_argument or public_names"
        " or shows_every_schedule or every_name or every_scheduler_is or test_readme and picture"
        " or figures_schedules or test_site)"
        " and not as_optax"  # optimizers are not what is new
    )
    options = ("-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-o", "addopts=", "-k", chosen)
    texts = {
        path: path.read_text(encoding="utf-8") for path in (tmp_path / "tests").glob("test_*.py")
    }
    draw = [
        str(path)
        for path, text in texts.items()
        if re.search(r"^(import|from) registry", text, re.MULTILINE)
    ]
    named = [f"tests/test_{subject}.py" for subject in ("docs", "command", "public_api", "site")]
    passed = run("-m", "pytest", *options, *draw, *named)
    assert int(re.search(r"(\d+) passed", passed)[1]) > 100
