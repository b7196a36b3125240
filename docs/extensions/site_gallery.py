"""What sphinx-gallery calls before each example."""

import logging
import tempfile
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt

SCRATCH = tempfile.TemporaryDirectory(prefix="lrax-site-")
"""Where examples put what they write, until the build ends."""

STYLE = Path(__file__).parents[1] / "pictures.mplstyle"


def in_our_style(_conf: dict[str, Any], _file: str) -> None:
    """Have pictures read on white and on black, and orbax say nothing of what went well."""
    logging.getLogger("absl").setLevel(logging.ERROR)
    tempfile.tempdir = SCRATCH.name
    plt.rcdefaults()
    plt.style.use(STYLE)
