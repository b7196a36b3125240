"""What stands in two files of the project is the same in both."""

import re
from pathlib import Path

import lrax

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def test_the_citation_has_the_version():
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {lrax.__version__}\n" in text
    assert f"\n## {lrax.__version__} (" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_actions_are_pinned_and_each_to_one_version():
    used = [re.findall(r"uses: (.*)", path.read_text(encoding="utf-8")) for path in WORKFLOWS]
    pinned = {line for lines in used for line in lines}
    assert len(WORKFLOWS) >= 3
    assert all(re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v[\d.]+", line) for line in pinned), pinned
    assert len({line.partition("@")[0] for line in pinned}) == len(pinned)


def test_a_commit_is_checked_by_the_tools_that_are_pinned():
    """Those of the virtual environment, so that their versions stand in pyproject.toml alone."""
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    tools = re.findall(r"entry: \.venv/bin/(\S+)", hooks)
    assert len(tools) == hooks.count("- id:") == hooks.count("language: system") == 3
    (lint,) = re.findall(r"^lint = \[(.*)\]", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert {*tools} == set(re.findall(r"\"(\w+)", lint))


def test_what_is_released_is_what_was_tested():
    """One job builds, another tests what it has built, and only the last may upload, which builds nothing."""
    (path,) = (path for path in WORKFLOWS if path.stem == "release")
    _, *jobs = re.split(
        r"^  (\w+):\n    name: ", path.read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    build, test, publish = jobs[1::2]
    assert jobs[::2] == ["build", "test", "publish"]
    assert "needs: build\n" in test
    assert "needs: test\n" in publish
    assert [text.count("uv build") for text in (build, test, publish)] == [1, 0, 0]
    assert [text.count("id-token: write") for text in (build, test, publish)] == [0, 0, 1]
    assert "actions/checkout" not in publish
    assert "rm -r src\n" in test
