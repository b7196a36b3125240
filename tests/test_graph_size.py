"""The compiled program does not grow with milestones, boundaries or cycles."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lrax
from exact import LAST_EPOCH


def equations(jaxpr):
    inner = [
        equations(getattr(value, "jaxpr", value))
        for equation in jaxpr.eqns
        for value in jax.tree.leaves(
            list(equation.params.values()),
            is_leaf=lambda v: hasattr(v, "eqns") or hasattr(v, "jaxpr"),
        )
        if hasattr(value, "eqns") or hasattr(value, "jaxpr")
    ]
    return len(jaxpr.eqns) + sum(inner)


GROWING = {
    "milestones": lambda n: lrax.MultiStepLR(0.1, list(range(10, 10 + n)), 0.99),
    "boundaries": lambda n: lrax.PiecewiseConstantSchedule(
        boundaries=list(range(10, 10 + n)), values=list(np.linspace(0.1, 0.01, n + 1))
    ),
    "points": lambda n: lrax.PiecewiseSchedule(0.1, range(10, 10 + n), np.linspace(1, 0.01, n)),
    "cycles": lambda n: lrax.CosineAnnealingWarmRestarts(0.1, T_0=LAST_EPOCH // n, T_mult=1),
    "growing cycles": lambda n: lrax.CosineAnnealingWarmRestarts(0.1, T_0=10, T_mult=1 + n),
    "periods": lambda n: lrax.StepLR(0.1, LAST_EPOCH // n, 0.99),
    "triangles": lambda n: lrax.CyclicLR(0.01, 0.1, LAST_EPOCH // (2 * n)),
    "in a sequence": lambda n: lrax.SequentialLR(
        [lrax.WarmupScheduler(0.1, 5), lrax.MultiStepLR(0.1, list(range(10, 10 + n)), 0.99)], [5]
    ),
}


@pytest.mark.parametrize("label", GROWING)
@pytest.mark.parametrize("shape", [(), (1000,)])
def test_the_graph_does_not_grow(label, shape):
    one, many, more = (
        equations(
            jax.make_jaxpr(lambda t, n=n: GROWING[label](n)(t))(jnp.zeros(shape, jnp.int32)).jaxpr
        )
        for n in (1, 300, 1000)
    )
    assert 3 < one <= many == more <= 3 * one


def test_joined_pieces_share_a_graph():
    """Twice the pieces, at most twice the graph."""

    def size(n):
        pieces = [lrax.LinearLR(0.1 * i, 0.5, 1.0, 10) for i in range(1, n + 1)]
        joined = lrax.SequentialLR(pieces, list(range(10, 10 * n, 10)))
        return equations(jax.make_jaxpr(lambda t: joined(t))(jnp.int32(0)).jaxpr)

    assert size(64) <= 2 * size(32)


AROUND = {
    "warmup": (lambda s: s.with_warmup(5), 7),
    "warmup from above 0": (lambda s: s.with_warmup(5, start_lr=1e-3), 8),
    "cooldown": (lambda s: s.with_cooldown(50, 5), 9),
    "cooldown to above 0": (lambda s: s.with_cooldown(50, 5, eta_min=1e-3), 9),
    "cosine": (lambda s: s.with_cooldown(50, 5, "cosine", eta_min=1e-3), 12),
    "1-sqrt": (lambda s: s.with_cooldown(50, 5, "1-sqrt"), 13),
}


@pytest.mark.parametrize("label", AROUND)
def test_what_a_warmup_or_a_cooldown_adds(label):
    """The rates at which they begin and end are known before, and so which way they go."""
    around, most = AROUND[label]

    def size(n):
        scheduler = lrax.LinearLR(0.1, 0.5, 1.0, 50)
        for _ in range(n):
            scheduler = around(scheduler)
        return equations(jax.make_jaxpr(lambda t: scheduler(t))(jnp.int32(0)).jaxpr)

    assert size(13) - size(3) <= 10 * most
