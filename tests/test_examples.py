"""The examples run as they are, each in a process of its own, where every warning is an error; and their pictures."""

import json
import math
import multiprocessing
import os
import re
import runpy
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pytest

from helpers import assert_close, free_port

EXAMPLES = Path(__file__).parents[1] / "examples"


def numbers(axes):
    """What a test compares: label and ``(x, y)`` of each line, and the bars."""
    lines = [(line.get_label(), np.transpose(line.get_xydata()).tolist()) for line in axes.lines]
    bars = [(float(bar.get_width()), float(bar.get_height())) for bar in axes.patches]
    return {"lines": lines, "bars": bars}


def run(name, options, devices, out, errors, pictures):
    """In a new process, before jax looks for devices."""
    matplotlib.use("template")  # nothing is shown, as by Agg, but without a warning
    for stream, path in ((1, out), (2, errors)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), stream)
    os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={devices}"
    sys.argv = [name, *map(str, options)]
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")
    pyplot = matplotlib.pyplot
    figures = [pyplot.figure(number).axes for number in pyplot.get_fignums()]
    found = [numbers(axes) for figure in figures for axes in figure]
    pictures.write_text(json.dumps(found), encoding="utf-8")


class Found(dict):
    """What an example printed, by name, and its `axes`, those of all figures that it left open."""


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    """Runs examples side by side: each a name, options, and perhaps a number of devices."""
    # The imports take longer than the training: a server does them once, and forks.
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["sweep", "data_parallel", "train_digits"])

    def finish(*runs):
        folder = tmp_path_factory.mktemp("printed")
        processes = []
        for i, (name, options, *devices) in enumerate(runs):
            files = (folder / f"{what}-{i}" for what in ("out", "errors", "pictures"))
            args = (name, options, *(devices or [1]), *files)
            processes.append(server.Process(target=run, args=args))
        try:
            for process in processes:
                process.start()
            for i, process in enumerate(processes):
                process.join(150)
                assert process.exitcode is not None, "not done after 150 seconds"
                assert process.exitcode == 0, (folder / f"errors-{i}").read_text(encoding="utf-8")
        finally:
            for process in processes:
                process.kill()
        # What each of them printed; two spaces or more part a name from its value.
        found = []
        for i in range(len(runs)):
            text = (folder / f"out-{i}").read_text(encoding="utf-8")
            found.append(Found(re.findall(r"^(.+?)  +(.+)$", text, re.MULTILINE)))
            found[i].axes = json.loads((folder / f"pictures-{i}").read_text(encoding="utf-8"))
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONWARNINGS", "error")
        # With steps in flight, the network of two CPU processes has been seen to wait for ever.
        patch.setenv("JAX_CPU_ENABLE_ASYNC_DISPATCH", "false")
        patch.setenv("PYTHONPATH", os.pathsep.join([str(EXAMPLES), *sys.path]))
        yield finish


def warmup_cosine(t, peak, warmup, total):
    rest = np.clip((t - warmup) / (total - warmup), 0, 1)
    return peak * np.minimum(t / max(warmup, 1), (1 + np.cos(np.pi * rest)) / 2)


def percent(text):
    assert text.endswith("%")
    return float(text[:-1])


