"""What docs/coming_from/capabilities.md says of lrax, each mark against a formula in NumPy, or by what happens."""

import re
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lrax
from helpers import assert_close, last_lr, looped
from ready import weight

PAGE = Path(__file__).parents[1] / "docs" / "coming_from" / "capabilities.md"
T = np.arange(24)
CHECKS = {}


def capability(row):
    """A check of the row of the table that is called so."""

    def register(check):
        assert row not in CHECKS
        CHECKS[row] = check
        return check

    return register


def cosine(p):
    return (1 + np.cos(np.pi * p)) / 2


def linear(t, start, end, length):
    return start + (end - start) * np.minimum(t, length) / length


def same(scheduler, expected, t=T):
    assert_close(scheduler(t), np.broadcast_to(expected, t.shape))


def after(scheduler, metrics):
    values = []
    for metric in metrics:
        scheduler.step(metric=metric)
        values.append(last_lr(scheduler))
    return values


# --- Constants and stairs ---------------------------------------------------------------------------


@capability("constant")
def _():
    same(lrax.ConstantLR(0.1, factor=1.0), 0.1)


@capability("temporary factor then 1 (ConstantLR)")
def _():
    same(lrax.ConstantLR(0.1, factor=0.5, total_iters=3), np.where(T < 3, 0.05, 0.1))


