"""Every public name with its signature and defaults, as text: what a release promises."""

import inspect

import lrax
from lrax import formulas, interop


def signature(function):
    """Parameters and defaults; annotations are pyright's business."""
    found = inspect.signature(function)
    bare = [p.replace(annotation=p.empty) for p in found.parameters.values()]
    return str(found.replace(parameters=bare, return_annotation=found.empty))


def members(cls):
    """What a class adds to those that it derives from, by name."""
    for name, member in sorted(vars(cls).items()):
        if name[0] == "_" and name not in ("__call__", "__add__", "__mul__", "__truediv__"):
            continue
        if inspect.isfunction(member):
            yield f"    .{name}{signature(member)}"
        elif isinstance(member, property) or hasattr(member, "worked_out"):
            yield f"    .{name}"


def lines():
    for module in (lrax, formulas, interop):
        yield f"{module.__name__}:"
        for name, value in sorted(vars(module).items()):
            if name[0] == "_" or inspect.ismodule(value):
                continue
            if module is not lrax and value is getattr(lrax, name, None):
                yield f"  {name}"
                continue
            shown = signature(value) if callable(value) else ""
            yield f"  {name}{shown}"
            if isinstance(value, type):
                bases = [b for b in value.__mro__ if b.__module__.startswith("lrax.")]
                own = bases if value in (lrax.LRScheduler, lrax.OptaxOptimizer) else bases[:1]
                yield from sorted({line for base in own for line in members(base)})


if __name__ == "__main__":
    print("\n".join(lines()))