@pytest.mark.slow
def test_digits_interrupted_and_resumed_end_where_the_whole_run_ends(examples, tmp_path):
    whole, parts = ["--out", tmp_path / "whole"], ["--out", tmp_path / "parts"]
    expected, stopped = examples(
        ("train_digits.py", whole), ("train_digits.py", [*parts, "--stop-after", 7])
    )
    assert not stopped
    (resumed,) = examples(("train_digits.py", [*parts, "--resume"]))
    assert resumed == expected
    assert set(resumed) == {"validation accuracy", "final learning rate", "parameter checksum"}
    assert percent(resumed["validation accuracy"]) >= 97
    for folder in ("whole", "parts"):
        assert (tmp_path / folder / "loss_and_lr.png").stat().st_size > 10_000
    assert not stopped.axes
    assert resumed.axes == expected.axes
    losses, rates = (np.array(axes["lines"][0][1]) for axes in resumed.axes)
    steps = np.arange(30 * (1437 // 64))
    for x, _ in (losses, rates):
        np.testing.assert_array_equal(x, steps)
    # With a tenth spread over all classes the loss begins near log(10), and cannot fall below their entropy.
    entropy = -0.91 * math.log(0.91) - 9 * 0.01 * math.log(0.01)
    assert 0.8 * math.log(10) < losses[1, 0] < 1.5 * math.log(10)
    assert entropy < losses[1].min() < entropy + 0.02
    assert_close(rates[1], warmup_cosine(steps, 1e-2, 44, 660))


def test_a_sweep_at_once_equals_its_trainings_one_by_one(examples, tmp_path):
    (found,) = examples(("sweep.py", ["--out", tmp_path, "--epochs", 3, "--compare"]))
    assert found["equal losses"].startswith("64 of 64, apart by ")
    assert float(found["equal losses"].split()[-1]) < 1e-3
    best = re.fullmatch(r"learning rate (\S+), (\d+) steps of warmup", found["best configuration"])
    assert 0.01 < float(best[1]) <= 0.3  # the lower ones do not get far in three epochs
    assert 0 <= int(best[2]) < 33
    assert percent(found["validation accuracy"]) > 93
    assert (tmp_path / "sweep.png").stat().st_size > 10_000
    (picture,) = found.axes
    *lines, ring = [line for _, line in picture["lines"]]
    assert len(lines) == 8
    for x, _ in lines:
        assert_close(x, 2e-3 * 150 ** (np.arange(8) / 7))
    losses = np.array([y for _, y in lines])  # a row for each length of the warmup
    row, column = np.unravel_index(np.argmin(losses), losses.shape)
    assert ring == [[lines[row][0][column]], [losses[row, column]]]
    assert picture["lines"][row][0] == best[2]
    assert f"{ring[0][0]:.1e}" == best[1]
    assert (losses[:, :2] > losses.min()).all()


@pytest.mark.slow
def test_digits_on_many_devices_and_in_two_processes(examples):
    address = f"localhost:{free_port()}"
    short = ["--epochs", 4]
    both = [*short, "--fully-sharded", "--coordinator", address, "--processes", 2, "--process"]
    (one,) = examples(("data_parallel.py", short))
    eight, sharded = examples(
        ("data_parallel.py", short, 8), ("data_parallel.py", [*short, "--fully-sharded"], 8)
    )
    first, second = examples(*(("data_parallel.py", [*both, i]) for i in (0, 1)))
    assert first == second

    assert percent(one["validation accuracy"]) > 95
    assert one["final learning rate"] == "0.000e+00"
    for found, devices, rows in (
        (one, "1 in 1 processes", 64),
        (eight, "8 in 1 processes", 64),
        (sharded, "8 in 1 processes", 8),
        (first, "2 in 2 processes", 32),
    ):
        assert found["devices"] == devices
        assert found["rows on each device"] == f"{rows} of 64 of the first weight"
        for name, tolerance in {"final loss": 2e-4, "norm of the weights": 1e-3}.items():
            assert float(found[name]) == pytest.approx(float(one[name]), abs=tolerance)
        for name in ("validation accuracy", "final learning rate"):
            assert found[name] == one[name]

    assert (first.axes, second.axes) == ([], [])
    (_, alone), length = one.axes[0]["lines"][0][1], 4 * (1437 // 64)
    for found in (one, eight, sharded):
        assert f"{alone[-1]:.4f}" == one["final loss"]
        for _, (x, y) in found.axes[0]["lines"]:
            assert x == [*range(length)]
            np.testing.assert_allclose(y, alone, rtol=0, atol=2e-4)
    whole, divided = 64 * 256 + 256 + 256 * 10 + 10, (64 * 256 + 256 + 256 * 10) // 8 + 10
    memory = [3 * 4 * count / 1024 for count in (whole, whole, divided)]  # float32, two moments
    assert one.axes[1]["bars"][0][0] == pytest.approx(memory[0], rel=1e-3)
    for found in (eight, sharded):
        assert [name for name, _ in found.axes[0]["lines"]] == [
            "1 device",
            "8 devices",
            "8, fully sharded",
        ]
        assert_close([width for width, _ in found.axes[1]["bars"]], memory, rtol=1e-3)


@pytest.mark.slow
def test_groups_and_finder(examples):
    layerwise, finder = examples(("layerwise.py", []), ("finder.py", []))
    assert percent(layerwise["accuracy before"]) == 0
    assert percent(layerwise["accuracy after"]) > 80
    rates, moved = layerwise.axes
    assert [name for name, _ in rates["lines"]] == ["layer 2", "layer 4", "layer 6"]
    for scale, (_, (steps, line)) in zip((0.25, 0.5, 1.0), rates["lines"], strict=True):
        assert_close(line, warmup_cosine(np.array(steps), scale * 4e-3, 20, 200))
    heights = [height for _, height in moved["bars"]]
    assert len(heights) == 4
    assert heights == sorted(heights)
    assert heights[0] == 0 < heights[1]

    test, trainings = finder.axes
    lines = dict(test["lines"])
    tried, losses = lines["loss"]
    assert_close(tried, np.geomspace(1e-7, 10, 100)[: len(tried)], rtol=1e-5)
    average, smoothed = 0.0, []
    for k, loss in enumerate(losses, start=1):
        average = 0.98 * average + 0.02 * loss
        smoothed.append(average / (1 - 0.98**k))
    np.testing.assert_allclose(lines["smoothed"][1], smoothed, rtol=1e-4)
    for name in ("valley", "steepest", "minimum / 10"):
        ((lr,), (height,)) = lines[f"{name}: {finder[name][:7]}"]
        assert np.interp(np.log(lr), np.log(tried), smoothed) == pytest.approx(height, rel=1e-4)
    assert len(trainings["lines"]) == 4
    for label, (x, y) in trainings["lines"]:
        name, peak = label.split(": ")
        assert x == [*range(150)]
        assert y[0] == losses[0] == pytest.approx(math.log(10), rel=0.2)
        assert finder[name].startswith(f"{peak}, loss {np.mean(y[-10:]):.3f}")
