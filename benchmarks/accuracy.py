"""Worst error of each library on the same schedules and epochs; writes the tables of docs/accuracy.md.

    python benchmarks/accuracy.py            print the tables
    python benchmarks/accuracy.py --write    and put them into docs/accuracy.md

optax, braintools and torch are measured where they are installed. lrax is evaluated eagerly and
compiled, and the larger error counts; optax and braintools compiled, as in a train step; torch by
stepping through all epochs, as it has no other way, up to a hundred thousand of them.
"""

import argparse
import sys
import warnings
from importlib import import_module, metadata
from pathlib import Path

import brainstate
import jax
import jax.numpy as jnp
import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

import exact
import lrax
import lrax.formulas.arithmetic
import modes
import registry
from exact import LAST_EPOCH, spec

BASE = 0.1
TORCH_STEPS = 100_000


def optional(name):
    try:
        return import_module(name)
    except ImportError:
        return None


optax, torch = optional("optax"), optional("torch")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    braintools = optional("braintools")


# --- Schedules --------------------------------------------------------------------------------


class Row:
    """One schedule: ours, and how each peer spells it; None where it has none or defines it otherwise."""

    def __init__(self, label, ours, optax=None, braintools=None, torch=None, last=LAST_EPOCH):
        self.label, self.ours, self.last = label, ours, last
        self.makers = {"optax": optax, "braintools": braintools, "torch": torch}


def spaced(number):
    return f"{number:,}".replace(",", " ")


def with_length(T):
    k = spaced(T)
    warm = T // 100
    return [
        Row(
            f"cosine to 0 in {k}",
            spec("CosineAnnealingLR", base_lr=BASE, T_max=T),
            lambda o: o.cosine_decay_schedule(BASE, T),
            lambda b: b.CosineAnnealingLR(BASE, T_max=T),
            lambda s, opt: s.CosineAnnealingLR(opt, T),
            last=T,  # torch's comes back up
        ),
        Row(
            f"cosine to a tenth in {k}",
            spec("CosineAnnealingLR", base_lr=BASE, T_max=T, eta_min=BASE * 0.1),
            lambda o: o.cosine_decay_schedule(BASE, T, alpha=0.1),
            lambda b: b.CosineAnnealingLR(BASE, T_max=T, eta_min=BASE * 0.1),
            lambda s, opt: s.CosineAnnealingLR(opt, T, eta_min=BASE * 0.1),
            last=T,
        ),
        Row(
            f"warmup {spaced(warm)}, cosine to 0 at {k}",
            spec("WarmupCosineSchedule", base_lr=BASE, warmup_steps=warm, total_steps=T),
            lambda o: o.warmup_cosine_decay_schedule(0.0, BASE, warm, T),
            lambda b: b.WarmupCosineSchedule(BASE, warmup_steps=warm, total_steps=T),
        ),
        Row(
            f"line up from 0 in {k}",
            spec("WarmupScheduler", base_lr=BASE, warmup_epochs=T),
            lambda o: o.linear_schedule(0.0, BASE, T),
            lambda b: b.WarmupScheduler(BASE, warmup_epochs=T),
        ),
        Row(
            f"line down to 0 in {k}",
            spec("LinearLR", base_lr=BASE, start_factor=1.0, end_factor=0.0, total_iters=T),
            lambda o: o.linear_schedule(BASE, 0.0, T),
            lambda b: b.LinearLR(BASE, 1.0, 0.0, T),
            lambda s, opt: s.LinearLR(opt, 1.0, 0.0, T),
        ),
        *(
            Row(
                f"polynomial, power {power}, to 0 in {k}",
                spec("PolynomialLR", base_lr=BASE, total_iters=T, power=power),
                lambda o, power=power: o.polynomial_schedule(BASE, 0.0, power, T),
                lambda b, power=power: b.PolynomialLR(BASE, total_iters=T, power=power),
                lambda s, opt, power=power: s.PolynomialLR(opt, total_iters=T, power=power),
            )
            for power in (0.5, 0.9, 2.0)
        ),
        Row(
            f"one cycle of {k}",
            spec("OneCycleLR", max_lr=BASE, total_steps=T),
            torch=lambda s, opt: s.OneCycleLR(opt, BASE, total_steps=T, cycle_momentum=False),
            last=T - 1,
        ),
        Row(
            f"warmup {spaced(warm)}, then cosine, joined, {k}",
            spec(
                "SequentialLR",
                schedulers=[
                    spec(
                        "LinearLR", base_lr=BASE, start_factor=0.1, end_factor=1.0, total_iters=warm
                    ),
                    spec("CosineAnnealingLR", base_lr=BASE, T_max=T - warm),
                ],
                milestones=[warm],
            ),
            lambda o: o.join_schedules(
                [
                    o.linear_schedule(BASE * 0.1, BASE, warm),
                    o.cosine_decay_schedule(BASE, T - warm),
                ],
                [warm],
            ),
            None,
            lambda s, opt: s.SequentialLR(
                opt, [s.LinearLR(opt, 0.1, 1.0, warm), s.CosineAnnealingLR(opt, T - warm)], [warm]
            ),
            last=T,
        ),
    ]


