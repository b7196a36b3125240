"""tools/prove.py, on a few epochs: its references, what comes when, that it resumes, and that it can fail."""

import importlib.util
import itertools
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import exact
import modes
from helpers import in_three

ROOT = Path(__file__).parents[1]
TOOL = ROOT / "tools" / "prove.py"


@pytest.fixture
def prove(monkeypatch):
    """The tool, imported anew, so that a test may break it."""
    monkeypatch.syspath_prepend(str(TOOL.parent))
    spec = importlib.util.spec_from_file_location("prove", TOOL)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "prove", module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def run(prove, tmp_path):
    def run(*options):
        few = ["--epochs", "256", "--chunks", "5", "--processes", "1"]
        return prove.main([*few, "--progress", str(tmp_path / "prove.json"), *options])

    return run


def exactly(wide):
    high = float(wide)
    return exact.mp.mpf(high) + float(wide - type(wide)(high))


def test_references_are_exact_to_60_bits(prove):
    if not prove.WIDE:
        pytest.skip("80 bits are no more than 64 here")
    for label, spec in prove.SCHEDULES.items():
        epochs = modes.sample(spec, 200)
        for t, found in zip(epochs.tolist(), prove.reference(spec, epochs), strict=True):
            expected = exact.value(spec, t)
            assert abs(exactly(found) - expected) <= expected * 2.0**-60, (label, t)


