"""What of brainstate's internals saves time is not needed: a later version may have it no more."""

import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    "chosen, least",
    [
        ("plain_jax", 30),
        pytest.param(
            "under_plain or given_away or is_gone or static_argument or other_shapes",
            60,
            marks=pytest.mark.slow,
        ),
    ],
    ids=["some", "all"],
)
def test_without_the_internals_that_save_time(chosen, least):
    """The tests of what depends on them, as if a later brainstate had them no more."""
    program = f"""
        import sys
        sys.path.append({str(Path(__file__).parent)!r})
        import brainstate, pytest
        sys.modules["brainstate._state_global_hooks"] = None
        import internals
        assert not internals.direct(brainstate.State(0.0))
        options = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-o", "addopts=", "-k"]
        sys.exit(pytest.main([*options, *sys.argv[1:]]))
    """
    files = [
        Path(__file__).with_name(f"test_{name}.py")
        for name in ("errors_mistakes", "jit_donation", "jit")
    ]
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), chosen, *files],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert int(re.search(r"(\d+) passed", run.stdout)[1]) > least
