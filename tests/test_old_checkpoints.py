"""Checkpoints that released versions wrote still load, and go on as they did then."""

import importlib.util
import json
import shutil
import sys
from pathlib import Path

import msgpack
import numpy as np
import pytest

import lrax
from helpers import assert_close, assert_trees_close, values_of
from registry import NO_CONFIG, SCHEDULERS, USERS
from saved import OPTIMIZERS, begin, set_weights

DATA = Path(__file__).parent / "data" / "checkpoints"
FILES = sorted(DATA.glob("*/*"))
NAMES = {name.replace(" ", "-"): name for name in (*SCHEDULERS, *OPTIMIZERS)}


def named(files):
    return pytest.mark.parametrize(
        "file", files, ids=[f"{file.parent.name} {file.stem}" for file in files]
    )


def unpack_array(code, data):
    shape, dtype, content = msgpack.unpackb(data)
    assert code == 1
    return np.frombuffer(content, dtype).reshape(shape)


@named([file for file in FILES if file.suffix == ".json"])
def test_a_scheduler_goes_on(file):
    saved = json.loads(file.read_text(encoding="utf-8"))
    kind = NAMES[file.stem]
    by_code = kind in NO_CONFIG
    scheduler = SCHEDULERS[kind]() if by_code else lrax.from_config(saved["config"], USERS)
    scheduler.load_state_dict(saved["state_dict"])
    assert int(scheduler.last_epoch.value) == 13
    rates = []
    for i in range(len(saved["rates"])):
        scheduler.step(**({"metric": saved["metrics"][i]} if saved["metrics"] else {}))
        rates.append(scheduler.get_last_lr())
    assert_close(rates, saved["rates"], rtol=1.2e-7, floor=0)


@named([file for file in FILES if file.suffix == ".msgpack"])
def test_an_optimizer_goes_on(file):
    saved = msgpack.unpackb(file.read_bytes(), ext_hook=unpack_array)
    optimizer, states = begin(NAMES[file.stem])
    set_weights(states, saved["weights"])
    optimizer.load_state_dict(saved["state_dict"])
    assert int(optimizer.step_count.value) == 4
    for gradients in saved["gradients"].values():
        optimizer.step(gradients)
        optimizer.lr_scheduler.step()
    assert_trees_close(values_of(states), saved["later"]["weights"], rtol=1e-5)
    assert_close(optimizer.lr_scheduler.get_last_lr(), saved["later"]["rates"], rtol=1.2e-7)


def test_this_version_has_its_checkpoints():
    names = {file.stem for file in FILES if file.parent.name == lrax.__version__}
    assert names == set(NAMES), "run tools/make_checkpoint.py"


# --- the tool that writes them ----------------------------------------------------------------------


@pytest.fixture
def tool(tmp_path, monkeypatch):
    """tools/make_checkpoint.py on copies of the checkpoints and of CHANGELOG.md."""
    path = Path(__file__).parents[1] / "tools" / "make_checkpoint.py"
    spec = importlib.util.spec_from_file_location("make_checkpoint", path)
    found = importlib.util.module_from_spec(spec)
    monkeypatch.setattr(sys, "path", [*sys.path])
    spec.loader.exec_module(found)
    for name in ("DATA", "CHANGELOG"):
        monkeypatch.setattr(found, name, tmp_path / name)
    shutil.copytree(DATA, found.DATA)
    found.CHANGELOG.write_text(f"## {lrax.__version__} (not yet released)\n\n## 0.0.1\n")
    return found


def test_missing_checkpoints_are_written_and_others_left(tool, capsys):
    folder = tool.DATA / lrax.__version__
    missing = {name: (folder / name).read_bytes() for name in ("StepLR.json", "SGD.msgpack")}
    for name in missing:
        (folder / name).unlink()
    (folder / "Adam.msgpack").write_text("left")
    tool.main()
    assert "2 written" in capsys.readouterr().out
    assert json.loads((folder / "StepLR.json").read_text()) == json.loads(missing["StepLR.json"])
    assert (folder / "SGD.msgpack").stat().st_size == len(missing["SGD.msgpack"])
    assert (folder / "Adam.msgpack").read_text() == "left"


@pytest.mark.parametrize(
    "changelog, message",
    [("## {} (1 May 2026)\n", "is released"), ("## 0.0.1 (not yet released)\n", "one heading")],
)
def test_no_checkpoint_is_written_for_a_released_version(tool, changelog, message):
    tool.CHANGELOG.write_text(changelog.format(lrax.__version__))
    file = tool.DATA / lrax.__version__ / "StepLR.json"
    file.unlink()
    with pytest.raises(SystemExit, match=message):
        tool.main()
    assert not file.exists()
