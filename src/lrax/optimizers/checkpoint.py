"""State dicts of optimizers: what belongs to a weight is named by its path, whatever group it is in."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from .._transfers import fetched, meant
from .._types import Leaf, PyTree, Remembered, StateDict, Unchecked
from ..formulas.arithmetic import LARGEST
from ..formulas.description import differences, named
from ..schedulers.learning import Learning
from ..states.clock import LAST_EPOCH
from ..states.published import Published
from ..states.saving import (
    VERSION,
    check_dict,
    check_keys,
    check_number,
    check_version,
    entries,
    load_leaves,
    plain_key,
    saved_leaves,
    single,
    unwrap,
    warn,
)
from .by_weight import Own, by_weight, from_weights
from .groups import Group
from .update import Part
from .weights import UNIT_OF

KEYS = ("version", "step_count", "lr", "optimizer", "opt_state", "lr_scheduler")

COUNTERS = ("step_count", "micro_step", "skipped")


class Checked(NamedTuple):
    """What a state dict says of an optimizer."""

    own: Own
    rates: np.ndarray
    memory: Remembered | None
    """What was learned from metrics."""

    scheduler: StateDict


def described(kind: str, arguments: dict[str, Any], groups: Sequence[Group]) -> StateDict:
    """The hyper-parameters of an optimizer, without its scheduler, and what its groups have of their own."""
    found = named(kind, arguments.items(), whole=False)
    for i, group in enumerate(groups):
        if options := group.options():
            found[kind] |= named(f"group {i}", options.items(), whole=False)
    return found


# --- Saving ---------------------------------------------------------------------------------------


def saved(
    own: Own,
    published: Published,
    learning: Learning | None,
    driven: bool,
    optimizer: StateDict,
    scheduler: StateDict,
) -> StateDict:
    """The state dict of an optimizer."""
    opt_state = saved_leaves(by_weight(jax.block_until_ready(own)))
    for i, part in enumerate(own.parts):
        place = {"part": i} if part.group == i else {"part": i, "group": part.group}
        place = {name: np.asarray(number, np.int32) for name, number in place.items()}
        for path in part.leaves:
            opt_state.setdefault("weights", {}).setdefault(path, {}).update(place)
    found = {
        "version": VERSION,
        "lr": {str(i): float(lr) for i, lr in enumerate(fetched(published.rates))},
        "optimizer": optimizer,
        "opt_state": opt_state,
        "lr_scheduler": scheduler,
    }
    found |= {k: single(k, v) for k, v in zip(COUNTERS, own.counters, strict=False)}
    if "norm" in own.beside:
        found["grad_norm"] = float(fetched(own.beside["norm"]))
    if learning is not None:
        found["memory"] = learning.as_numbers()
    if driven:
        found["driven_momentum"] = 1
    return found


# --- Loading --------------------------------------------------------------------------------------


def checked(
    state_dict: StateDict,
    own: Own,
    fresh: Callable[[tuple[Part, ...]], Own],
    learning: Learning | None,
    optimizer: StateDict,
    groups: int,
    strict: bool,
) -> Checked:
    """A state dict for an optimizer that has learned `own`, and has learning rates for so many groups.

    `fresh` makes a beginning for other parts; if not `strict` it may be that of another optimizer.
    """
    check_version("state_dict", state_dict)
    if not own.parts and state_dict.get("opt_state"):
        raise ValueError(
            "register_trainable_weights(...) must be called before load_state_dict(...)."
        )
    _check_keys(state_dict)
    different = differences(unwrap(state_dict["optimizer"]), optimizer)
    opt_state, members = _members(state_dict["opt_state"])
    if not strict and any(name in line for name in _DECIDE_MOMENTS for line in different):
        members = _fitting(members, opt_state, own, different)
    # A factory of the user's has no name, and may be that of optax which the other one is.
    different = [line for line in different if not (".tx: " in line and "nothing" in line)]
    moved = _moved({path: group for path, (_, group) in members.items()}, own.parts)
    different += moved
    if strict:
        _refuse(different)
        known = {k: v for k, v in state_dict.items() if k != "driven_momentum"}
        check_keys("state_dict", known, (*KEYS, *_more_keys(own, learning)))
    rates = _rates(state_dict["lr"], None if moved else groups)
    memory, line = _memory(state_dict, learning, bool(moved), strict)
    different += line
    parts = {path: part for path, (part, _) in members.items()}
    if moved or parts != {path: i for i, part in enumerate(own.parts) for path in part.leaves}:
        own, opt_state = _regrouped(opt_state, parts, own, fresh, merge=bool(moved))
    loaded = _learned(state_dict, opt_state, own, different)
    if different:
        warn(f"The optimizer has changed, and goes on as it is here: {'; '.join(different)}.")
    return Checked(loaded, rates, memory, state_dict["lr_scheduler"])


def _memory(
    state_dict: StateDict, learning: Learning | None, moved: bool, strict: bool
) -> tuple[Remembered | None, list[str]]:
    """What was learned from step to step, if it was by the same schedules as here, and a line if not."""
    found = unwrap(entries(state_dict.get("memory", {})))
    here: Any = {} if learning is None else learning.memory.value
    same = isinstance(found, dict) and not moved and found.keys() == here.keys()
    if strict or same:
        try:
            return (None if learning is None else learning.from_numbers(found)), []
        except ValueError:
            if strict:
                raise
    if not (found or here):
        return None, []
    return None, ["the memory of schedules in groups, which goes on as it is here"]


def _learned(
    state_dict: StateDict, opt_state: dict[str, Any], own: Own, different: list[str]
) -> Own:
    """What a state dict says that an optimizer like `own` has learned."""
    opt_state, restarts = _with_means(opt_state, own, different)
    found = load_leaves("opt_state", _without_empty(opt_state), by_weight(own))
    loaded = from_weights(found, own)
    _check_signs(loaded.states)
    counters, norm = _numbers(state_dict, own)
    if restarts and len(counters) > 1:
        counters[1] = np.int32(0)
    if "norm" in loaded.beside:
        loaded.beside["norm"] = norm
    return loaded._replace(counters=counters)


def _with_means(
    opt_state: dict[str, Any], own: Own, different: list[str]
) -> tuple[dict[str, Any], bool]:
    """Leaves with the means of gradients that there are here, and whether they begin anew."""
    means, weights = own.beside.get("means", {}), opt_state["weights"]
    lacking = [path for path in means if "mean" not in weights.get(path, {})]
    restarts = bool(lacking) or any("accumulate_steps" in line for line in different)
    if not different:
        return opt_state, False
    weights = {
        path: {k: v for k, v in leaf.items() if k != "mean" or (not restarts and means)}
        for path, leaf in weights.items()
    }
    if restarts:
        for path, leaf in means.items():
            weights[path] = {**weights.get(path, {}), "mean": jnp.zeros_like(leaf)}
    return {**opt_state, "weights": weights}, restarts


def _without_empty(opt_state: dict[str, Any]) -> dict[str, Any]:
    """Without the dicts that hold nothing, which no file keeps."""
    found = {
        kind: {k: v for k, v in entries.items() if v != {}}
        if isinstance(entries, dict)
        else entries
        for kind, entries in opt_state.items()
    }
    return {kind: entries for kind, entries in found.items() if entries != {}}


def was_driven(state_dict: Unchecked) -> bool:
    """Whether a scheduler has driven the momentum, so that it is a scheduled one."""
    driven = unwrap(check_dict("state_dict", state_dict).get("driven_momentum", 0))
    return check_number("driven_momentum", driven, low=0, high=1, whole=True) == 1


def _more_keys(own: Own, learning: Learning | None) -> list[str]:
    """The keys that there are for some optimizers only."""
    more = [name for name, _ in zip(COUNTERS[1:], own.counters[1:], strict=False)]
    more += ["grad_norm"] if "norm" in own.beside else []
    return [*more, "memory"] if learning is not None else more


def _check_keys(state_dict: StateDict) -> None:
    optional = {*COUNTERS[1:], "grad_norm", "memory", "driven_momentum"}
    check_keys("state_dict", {k: v for k, v in state_dict.items() if k not in optional}, KEYS)


def _numbers(state_dict: StateDict, own: Own) -> tuple[list[Leaf], np.float32]:
    """The counters, and the norm of the last gradients."""
    counters = [
        np.int32(check_number(k, unwrap(state_dict.get(k, 0)), low=0, high=LAST_EPOCH, whole=True))
        for k, _ in zip(COUNTERS, own.counters, strict=False)
    ]
    norm = unwrap(state_dict.get("grad_norm", 0.0))
    if not (isinstance(norm, float) and norm != norm):  # that of gradients with NaN is NaN
        check_number("grad_norm", norm, low=0)
    return counters, np.float32(norm)


def _members(opt_state: Unchecked) -> tuple[dict[str, Any], dict[str, tuple[int, int]]]:
    """What belongs to weights and parts, and the part and the group of each weight."""
    known = {"weights", "parts"} & check_dict("opt_state", opt_state).keys()
    check_keys("opt_state", opt_state, known)
    weights, members = {}, {}
    for path, entry in check_dict("opt_state.weights", opt_state.get("weights", {})).items():
        where = f"opt_state.weights.{path}"
        part = unwrap(check_dict(where, entry).get("part"))
        group = unwrap(entry.get("group", part))
        for key, value in (("part", part), ("group", group)):
            check_number(f"{where}.{key}", value, low=0, whole=True)
        members[path] = part, group
        weights[path] = {k: leaf for k, leaf in entry.items() if k not in ("part", "group")}
    shared = check_dict("opt_state.parts", entries(opt_state.get("parts", {})))
    parts = {key: check_dict(f"opt_state.parts.{key}", part) for key, part in shared.items()}
    return {"weights": weights, "parts": parts}, members


def _refuse(different: Sequence[str]) -> None:
    if different:
        # Those of another class mostly are not, as strict=False would say.
        fit = (
            " if its optax state has the same structure"
            if different[0].startswith("class: ")
            else ""
        )
        raise ValueError(
            f"state_dict must be of this optimizer, but differs: {'; '.join(different)}. Construct the optimizer with the "
            f"saved arguments, or pass strict=False to go on with these{fit}."
        )


_DECIDE_MOMENTS = ("momentum", "amsgrad", "tx", UNIT_OF)
"""The hyper-parameters with which a weight has moments of other kinds."""


def _fitting(
    members: Mapping[str, tuple[int, int]],
    opt_state: dict[str, Any],
    own: Own,
    different: Sequence[str],
) -> dict[str, tuple[int, int]]:
    """Those of the saved weights that have moments of the kinds that they have here."""
    here, shared = by_weight(own), opt_state["parts"]
    parts = {path: i for i, part in enumerate(own.parts) for path in part.leaves}

    def fits(path: str) -> bool:
        if path not in parts:
            return True
        if any(f"{UNIT_OF}{path}:" in line for line in different):
            return False
        kinds = opt_state["weights"][path].keys() ^ here["weights"][path].keys()
        saved = shared.get(str(members[path][0]), {})
        return kinds <= {"mean"} and saved.keys() == here["parts"][str(parts[path])].keys()

    return {path: member for path, member in members.items() if fits(path)}


def _moved(members: Mapping[str, int], parts: Sequence[Part]) -> list[str]:
    """How the saved weights and their groups differ from those here."""
    here = {path: part.group for part in parts for path in part.leaves}
    lines = []
    if new := [path for path in here if path not in members]:
        lines.append(f"opt_state lacks weights, which begin with fresh moments: {', '.join(new)}")
    if gone := [path for path in members if path not in here]:
        lines.append(f"opt_state has weights that are not trained here: {', '.join(gone)}")
    both = {(members[path], here[path]) for path in here if path in members}
    if len(both) > min(len({a for a, _ in both}), len({b for _, b in both})):
        lines.append("opt_state has the weights grouped in another way")
    elif not lines and any(a != b for a, b in both):
        lines.append("opt_state has the groups in another order")
    return lines


def _rates(saved: Unchecked, groups: int | None) -> np.ndarray:
    """The saved learning rates, which must be so many; None: as many as there are."""
    rates = entries(unwrap(saved))
    groups = len(rates) if groups is None and isinstance(rates, dict) else groups or 0
    check_keys("lr", rates, map(str, range(groups)))
    lrs = [check_number(f"lr.{i}", rates[str(i)], low=0, high=LARGEST) for i in range(groups)]
    return np.array(lrs, np.float32)


def _regrouped(
    saved: dict[str, Any],
    members: Mapping[str, int],
    own: Own,
    fresh: Callable[[tuple[Part, ...]], Own],
    merge: bool,
) -> tuple[Own, dict[str, Any]]:
    """A beginning for the groups here, and what it takes of the saved leaves.

    Weights of one group that were in several parts stay so, if these are of different age or not to be merged.
    """
    shared = saved["parts"]
    begun = by_weight(own)["parts"]  # what there is beside the moments of weights
    cohorts: dict[tuple[int, int | None], list[str]] = {}
    for i, part in enumerate(own.parts):
        for path in part.leaves:
            before = members.get(path)
            known = [k for g, k in cohorts if g == part.group and merge]
            same = [k for k in known if not begun[str(i)] or _equal(shared, k, before)]
            cohorts.setdefault((part.group, same[0] if same else before), []).append(path)
    pairs = cohorts.items() if merge else sorted(cohorts.items(), key=lambda pair: pair[0][1] or 0)
    parts = tuple(Part(group, tuple(paths)) for (group, _), paths in pairs)
    begin = fresh(parts)
    found = by_weight(begin)
    for i, ((_, before), _) in enumerate(pairs):
        if before is not None:
            found["parts"][str(i)] = shared.get(str(before), {})
    for path in found["weights"]:
        if path in members:
            found["weights"][path] = saved["weights"][path]
        else:
            found["weights"][path].pop("mean", None)  # of other gradients than the rest
    return begin, found


def _equal(shared: Mapping[str, Any], a: int | None, b: int | None) -> bool:
    """Whether two saved parts are of the same age: all that is not of one weight is equal."""
    if a is None or b is None or a == b:
        return a is b or a == b
    first, second = (shared.get(str(i), {}) for i in (a, b))
    return first.keys() == second.keys() and all(
        np.array_equal(np.asarray(first[k]), np.asarray(second[k])) for k in first
    )


_COUNTS = ("count", "step", "notfinite")
"""In the names of what optax counts."""

_SQUARES = ("nu", "nu_max", "sum_of_squares")
"""The names of what optax takes the root of."""


def _check_signs(states: list[PyTree]) -> None:
    """What optax counts, and squares, is never less than 0; what a user's state means nobody knows."""
    signed = lambda node: isinstance(node, optax.ScaleBySM3State)  # noqa: E731 (its nu is no square)
    users = lambda node: hasattr(node, "_fields") and type(node).__module__.split(".")[0] != "optax"  # noqa: E731
    states = jax.tree.map(
        lambda n: n.mu if signed(n) else () if users(n) else n,
        states,
        is_leaf=lambda n: signed(n) or users(n),
    )
    for keys, leaf in jax.tree_util.tree_flatten_with_path(states)[0]:
        fields = [key.name for key in keys if isinstance(key, jax.tree_util.GetAttrKey)]
        name = ".".join(["opt_state", *map(str, map(plain_key, keys))])
        last = fields[-1] if fields else ""
        whole = np.shape(leaf) == () and jnp.issubdtype(leaf.dtype, np.integer)
        if whole and any(part in last for part in _COUNTS):
            check_number(name, int(leaf), low=0, whole=True)
        with meant():
            if last in _SQUARES and bool(jnp.any(jnp.real(leaf) < 0)):
                raise ValueError(f"{name} must be numbers >= 0, got {float(jnp.real(leaf).min())}.")
