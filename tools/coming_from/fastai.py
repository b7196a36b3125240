"""fastai.callback.schedule: ``pip install fastai``."""

from types import SimpleNamespace

import numpy as np
from fastai.callback import schedule as library
from fastai.callback import tracker

from . import METRICS, case, installed

BATCHES = 20
"""Of the whole training; fastai's schedules are functions of the fraction of it."""

CASES = {
    "linear": "SchedLin(0.1, 0.01)",
    "cosine": "SchedCos(0.1, 0.01)",
    "constant": "SchedNo(0.1, 0.1)",
    "exponential": "SchedExp(0.1, 0.001)",
    "polynomial": "SchedPoly(0.1, 0.01, 2)",
    "combined": "combine_scheds([0.25, 0.75], [SchedLin(0.01, 0.1), SchedCos(0.1, 0.001)])",
    "combined_cos": "combined_cos(0.25, 0.01, 0.1, 0.001)",
    "one_cycle": "fit_one_cycle(n_epoch, lr_max=0.1)",
    "one_cycle_momentum": "fit_one_cycle(n_epoch, lr_max=0.1)",
    "flat_cos": "fit_flat_cos(n_epoch, lr=0.1)",
    "sgdr": "fit_sgdr(n_cycles=2, cycle_len=1, lr_max=0.1)",
}
PLATEAU = "ReduceLROnPlateau(min_delta=0.01, patience=3, factor=2.0, min_lr=0.01)"


def version(checkout):
    return installed("fastai")


def cases(checkout):
    for key, call in CASES.items():
        if call.startswith("fit_"):
            function = scheduled(call)["mom" if key.endswith("momentum") else "lr"]
        else:
            function = eval(call, vars(library).copy())
        length = BATCHES + 1 if key != "sgdr" else 18
        total = BATCHES if key != "sgdr" else 18
        values = [float(np.ravel(function(t / total))[0]) for t in range(length)]
        yield case(key, call, values)
    yield case("plateau", PLATEAU, list(reduced(eval(PLATEAU, vars(tracker).copy()))), METRICS)


def scheduled(call):
    """The functions that one of the ``fit_`` methods hands to its callback."""
    name, arguments = call.split("(", 1)
    kept = {}
    learner = SimpleNamespace(
        opt=SimpleNamespace(set_hyper=lambda *_: None, hypers=[{"lr": 0.1}]),
        moms=(0.95, 0.85, 0.95),
        lr=0.1,
        fit=lambda *_, cbs, **__: kept.update(cbs[0].scheds),
    )
    method = getattr(library.Learner, name)
    eval(f"method(learner, {arguments}", {"method": method, "learner": learner, "n_epoch": 1})
    return kept


def reduced(callback):
    hypers = [{"lr": 0.1}]
    recorder = SimpleNamespace(values=[], metric_names=["epoch", "valid_loss", "time"])
    callback.learn = SimpleNamespace(
        recorder=recorder, opt=SimpleNamespace(hypers=hypers), epoch=0, training=False
    )
    callback.comp, callback.idx = np.less, 0
    callback.wait, callback.best, callback.new_best = 0, float("inf"), False
    for metric in METRICS:
        recorder.values.append([metric])
        callback.after_epoch()
        yield hypers[-1]["lr"]
