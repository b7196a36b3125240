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
        for name in plan["schedules"]
    ]
    assert f"{len(before)}/{len(done)}" in printed  # where the progress bar begins


def test_refuses_a_file_of_other_settings(study, quick, tmp_path):
    results, _, _ = quick
    path = tmp_path / "other.json"
    study.write(path, results | {"settings": {**results["settings"], "text": {}}})
    with pytest.raises(SystemExit, match="other settings"):
        study.study(study.QUICK, path)


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
        for name in plan["schedules"]
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
def test_tables_of_the_page(task):
    table = page_tables()[task]
    assert list(table) == KEPT["settings"][task]["schedules"]
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


ENDING = [
    "linear",
    "cosine",
    "one-cycle",
    "WSD, linear",
    "WSD, 1-sqrt",
    "WSD, square",
    "warm restarts",
]
"""Those that come down to 0 at the end."""

LAST = {"digits": 3000, "text": 1800}
SHORT = {"digits": 300, "text": 200}


def at(task, steps, schedule):
    return best(kept(task, steps, schedule))[0]


def above(task, steps, schedule, other="linear"):
    """How much higher the loss is, in percent."""
    return 100 * (at(task, steps, schedule) / at(task, steps, other) - 1)


def seeds_below(task, steps, schedule, other="linear"):
    """The part of the seeds that have a lower loss with `schedule`."""
    pairs = zip(
        *(kept(task, steps, name)[best(kept(task, steps, name))[2]] for name in (schedule, other)),
        strict=True,
    )
    return statistics.fmean(one < two for one, two in pairs)


def span(task, schedule):
    """The least and the most that it is above the line, over the lengths."""
    found = [above(task, steps, schedule) for steps in KEPT["settings"][task]["lengths"]]
    return min(found), max(found)


def wrong_peak(task, factor, schedule="linear"):
    """How much higher the loss is with a multiple of the best peak, in percent, at the longest training."""
    by_peak = kept(task, LAST[task], schedule)
    mean, _, peak = best(by_peak)
    return 100 * (statistics.fmean(by_peak[factor * peak]) / mean - 1)


def on_the_end():
    """Sentences of the page, with the numbers as they follow from the file."""
    longest = {
        name: [above(task, steps, name) for task, steps in LAST.items()]
        for name in ("constant", "inverse square root", "plateau")
    }
    constant, root, plateau = ("{:.0f} % and {:.1f} %".format(*x) for x in longest.values())
    yield f"A constant rate ended {constant} above the line"
    constant = "{:.0f} % (digits) and {:.1f} % (text)".format(*longest["constant"])
    yield f"a constant rate is {constant} above the line, the inverse square root {root}, the plateau {plateau}"
    late, early = at("digits", 3000, "constant"), at("digits", 1000, "linear")
    yield f"after 3000 updates of digits, {late:.3f}, is worse than the line after 1000, {early:.3f}"
    for task, end in (("digits", ", and none is ahead"), ("text", ":")):
        means, deviations, _ = zip(*(best(kept(task, LAST[task], x)) for x in ENDING), strict=True)
        yield (
            f"between {min(means):.3f} and {max(means):.3f}, with deviations up to "
            f"{max(deviations):.3f}{end}"
        )
    behind = [above("text", 1800, name) for name in ("one-cycle", "WSD, square", "warm restarts")]
    yield f"are behind the line, by {min(behind):.1f} % to {max(behind):.1f} %"


def on_short_trainings_and_shapes():
    early, later = (above("text", steps, "linear", "WSD, linear") for steps in (200, 600))
    yield f"a loss {early:.1f} % higher after 200 updates and {later:.1f} % after 600"
    yield f"that WSD is {above('digits', 300, 'WSD, linear'):.1f} % behind the line"
    square = max(
        above(task, steps, "WSD, square", "WSD, linear")
        for task, settings in KEPT["settings"].items()
        for steps in settings["lengths"]
    )
    yield f"up to {square:.1f} % above it"
    low, high = span("text", "cosine")
    yield f"the line's mean is {low:.1f} to {high:.1f} % lower"
    steps = "{:.1f} to {:.1f} % above the line on text and {:.1f} to {:.1f} % on digits".format(
        *span("text", "step"), *span("digits", "step")
    )
    plateau = "{:.1f} to {:.1f} % and {:.0f} to {:.0f} %".format(
        *span("text", "plateau"), *span("digits", "plateau")
    )
    yield f"steps are {steps}, the plateau {plateau}"


def on_peaks():
    half, twice = wrong_peak("digits", 0.5), wrong_peak("digits", 2)
    text = f"{wrong_peak('text', 0.5):.1f} % and {wrong_peak('text', 2):.1f} % on text"
    yield f"cost the line {half:.0f} % and {twice:.0f} % on digits, {text}"
    wsd = wrong_peak("digits", 2, "WSD, 1-sqrt")
    yield f"costs {twice:.0f} % with the line and {wsd:.0f} % with WSD, 1-sqrt"
    trained = sum(len(run["losses"]) * len(run["losses"][0]) for run in KEPT["runs"])
    yield f"trains {trained} small networks"
    minutes = [sum(r[x] for r in KEPT["runs"]) / 60 for x in ("seconds", "processor seconds")]
    yield f"took {minutes[0]:.0f} minutes on two cores"
    yield f"({minutes[1]:.0f} minutes of processor time)"


@pytest.mark.parametrize("told", [on_the_end, on_short_trainings_and_shapes, on_peaks])
def test_numbers_in_the_words_of_the_page(told):
    words = " ".join(PAGE.split())
    assert [sentence for sentence in told() if sentence not in words] == []


def test_what_the_page_says_without_numbers():
    lengths = {task: settings["lengths"] for task, settings in KEPT["settings"].items()}
    everywhere = [(task, n) for task, found in lengths.items() for n in found]

    # "within 8 % (digits) and 1.1 % (text) of each other", and one-cycle of the best
    for task, percent in (("digits", 8), ("text", 1.1)):
        means = [at(task, LAST[task], name) for name in ENDING]
        assert max(means) / min(means) - 1 < percent / 100
    for task, n in everywhere:
        names = {run["schedule"] for run in KEPT["runs"]}
        for name in ("one-cycle", "linear"):
            limit = 0.08 if task == "digits" else 0.023
            assert at(task, n, name) / min(at(task, n, other) for other in names) - 1 < limit
        # "on average the plateau was behind every fall to 0"
        assert at(task, n, "plateau") > max(at(task, n, name) for name in ENDING)
        # the cooldowns
        (linear, s1, _), (root, s2, _) = (
            best(kept(task, n, name)) for name in ("WSD, linear", "WSD, 1-sqrt")
        )
        assert abs(linear - root) < min(s1, s2)
        assert at(task, n, "WSD, square") >= linear

    # ahead and behind, for every seed
    for name in ENDING[1:]:
        assert 0 < seeds_below("digits", 3000, name) < 1
        behind = name in ("one-cycle", "WSD, square", "warm restarts")
        assert (seeds_below("text", 1800, name) == 0) == behind
    for n in (200, 600):
        assert seeds_below("text", n, "WSD, linear") == 1
    assert seeds_below("text", 200, "constant") == 1
    assert seeds_below("digits", 300, "WSD, linear") == 0

    # the peaks
    for task, n in SHORT.items():
        line = best(kept(task, n, "linear"))[2]
        for name in ("WSD, linear", "WSD, 1-sqrt", "WSD, square"):
            assert best(kept(task, n, name))[2] == line / 2
    assert [best(kept("text", n, "linear"))[2] for n in lengths["text"]] == [0.016, 0.008, 0.008]
