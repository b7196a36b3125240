"""Every learning rate that torch, braintools and optax produce, except where ours differ by decision."""

import functools

import jax
import numpy as np
import pytest

import golden
from golden import expected
from helpers import assert_close, assert_same_bits, looped, stepped
from registry import DIFFERENCES

CASES = golden.cases()
# torch is float64 and ours is one rounding away; the others round at every operation
TOLERANCE = {"torch": (1.3e-7, 1e-13), "braintools": (1e-6, 1e-7), "optax": (1e-6, 1e-7)}
TOLERANCE["transformers"] = TOLERANCE["torch"]


@functools.cache
def loop_results(library, name, dtype=np.float64):
    """All cases of one class, stepped in one compiled loop; `dtype` is that of the metrics."""
    cases = {key: c for key, c in CASES.items() if (c.library, c.name) == (library, name)}
    length = max(len(case.values) for case in cases.values())
    schedulers = {key: case.build() for key, case in cases.items()}
    if not any(case.metrics for case in cases.values()):
        return looped(schedulers, length)
    metrics = {
        key: np.array(case.metric_values + [0.0] * (length - len(case.metrics)), dtype)
        for key, case in cases.items()
    }
    with jax.enable_x64(dtype == np.float64):
        return looped(schedulers, length, metrics)


@functools.cache
def eager_results(key, dtype=float):
    case = CASES[key]
    metrics = case.metrics and [dtype(metric) for metric in case.metric_values]
    return stepped(case.build(), len(case.values), metrics)


def cases(keep=lambda case: True):
    return pytest.mark.parametrize(
        "key", [key for key, case in CASES.items() if keep(case)], ids=str
    )


@cases()
def test_eager_steps(key):
    case = CASES[key]
    assert_close(eager_results(key), expected(case), *TOLERANCE[case.library])


@cases(lambda case: case.metrics is None and case.name != "MultiplicativeLR")
def test_pure_call(key):
    case = CASES[key]
    rates = case.build()(np.arange(len(case.values)))
    assert isinstance(rates, np.ndarray)
    assert_close(rates, expected(case), *TOLERANCE[case.library])
    assert_same_bits(rates, eager_results(key))


@cases()
def test_steps_in_a_compiled_loop(key):
    case = CASES[key]
    rates = loop_results(case.library, case.name)[key][: len(case.values)]
    assert_close(rates, expected(case), *TOLERANCE[case.library])
    assert_same_bits(rates, eager_results(key))


@pytest.mark.slow
@cases(lambda case: case.metrics is not None)
def test_float32_metrics_in_a_compiled_loop(key):
    """A metric like 0.9999, on the border of a threshold, may fall on the other side in float32."""
    case = CASES[key]
    rates = loop_results(case.library, case.name, np.float32)[key][: len(case.values)]
    assert_same_bits(rates, eager_results(key, np.float32))


@pytest.mark.parametrize("listed", DIFFERENCES, ids=lambda d: f"{d.library}-{d.name}-{d.why}")
def test_differences_are_real_and_documented(listed):
    covered = [case for case in CASES.values() if listed.covers(case)]
    assert covered
    same = [c for c in covered if np.allclose(expected(c), c.values, rtol=1e-3, atol=0)]
    assert not same
    for case in covered:
        mentioned = listed.library in case.lrax_class.__doc__.lower()
        assert mentioned, (
            f"the docstring of {case.lrax_class.__name__} must tell of {listed.library}"
        )


def test_files_are_complete():
    counts = {lib: sum(c.library == lib for c in CASES.values()) for lib in TOLERANCE}
    assert counts == {"torch": 143, "braintools": 77, "optax": 42, "transformers": 9}
    assert sum(len(case.values) for case in CASES.values()) > 13_000
