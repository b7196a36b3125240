"""The registry: one entry for every public scheduler, and the tables that the tests draw from it.

Each family of schedulers has a file here, with the entries of its members; see entry.py.
"""

import dataclasses
import inspect

import lrax
from registry import algebra, compose, cosine, cyclic, decay, own, piecewise, plateau, warmup
from registry.entry import Entry
from registry.rows import EPOCH

FAMILIES = (decay, cosine, cyclic, warmup, piecewise, compose, algebra, plateau, own)
ENTRIES = {
    found.name: found
    for family in FAMILIES
    for found in vars(family).values()
    if isinstance(found, Entry)
}

# --- Functions of the epoch

FUNCTIONS_OF_THE_EPOCH = {name: e for name, e in ENTRIES.items() if e.exact is not None}
EVERY = {
    label: entry.spec(arguments)
    for entry in ENTRIES.values()
    for label, arguments in entry.cases.items()
}
"""Each of them at a size that is easy to read, in all its forms."""

ONE_OF_EACH = [
    next(iter(entry.cases)) for entry in ENTRIES.values() if entry.cases and not entry.like
]
"""The first label of each, for what takes long."""


def at_horizon(T):
    """Those that have a length, with length `T`."""
    return {
        label: entry.spec(arguments)
        for entry in ENTRIES.values()
        for label, arguments in entry.at_horizon(T).items()
    }


EMPTY = {
    label: (entry.spec(arguments), epoch, rate)
    for entry in ENTRIES.values()
    for label, (arguments, epoch, rate) in entry.empty.items()
}
EXTREME = [entry.spec(arguments) for entry in ENTRIES.values() for arguments in entry.extreme]
NOT_SMOOTH = {
    label: entry.spec(arguments)
    for entry in ENTRIES.values()
    for label, arguments in entry.not_smooth.items()
}
NEVER_AT_BASE = {label for entry in ENTRIES.values() for label in entry.never_at_base}
ROUGH_IN_FLOAT32 = {label for entry in ENTRIES.values() for label in entry.rough_in_float32}

# --- Objects

BASE = 0.05
MAKERS = {label: (entry, make) for entry in ENTRIES.values() for label, make in entry.kinds.items()}
KINDS = {label: lambda b=BASE, make=make: make(b) for label, (_, make) in MAKERS.items()}
"""A scheduler of every kind, at a base learning rate: what must hold for all of them is tested on these."""

FEW_KINDS = {label: KINDS[label] for label, (entry, _) in MAKERS.items() if not entry.like}
"""Those for what takes long."""

VARIANTS = {label: make for entry in ENTRIES.values() for label, make in entry.variants.items()}
SCHEDULERS = KINDS | VARIANTS
NO_CONFIG = [label for label, (entry, _) in MAKERS.items() if not entry.has_config]
"""Built on code of the user's own, which no configuration can hold."""

USERS = [cls for entry in ENTRIES.values() for cls in entry.classes]
"""Classes of the user's own, which ``from_config`` is given."""

COMPOSITES = [name for name, entry in ENTRIES.items() if entry.composes]
SCALABLE = [label for label, (entry, _) in MAKERS.items() if entry.scales]

# --- Errors

REFUSES = {name: {**entry.refuses, "last_epoch": EPOCH} for name, entry in ENTRIES.items()}
VALID = {
    f"{name}.{argument}" if argument else name: arguments
    for name, entry in ENTRIES.items()
    for argument, arguments in entry.valid.items()
}

# --- Reference values

OPTAX = {
    function: (entry, make)
    for entry in ENTRIES.values()
    for function, (make, _) in entry.optax.items()
}
DIFFERENCES = [
    dataclasses.replace(listed, name=listed.name or entry.name)
    for entry in ENTRIES.values()
    for listed in entry.differs
]


def references(library):
    """The cases of a library: a class or function, its arguments, and for how many epochs."""
    for entry in ENTRIES.values():
        if library == "optax":
            rows = [(name, case) for name, (_, cases) in entry.optax.items() for case in cases]
        else:
            rows = [(entry.name, case) for case in getattr(entry, library)]
        for name, (arguments, epochs) in rows:
            yield {"name": name, **arguments}, epochs


# --- What is missing


def arguments_of(name):
    return set(inspect.signature(getattr(lrax, name).__init__).parameters) - {"self", "last_epoch"}


def missing():
    """What a public scheduler still needs here, in words."""
    public = [
        name
        for name in lrax.__all__
        if isinstance(getattr(lrax, name), type)
        and issubclass(getattr(lrax, name), lrax.LRScheduler)
    ]
    for name in public:
        if name not in ENTRIES:
            yield f"{name} has no entry in tests/registry (see tests/registry/entry.py)"
    for name, entry in ENTRIES.items():
        if name not in public:
            yield f"the entry {name} is of no public scheduler"
            continue
        wanted = arguments_of(name)
        yield from (f"{name}.refuses has no {a}" for a in sorted(wanted - entry.refuses.keys()))
        yield from (
            f"{name}.refuses: there is no {a}" for a in sorted(entry.refuses.keys() - wanted)
        )
        if entry.exact is None:
            continue
        if not entry.cases:
            yield f"{name} has no cases"
        if entry.boundaries is None:
            yield f"{name} has no boundaries"
        if entry.composes is None:
            drawn = {*entry.draws, *entry.undrawn}
            yield from (f"{name}.draws (or undrawn) has no {a}" for a in sorted(wanted - drawn))
            yield from (f"{name}.draws: there is no {a}" for a in sorted(drawn - wanted))
