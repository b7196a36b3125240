"""paddle.optimizer.lr: ``pip install paddlepaddle``."""

from paddle.optimizer import lr as library

from . import METRICS, case, installed

CASES = {
    "noam": ("NoamDecay(d_model=16, warmup_steps=4, learning_rate=0.5)", 14),
    "piecewise": ("PiecewiseDecay([2, 4], [1.0, 0.1, 0.01])", 8),
    "natural_exponential": ("NaturalExpDecay(0.1, gamma=0.2)", 12),
    "inverse_time": ("InverseTimeDecay(0.1, gamma=0.2)", 12),
    "polynomial": ("PolynomialDecay(0.1, decay_steps=6, end_lr=0.01, power=2.0)", 9),
    "polynomial_cycles": (
        "PolynomialDecay(0.1, decay_steps=4, end_lr=0.01, power=2.0, cycle=True)",
        16,
    ),
    "warmup": ("LinearWarmup(0.1, warmup_steps=4, start_lr=0.01, end_lr=0.1)", 8),
    "warmup_then_step": (
        "LinearWarmup(StepDecay(0.1, 2, 0.5), warmup_steps=3, start_lr=0.0, end_lr=0.1)",
        11,
    ),
    "exponential": ("ExponentialDecay(0.1, gamma=0.9)", 12),
    "multi_step": ("MultiStepDecay(0.1, milestones=[2, 5], gamma=0.5)", 9),
    "step": ("StepDecay(0.1, step_size=3, gamma=0.5)", 12),
    "lambda": ("LambdaDecay(0.1, lambda epoch: 1 / (1 + epoch))", 9),
    "multiplicative": ("MultiplicativeDecay(0.1, lambda epoch: 0.9 + 0.01 * epoch)", 12),
    "cosine": ("CosineAnnealingDecay(0.1, T_max=5, eta_min=0.01)", 24),
    "linear": ("LinearLR(0.1, total_steps=5, start_factor=0.2, end_factor=0.8)", 9),
    "warm_restarts": ("CosineAnnealingWarmRestarts(0.1, T_0=3, T_mult=2, eta_min=0.01)", 24),
    "one_cycle": ("OneCycleLR(0.5, total_steps=20)", 20),
    "one_cycle_three_phase": (
        "OneCycleLR(0.5, total_steps=20, end_learning_rate=0.001, phase_pct=0.4, "
        "anneal_strategy='linear', three_phase=True)",
        20,
    ),
    "cyclic": ("CyclicLR(0.1, 0.5, step_size_up=3, step_size_down=6, mode='triangular2')", 24),
}
PLATEAU = "ReduceOnPlateau(0.1, factor=0.5, patience=2)"


def version(checkout):
    return installed("paddlepaddle")


def cases(checkout):
    for key, (call, epochs) in CASES.items():
        scheduler = eval(call, vars(library).copy())
        values = [scheduler()]
        for _ in range(epochs - 1):
            scheduler.step()
            values.append(scheduler())
        yield case(key, call, values)
    scheduler = eval(PLATEAU, vars(library).copy())
    values = []
    for metric in METRICS:
        scheduler.step(metric)
        values.append(scheduler())
    yield case("plateau", PLATEAU, values, METRICS)
