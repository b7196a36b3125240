"""The examples run as they are, each in a process of its own, where every warning is an error."""

import multiprocessing
import os
import re
import runpy
import sys
from pathlib import Path

import pytest

from helpers import free_port

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(name, options, devices, out, errors):
    """In a new process, before jax looks for devices."""
    for stream, path in ((1, out), (2, errors)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), stream)
    os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={devices}"
    sys.argv = [name, *map(str, options)]
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    """Runs examples side by side: each a name, options, and perhaps a number of devices."""
    # The imports take longer than the training: a server does them once, and forks.
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["sweep", "data_parallel", "train_digits", "branch_and_cooldown"])

    def finish(*runs):
        folder = tmp_path_factory.mktemp("printed")
        processes = []
        for i, (name, options, *devices) in enumerate(runs):
            args = (name, options, *(devices or [1]), folder / f"out-{i}", folder / f"errors-{i}")
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
        texts = [(folder / f"out-{i}").read_text(encoding="utf-8") for i in range(len(runs))]
        return [dict(re.findall(r"^(.+?)  +(.+)$", text, re.MULTILINE)) for text in texts]

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONWARNINGS", "error")
        # With steps in flight, the network of two CPU processes has been seen to wait for ever.
        patch.setenv("JAX_CPU_ENABLE_ASYNC_DISPATCH", "false")
        patch.setenv("PYTHONPATH", os.pathsep.join([str(EXAMPLES), *sys.path]))
        yield finish


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


def test_one_run_ended_from_two_checkpoints(examples):
    (found,) = examples(("branch_and_cooldown.py", []))
    assert found.pop("compilations") == "1"
    losses = {}
    for name, text in found.items():
        loss, _, rate = re.fullmatch(r"loss (\S+), validation (\S+), at rate (\S+)", text).groups()
        losses[name] = float(loss)
        assert rate == ("0.000" if name.endswith("is cooled down") else "0.020")
    assert len(losses) == 4
    for start in ("step 300", "step 600"):
        assert losses[f"{start} is cooled down"] < losses[f"{start} goes on"]


def test_a_sweep_at_once_equals_its_trainings_one_by_one(examples, tmp_path):
    (found,) = examples(("sweep.py", ["--out", tmp_path, "--epochs", 3, "--compare"]))
    assert found["equal losses"].startswith("64 of 64, apart by ")
    assert float(found["equal losses"].split()[-1]) < 1e-3
    best = re.fullmatch(r"learning rate (\S+), (\d+) steps of warmup", found["best configuration"])
    assert 0.01 < float(best[1]) <= 0.3  # the lower ones do not get far in three epochs
    assert 0 <= int(best[2]) < 33
    assert percent(found["validation accuracy"]) > 93
    assert (tmp_path / "sweep.png").stat().st_size > 10_000


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
