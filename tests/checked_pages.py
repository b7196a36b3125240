"""Every scheduler that the pages of documentation construct, with the length that is its own there."""

import json
import re
from pathlib import Path

import lrax

ROOT = Path(__file__).parents[1]
DATA = ROOT / "tests" / "data" / "coming_from"
BLOCK = re.compile(
    r"(?:^<!-- (same as: .*?) -->\s*\n\s*)?^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE
)


def pages():
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def lengths_of(page):
    """How many learning rates of the other library are known, for each case of a page."""
    file = DATA / f"{page.stem}.json"
    if page.parent.name != "coming_from" or not file.exists():
        return {}
    return {c["key"]: len(c["values"]) for c in json.loads(file.read_text())["cases"]}


def schedulers_of(page):
    """``(where, scheduler, length)`` of every scheduler that has a name on a page, and is no part of another one.

    The length is its own; where it goes on for ever, as long as the page compares it.
    """
    text, lengths, names, found = page.read_text(encoding="utf-8"), lengths_of(page), {}, {}
    for block in BLOCK.finditer(text):
        line = text.count("\n", 0, block.start(2))
        exec(compile(block[2], f"{page.name}:{line}", "exec"), names)
        keys = [key.strip() for key in (block[1] or "").removeprefix("same as: ").split(",")]
        compared = max((lengths[key] for key in keys if key in lengths), default=None)
        for name, value in names.items():
            if isinstance(value, lrax.LRScheduler) and id(value) not in found:
                found[id(value)] = f"{page.name}:{line} {name}", value, compared
    texts = [repr(value) for _, value, _ in found.values()]
    for where, value, compared in found.values():
        if not any(repr(value) in text for text in texts if text != repr(value)):
            yield where, value, value.total_steps or compared
