"""`examples/resume.py` survives being killed at any moment, and checkpoints that are damaged."""

import gc
import importlib.util
import re
import shutil
import subprocess
import sys
import time
import types
from pathlib import Path

import matplotlib
import numpy as np
import pytest

from helpers import weekly_but

matplotlib.use("Agg")
import matplotlib.pyplot as plt

# When one of its reads fails, orbax abandons the others.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

ROOT = Path(__file__).parents[1]
EPOCHS = ["--epochs", "5"]


@pytest.mark.slow
def test_killed_trainings_end_in_the_same_state():
    """Five kills, at random times and during saves; the weekly run has a hundred."""
    harness = ROOT / "tools" / "kill_harness.py"
    run = subprocess.run(
        [sys.executable, "-W", "error", str(harness), "--kills", "5"],
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    found = re.search(r"^(\d+) kills in (\d+) runs, (\d+) of them during a save", run.stdout, re.M)
    kills, runs, saves = map(int, found.groups())
    assert kills == 5
    assert runs >= 1
    assert saves >= 1


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("resume", ROOT / "examples" / "resume.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def train(example, capsys, out, *options):
    example.main(["--out", str(out), *EPOCHS, *options])
    keep_abandoned_reads()
    return capsys.readouterr().out


KEPT = []  # what orbax has left behind: once collected it would be reported in a test that does not expect it


def keep_abandoned_reads():
    end = time.monotonic() + 1
    while (left := abandoned_reads()) and time.monotonic() < end:
        time.sleep(0.05)  # threads still hold some
    KEPT.extend(left)


def abandoned_reads():
    gc.collect()
    running = [o for o in gc.get_objects() if type(o) is types.CoroutineType]
    return [coroutine for coroutine in running if "orbax" in coroutine.cr_code.co_filename]


@pytest.fixture(scope="module")
def stopped(example, tmp_path_factory):
    """A training that was stopped after three of its epochs; to be copied."""
    out = tmp_path_factory.mktemp("stopped")
    example.main(["--out", str(out), *EPOCHS, "--stop-after", "3"])
    return out


@pytest.fixture(scope="module")
def undisturbed(example, tmp_path_factory):
    out = tmp_path_factory.mktemp("undisturbed")
    total = 5 * (example.TRAIN // example.BATCH)
    training = example.Training(total)
    x, y, *_ = example.load_data()
    for epoch in range(5):
        order = np.random.default_rng([0, epoch]).permutation(example.TRAIN)
        losses = [training.step(x[i], y[i]) for i in order.reshape(-1, example.BATCH)]
        training.losses = np.append(training.losses, np.array(losses))
    assert not list(out.iterdir())
    return example.checksum(training.state)


def largest_file(folder):
    return max(
        (file for file in folder.rglob("*") if file.is_file()), key=lambda f: f.stat().st_size
    )


def truncate(folder):
    file = largest_file(folder)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def empty(folder):
    for file in folder.rglob("*"):
        if file.is_file():
            file.write_bytes(b"")


def overwrite(folder):
    file = largest_file(folder)
    content = bytearray(file.read_bytes())
    content[len(content) // 2 :: 97] = bytes(len(content[len(content) // 2 :: 97]))
    file.write_bytes(content)


def overwrite_with_another(folder):
    """The files are those of another epoch: each is readable, but they do not belong together."""
    state = folder / "state"
    shutil.rmtree(state)
    shutil.copytree(folder.parent / "1" / "state", state)


def remove_the_arrays(folder):
    for part in [path for path in folder.rglob("*") if path.is_dir() and path.name == "d"]:
        shutil.rmtree(part)


def remove_the_checksum(folder):
    shutil.rmtree(folder / "check")


DAMAGES = [
    truncate,
    empty,
    overwrite,
    overwrite_with_another,
    remove_the_arrays,
    remove_the_checksum,
]


@pytest.mark.parametrize(
    "damage",
    weekly_but(DAMAGES, truncate, overwrite_with_another),
    ids=lambda damage: damage.__name__,
)
def test_the_checkpoint_before_a_damaged_one_is_used(
    damage, example, stopped, undisturbed, tmp_path, capsys
):
    out = tmp_path / "run"
    shutil.copytree(stopped, out)
    damage(out / "checkpoints" / "3")
    printed = train(example, capsys, out)
    assert re.search(
        r"^checkpoint 3 is damaged \(.+\); it is not used and now in .+$", printed, re.M
    )
    assert "going on after epoch 2" in printed
    assert f"final state          {undisturbed}" in printed
    aside = [path for path in out.iterdir() if path.name.startswith("damaged-3")]
    assert len(aside) == 1
    assert "damaged" not in train(example, capsys, out)  # and is not looked at again


@pytest.mark.slow
def test_a_training_whose_checkpoints_are_all_damaged_begins_anew(
    example, stopped, undisturbed, tmp_path, capsys
):
    out = tmp_path / "run"
    shutil.copytree(stopped, out)
    for epoch in "123":
        truncate(out / "checkpoints" / epoch)
    printed = train(example, capsys, out)
    assert [f"checkpoint {epoch} is damaged" in printed for epoch in "123"] == [True] * 3
    assert "no checkpoint is left" in printed
    assert "going on" not in printed
    assert f"final state          {undisturbed}" in printed


def test_a_finished_training_is_not_trained_further(example, tmp_path, capsys, undisturbed):
    first = train(example, capsys, tmp_path)
    assert f"final state          {undisturbed}" in first
    again = train(example, capsys, tmp_path)
    assert again == "going on after epoch 5\n" + first
    accuracy = float(re.search(r"validation accuracy  ([\d.]+)%", first)[1])
    assert accuracy > 93
    kept = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert kept == ["3", "4", "5"]


def test_a_checkpoint_of_a_longer_training_is_refused(example, stopped, tmp_path):
    """The schedule would be another one."""
    out = tmp_path / "run"
    shutil.copytree(stopped, out)
    with pytest.raises(ValueError, match=r"total_steps: saved 110, here 132"):
        example.main(["--out", str(out), "--epochs", "6"])


def first_loss(example):
    """Of the first batch, in float64."""
    x, y, *_ = example.load_data()
    batch = np.random.default_rng([0, 0]).permutation(example.TRAIN)[: example.BATCH]
    rng = np.random.default_rng(0)
    hidden, out = (rng.normal(scale=(2 / 64) ** 0.5, size=(64, n)) for n in (64, 10))
    logits = np.maximum(x[batch] @ hidden, 0) @ out
    chosen = logits[np.arange(len(batch)), y[batch]]
    return np.mean(np.log(np.exp(logits).sum(axis=1)) - chosen)


@pytest.mark.slow
def test_the_demonstration_kills_itself_and_draws_both_runs(example, undisturbed, capsys):
    example.main(EPOCHS)
    keep_abandoned_reads()
    printed = capsys.readouterr().out
    assert "killed while it saved epoch 2\n" in printed
    assert printed.count(f"final state          {undisturbed}\n") == 2
    begun = 22 * int(re.search(r"^going on after epoch ([12])$", printed, re.M)[1])
    (axes,) = plt.gcf().axes
    alone, before, after = (np.array(line.get_xydata()) for line in axes.lines)
    plt.close()
    np.testing.assert_array_equal(alone[:, 0], np.arange(110))
    np.testing.assert_array_equal(np.concatenate([before, after]), alone)
    assert len(before) == begun
    assert alone[0, 1] == pytest.approx(first_loss(example), rel=1e-5)