def without_length():
    for gamma in (0.9, 0.999, 0.99999, 0.9999999):
        yield Row(
            f"exponential, {gamma}",
            spec("ExponentialLR", base_lr=BASE, gamma=gamma),
            lambda o, gamma=gamma: o.exponential_decay(BASE, 1, gamma),
            lambda b, gamma=gamma: b.ExponentialLR(BASE, gamma=gamma),
            lambda s, opt, gamma=gamma: s.ExponentialLR(opt, gamma),
        )
    for size, rate, stairs in (
        (1000, 0.9, False),
        (1000, 0.9, True),
        (41, 0.5, True),
        (10**7, 0.5, True),
    ):
        yield Row(
            f"times {rate} every {spaced(size)} epochs{', in stairs' if stairs else ''}",
            spec(
                "ExponentialDecayLR",
                base_lr=BASE,
                decay_steps=size,
                decay_rate=rate,
                staircase=stairs,
            ),
            lambda o, a=(BASE, size, rate, 0, stairs): o.exponential_decay(*a),
            lambda b, a=(BASE, size, rate, 0, stairs): b.ExponentialDecayLR(*a),
            (lambda s, opt, size=size, rate=rate: s.StepLR(opt, size, rate)) if stairs else None,
        )
    milestones = [2**24 + 1, 10**9 + 30]
    yield Row(
        "milestones beyond 2^24",
        spec("MultiStepLR", base_lr=BASE, milestones=milestones, gamma=0.5),
        lambda o: o.piecewise_constant_schedule(BASE, dict.fromkeys(milestones, 0.5)),
        lambda b: b.MultiStepLR(BASE, milestones=milestones, gamma=0.5),
    )
    for T_0, cycles in ((1000, 10), (10**6, 10)):
        yield Row(
            f"restarts after {spaced(T_0)} epochs, then twice as many, ...",
            spec("CosineAnnealingWarmRestarts", base_lr=BASE, T_0=T_0, T_mult=2),
            lambda o, T_0=T_0, n=cycles: o.sgdr_schedule(
                [
                    {
                        "init_value": BASE,
                        "peak_value": BASE,
                        "warmup_steps": 0,
                        "decay_steps": T_0 * 2**i,
                    }
                    for i in range(n)
                ]
            ),
            None,
            lambda s, opt, T_0=T_0: s.CosineAnnealingWarmRestarts(opt, T_0, 2),
            last=T_0 * (2**cycles - 1) - 1,
        )


def epochs_of(row):
    rng = np.random.default_rng(0)
    marks = exact.boundaries(row.ours)
    near = {m + d for m in [*marks, 2**24, row.last] for d in range(-3, 4)}
    near |= {m - int(d) for m in marks[-3:] for d in np.logspace(0, 9.3, 80)}
    spread = rng.integers(0, min(2 * marks[-1] + 2000, row.last) + 1, 800)
    far = np.exp2(rng.uniform(0, 31, 200)).astype(int)
    found = {*range(2001), *near, *spread.tolist(), *far.tolist()}
    return np.array(sorted(t for t in found if 0 <= t <= row.last))


# --- Running ----------------------------------------------------------------------------------


def run_lrax(row, epochs):
    scheduler = row.ours.build()
    compiled = np.asarray(jax.jit(lambda t: scheduler(t))(jnp.asarray(epochs, jnp.int32)))
    return np.stack([scheduler(epochs), compiled])


def run_optax(make, epochs):
    schedule = make(optax)
    return np.asarray(
        jax.jit(jax.vmap(lambda t: jnp.asarray(schedule(t))))(jnp.asarray(epochs, jnp.int32))
    )


def run_braintools(make, epochs):
    scheduler = make(braintools.optim)

    def rate(t):
        scheduler.last_epoch.value = t
        return jnp.asarray(scheduler.get_lr()[0])

    return np.asarray(brainstate.transform.for_loop(rate, jnp.asarray(epochs, jnp.int32)))


def run_torch(make, epochs):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=BASE)
    scheduler, wanted, found = make(torch.optim.lr_scheduler, optimizer), set(epochs.tolist()), []
    for epoch in range(int(epochs[-1]) + 1):
        if epoch in wanted:
            found.append(optimizer.param_groups[0]["lr"])
        if epoch < epochs[-1]:
            optimizer.step()
            scheduler.step()
    return np.array(found)


