"""What several test files share: comparisons that cannot pass by accident, ways to run a scheduler."""

import contextlib
import socket

import brainstate
import jax
import jax.numpy as jnp
import numpy as np
import pytest

METRICS = np.float32([1.0, 0.9, 0.8] + [0.8] * 22 + [0.5] + [0.6] * 40)
"""One for each epoch, for a scheduler that takes a metric."""

COMPILE_EVENT = "/jax/core/compile/backend_compile_duration"


def slow_but(values, *quick):
    """`values` to parametrize with, those that are not among the `quick` ones behind the marker ``slow``."""
    return [v if v in quick else pytest.param(v, marks=pytest.mark.slow) for v in values]


def weekly_but(values, *others):
    """The same, behind the marker ``weekly``."""
    return [v if v in others else pytest.param(v, marks=pytest.mark.weekly) for v in values]


def in_three(values, quick, slow):
    """Those that are ``quick`` as they are, those that are ``slow`` behind that marker, all others ``weekly``."""
    return [
        v
        if v in quick
        else pytest.param(v, marks=pytest.mark.slow if v in slow else pytest.mark.weekly)
        for v in values
    ]


def free_port():
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return free.getsockname()[1]


def assert_close(actual, expected, rtol=1e-6, floor=1e-7):
    """Equal length, non-empty, finite, and within `rtol` of each value or `floor` of the largest."""
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    assert actual.shape == expected.shape, (actual.shape, expected.shape)
    assert actual.size, "nothing to compare"
    assert np.isfinite(expected).all()
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=floor * np.abs(expected).max())


def assert_same_bits(actual, expected):
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.dtype == expected.dtype == np.float32
    assert actual.shape == expected.shape, (actual.shape, expected.shape)
    assert actual.size, "nothing to compare"
    np.testing.assert_array_equal(actual.view(np.int32), expected.view(np.int32))


def assert_trees_close(actual, expected, rtol=1e-6, floor=1e-7):
    leaves, structure = jax.tree.flatten(actual)
    wanted, wanted_structure = jax.tree.flatten(expected)
    assert structure == wanted_structure
    assert leaves, "nothing to compare"
    for a, b in zip(leaves, wanted, strict=True):
        assert jnp.asarray(a).dtype == jnp.asarray(b).dtype
        assert_close(a, b, rtol, floor)


def assert_trees_equal(actual, expected):
    leaves, structure = jax.tree.flatten(actual)
    wanted, wanted_structure = jax.tree.flatten(expected)
    assert structure == wanted_structure
    assert leaves, "nothing to compare"
    for a, b in zip(leaves, wanted, strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


def takes_metric(scheduler):
    return scheduler.learning is not None and scheduler.learning.needs_metric


def step(scheduler, epoch):
    """One step; a plateau is given the metric of this epoch."""
    scheduler.step(**({"metric": METRICS[epoch]} if takes_metric(scheduler) else {}))


def last_lr(scheduler):
    return np.float32(scheduler.get_last_lr()[0])


def stepped(scheduler, epochs, metrics=None):
    """Learning rates of `epochs` eager steps, the first one before any step (after it, with metrics)."""
    values = []
    for epoch in range(epochs):
        if metrics is not None:
            scheduler.step(metrics[epoch])
        values.append(last_lr(scheduler))
        if metrics is None:
            scheduler.step()
    return np.array(values)


def looped(schedulers, epochs, metrics=None):
    """The same of many schedulers at once, stepped inside one compiled loop; `metrics` is a dict like them."""

    def body(_, metric):
        rates = {}
        for key, scheduler in schedulers.items():
            if metric is not None:
                scheduler.step(metric=metric[key])
            rates[key] = scheduler.get_last_lr()[0]
            if metric is None:
                scheduler.step()
        return rates

    rates = brainstate.transform.for_loop(body, jnp.arange(epochs), metrics)
    return {key: np.asarray(values) for key, values in rates.items()}


_counts = []  # of the blocks that are counting; the one listener stays registered


def _listen(event, duration, **_):
    if event == COMPILE_EVENT:
        for count in _counts:
            count.append(duration)


jax.monitoring.register_event_duration_secs_listener(_listen)


@contextlib.contextmanager
def compiled_programs():
    """A list that grows by one with every program XLA compiles inside the block."""
    count = []
    _counts.append(count)
    try:
        yield count
    finally:
        _counts.remove(count)


def state_of(node, key):
    """The State of a scheduler whose value is a dict with `key`: "lr" for its rates, "0" for a plateau's memory."""
    states = brainstate.graph.states(node).values()
    (found,) = (s for s in states if isinstance(s.value, dict) and key in s.value)
    return found


def values_of(states):
    return {key: state.value for key, state in dict(states).items()}


def global_norm(tree):
    return float(
        np.sqrt(sum(np.sum(np.square(np.asarray(leaf))) for leaf in jax.tree.leaves(tree)))
    )