@capability("step gamma")
def _():
    same(lrax.StepLR(1.0, 3, 0.5), 0.5 ** (T // 3))


@capability("multi-step gamma")
def _():
    same(lrax.MultiStepLR(1.0, [2, 5], 0.1), 0.1 ** ((T >= 2) * 1 + (T >= 5) * 1))


@capability("piecewise constant, absolute values")
def _():
    scheduler = lrax.PiecewiseConstantSchedule(boundaries=[2, 4], values=[1.0, 0.5, 0.2])
    same(scheduler, np.select([T < 2, T < 4], [1.0, 0.5], 0.2))


@capability("piecewise linear / interpolated")
def _():
    scheduler = lrax.PiecewiseSchedule(0.5, [2, 6, 14], [0.0, 1.0, 0.2])
    same(scheduler, 0.5 * np.interp(T, [2, 6, 14], [0.0, 1.0, 0.2]))


# --- Decays -----------------------------------------------------------------------------------------


@capability("exponential gamma^t")
def _():
    same(lrax.ExponentialLR(1.0, 0.9), 0.9**T)


@capability("exponential with period + staircase")
def _():
    same(lrax.ExponentialDecayLR(1.0, 3, 0.5, staircase=True), 0.5 ** (T // 3))


@capability("natural exponential")
def _():
    same(lrax.ExponentialLR(1.0, gamma=np.exp(-0.3)), np.exp(-0.3 * T))


@capability("inverse time")
def _():
    same(lrax.InverseSqrtLR(0.1, timescale=4, power=1.0), 0.1 / (1 + T / 4))


@capability("inverse sqrt")
def _():
    expected = np.where(T < 4, 0.1 * T / 4, 0.1 * np.sqrt(4 / np.maximum(T, 1)))
    same(lrax.InverseSqrtLR(0.1, warmup_steps=4), expected)


@capability("Noam")
def _():
    d, warmup, t = 16, 4, np.maximum(T, 1)
    expected = d**-0.5 * np.minimum(t**-0.5, T * warmup**-1.5)
    same(lrax.InverseSqrtLR((d * warmup) ** -0.5, warmup), expected)


@capability("polynomial to 0")
def _():
    same(lrax.PolynomialLR(1.0, 10, 2.0), (1 - np.minimum(T, 10) / 10) ** 2)


@capability("polynomial with non-zero end")
def _():
    expected = 0.1 + 0.9 * (1 - np.minimum(T, 10) / 10) ** 2
    same(lrax.PolynomialLR(1.0, 10, 2.0, eta_min=0.1), expected)


@capability("polynomial, growing cycles")
def _():
    def cycles(t):
        return 1 - t / (4 * jnp.maximum(jnp.ceil(t / 4), 1))

    lengths = np.array([4 * max(1, -(-t // 4)) for t in T.tolist()])
    same(lrax.LambdaLR(0.1, cycles), 0.1 * (1 - T / lengths))


@capability("linear ramp/decay")
def _():
    same(lrax.LinearLR(1.0, 1.0, 0.1, 10), linear(T, 1.0, 0.1, 10))


# --- Cosines ----------------------------------------------------------------------------------------


@capability("cosine, clamped")
def _():
    same(lrax.CosineAnnealingLR(1.0, 8, 0.1), 0.1 + 0.9 * cosine(np.minimum(T, 8) / 8))


@capability("cosine, periodic")
def _():
    down, up = lrax.CosineAnnealingLR(1.0, 5, 0.1), lrax.CosineAnnealingLR(0.1, 5, 1.0)
    same(lrax.SequentialLR([down, up], [5]).repeat(10), 0.1 + 0.9 * cosine(T / 5))


@capability("cosine min as fraction / absolute")
def _():
    expected = 0.02 + 0.18 * cosine(np.minimum(T, 8) / 8)
    same(lrax.CosineAnnealingLR(0.2, 8, eta_min=0.02), expected)
    lengths = {"num_warmup_steps": 0, "num_training_steps": 8}
    same(lrax.get_scheduler("cosine_with_min_lr", 0.2, min_lr_rate=0.1, **lengths), expected)


@capability("cosine exponent / k-decay")
def _():
    p = np.minimum(T, 8) / 8
    same(lrax.CosineAnnealingLR(0.1, 8, exponent=1.3), 0.1 * cosine(p) ** 1.3)
    shape = lambda p: (1 + jnp.cos(jnp.pi * p**1.5)) / 2  # noqa: E731
    same(lrax.WSDSchedule(0.1, 0, 8, decay=shape), 0.1 * cosine(p**1.5))


@capability("tanh")
def _():
    p = np.minimum(T, 8) / 8
    fall = (1 - np.tanh(4 * (2 * p - 1)) / np.tanh(4)) / 2
    same(lrax.WSDSchedule(0.1, 0, 8, decay=("tanh", 4.0)), 0.1 * fall)


# --- Restarts ---------------------------------------------------------------------------------------


def restarts(lengths, high=1.0, decay=1.0, low=0.0, warmup=0, after=None):
    """Cycles of these lengths, one after the other, in plain Python."""
    values = []
    for t in T.tolist():
        start, cycle = 0.0, 0
        while cycle < len(lengths) and t >= start + lengths[cycle]:
            start, cycle = start + lengths[cycle], cycle + 1
        if cycle == len(lengths):
            values.append(after)
            continue
        peak, since = max(high * decay**cycle, low), t - start
        p = (since - warmup) / (lengths[cycle] - warmup)
        rises = since < warmup
        values.append(peak * since / warmup if rises else low + (peak - low) * cosine(p))
    return np.array(values)


@capability("restarts, equal cycles")
def _():
    same(lrax.CosineAnnealingWarmRestarts(1.0, 4), cosine(T % 4 / 4))


@capability("restarts, integer T_mult")
def _():
    same(lrax.CosineAnnealingWarmRestarts(1.0, 2, 2), restarts([2, 4, 8, 16]))


@capability("restarts, float multiplier")
def _():
    lengths = [4 * 1.5**i for i in range(5)]
    same(
        lrax.CosineAnnealingWarmRestarts(1.0, 4, T_mult=1.5, eta_min=0.1),
        restarts(lengths, low=0.1),
    )


@capability("restarts, explicit list of lengths")
def _():
    pieces = [lrax.CosineAnnealingLR(1.0, n) for n in (3, 5, 16)]
    same(lrax.SequentialLR(pieces, [3, 8]), restarts([3, 5, 16]))


@capability("peak decay per restart")
def _():
    scheduler = lrax.CosineAnnealingWarmRestarts(1.0, 4, cycle_decay=0.5, eta_min=0.1)
    same(scheduler, restarts([4] * 6, decay=0.5, low=0.1))


@capability("warmup in every cycle")
def _():
    scheduler = lrax.CosineAnnealingWarmRestarts(1.0, 6, warmup_steps=2)
    same(scheduler, restarts([6] * 4, warmup=2))


@capability("cycle limit")
def _():
    scheduler = lrax.CosineAnnealingWarmRestarts(1.0, 4, cycle_limit=2, eta_min=0.1)
    same(scheduler, restarts([4, 4], low=0.1, after=0.1))


# --- Cycles -----------------------------------------------------------------------------------------


@capability("triangular cyclic (+triangular2, exp_range, scale_fn)")
def _():
    height = np.interp(T % 9, [0, 3, 9], [0, 1, 0])
    scales = [
        (1.0, {"mode": "triangular"}),
        (0.5 ** (T // 9), {"mode": "triangular2"}),
        (0.9**T, {"mode": "exp_range", "gamma": 0.9}),
        (1 / (T // 9 + 1), {"scale_fn": lambda cycle: 1 / cycle}),
    ]
    for scale, options in scales:
        scheduler = lrax.CyclicLR(0.1, 0.5, step_size_up=3, step_size_down=6, **options)
        same(scheduler, 0.1 + 0.4 * height * scale)


def one_cycle(t, phases, shape):
    """From value to value, at these ends."""
    begin = 0
    for end, a, b in phases:
        if t <= end or end == phases[-1][0]:
            return a + (b - a) * shape(min(max((t - begin) / (end - begin), 0), 1))
        begin = end
    raise AssertionError


ENDS = [(5, 0.02, 0.5), (19, 0.5, 2e-6)]


@capability("one-cycle cosine")
def _():
    expected = [one_cycle(t, ENDS, lambda p: (1 - np.cos(np.pi * p)) / 2) for t in T]
    same(lrax.OneCycleLR(0.5, 20), expected)


@capability("one-cycle linear")
def _():
    expected = [one_cycle(t, ENDS, lambda p: p) for t in T]
    same(lrax.OneCycleLR(0.5, 20, anneal_strategy="linear"), expected)


@capability("one-cycle three-phase")
def _():
    ends = [(7, 0.02, 0.5), (14, 0.5, 0.02), (19, 0.02, 2e-6)]
    expected = [one_cycle(t, ends, lambda p: (1 - np.cos(np.pi * p)) / 2) for t in T]
    same(lrax.OneCycleLR(0.5, 20, pct_start=0.4, three_phase=True), expected)


def driven(optimizer, name, steps):
    """A hyper-parameter at each epoch of the optimizer's scheduler."""
    optimizer.register_trainable_weights({"w": weight(3)})
    values = []
    for _ in range(steps):
        values.append(float(optimizer.hyperparams[0][name]))
        optimizer.lr.step()
    return values


@capability("momentum coupled to the LR cycle")
def _():
    low, high = 0.85, 0.95
    ends = [(5, high, low), (19, low, high)]
    expected = [one_cycle(t, ends, lambda p: (1 - np.cos(np.pi * p)) / 2) for t in range(20)]
    cycle = lrax.OneCycleLR(0.5, 20, cycle_momentum=True)
    assert_close(driven(lrax.SGD(lr=cycle, momentum=0.9), "momentum", 20), expected)
    cyclic = lrax.CyclicLR(0.1, 0.5, step_size_up=3, step_size_down=6, cycle_momentum=True)
    expected = 0.9 - 0.1 * np.interp(T % 9, [0, 3, 9], [0, 1, 0])
    assert_close(driven(lrax.SGD(lr=cyclic, momentum=0.9), "momentum", 24), expected)


# --- Warmups ----------------------------------------------------------------------------------------


@capability("built-in linear warmup")
def _():
    expected = np.where(T < 4, T / 4, cosine(np.clip((T - 4) / 10, 0, 1)))
    same(lrax.WarmupCosineSchedule(1.0, 4, 14), expected)
    same(lrax.WSDSchedule(1.0, 4, 14), np.interp(T, [0, 4, 14], [0, 1, 0]))


@capability("warmup wrapper around any scheduler")
def _():
    expected = np.where(T < 4, T / 4, 0.5 ** ((T - 4) // 3))
    same(lrax.StepLR(1.0, 3, 0.5).with_warmup(4), expected)
    running = np.minimum(T / 4, 1) * 0.5 ** (T // 3)
    same(lrax.StepLR(1.0, 3, 0.5).with_warmup(4, running=True), running)


@capability("non-linear warmup")
def _():
    rise = np.where(T < 4, 0.1 + 0.9 * (1 - np.cos(np.pi * T / 4)) / 2, 1.0)
    same(lrax.ConstantLR(1.0, 1.0).with_warmup(4, shape="cosine", start_lr=0.1), rise)
    p = np.clip(1 - T / 4, 0, 1)
    same(lrax.WSDSchedule(1.0, 4, 99, 0, warmup="square"), 1 - p**2)


@capability("non-zero first step without a start value")
def _():
    same(lrax.LinearLR(0.1, start_factor=1 / 4, total_iters=3), 0.1 * np.minimum((T + 1) / 4, 1))


@capability("WSD (warmup-stable-decay)")
def _():
    expected = np.interp(T, [0, 4, 10, 20], [0.0, 0.1, 0.1, 0.01])
    same(lrax.WSDSchedule(0.1, 4, 20, decay_steps=10, eta_min=0.01), expected)


@capability("WSD 1-sqrt decay")
def _():
    p = np.clip((T - 10) / 10, 0, 1)
    expected = np.where(T < 4, 0.1 * T / 4, 0.01 + 0.09 * (1 - np.sqrt(p)))
    same(lrax.WSDSchedule(0.1, 4, 20, decay_steps=10, decay="1-sqrt", eta_min=0.01), expected)


# --- Metrics ----------------------------------------------------------------------------------------

FLAT = [3.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0]
HALVED = [1.0, 1.0, 1.0, 0.5, 0.5, 0.25, 0.25]
"""Two bad metrics in a row are one too many."""


def plateau():
    return lrax.ReduceLROnPlateau(1.0, factor=0.5, patience=1)


@capability("plateau")
def _():
    assert after(plateau(), FLAT) == HALVED


@capability("plateau jit-able")
def _():
    found = looped({"": plateau()}, len(FLAT), {"": jnp.array(FLAT)})
    assert found[""].tolist() == HALVED


@capability("metric-driven increase (Greedy)")
def _():
    scheduler = lrax.GreedyLR(0.1, factor=0.5, patience=1, min_lr=0.01, max_lr=0.4)
    falling = [5.0, 4.0, 3.0, 2.0, 1.0, 0.5]  # twice better than patience has it: the rate doubles
    assert_close(after(scheduler, falling), [0.1, 0.2, 0.2, 0.4, 0.4, 0.4])
    assert_close(after(scheduler, [9.0, 9.0, 9.0, 9.0]), [0.4, 0.2, 0.2, 0.1])


@capability("plateau inside sequential/chain/warmup")
def _():
    sequential = lrax.SequentialLR([lrax.LinearLR(1.0, 0.5, 1.0, 2), plateau()], [2])
    assert after(sequential, [9.0, 9.0, *FLAT])[2:] == HALVED
    chained = lrax.ChainedScheduler([lrax.StepLR(1.0, 4, 0.5), plateau()])
    halved = np.array(HALVED) * 0.5 ** (np.arange(1, 8) // 4)
    assert after(chained, FLAT) == halved.tolist()
    assert after(plateau().with_warmup(2), [9.0, 9.0, *FLAT])[2:] == HALVED


# --- Functions and composition ----------------------------------------------------------------------


@capability("lambda / user function")
def _():
    same(lrax.LambdaLR(0.1, lambda epoch: 1 / (1 + epoch)), 0.1 / (1 + T))


@capability("multiplicative lambda")
def _():
    scheduler, expected = lrax.MultiplicativeLR(0.1, lambda epoch: 1 - epoch / 99), [0.1]
    for t in range(1, 12):
        expected.append(expected[-1] * (1 - t / 99))
    found = looped({"": scheduler}, 12)
    assert_close(found[""], expected)


@capability("sequential composition")
def _():
    scheduler = lrax.SequentialLR([lrax.LinearLR(1.0, 0.5, 1.0, 4), lrax.StepLR(0.3, 5, 0.1)], [6])
    same(scheduler, np.where(T < 6, linear(T, 0.5, 1.0, 4), 0.3 * 0.1 ** ((T - 6) // 5)))


@capability("multiplicative composition")
def _():
    a, b = lrax.StepLR(0.2, 3, 0.5), lrax.ExponentialLR(0.1, 0.9)
    same(lrax.ChainedScheduler([a, b]), 0.2 * 0.5 ** (T // 3) * 0.9**T)
    same(a * b, 0.2 * 0.5 ** (T // 3) * 0.1 * 0.9**T)


@capability("additive / min / max / clip composition")
def _():
    a, b = lrax.StepLR(0.2, 3, 0.5), lrax.ExponentialLR(0.1, 0.9)
    x, y = 0.2 * 0.5 ** (T // 3), 0.1 * 0.9**T
    same(a + b, x + y)
    same(lrax.minimum(a, b, 0.07), np.minimum(np.minimum(x, y), 0.07))
    same(lrax.maximum(a, b, 0.03), np.maximum(np.maximum(x, y), 0.03))
    same(a.clip(0.01, 0.15), np.clip(x, 0.01, 0.15))


@capability("generic repeat of any schedule")
def _():
    scheduler = lrax.PolynomialLR(1.0, 5, 2.0).repeat(5, decay=0.5, limit=3)
    expected = np.where(T < 15, 0.5 ** (T // 5) * (1 - T % 5 / 5) ** 2, 0.0)
    same(scheduler, expected)


@capability("SWA")
def _():
    scheduler = lrax.StepLR(0.1, 6, 0.5).with_cooldown(10, 5, shape="cosine", eta_min=0.08)
    p = np.clip((T - 10) / 5, 0, 1)
    same(scheduler, np.where(T < 10, 0.1 * 0.5 ** (T // 6), 0.08 + (0.05 - 0.08) * cosine(p)))
    w = weight(2)
    averaged, values = lrax.AveragedWeights({"w": w}, decay=None), []
    for k in range(4):
        w.value = jnp.full(2, float(k**2))
        averaged.update()
        values.append(k**2)
    with averaged.swapped():
        assert_close(w.value, np.full(2, np.mean(values)))


@capability("LR noise")
def _():
    factors = 1 + np.random.default_rng(0).normal(size=24).clip(-0.67, 0.67)
    table = jnp.asarray(factors, jnp.float32)
    noise = lrax.LambdaLR(1.0, lambda t: table[jnp.int32(t)])
    same(lrax.ExponentialLR(0.1, 0.9) * noise, 0.1 * 0.9**T * factors)


@capability("REX")
def _():
    p = np.minimum(T, 20) / 20
    same(lrax.WSDSchedule(0.1, 0, 20, decay="rex"), 0.1 * (1 - p) / (1 - p / 2))


@capability("Chebyshev")
def _():
    """The recipe of the page: the iteration with these factors is a Chebyshev polynomial."""
    code = re.search(r"## Chebyshev\n.*?```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    names = {}
    exec(code[1], names)
    low, high, x = 0.05, 1.0, np.linspace(0.05, 1.0, 50)
    factors = names["chebyshev"](8)
    product = np.prod([1 - f * x for f in factors], axis=0)
    degree8 = np.polynomial.chebyshev.Chebyshev([0] * 8 + [1])
    u, at_0 = (high + low - 2 * x) / (high - low), (high + low) / (high - low)
    assert_close(product, degree8(u) / degree8(at_0), rtol=1e-9)
    same(names["scheduler"], 0.1 * np.resize(factors, 24))


@capability("token-power schedule")
def _():
    tokens = np.array([0, 1e6, 1e9, 3e12])
    expected = [0.02, *np.minimum(0.02, 512 * 4.6 * tokens[1:] ** -0.51)]
    assert_close(lrax.TokenPowerLR(0.02, batch_size=512, a=4.6, power=0.51)(tokens), expected)


# --- Other hyper-parameters -------------------------------------------------------------------------


@capability("weight-decay schedule")
def _():
    """With a gradient of 0, AdamW only decays."""
    decay = lrax.LinearLR(0.5, 1.0, 0.2, 4)
    optimizer = lrax.AdamW(lr=lrax.ConstantLR(0.1, 1.0), weight_decay=decay)
    optimizer.register_trainable_weights({"w": (w := weight(2))})
    expected = np.array(w.value, np.float64)
    for t in range(8):
        optimizer.step({"w": jnp.zeros(2)})
        optimizer.lr.step()
        expected *= 1 - 0.1 * 0.5 * linear(t, 1.0, 0.2, 4)
    assert_close(w.value, expected)


@capability("any hyper-parameter")
def _():
    warm = lrax.LinearLR(0.9, 0.5, 1.0, 4)
    expected = 0.9 * linear(np.arange(8), 0.5, 1.0, 4)
    assert_close(driven(lrax.SGD(lr=0.1, momentum=warm), "momentum", 8), expected)
    other = lrax.OptaxOptimizer(optax.lion, lr=lrax.ConstantLR(0.1, 1.0), b1=warm)
    assert_close(driven(other, "b1", 8), expected)


@capability("LR range test / finder")
def _():
    """The learning rates, and the losses of a descent by hand."""
    optimizer = lrax.SGD(lr=0.1).register_trainable_weights({"w": (w := weight())})
    found = lrax.find_lr(lambda c: (w.value - c) ** 2, optimizer, (3.0,), end_lr=0.5, steps=24)
    lrs = 1e-7 * (0.5 / 1e-7) ** (T / 23)
    distances = -2 * np.cumprod([1, *(1 - 2 * lrs[:-1])])
    assert_close(found.lrs, lrs)
    assert_close(found.losses, distances**2, rtol=1e-5)
    assert w.value == 1


# --- The table --------------------------------------------------------------------------------------


def table():
    """What stands in the column of lrax, by capability."""
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    head, *body = [row for row in cells if not set(row[0]) <= {"-"}]
    assert head[:2] == ["capability", "lrax"]
    assert {len(row) for row in body} == {len(head)} == {20}
    found = {row[0]: row[1] for row in body}
    assert len(found) == len(body) == 58
    return found


def test_what_is_marked_is_tested():
    assert {row for row, mark in table().items() if mark} == set(CHECKS)


@pytest.mark.parametrize("row", CHECKS)
def test_capability(row):
    CHECKS[row]()


def test_names_in_the_table_are_ours():
    for row, mark in table().items():
        code = " ".join(re.findall(r"`([^`]*)`", mark))
        for name in re.findall(r"\b([A-Z]\w{2,})\b(?! *=)", code.replace("True", "")):
            assert hasattr(lrax, name), f"{row}: {name}"
        for name in re.findall(r"(?:^| )[^ ]*\.([a-z]\w+)", code):
            assert hasattr(lrax.LRScheduler, name), f"{row}: {name}"
