"""The public names, signatures and defaults, which nobody changes by accident."""

from pathlib import Path

from public_api import lines

FILE = Path(__file__).parent / "data" / "public_api.txt"


def test_names_signatures_and_defaults():
    """After a change that is meant: python tests/public_api.py > tests/data/public_api.txt"""
    assert "\n".join(lines()) + "\n" == FILE.read_text(encoding="utf-8")
