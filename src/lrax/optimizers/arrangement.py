"""Which groups the weights of an optimizer form."""

from collections.abc import Iterable, Mapping, Sequence

import brainstate
import jax
import numpy as np

from .._types import Leaf
from ..states.view import View
from .groups import Group, ParamGroup, betas_too, group_of
from .patterns import Pattern, sort
from .recipe import Recipe
from .weights import Weight


def leaves_of(weights: Mapping[str, Weight]) -> dict[str, Leaf]:
    """All leaves of all weights, by path."""
    return {
        path: leaf
        for weight in weights.values()
        for path, leaf in zip(weight.leaf_names(), jax.tree.leaves(weight.state.value), strict=True)
    }


def default(recipe: Recipe, leaves: Iterable[str] = ()) -> Group:
    """The group of what no pattern matches."""
    return Group("default", tuple(leaves), recipe.values)


def arranged(
    recipe: Recipe,
    patterns: Sequence[Pattern],
    weights: Mapping[str, Weight],
    added: Sequence[Group],
) -> tuple[Group, ...]:
    """The groups: what no pattern matches, if there is any, the patterns in order, and what was added later."""
    taken = {path for group in added for path in group.leaves}
    leaves = {path: leaf for path, leaf in leaves_of(weights).items() if path not in taken}
    *matched, rest = sort(patterns, leaves)
    groups = [default(recipe, rest)] if rest else []
    for pattern, paths in zip(patterns, matched, strict=True):
        if not pattern.frozen:
            groups.append(_group(recipe, pattern, paths))
    if not (groups or added):
        if not leaves:
            raise ValueError(
                "params must have a weight with a leaf, got none: all of them are empty."
            )
        raise ValueError("groups must leave a weight to be trained, but all of them are frozen.")
    return (*groups, *added)


def check_options(recipe: Recipe, patterns: Iterable[Pattern]) -> None:
    """Refuse options that no group could have."""
    for pattern in patterns:
        if not pattern.frozen:
            _group(recipe, pattern, ())


def _group(recipe: Recipe, pattern: Pattern, leaves: Sequence[str]) -> Group:
    where = f"groups[{pattern.name!r:.60}]"
    try:
        return group_of(where, pattern.name, tuple(leaves), recipe, pattern.options)
    except (TypeError, ValueError) as error:
        named = str(error).startswith(where)
        raise type(error)(str(error) if named else f"{where}: {error}") from None


def sizes_of(weights: Mapping[str, Weight]) -> dict[str, int]:
    """The number of weights in each leaf, by path."""
    return {path: int(np.size(leaf)) for path, leaf in leaves_of(weights).items()}


def shown(
    group: Group,
    states: Mapping[str, brainstate.State],
    sizes: Mapping[str, int],
    views: Mapping[str, View],
) -> ParamGroup:
    """A group as a user sees it; the views are of the learning rate and of what follows a schedule."""
    own = {**group.numbers(), **views}
    return ParamGroup(
        params=states,
        **betas_too({name: own[name] for name in ("lr", *group.values) if name in own}),
        name=group.name,
        leaves=list(group.leaves),
        size=sum(sizes[path] for path in group.leaves),
    )


def frozen(groups: Sequence[Group], sizes: Mapping[str, int]) -> list[ParamGroup]:
    """What is in no group, to be shown beside the groups, if there is any."""
    trained = {path for group in groups for path in group.leaves}
    leaves = [path for path in sizes if path not in trained]
    size = sum(sizes[path] for path in leaves)
    return [ParamGroup(name="(frozen)", leaves=leaves, size=size)] if leaves else []
