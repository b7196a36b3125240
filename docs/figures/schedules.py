"""The picture of each schedule: the curve that ``lrax list`` shows in small. One function for each, by its name."""

import functools

import matplotlib.pyplot as plt
import numpy as np

from lrax.preview.examples import examples


def draw(rates: np.ndarray) -> None:
    _, axes = plt.subplots(figsize=(7, 2.4))
    axes.plot(rates, marker=".", markersize=5)
    axes.set(
        xlabel="step", ylabel="learning rate", xlim=(0, len(rates) - 1), ylim=(0, 1.1 * rates.max())
    )


globals().update({name: functools.partial(draw, rates) for name, (_, rates) in examples().items()})
