"""The picture of the shapes: every way down, and beside it the way up."""

import matplotlib.pyplot as plt
import numpy as np

import lrax
from lrax.formulas.shapes import NAMES

STEPS = 100
FLOOR = 0.1
"""Where a fall ends and a rise begins: "harmonic" is between two rates above 0."""


def ways() -> None:
    """A warmup, a stable phase and a cooldown of each."""
    _, axes = plt.subplots(4, 3, figsize=(6, 5), sharex=True, sharey=True)
    for panel in axes.flat:
        panel.axis("off")
    for panel, name in zip(axes.flat, NAMES, strict=False):
        flat = lrax.ConstantLR(1.0, factor=1.0, total_iters=0)
        scheduler = flat.with_warmup(STEPS, name, start_lr=FLOOR)
        scheduler = scheduler.with_cooldown(2 * STEPS, STEPS, name, eta_min=FLOOR)
        steps = np.arange(3 * STEPS + 1)
        panel.plot(steps, scheduler(steps))
        panel.set_title(name, fontsize=9)
        panel.set_ylim(0, 1.05)