def test_every_chunk_comes_once_and_boundaries_come_first(prove):
    for label, spec in prove.SCHEDULES.items():
        for size in (2**22, 3 * 2**20 + 7):
            chunks = list(prove.order(label, size))
            assert sorted(chunks) == list(range(-(-(2**31) // size)))
            marks = {0, 2**24, 2**31 - 1, *exact.boundaries(spec)}
            first = {max(m - d, 0) // size for m in marks for d in (0, 1)}
            assert set(chunks[: len(first)]) == first
    rest = chunks[len(first) : len(first) + 100]  # evenly spread
    assert max(np.diff(sorted(rest))) < 4 * len(chunks) / len(rest)


def test_interrupted_it_resumes(prove, run, tmp_path, monkeypatch, capsys):
    check, checked = prove.check, []

    def interrupted(task):
        if len(checked) == 3:
            raise KeyboardInterrupt
        checked.append(task)
        return check(task)

    monkeypatch.setattr(prove, "check", interrupted)
    assert run("--only", "restarts") == 0
    assert len(checked) == 3
    monkeypatch.setattr(prove, "check", lambda task: (checked.append(task), check(task))[1])
    assert run("--only", "restarts") == 0
    assert sorted(checked) == sorted(set(checked))
    known = json.loads((tmp_path / "prove.json").read_text())["schedules"]
    assert list(known) == ["restarts, equal", "restarts, growing"]
    for label, entry in known.items():
        assert entry["chunks"] == list(itertools.islice(prove.order(label, 256), 5))
        assert entry["found"]["epochs"] == 5 * 256
    capsys.readouterr()
    assert run("--only", "restarts") == 0
    assert len(checked) == 10, "nothing is left to do"
    assert "| CosineAnnealingWarmRestarts: restarts, equal | 1 280 | 0 | 0 | 0 | 0 | " in (
        capsys.readouterr().out
    )


@pytest.mark.parametrize("changed", ["versions", "schedule"])
def test_a_change_starts_anew(prove, run, monkeypatch, changed, tmp_path):
    assert run("--only", "cosine") == 0
    if changed == "versions":
        others = {**prove.versions(), "jax": "0.0.1"}
        monkeypatch.setattr(prove, "versions", lambda: others)
        left = set()
    else:
        other = prove.SCHEDULES["cosine"].changed(base_lr=0.2)
        monkeypatch.setitem(prove.SCHEDULES, "cosine", other)
        left = {"warmup, cosine"}
    assert prove.Progress(tmp_path / "prove.json").known.keys() == left


def wrong_by(ulps, evaluation, epoch):
    """An evaluation that is some float32 numbers too high at one epoch."""

    def wrong(scheduler):
        rates = evaluation(scheduler)

        def run(epochs):
            found = np.array(rates(epochs))
            if epoch in epochs:
                found.view(np.uint32)[epoch - epochs.start] += ulps
            return found

        return run

    return wrong


@pytest.mark.parametrize("name", ["host", "NumPy", "jit", "loop in jit"])
def test_it_sees_a_wrong_evaluation(prove, run, monkeypatch, capsys, name):
    wrong = wrong_by(2, prove.EVALUATIONS[name], 7)
    monkeypatch.setitem(prove.EVALUATIONS, name, wrong)
    assert run("--only", "line") == 1
    found = capsys.readouterr()
    assert "line, epoch 7, 2 ulp apart: " in found.out
    assert "wrong: line: 2 ulp apart" in found.err
    counts = [int(n == name or name == "host") for n in prove.EVALUATIONS if n != "host"]
    assert f"| 1 280 | {' | '.join(map(str, counts))} | 2 |" in found.out


def test_neighbours_are_counted_and_no_failure(prove, run, monkeypatch, capsys):
    wrong = wrong_by(1, prove.EVALUATIONS["jit"], 7)
    monkeypatch.setitem(prove.EVALUATIONS, "jit", wrong)
    monkeypatch.setattr(prove, "BOUND", 1.5)  # as if they lay on two sides of a rounding boundary
    assert run("--only", "line") == 0
    assert "| 1 280 | 0 | 1 | 0 | 1 | " in capsys.readouterr().out


def test_it_sees_what_all_evaluations_get_wrong(prove, run, monkeypatch, capsys):
    if not prove.WIDE:
        pytest.skip("80 bits are no more than 64 here")
    right = prove.SCHEDULES["cosine"]
    monkeypatch.setattr(
        prove, "reference", lambda spec, t: prove.sys.modules["prove_schedules"].reference(right, t)
    )
    wrong = right.changed(T_max=right.kwargs["T_max"] - 1)
    monkeypatch.setitem(prove.SCHEDULES, "cosine", wrong)
    assert run("--only", "cosine") == 1
    assert "wrong: cosine: " in capsys.readouterr().err


def test_no_number_is_wrong(prove):
    rates = np.array([[0.1, 0.1, 0.1], [0.1, np.nan, -0.1]], np.float32)
    assert prove.ulps_apart(rates).tolist() == [0, np.inf, np.inf]
    off = prove.errors(np.array([np.nan, 0.0, 1e-38], np.float32), np.array([0.1, 1e-39, 1e-39]))
    assert off.tolist() == [np.inf, 0, np.inf]


def test_the_table_goes_into_the_page(prove, run, tmp_path, monkeypatch):
    page = tmp_path / "docs" / "accuracy.md"
    page.parent.mkdir()
    page.write_text((ROOT / "docs" / "accuracy.md").read_text())
    assert run("--only", "table") == 0
    monkeypatch.setattr(prove, "ROOT", tmp_path)
    assert run("--write") == 0
    assert "| PiecewiseConstantSchedule: table | 1 280 | 0 | 0 | 0 | 0 | " in page.read_text()


def test_it_shows_how_far_it_is_without_tqdm(run, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    assert run("--only", "cosine") == 0
    assert capsys.readouterr().err == "10.00%, 0 minutes left\n"


@pytest.mark.parametrize("stop", in_three([signal.SIGINT, signal.SIGTERM], [], [signal.SIGTERM]))
def test_stopped_with_two_processes(tmp_path, stop):
    progress = tmp_path / "prove.json"
    few = ["--epochs", "4096", "--chunks", "300", "--processes", "2", "--progress", str(progress)]
    command = [sys.executable, "-W", "error", str(TOOL), *few]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    while not progress.exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(stop)
    out, _ = process.communicate(timeout=60)  # until all processes have ended
    assert process.returncode == 0
    assert "| schedule | epochs |" in out
    before = json.loads(progress.read_text())["schedules"]
    subprocess.run([*command, "--seconds", "0"], check=True, timeout=60)
    after = json.loads(progress.read_text())["schedules"]
    count = [sum(len(e["chunks"]) for e in known.values()) for known in (before, after)]
    assert count[1] == count[0] + 1
