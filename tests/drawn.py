"""The functions that draw the pictures of the pages."""

import contextlib
import types
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
FOLDER = Path(__file__).parents[1] / "docs" / "figures"


def figures_of(page):
    """Those of ``docs/figures/<page>.py``, run as the plot directive runs it: in its folder, without a __file__."""
    found = {"__name__": page}
    with contextlib.chdir(FOLDER):
        exec(Path(f"{page}.py").read_text(encoding="utf-8"), found)
    return types.SimpleNamespace(**found)
