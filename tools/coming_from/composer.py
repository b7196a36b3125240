"""MosaicML Composer's schedulers.

    pip install --no-deps mosaicml
    pip install torch torchmetrics torchvision requests psutil coolname tabulate py-cpuinfo \\
        mosaicml-cli mosaicml-streaming

Its pins want an old torch, which the schedulers do not need.
"""

from types import SimpleNamespace

from composer.core import Time, Timestamp
from composer.optim import scheduler as library

from . import case, installed

# The longest duration is 12 batches, 4 a epoch; the learning rate 0.1.
CASES = {
    "step": ("StepScheduler(step_size='3ba', gamma=0.5)", 12, 1.0),
    "multi_step": ("MultiStepScheduler(milestones=['3ba', '0.5dur'], gamma=0.5)", 12, 1.0),
    "constant": ("ConstantScheduler(alpha=0.5, t_max='4ba')", 8, 1.0),
    "linear": ("LinearScheduler(alpha_i=1.0, alpha_f=0.1)", 15, 1.0),
    "exponential": ("ExponentialScheduler(gamma=0.5, decay_period='1ep')", 12, 1.0),
    "cosine": ("CosineAnnealingScheduler(alpha_f=0.1)", 15, 1.0),
    "cosine_scaled": ("CosineAnnealingScheduler(alpha_f=0.1)", 9, 0.5),
    "warm_restarts": ("CosineAnnealingWarmRestartsScheduler(t_0='3ba', t_mult=2.0)", 20, 1.0),
    "polynomial": ("PolynomialScheduler(power=2.0, alpha_f=0.1)", 15, 1.0),
    "multi_step_warmup": (
        "MultiStepWithWarmupScheduler(t_warmup='3ba', milestones=['6ba', '9ba'], gamma=0.5)",
        12,
        1.0,
    ),
    "constant_warmup": ("ConstantWithWarmupScheduler(t_warmup='3ba')", 8, 1.0),
    "linear_warmup": ("LinearWithWarmupScheduler(t_warmup='3ba', alpha_f=0.1)", 15, 1.0),
    "cosine_warmup": ("CosineAnnealingWithWarmupScheduler(t_warmup='3ba', alpha_f=0.1)", 15, 1.0),
    "polynomial_warmup": ("PolynomialWithWarmupScheduler(t_warmup='3ba', alpha_f=0.1)", 15, 1.0),
}


def version(checkout):
    return installed("mosaicml")


def cases(checkout):
    for key, (call, epochs, scale) in CASES.items():
        scheduler = eval(call, vars(library).copy())
        values = [0.1 * scheduler(state(t, scale), scale) for t in range(epochs)]
        yield case(key, f"{call}, max_duration='12ba', scale_schedule_ratio={scale}", values)
    call = "[CosineAnnealingScheduler(), StepScheduler(step_size='4ba', gamma=0.5)]"
    both = eval(call, vars(library).copy())
    values = [0.1 * both[0](state(t), 1.0) * both[1](state(t), 1.0) for t in range(12)]
    yield case("list", f"{call}, max_duration='12ba'", values)


def state(batch, scale=1.0):
    return SimpleNamespace(
        max_duration=Time(int(12 * scale), "ba"),  # which the Trainer scales itself
        timestamp=Timestamp(batch=batch, epoch=batch // 4, batch_in_epoch=batch % 4),
        dataloader_len=Time(4, "ba"),
    )
