"""The names of lrax that are not public and that tests and tools use all the same: these, and no others."""

import jax

import lrax.formulas.arithmetic
import lrax.optimizers.stacks
import lrax.preview.command
import lrax.schedulers.cycles
import lrax.states.internals

HOST = lrax.formulas.host
Vector = lrax.formulas.vector.Vector
Traced = lrax.formulas.traced.Traced
wide = lrax.formulas.arithmetic.wide
"""The arithmetic of formulas on the host, for arrays and in programs, where float64 is allowed."""

cycles_of = lrax.schedulers.cycles.growing
"""The cycles of restarts that grow by a fractional factor."""

direct = lrax.states.internals.direct
"""Whether a State may be read and written past brainstate's bookkeeping."""


def without_stacks(monkeypatch):
    """As if no weight were small."""
    monkeypatch.setattr(lrax.optimizers.stacks, "LARGEST", -1)


def without_float64(monkeypatch):
    """As if the devices here could not compute in float64."""
    monkeypatch.setattr(lrax.formulas.arithmetic, "_WITHOUT_FLOAT64", (jax.default_backend(),))


main = lrax.preview.command.main
"""The command line, which a test calls without a new process."""

scheduler_of = lrax.preview.expression.scheduler_of
examples = lrax.preview.examples.examples
EXPRESSIONS = lrax.preview.examples.EXPRESSIONS
LENGTH = lrax.preview.examples.LENGTH
"""What is typed there, and what ``lrax list`` shows."""
