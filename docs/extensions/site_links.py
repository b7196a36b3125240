"""Links that lead out of docs on GitHub, and to a page of the site here."""

import re
from pathlib import Path

from sphinx.application import Sphinx

EXAMPLE = re.compile(r"\]\((?:\.\./)+examples/(\w+)\.py\)")
GALLERY = re.compile(r"\]\((?:\.\./)+examples/\)")
PAGES = {
    "README.md": "index",
    "CHANGELOG.md": "changelog",
    "CONTRIBUTING.md": "contributing",
    "benchmarks/RESULTS.md": "speed",
}
FILE = re.compile(rf"\]\((?:\.\./)+({'|'.join(map(re.escape, PAGES))})\)")


def to_pages(app: Sphinx, _name: str, source: list[str]) -> None:
    def shown(found: re.Match[str]) -> str:
        there = Path(app.srcdir, "gallery", f"{found[1]}.rst").exists()
        return f"](/gallery/{found[1]}.rst)" if there else found[0]

    source[0] = EXAMPLE.sub(shown, source[0])
    source[0] = GALLERY.sub("](/gallery/index.rst)", source[0])
    source[0] = FILE.sub(lambda found: f"](/{PAGES[found[1]]}.md)", source[0])


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("source-read", to_pages)
    return {"parallel_read_safe": True}
