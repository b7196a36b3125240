"""Draw docs/all_schedules.svg, the picture in README.md: one example of every schedule, as `lrax list` has them.

    python tools/make_readme_figure.py            # write the file
    python tools/make_readme_figure.py --check    # compare, and exit with status 1 if it is not current

Its numbers are the corners of its lines: to the right the step, upwards the share of the highest learning
rate. What is written is grey, so that it reads on white and on black.
"""

import argparse
import sys
from html import escape
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from internals import examples

FILE = Path(__file__).parents[1] / "docs" / "all_schedules.svg"
COLUMNS = 6
WIDTH, HEIGHT, MARGIN, TITLE = 156, 72, 6, 16
"""Of a panel, in pixels; the curve has what is left inside of the margins and below the title."""


def panels():
    """Text and learning rates of what has a name of its own: operators and methods make the others."""
    found = examples()
    return {name: found[name] for name in found if found[name][0].startswith(name)}


def corner(progress, share):
    """Where a learning rate is drawn, in a panel."""
    x = MARGIN + progress * (WIDTH - 2 * MARGIN)
    y = HEIGHT - MARGIN - share * (HEIGHT - 2 * MARGIN - TITLE)
    return f"{x:.1f},{y:.1f}"


def panel(index, name, text, rates):
    down, right = divmod(index, COLUMNS)
    steps = len(rates) - 1
    points = " ".join(corner(t / steps, rate / rates.max()) for t, rate in enumerate(rates))
    bottom = HEIGHT - MARGIN
    return f"""<g id="{name}" transform="translate({right * WIDTH},{down * HEIGHT})"><title>{escape(text)}</title>
<text x="{MARGIN}" y="{TITLE - 3}">{name}</text>
<path d="M{MARGIN},{bottom}H{WIDTH - MARGIN}"/>
<polyline points="{points}"/></g>
"""


def document():
    """The picture, as text."""
    shown = panels()
    rows = -(-len(shown) // COLUMNS)
    drawn = [panel(i, name, *shown[name]) for i, name in enumerate(shown)]
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {COLUMNS * WIDTH} {rows * HEIGHT}" role="img">
<style>
text {{ font: 10.5px sans-serif; fill: #808080; }}
path {{ stroke: #808080; stroke-opacity: 0.4; }}
polyline {{ fill: none; stroke: #3a8ee6; stroke-width: 2; stroke-linejoin: round; }}
</style>
{"".join(drawn)}</svg>
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare only, write nothing")
    current = document()
    if not parser.parse_args().check:
        FILE.write_text(current, encoding="utf-8")
    elif FILE.read_text(encoding="utf-8") != current:
        sys.exit(f"{FILE} is not current: run python tools/make_readme_figure.py")


if __name__ == "__main__":
    main()
