"""The private names of lrax that tests and tools use, because no public one will do: these, and no others."""

import jax

import lrax._numerics
import lrax._state

HOST = lrax._numerics.HOST
"""The arithmetic of formulas on the host, which tools/mutate.py breaks."""

direct = lrax._state.direct
"""Whether a State may be read and written past brainstate's bookkeeping."""


def without_float64(monkeypatch):
    """As if the devices here could not compute in float64."""
    monkeypatch.setattr(lrax._numerics, "_WITHOUT_FLOAT64", (jax.default_backend(),))
