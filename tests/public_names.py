"""Names that people look for: those of lrax, and those that they know from elsewhere."""

import json
from pathlib import Path

import lrax

KNOWN = json.loads(
    (Path(__file__).parent / "data" / "known_names.json").read_text(encoding="utf-8")
)

PUBLIC = {f"lrax.{name}": getattr(lrax, name) for name in lrax.__all__}
for module in (lrax.formulas, lrax.interop):
    PUBLIC |= {
        f"{module.__name__}.{name}": value
        for name, value in vars(module).items()
        if callable(value) and name[0] != "_" and value not in PUBLIC.values()
    }
