"""The picture of the first page."""

import lrax


def wsd() -> None:
    lrax.WSDSchedule(1e-3, warmup_steps=100, total_steps=1000, decay_steps=200).plot()
