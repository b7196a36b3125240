"""What sphinx-gallery calls before each example."""

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt

STYLE = Path(__file__).parents[1] / "pictures.mplstyle"


def in_our_style(_conf: dict[str, Any], _file: str) -> None:
    """Have pictures read on white and on black."""
    plt.rcdefaults()
    plt.style.use(STYLE)
