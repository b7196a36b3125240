"""Pictures of which_rate.md: the learning rate of update k, in loops of many kinds."""

import matplotlib.pyplot as plt
import numpy as np

import lrax

UPDATES, EPOCH = 24, 4
"""Of the run, and of an epoch of the data or of an accumulation."""

PLAN = lrax.WarmupCosineSchedule(base_lr=0.1, warmup_steps=8, total_steps=UPDATES)
SHORT = lrax.WarmupCosineSchedule(base_lr=0.1, warmup_steps=2, total_steps=UPDATES // EPOCH)
"""The same plan with a clock that goes a quarter as fast: SHORT(t) = PLAN(4 t)."""

COSINE = lrax.CosineAnnealingLR(base_lr=0.06, T_max=UPDATES)
K = np.arange(UPDATES)
CHANGE = 12
"""The update before which something changes."""


def draw(lines, xlabel="update k", sizes=(7, 5, 5, 5)):
    """The plan in grey, and a mark for each update: `lines` are (label, x, y)."""
    _, axes = plt.subplots()
    t = np.linspace(0, UPDATES - 1, 400)
    axes.plot(t, PLAN(t), color="#808080", linewidth=1, label="lr(t)")
    for (label, x, y), mark, size in zip(lines, "osD^v", sizes, strict=False):
        fill = "full" if mark == "o" and len(lines) < 5 else "none"
        axes.plot(x, y, mark, fillstyle=fill, markersize=size, label=label)
    axes.set(xlabel=xlabel, ylabel="learning rate", ylim=(-0.004, 0.108))
    axes.xaxis.set_major_locator(plt.MultipleLocator(EPOCH))
    axes.figure.legend(loc="outside right upper")


def order():
    draw(
        [
            ("step() after the update", K, PLAN(K)),
            ("step() before the update", K, PLAN(K + 1)),
        ]
    )


def epochs():
    draw(
        [
            ("step() for each batch", K, PLAN(K)),
            ("step() for each epoch", K, SHORT(K // EPOCH)),
        ]
    )


def places():
    names = ("host", "inside lrax.jit", "outside lrax.jit", "for_loop", "scan")
    draw([(name, K, PLAN(K)) for name in names], sizes=(13, 10.5, 6, 4, 2.5))


def accumulation():
    made = K[EPOCH - 1 :: EPOCH]
    draw(
        [
            ("step() for each call", made, PLAN(made)),
            ("auto_step=True", made, SHORT(made // EPOCH)),
        ],
        xlabel="call of optimizer.step()",
    )


def skipped():
    bad = (K == 10) | (K == 11)
    draw(
        [
            ("step() for each call", K[~bad], PLAN(K[~bad])),
            ("auto_step=True", K[~bad], PLAN(np.arange(UPDATES - 2))),
        ],
        xlabel="call of optimizer.step()",
    )


def groups():
    draw(
        [
            ("default", K, PLAN(K)),
            ("lr_scale=0.5", K, 0.5 * PLAN(K)),
            ("lr=0.03", K, 0.3 * PLAN(K)),
            ("lr=CosineAnnealingLR(...)", K, COSINE(K)),
        ]
    )


def resume():
    first, second = K[: CHANGE + 1], K[CHANGE - 2 :]
    draw(
        [
            ("first run, ends after update 12", first, PLAN(first)),
            ("second, from the checkpoint\nbefore update 10", second, PLAN(second)),
        ],
        sizes=(5, 9),
    )


def jumps():
    later = K[CHANGE:]
    draw(
        [
            ("", K[:CHANGE], PLAN(K[:CHANGE])),
            ("step(4) before update 12", later, PLAN(4 + later - CHANGE)),
            (
                "current_lr = 0.02 before\nupdate 12",
                later,
                np.where(later == CHANGE, 0.02, PLAN(later)),
            ),
        ],
        sizes=(5, 5, 8),
    )


def several():
    later = K[CHANGE:]
    cooled = PLAN.with_cooldown(CHANGE, 8)
    draw(
        [
            ("", K[:CHANGE], PLAN(K[:CHANGE])),
            ("a new schedule, attached\nbefore update 12", later, COSINE(later - CHANGE)),
            ("with_cooldown(12, 8),\nattached before update 12", later, cooled(later)),
        ],
        sizes=(5, 5, 5),
    )
