"""Which weights make a group: patterns, and the first that matches a leaf decides."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, NewType, TypeAlias

import numpy as np

from .._types import Leaf, Unchecked

Matches: TypeAlias = Callable[[str, Leaf], bool]
"""Whether a group has the leaf at this path."""

Patterns: TypeAlias = (
    Mapping[str | Matches, Mapping[str, Any]] | Sequence[tuple[str | Matches, Mapping[str, Any]]]
)
"""Options of groups, by a regular expression or a function of path and leaf."""

if not TYPE_CHECKING:
    Patterns = NewType("Patterns", Patterns)


class Pattern(NamedTuple):
    """A pattern, and the options of what it matches."""

    name: str
    matches: Matches
    options: dict[str, Any]

    @property
    def frozen(self) -> bool:
        return self.options.get("frozen", False)


def patterns_of(groups: Unchecked) -> tuple[Pattern, ...]:
    """The checked argument `groups` of an optimizer."""
    if groups is None:
        return ()
    pairs = list(groups.items()) if isinstance(groups, Mapping) else groups
    if not isinstance(pairs, (list, tuple)):
        raise TypeError(
            f"groups must be a dict or a list of pairs, pattern -> options, got {groups!r:.80}."
        )
    return tuple(_pattern(pair) for pair in pairs)


def _pattern(pair: Unchecked) -> Pattern:
    if not isinstance(pair, (list, tuple)) or len(pair) != 2:
        raise TypeError(
            f"groups must be made of pairs, pattern -> options, got {pair!r:.80}. A pattern is searched in the paths of weights: "
            "groups={'bias': {'lr': 0.01}}."
        )
    pattern, options = pair
    if not isinstance(options, Mapping):
        raise TypeError(
            f"groups[{pattern!r:.80}] must be a dict of options such as {{'lr_scale': 0.1}}, got {options!r:.80}."
        )
    if options.get("frozen") is False:
        options = {name: value for name, value in options.items() if name != "frozen"}
    frozen = options.get("frozen", False)
    if not isinstance(frozen, bool) or (frozen and len(options) > 1):
        raise ValueError(
            f"groups[{pattern!r:.80}] must have frozen=True alone, or leave it out, got {dict(options)!r:.80}."
        )
    return Pattern(*_named(pattern), dict(options))


def _named(pattern: Any) -> tuple[str, Matches]:
    name = pattern.pattern if isinstance(pattern, re.Pattern) else pattern
    name = name if isinstance(name, str) else getattr(pattern, "__name__", repr(pattern))
    return name, matcher(f"groups[{name!r:.80}]", pattern)


def matcher(where: str, pattern: Unchecked) -> Matches:
    """What says of a leaf whether a pattern of that place is its."""
    if isinstance(pattern, (str, re.Pattern)):
        try:
            search = re.compile(pattern).search
            search("")
        except (re.error, TypeError) as error:  # a pattern of bytes
            raise ValueError(
                f"{where} must be a regular expression, got {pattern!r:.80}: {error}."
            ) from None
        return lambda path, leaf: search(path) is not None
    if not callable(pattern):
        raise TypeError(
            f"{where} must be a regular expression or a function of path and leaf, got {pattern!r:.80}."
        )

    def checked(path: str, leaf: Leaf) -> bool:
        answer = pattern(path, leaf)
        if not isinstance(answer, (bool, np.bool_)):
            raise TypeError(
                f"{where} must return True or False for every leaf, got {answer!r:.80} for {path!r}."
            )
        return bool(answer)

    return checked


def sort(patterns: Sequence[Pattern], leaves: Mapping[str, Leaf]) -> list[list[str]]:
    """The paths for each pattern, and in last place those that none of them matches."""
    found: list[list[str]] = [[] for _ in (*patterns, None)]
    taken: dict[int, str] = {}
    for path, leaf in leaves.items():
        matching = [i for i, pattern in enumerate(patterns) if pattern.matches(path, leaf)]
        found[matching[0] if matching else -1].append(path)
        for i in matching[1:]:
            taken[i] = patterns[matching[0]].name
    for i, (pattern, paths) in enumerate(zip(patterns, found, strict=False)):
        if not paths:
            why = "matches nothing"
            if i in taken:
                why = f"gets none of its own, since {taken[i]!r} before it takes them"
            raise ValueError(
                f"groups must have patterns that match a weight, but {pattern.name!r} {why}, got {_listed(leaves)}."
            )
    return found


def _listed(leaves: Mapping[str, Leaf]) -> str:
    shown = [repr(path) for path in leaves]
    return ", ".join(shown[:40]) + (f", and {len(shown) - 40} more" if len(shown) > 40 else "")
