"""torchtitan: ``pip install torch`` and ``pip install --no-deps torchtitan``, with what its config imports."""

from coming_from import called, case, installed, module, sgd, stepped

EPOCHS = 40
CALLS = {
    "linear": "Config(warmup_steps=8)",
    "wsd_linear": "Config(warmup_steps=8, decay_ratio=0.3, min_lr_factor=0.1)",
    "wsd_sqrt": "Config(warmup_steps=8, decay_ratio=0.3, decay_type='sqrt')",
    "wsd_cosine": "Config(warmup_steps=8, decay_ratio=0.3, decay_type='cosine')",
    "without_warmup": "Config(warmup_steps=0, decay_type='cosine', min_lr_factor=0.1)",
}


def version(checkout):
    return installed("torchtitan")


def cases(checkout):
    found = module("torchtitan.components.optimizer.lr_scheduler").LRSchedulersContainer
    for key, call in CALLS.items():
        optimizer = sgd()
        config = called(call, {"Config": found.Config})
        scheduler = config.build(optimizers=[optimizer], training_steps=EPOCHS).schedulers[0]
        values = stepped(scheduler, optimizer, EPOCHS)
        yield case(key, f"LRSchedulersContainer.{call}, {EPOCHS} training steps", values)
