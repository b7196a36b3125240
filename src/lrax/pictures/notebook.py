"""What a notebook shows of a scheduler: HTML with an inline SVG, without matplotlib."""

import html as escaped
import inspect
import re
import textwrap
from typing import Any

import numpy as np

from .curve import Curve, curve, length

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 560, 150, 58, 24, 10
_COLORS = ("#2a7de1", "#e1812a", "#2aa35f", "#b04ad0")


def html(scheduler: Any) -> str:
    """The scheduler with its formula, first, peak and last value, and its curve.

    One that has no learning rate at a given epoch says why, and shows its present one.
    """
    parts = [f"<code>{escaped.escape(repr(scheduler))}</code>"]
    formula = formula_of(type(scheduler))
    if formula:
        parts.append(f"<pre>{escaped.escape(formula)}</pre>")
    now = np.asarray(scheduler.last_epoch.value)
    epoch = int(now) if now.ndim == 0 and now else None
    try:
        steps = length([scheduler], None)
        drawn = curve(scheduler, max(steps, epoch or 0))
        parts += [values_of(drawn), svg(drawn, epoch)]
    except Exception as error:  # whatever it is, a cell that shows a scheduler shows one
        parts.append(f"<p>{escaped.escape(str(error))}</p>")
    if now.ndim == 0 and (epoch is not None or scheduler.learning is not None):
        rates = ", ".join(f"{float(rate):.4g}" for rate in scheduler.get_last_lr())
        parts.append(f"<p>now at step {now}, learning rate {rates}</p>")
    return f'<div style="max-width:{WIDTH}px">{"".join(parts)}</div>'


def formula_of(kind: type) -> str:
    """The formula in the docstring of a class, or of the class that it derives from."""
    for cls in kind.__mro__:
        text = inspect.cleandoc(vars(cls).get("__doc__") or "")
        found = re.search(r"::\n\n((?: {4}.*\n|\n)+)", text)
        if found:
            return textwrap.dedent(found[1]).strip()
    return ""


def values_of(drawn: Curve) -> str:
    """The first value, the largest and the last, of each group."""
    rows = []
    for group, rates in enumerate(drawn.rates.T):
        peak = int(rates.argmax())
        name = f"group {group}: " if drawn.rates.shape[1] > 1 else ""
        rows.append(
            f"{name}first {rates[0]:.4g}, peak {rates[peak]:.4g} at step {drawn.epochs[peak]}, "
            f"last {rates[-1]:.4g} at step {drawn.steps}"
        )
    return f"<p>{'<br/>'.join(rows)}</p>"


def svg(drawn: Curve, now: int | None) -> str:
    """The curve, and a dot where it is; the colour of the text is the page's."""
    top = float(drawn.rates.max()) or 1.0

    def x(t: Any) -> Any:
        return LEFT + t / drawn.steps * (WIDTH - LEFT - 8)

    def y(rate: Any) -> Any:
        return HEIGHT - BOTTOM - rate / top * (HEIGHT - BOTTOM - TOP)

    parts = [_axis(x(0), y(0), x(drawn.steps))]
    for phase in drawn.phases[1:]:
        at = x(phase.start)
        parts.append(
            f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{y(0)}" stroke="currentColor" opacity="0.15"/>'
        )
    for group, rates in enumerate(drawn.rates.T):
        pairs = zip(x(drawn.epochs), y(np.float64(rates)), strict=True)
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in pairs)
        color = _COLORS[group % len(_COLORS)]
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="1.8"/>'
        )
        if now is not None:
            rate = np.interp(now, drawn.epochs, rates)
            parts.append(f'<circle cx="{x(now):.1f}" cy="{y(rate):.1f}" r="4.5" fill="{color}"/>')
    parts += [
        _text(LEFT - 6, y(0) + 4, "0", "end"),
        _text(LEFT - 6, y(top) + 4, f"{top:.3g}", "end"),
    ]
    parts += [
        _text(x(0), HEIGHT - 6, "0"),
        _text(x(drawn.steps), HEIGHT - 6, f"{drawn.steps}", "end"),
    ]
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'role="img" xmlns="http://www.w3.org/2000/svg">{"".join(parts)}</svg>'
    )


def _axis(left: float, bottom: float, right: float) -> str:
    return f'<path d="M{left} {TOP}V{bottom}H{right}" fill="none" stroke="currentColor" opacity="0.4"/>'


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="11" font-family="sans-serif" '
        f'fill="currentColor" text-anchor="{anchor}">{text}</text>'
    )
