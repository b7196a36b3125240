"""Gradients that are not finite are left out, and the norm of the others: beside float64 and a training without them."""

import numpy as np
import pytest

import lrax
from counted import (
    ALL,
    RNG,
    RUNS,
    SHAPES,
    START,
    begin,
    everything,
    gradients,
    mean_of,
    spoiled,
    values,
)
from helpers import assert_close, assert_same_bits, assert_trees_equal, slow_but

BAD = {"NaN": np.nan, "inf": np.inf, "-inf": -np.inf}


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("run", slow_but(RUNS, "eager", "lrax"))
def test_what_is_not_finite_changes_nothing(run, k):
    optimizer, weights = begin(skip_nonfinite=True, accumulate_steps=k, log_grad_norm=True)
    RUNS[run](optimizer.step, gradients(4))
    before = everything(optimizer, weights)
    bad = [spoiled(leaf, number) for leaf in SHAPES for number in BAD.values()]
    RUNS[run](optimizer.step, bad)
    assert int(optimizer.skipped) == len(bad) == 6
    counts = optimizer.opt_state.value.counts
    optimizer.opt_state.value = optimizer.opt_state.value._replace(counts=counts.at[2].set(0))
    assert_trees_equal(everything(optimizer, weights), before)


@pytest.mark.parametrize("run", RUNS)
def test_a_gradient_that_is_left_out_is_none_of_those_of_an_update(run):
    """The same bits as a training that never saw it, in every mode."""
    grads = gradients(11)
    optimizer, weights = begin(**ALL)
    plain, expected = begin(accumulate_steps=3)
    for g in grads:
        plain.step(g)
    for place, number in ((2, np.nan), (7, np.inf), (12, np.nan)):
        grads.insert(place, spoiled("a", number))
    RUNS[run](optimizer.step, grads)
    assert_trees_equal(values(weights), values(expected))
    assert_trees_equal(optimizer.opt_state.value.moments, plain.opt_state.value.moments)
    means = (o.opt_state.value.beside["means"] for o in (optimizer, plain))
    assert_trees_equal(*means)
    assert (int(optimizer.step_count), int(optimizer.skipped)) == (3, 3)


def test_complex_weights():
    start = {"w": np.complex64([1 + 1j, 2 - 3j, 0.5j])}
    optimizer, weights = begin(lambda **options: lrax.SGD(lr=0.5, **options), start, **ALL)
    grads = np.complex64(RNG.normal(size=(3, 3)) + 1j * RNG.normal(size=(3, 3)))
    for bad in (complex(np.nan, 1), complex(1, -np.inf), complex(0, np.inf)):
        optimizer.step({"w": np.complex64([1, bad, 0])})
    assert int(optimizer.skipped) == 3
    for g in grads:
        np.testing.assert_array_equal(weights["w"].value, start["w"])
        optimizer.step({"w": g})
    mean = grads.astype(np.complex128).mean(axis=0)
    np.testing.assert_allclose(weights["w"].value, start["w"] - 0.5 * mean, rtol=1e-6)
    assert_close(optimizer.grad_norm, np.linalg.norm(mean))


def test_a_large_gradient_is_no_infinite_one():
    start = {"w": np.float32([1.0, 2.0])}
    optimizer, weights = begin(lambda **o: lrax.SGD(lr=2.0**-70, **o), start, skip_nonfinite=True)
    optimizer.step({"w": np.float32([2.0**70, 0.0])})  # whose norm float32 cannot hold
    assert (int(optimizer.step_count), int(optimizer.skipped)) == (1, 0)
    np.testing.assert_array_equal(weights["w"].value, [0.0, 2.0])


def test_gradients_of_frozen_leaves_do_not_count():
    optimizer, weights = begin(
        skip_nonfinite=True, log_grad_norm=True, groups={"b": {"frozen": True}}
    )
    g = spoiled("b", np.nan)
    optimizer.step(g)
    assert (int(optimizer.step_count), int(optimizer.skipped)) == (1, 0)
    np.testing.assert_array_equal(weights["b"].value, START["b"])
    assert_close(optimizer.grad_norm, np.linalg.norm(np.float64(g["a"])))


# --- The norm ----------------------------------------------------------------------------------------


def test_the_norm_of_the_mean_over_all_groups_before_clipping():
    optimizer, _ = begin(accumulate_steps=2, log_grad_norm=True, groups={"b": {"lr": 0.5}})
    first, second, _ = grads = gradients(3)
    assert float(optimizer.grad_norm) == 0
    for g in grads:
        optimizer.step(g)
    norm = np.sqrt(sum(np.sum(mean**2) for mean in mean_of([first, second]).values()))
    assert_close(optimizer.grad_norm, norm)
    twin, _ = begin(accumulate_steps=2, log_grad_norm=True, groups={"b": {"lr": 0.5}})
    twin.load_state_dict(optimizer.state_dict())
    assert_same_bits(twin.grad_norm, optimizer.grad_norm)


def test_counts_that_are_not_kept_are_no_attributes():
    optimizer, _ = begin()
    with pytest.raises(AttributeError, match=r"grad_clip_norm=\.\.\. or log_grad_norm=True"):
        _ = optimizer.grad_norm
    with pytest.raises(AttributeError, match="skip_nonfinite=True"):
        _ = optimizer.skipped
