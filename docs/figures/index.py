"""The picture of the first page."""

import matplotlib.pyplot as plt

import lrax


def wsd() -> None:
    _, ax = plt.subplots()
    lrax.WSDSchedule(1e-3, warmup_steps=100, total_steps=1000, decay_steps=200).plot(ax=ax)
    ax.set_title("", loc="left")
