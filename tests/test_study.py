"""The study behind docs/choose.md: its program, what is kept of it, and the tables and numbers of the page."""

import json
import re
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

ROOT = Path(__file__).parents[1]
KEPT = json.loads((ROOT / "docs" / "data" / "study.json").read_text(encoding="utf-8"))
PAGE = (ROOT / "docs" / "choose.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def study():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "examples")
        import study

        yield study


def started(path):
    command = [
        sys.executable,
        "-W",
        "error",
        ROOT / "examples" / "study.py",
        "--quick",
        "--out",
        path,
    ]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """The file of a quick run that was killed after its first program, that program, and what the second start printed."""
    path = tmp_path_factory.mktemp("study") / "study.json"
    first = started(path)
    deadline = time.monotonic() + 240
    while not path.exists() and first.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    first.kill()
    first.communicate()
    assert first.returncode == -signal.SIGKILL, "it was over before it was killed"
    before = json.loads(path.read_text(encoding="utf-8"))["runs"]
    printed, _ = (second := started(path)).communicate(timeout=240)
    assert second.returncode == 0, printed
    return json.loads(path.read_text(encoding="utf-8")), before, printed


def test_goes_on_after_a_kill(study, quick):
    results, before, printed = quick
    assert 1 <= len(before) < len(results["runs"])
    assert results["runs"][: len(before)] == before
    done = [(run["task"], run["steps"], run["schedule"]) for run in results["runs"]]
    assert done == [
        (task, steps, name)
        for task, plan in study.QUICK.items()
        for steps in plan["lengths"]
        for name in study.QUICK_SCHEDULES
    ]
    assert f"{len(before)}/{len(done)}" in printed  # where the progress bar begins


def test_refuses_a_file_of_other_settings(study, quick, tmp_path):
    results, _, _ = quick
    path = tmp_path / "other.json"
    study.write(path, results | {"settings": {**results["settings"], "text": {}}})
    with pytest.raises(SystemExit, match="other settings"):
        study.study(study.QUICK, study.QUICK_SCHEDULES, path)


def test_losses_are_those_of_a_loop_with_optax(study, quick):
    """The last seed and the last peak of digits, trained again, by itself and without lrax."""
    results, _, _ = quick
    (run,) = [r for r in results["runs"] if (r["task"], r["schedule"]) == ("digits", "linear")]
    plan, steps, task = study.QUICK["digits"], run["steps"], study.digits()
    peak, warmup = plan["peaks"][-1], steps // 20
    optimizer = optax.sgd(
        lambda t: peak * jnp.minimum(t / warmup, (steps - t) / (steps - warmup)), momentum=0.9
    )
    rng = np.random.default_rng([0, plan["seeds"] - 1])
    weights = jax.tree.map(jnp.float32, task.weights(rng))
    batches = task.batches(rng, steps)
    state = optimizer.init(weights)

    @jax.jit
    def step(weights, state, batch):
        updates, state = optimizer.update(jax.grad(task.loss)(weights, *batch), state)
        return optax.apply_updates(weights, updates), state

    for batch in zip(*batches, strict=True):
        weights, state = step(weights, state, batch)
    assert run["losses"][-1][-1] == pytest.approx(float(task.validation(weights)), rel=1e-3)


def test_what_is_kept_is_all_of_the_plan(study):
    for task, plan in study.PLAN.items():
        assert {**KEPT["settings"][task], "data": None} == {**plan, "data": None}
    found = [(run["task"], run["steps"], run["schedule"]) for run in KEPT["runs"]]
    assert sorted(found) == sorted(
        (task, steps, name)
        for task, plan in study.PLAN.items()
        for steps in plan["lengths"]
        for name in study.SCHEDULES
    )


def kept(task, steps, schedule):
    """{peak: the losses of its seeds}"""
    (run,) = [
        run
        for run in KEPT["runs"]
        if (run["task"], run["steps"], run["schedule"]) == (task, steps, schedule)
    ]
    return dict(zip(KEPT["settings"][task]["peaks"], run["losses"], strict=True))


def best(by_peak):
    """The mean and the deviation of the peak with the lowest mean, and that peak; a diverged one is none."""
    finite = {peak: seeds for peak, seeds in by_peak.items() if None not in seeds}
    peak = min(finite, key=lambda peak: statistics.fmean(finite[peak]))
    return statistics.fmean(finite[peak]), statistics.stdev(finite[peak]), peak


def page_tables():
    """{task: {schedule: the other cells}} of the tables whose first cell is a task."""
    found = {}
    for task in KEPT["settings"]:
        (text,) = re.findall(rf"^\| {task} \|.*\n\|[-|]+\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
        found[task] = {first: rest for first, *rest in rows}
    return found


@pytest.mark.parametrize("task", KEPT["settings"])
def test_tables_of_the_page(study, task):
    table = page_tables()[task]
    assert list(table) == list(study.SCHEDULES)
    lengths = KEPT["settings"][task]["lengths"]
    for schedule, (*cells, half, twice) in table.items():
        for steps, cell in zip(lengths, cells, strict=True):
            mean, deviation, peak = best(kept(task, steps, schedule))
            assert cell == f"{mean:.3f} ± {deviation:.3f} at {peak:g}"
        for factor, cell in ((0.5, half), (2.0, twice)):
            other = kept(task, lengths[-1], schedule).get(factor * peak)
            if other is None:
                assert cell == "not tried"
            elif None in other:
                assert cell == "diverges"
            else:
                assert cell == f"{statistics.fmean(other) / mean - 1:+.1%}"
