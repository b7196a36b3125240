"""Megatron-core: ``pip install torch`` and ``pip install --no-deps megatron-core``."""

from coming_from import called, case, installed, sgd

EPOCHS = 48
WIDE = (
    "OptimizerParamScheduler(optimizer, init_lr={init}, max_lr=0.1, min_lr=0.01, "
    "lr_warmup_steps={warmup}, lr_decay_steps=40, lr_decay_style='{style}', start_wd={start_wd}, "
    "end_wd=0.1, wd_incr_steps=30, wd_incr_style='{wd}'{more})"
)
KINDS = {
    "constant": {"style": "constant"},
    "linear": {"style": "linear", "init": 0.02},
    "cosine": {"style": "cosine"},
    "cosine_without_warmup": {"style": "cosine", "warmup": 0},
    "inverse_square_root": {"style": "inverse-square-root"},
    "wsd_linear": {"style": "WSD", "wsd": "linear"},
    "wsd_cosine": {"style": "WSD", "wsd": "cosine"},
    "wsd_exponential": {"style": "WSD", "wsd": "exponential"},
    "wsd_minus_sqrt": {"style": "WSD", "wsd": "minus_sqrt"},
    "weight_decay_linear": {"style": "constant", "wd": "linear", "start_wd": 0.02},
    "weight_decay_cosine": {"style": "constant", "wd": "cosine", "start_wd": 0.02},
}


def version(checkout):
    return installed("megatron-core")


def text(style, init=0.0, warmup=5, wsd=None, wd="constant", start_wd=0.1):
    more = "" if wsd is None else f", wsd_decay_steps=12, lr_wsd_decay_style='{wsd}'"
    return WIDE.format(style=style, init=init, warmup=warmup, wd=wd, start_wd=start_wd, more=more)


def cases(checkout):
    import megatron.core.optimizer_param_scheduler as module

    for key, kind in KINDS.items():
        optimizer, call, values = sgd(), text(**kind), []
        scheduler = called(call, module, {"optimizer": optimizer})
        for _ in range(EPOCHS):
            group = optimizer.param_groups[0]
            values.append(group["weight_decay" if "weight_decay" in key else "lr"])
            scheduler.step(1)
        yield case(key, call, values)