def shown(error):
    if error < 10:
        return f"{error:.2f}"
    return f"{error:.0f}" if error < 1000 else f"{error:.1e}".replace("e+0", "e").replace("e+", "e")


def finding(got, expected, end):
    """What to print: the worst error in ulp, and what is worse than an error."""
    got = np.atleast_2d(got).astype(np.float32)
    flags = ["NaN"] if np.isnan(got).any() else []
    if (got < 0).any():
        flags.append("negative")
    if end is not None and not flags:
        last = np.full(got[:, end:].shape, np.float64(np.float32(expected[end])))
        if exact.ulps(got[:, end:], last).max() > 1:
            flags.append("misses its end")
    normal = expected > 0
    error = exact.ulps(got[:, normal], np.broadcast_to(expected[normal], (len(got), normal.sum())))
    return ", ".join([shown(error[np.isfinite(error)].max()), *(f"**{flag}**" for flag in flags)])


def measure(row):
    epochs = epochs_of(row)
    expected = exact.values(row.ours, epochs)
    ends = exact.end(row.ours)
    at_end = int(np.searchsorted(epochs, ends[0])) if ends and ends[0] <= row.last else None
    if at_end is not None:
        expected[at_end:] = np.float64(ends[1])
    cells = {"lrax": finding(run_lrax(row, epochs), expected, at_end)}
    for name, run in (("optax", run_optax), ("braintools", run_braintools), ("torch", run_torch)):
        make = row.makers[name]
        if make is None or globals()[name] is None:
            cells[name] = "–"
            continue
        count = (
            len(epochs)
            if name != "torch"
            else int(np.searchsorted(epochs, TORCH_STEPS, side="right"))
        )
        whole = count == len(epochs) or (at_end is not None and at_end < count)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            got = run(make, epochs[:count])
        cells[name] = finding(got, expected[:count], at_end if whole else None) + (
            "" if whole else " ¹"
        )
    return cells


def peers_table():
    lines = ["| schedule | lrax | optax | braintools | torch |", "|---|---|---|---|---|"]
    rows = [row for T in (1000, 100_000, 10**9) for row in with_length(T)] + list(without_length())
    for row in rows:
        cells = measure(row)
        lines.append(
            f"| {row.label} | {cells['lrax']} | {cells['optax']} | {cells['braintools']} | {cells['torch']} |"
        )
        print(lines[-1], file=sys.stderr, flush=True)
    names = [n for n in ("jax", "optax", "braintools", "torch") if optional(n)]
    versions = ", ".join(f"{n} {metadata.version(n)}" for n in names)
    return "\n".join([*lines, "", f"Measured with lrax {lrax.__version__}, {versions}, on CPU."])


def float32_table():
    """The error where a device has no float64, in ulp of the value and of the largest value of the schedule."""
    lines = [
        "| schedule | to epoch 4000, in ulp of the value | in ulp of the peak | to epoch 2^31, in ulp of the peak |",
        "|---|---|---|---|",
    ]
    before = lrax.formulas.arithmetic._WITHOUT_FLOAT64
    lrax.formulas.arithmetic._WITHOUT_FLOAT64 = (jax.default_backend(),)
    try:
        for label, s in registry.EVERY.items():
            scheduler = s.build()
            cells = []
            for epochs in (np.arange(4000), modes.sample(s, 4000)):
                got = np.asarray(
                    jax.jit(lambda t, f=scheduler: f(t))(jnp.asarray(epochs, jnp.int32)), np.float64
                )
                expected = exact.values(s, epochs)
                peak = max(expected.max(), exact.SMALLEST)
                if not cells:
                    normal = expected > 0
                    cells.append(exact.ulps(got[normal], expected[normal]).max())
                cells.append(np.abs(got - expected).max() / exact.ulp(peak))
            assert np.isfinite(cells).all()
            lines.append(f"| {s.name}: {label} | {' | '.join(map(shown, cells))} |")
    finally:
        lrax.formulas.arithmetic._WITHOUT_FLOAT64 = before
    return "\n".join(lines)


def write(path, tables):
    text = path.read_text()
    for name, table in tables.items():
        start, end = (
            f"<!-- {name}: written by benchmarks/accuracy.py -->",
            f"<!-- end of {name} -->",
        )
        head, rest = text.split(start)
        _, tail = rest.split(end)
        text = f"{head}{start}\n\n{table}\n\n{end}{tail}"
    path.write_text(text)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--write", action="store_true", help="put the tables into docs/accuracy.md")
    arguments = parser.parse_args()
    tables = {"peers": peers_table(), "float32": float32_table()}
    print("\n\n".join(tables.values()))
    if arguments.write:
        write(ROOT / "docs" / "accuracy.md", tables)


if __name__ == "__main__":
    main()
