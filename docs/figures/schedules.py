"""The pictures of the schedules: the curves that ``lrax list`` shows in small."""

import functools

import matplotlib.pyplot as plt
import numpy as np

from lrax.preview.examples import examples

RATES = {name: rates for name, (_, rates) in examples().items()}


def draw(rates: np.ndarray) -> None:
    _, axes = plt.subplots(figsize=(6, 2.3))
    axes.plot(rates, marker=".", markersize=5)
    axes.set(xlabel="step", ylabel="learning rate", xlim=(0, len(rates) - 1))
    axes.set_ylim(0, 1.1 * rates.max())


globals().update({name: functools.partial(draw, rates) for name, rates in RATES.items()})


def overview() -> None:
    """All in one picture, each scaled to its largest learning rate."""
    columns = 3
    size = -(-len(RATES) // columns), columns
    _, axes = plt.subplots(*size, figsize=(6, 1.05 * size[0]), sharex=True)
    for panel in axes.flat:
        panel.axis("off")
    for panel, (name, rates) in zip(axes.flat, RATES.items(), strict=False):
        panel.plot(rates)
        panel.set(ylim=(-0.04 * rates.max(), 1.1 * rates.max()))
        panel.set_title(name, fontsize=9)
