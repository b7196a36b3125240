"""Gradients by every number of a schedule: right where there is one, and finite where there is none."""

import jax
import numpy as np
import pytest

import exact
import registry
from exact import LAST_EPOCH
from helpers import slow_but
from hyperparameters import floats, is_kink, one_sided, put_all, rounded


def gradient_epochs(s):
    marks = exact.boundaries(s)
    near = {m + d for m in [*marks[:5], *marks[-2:]] for d in (-1, 0, 1)}
    found = sorted(
        e
        for e in near | {0, 1, 5, 100, 500, 5000, 10**5, 2**24, LAST_EPOCH}
        if 0 <= e <= LAST_EPOCH
    )
    return np.array((found + [LAST_EPOCH] * 32)[:32], np.int32)


def gradients(s):
    """A program: d lr / d value for every float of `s`, at every epoch."""
    paths = [path for path, _ in floats(s)]

    def rate(values, t):
        return put_all(s, paths, values).build()(t)

    program = jax.jit(jax.vmap(jax.grad(rate), in_axes=(None, 0)))
    return lambda values, epochs: np.array(program(list(values), epochs), np.float64)


def assert_finite(found, paths, epochs):
    assert found.shape == (len(paths), len(epochs))
    bad = ~np.isfinite(found)
    assert not bad.any(), [(paths[i], epochs[j]) for i, j in np.argwhere(bad)]


@pytest.mark.parametrize("label", registry.NOT_SMOOTH)
def test_gradients_are_finite_where_formulas_are_not_smooth(label):
    s, epochs = registry.NOT_SMOOTH[label], gradient_epochs(registry.NOT_SMOOTH[label])
    paths, values = zip(*floats(s), strict=True)
    assert_finite(gradients(s)(rounded(values), epochs), paths, epochs)


@pytest.mark.parametrize("label", slow_but(registry.EVERY, *registry.ONE_OF_EACH))
def test_gradients_are_right(label):
    """Against finite differences of the exact formula; at kinks, on one side or between both."""
    s, epochs = registry.EVERY[label], gradient_epochs(registry.EVERY[label])
    paths, values = zip(*floats(s), strict=True)
    program = gradients(s)
    in_float32 = program(rounded(values), epochs)
    assert_finite(in_float32, paths, epochs)
    with jax.enable_x64(True):
        found = program(values, epochs)
        in_float64 = program([float(v) for v in rounded(values)], epochs)
    np.testing.assert_allclose(in_float32, in_float64, rtol=1e-6, atol=1e-12)
    checked = 0
    for path, value, row in zip(paths, values, found, strict=True):
        for t, got in sorted({*zip(epochs.tolist(), row.tolist(), strict=True)}):
            left, right = one_sided(s, path, value, t)
            if is_kink(s, path) and abs(left - right) > 1e-9:
                continue
            slack = 1e-9 * max(abs(left), abs(right)) + 1e-14 * max(
                exact.value(s, t) / (value or 1), 1
            )
            assert min(left, right) - slack <= got <= max(left, right) + slack, (
                path,
                t,
                got,
                left,
                right,
            )
            checked += got != 0
    assert checked >= len(paths)
