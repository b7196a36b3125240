"""One compilation for the life of a train step: whatever happens around it, wherever the weights are."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from one_compile import offenders

SCRIPT = pathlib.Path(__file__).with_name("one_compile.py")


@pytest.mark.parametrize("place", ["wherever", "on one device"])
def test_one_compilation(place):
    found = offenders(place)
    assert len(found) == 4
    assert not any(found.values()), found


@pytest.mark.parametrize(
    "variables, places",
    [
        ({"JAX_ENABLE_X64": "1"}, ["wherever", "in float64"]),
        (
            {"XLA_FLAGS": "--xla_force_host_platform_device_count=8"},
            ["on a mesh", "on a mesh, by rows", "on an explicit mesh, by rows"],
        ),
    ],
    ids=["float64", "eight devices"],
)
def test_one_compilation_in_another_process(variables, places):
    run = subprocess.run(
        [sys.executable, "-W", "error", SCRIPT, *places],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)
    assert list(found) == places
    for place, of_place in found.items():
        assert len(of_place) == 4
        assert not any(of_place.values()), (place, of_place)
