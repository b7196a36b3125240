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
