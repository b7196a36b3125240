"""The picture of start.md."""

import lrax


def schedule():
    scheduler = lrax.WarmupCosineSchedule(base_lr=1e-2, warmup_steps=50, total_steps=800)
    scheduler.plot(steps_per_epoch=20)
