"""The site as it was built, by ``python -m sphinx -W -n -b html docs build/site``: .ci/run does, and then runs this."""

import json
import re
from pathlib import Path

import pytest

from public_names import KNOWN, PUBLIC

ROOT = Path(__file__).parents[1]
EXAMPLES, SITE = ROOT / "examples", ROOT / "build" / "site"
pytestmark = pytest.mark.skipif(not SITE.exists(), reason="the site is not built")
PAGES = [page for page in SITE.rglob("*.html") if page.name not in ("genindex.html", "search.html")]


def test_the_search_finds_names_known_from_elsewhere():
    stem = pytest.importorskip("sphinx.search.en").SearchEnglish({}).stem
    text = (SITE / "searchindex.js").read_text(encoding="utf-8")
    index = json.loads(text.removeprefix("Search.setIndex(").removesuffix(")"))
    found = {*index["terms"], *index["titleterms"]}
    names = [name for library in KNOWN.values() for name in library["names"]]
    names += [name.rpartition(".")[2] for name in PUBLIC]
    assert not [name for name in names if stem(name.lower()) not in found]


def test_every_public_name_can_be_linked_to():
    ids = {
        name for page in PAGES for name in re.findall(r'<dt [^>]*id="([^"]+)"', page.read_text())
    }
    assert not PUBLIC.keys() - ids


def test_nothing_is_read_from_the_network():
    tag = re.compile(r"<(?:script|link|img|iframe|source|object)\b[^>]*>")
    css = [style.read_text(encoding="utf-8") for style in SITE.rglob("*.css")]
    assert not [rule for text in css for rule in re.findall(r"(?:url\(|@import ).?https?:", text)]
    for page in PAGES:
        for found in tag.findall(page.read_text(encoding="utf-8")):
            assert not re.search(r'(?:src|href|data)="(?:https?:)?//', found), (page, found)


def test_the_gallery_in_markdown_has_the_code_and_what_it_printed():
    twins = [twin for twin in (SITE / "gallery").glob("*.md") if twin.stem != "index"]
    assert len(twins) == 12
    for twin in twins:
        text = twin.read_text(encoding="utf-8")
        blocks = re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
        code = (EXAMPLES / f"{twin.stem}.py").read_text(encoding="utf-8").split('"""', 2)[2]
        written = [line for line in code.splitlines() if line.strip() and line[0] != "#"]
        shown = [line for block in blocks for line in block.splitlines()]
        assert [line for line in shown if line.strip() and line[0] != "#"] == written, twin
        assert ("print(" in code) <= ("```none" in text), twin
        assert "<!--" not in text


def test_every_page_has_a_twin_in_markdown():
    assert len(PAGES) > 50
    listed = (SITE / "llms.txt").read_text(encoding="utf-8")
    for page in PAGES:
        twin = page.with_suffix(".md")
        assert f'href="{"../" * (len(page.relative_to(SITE).parts) - 1)}' in page.read_text()
        assert f'{twin.name}" title="This page as Markdown"' in page.read_text(encoding="utf-8")
        assert f"({twin.relative_to(SITE).as_posix()})" in listed
        text = re.sub(
            r"^```.*?^```$", "", twin.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE
        )
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
            assert (twin.parent / link).exists(), f"{twin}: {link}"
