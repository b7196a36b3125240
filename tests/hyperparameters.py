"""The numbers in a Spec: found, replaced by others or by traced ones, and differentiated by."""

import functools

import numpy as np

import exact
import registry
from exact import LARGEST, LAST_EPOCH, SMALLEST, Spec


def numbers(obj, path=()):
    """Every number in a Spec that may be traced, with the way to it."""
    if isinstance(obj, Spec):
        fixed = registry.ENTRIES[obj.name].concrete(obj.kwargs)
        obj = {key: value for key, value in obj.kwargs.items() if key not in fixed}
    if isinstance(obj, (dict, list)):
        for key, entry in obj.items() if isinstance(obj, dict) else enumerate(obj):
            yield from numbers(entry, (*path, key))
    elif isinstance(obj, (int, float)) and not isinstance(obj, bool):
        yield path, obj


def put(obj, path, new):
    """A copy with the number at `path` replaced."""
    if not path:
        return new
    key, *rest = path
    if isinstance(obj, Spec):
        return obj.changed(**{key: put(obj.kwargs[key], rest, new)})
    return [put(entry, rest, new) if i == key else entry for i, entry in enumerate(obj)]


def put_all(s, paths, new):
    return functools.reduce(lambda s, pair: put(s, *pair), zip(paths, new, strict=True), s)


def rounded(values):
    """As traced numbers arrive: int32 and float32."""
    return [np.int32(v) if isinstance(v, int) else np.float32(v) for v in values]


def variants(s):
    """The hyper-parameters of `s`, and two more sets of them: whole numbers grown, floats shrunk."""
    paths, values = zip(*numbers(s), strict=True)
    others = [
        [
            min(v * k + k // 2, LAST_EPOCH) if isinstance(v, int) else v * (1 - k / 16)
            for v in values
        ]
        for k in (1, 3)
    ]
    return paths, [rounded(v) for v in (values, *others)]


def floats(s):
    return [(path, value) for path, value in numbers(s) if isinstance(value, float)]


def is_kink(s, path):
    """Whether a number of a Spec moves its phases, so that the learning rate is not smooth in it."""
    *parents, last = path
    for key in parents:
        s = s.kwargs[key] if isinstance(s, Spec) else s[key]
    return isinstance(s, Spec) and last in registry.ENTRIES[s.name].kinks


def one_sided(s, path, value, t):
    """The derivatives from the left and from the right, by differences of the exact formula."""
    if not SMALLEST <= exact.value(s, t) <= LARGEST:
        return 0, 0
    with exact.mp.workdps(80):
        return [
            exact.mp.diff(
                lambda h: exact.value(put(s, path, h), t), exact.mp.mpf(value), direction=side
            )
            for side in (-1, 1)
        ]
