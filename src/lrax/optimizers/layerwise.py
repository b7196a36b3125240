"""Learning rates that fall from layer to layer, as patterns for the parameter groups of an optimizer."""

import operator
import re
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .. import _checks
from .._types import Leaf, Number, PyTree, Scalar, Unchecked
from .arrangement import leaves_of
from .patterns import Matches, matcher
from .weights import named_weights, some

_BOTTOM = re.compile(
    r"emb|embed.*|stem|patch.*|pos|position.*|cls|tok|tokens?|wte|wpe", re.IGNORECASE
)
_HEAD = re.compile(r"heads?|classifiers?|predictions?|logits", re.IGNORECASE)
"""Words in the names of what has no number."""

_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")


class _Layer(NamedTuple):
    """A layer; they sort from bottom to top."""

    place: int
    """0 for the bottom, 1 for what has a number, 2 for the head."""

    number: int = 0

    @property
    def name(self) -> str:
        return ("bottom", f"layer {self.number}", "head")[self.place]


def layerwise_lr_decay(
    params: PyTree,
    decay: Scalar = 0.75,
    *,
    layer: Callable[[str, Leaf], int] | None = None,
    no_decay: str | re.Pattern[str] | Matches | None = None,
) -> list[tuple[Matches, dict[str, Number]]]:
    """Parameter groups whose learning rates fall from the top of a network to its bottom.

    For fine-tuning: what is near the data was learned well before, and is changed the least. Of L
    layers, counted from the bottom, layer i gets::

        lr_scale = decay ** (L - 1 - i)                      so that the top one has 1
        lr_scale = decay ** (largest layer(...) - layer(path, leaf))        with `layer`

    The layer of a leaf is told by its path, such as ``layers.0.weight.bias``: by the first part of
    it that is a whole number. A leaf without one is below all others if a word of its path is
    ``emb``, ``stem``, ``pos``, ``cls``, ``tok``, ``token``, ``wte`` or ``wpe``, or begins with
    ``embed``, ``patch`` or ``position``, unless another is ``head``, ``classifier``,
    ``predictions`` or ``logits``. All others without a number are the head, above the rest. Numbers
    that do not appear are not counted: layers 0, 2 and 4 of a Sequential are three.

    Parameters
    ----------
    params : pytree of State
        The weights, as they are registered: ``model.states(brainstate.ParamState)``.
    decay : float, default 0.75
        Factor from a layer to the one below, in (0, 1].
    layer : callable, optional
        Function from path and leaf to the whole number of the layer, instead of the rule above.
    no_decay : str or callable, optional
        What is exempt from weight decay: a regular expression that is searched in the path, or a
        function of path and leaf. These leaves are groups of their own, with ``weight_decay=0``.

    Returns
    -------
    list of tuple
        From bottom to top pairs of a function of path and leaf, which says whether a leaf belongs
        to the group, and the options of the group. Every leaf belongs to exactly one.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described above; the message names it.

    Examples
    --------
    >>> import brainstate, lrax
    >>> nn = brainstate.nn
    >>> model = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1))
    >>> params = model.states(brainstate.ParamState)
    >>> for pattern, options in lrax.layerwise_lr_decay(params, 0.5, no_decay="bias$"):
    ...     print(pattern.__name__, options)
    layer 0 {'lr_scale': 0.5}
    layer 0, no decay {'lr_scale': 0.5, 'weight_decay': 0.0}
    layer 2 {'lr_scale': 1.0}
    layer 2, no decay {'lr_scale': 1.0, 'weight_decay': 0.0}

    Notes
    -----
    - BEiT, MAE: the same for their ViT, whose blocks are counted from 1 between embedding and head.
      BEiT's ``rel_pos_bias`` outside of the blocks is at the top there, and at the bottom here.
    - torch and optax have no such function.

    References
    ----------
    K. Clark et al., "ELECTRA: Pre-training Text Encoders as Discriminators Rather Than Generators",
    https://arxiv.org/abs/2003.10555

    H. Bao et al., "BEiT: BERT Pre-Training of Image Transformers",
    https://arxiv.org/abs/2106.08254
    """
    decay = _checks.real("decay", decay, low=0, high=1, open_low=True)
    leaves = leaves_of(named_weights(params, {}))
    if not leaves:
        raise ValueError(
            f"params must hold at least one weight in a brainstate.State, got {params!r:.80}."
        )
    exempt = _exempt(no_decay, leaves)
    layers = _numbered(leaves) if layer is None else _numbered_by(layer, leaves)
    distinct = sorted(set(layers.values()))
    top = distinct[-1]
    found: list[tuple[Matches, dict[str, Number]]] = []
    for rank, one in enumerate(distinct):
        below = len(distinct) - 1 - rank if layer is None else top.number - one.number
        options = {"lr_scale": _power(decay, below)}
        paths = frozenset(path for path, its in layers.items() if its == one)
        if paths - exempt:
            found.append((_pattern(one.name, paths - exempt), options))
        if paths & exempt:
            name = f"{one.name}, no decay"
            found.append((_pattern(name, paths & exempt), {**options, "weight_decay": 0.0}))
    return found


def _power(decay: Number, exponent: int) -> Number:
    return decay**exponent if _checks.is_traced(decay) else float(decay) ** exponent


def _pattern(name: str, paths: frozenset[str]) -> Matches:
    def pattern(path: str, leaf: Leaf) -> bool:
        return path in paths

    pattern.__name__ = pattern.__qualname__ = name
    return pattern


def _numbered(leaves: dict[str, Leaf]) -> dict[str, _Layer]:
    """The layer of each leaf, as its path tells it."""
    layers = {path: _layer_of(path) for path in leaves}
    if all(layer.place != 1 for layer in layers.values()):
        raise ValueError(
            f"params must have layers with a number in their path, such as 'layers.0.weight', but has {some(leaves)}. "
            "Pass layer=..., a function of path and leaf that gives the number."
        )
    return layers


def _layer_of(path: str) -> _Layer:
    parts = path.split(".")
    number = next((part for part in parts if part.isascii() and part.isdigit()), None)
    if number is not None:
        return _Layer(1, int(number))
    words = [word for part in parts for word in _WORD.findall(part)]
    bottom = any(map(_BOTTOM.fullmatch, words)) and not any(map(_HEAD.fullmatch, words))
    return _Layer(0 if bottom else 2)


def _numbered_by(layer: Unchecked, leaves: dict[str, Leaf]) -> dict[str, _Layer]:
    """The layer of each leaf, as a function of the user's tells it."""
    if not callable(layer):
        raise TypeError(
            f"layer must be a function of path and leaf, got {layer!r:.80}. "
            "Without it the number is found in the path."
        )
    return {path: _Layer(1, _whole(layer(path, leaf), path)) for path, leaf in leaves.items()}


def _whole(number: Unchecked, path: str) -> int:
    try:
        if isinstance(number, (bool, np.bool_)):
            raise TypeError
        return operator.index(number)
    except TypeError:
        raise TypeError(
            f"layer must return a whole number for every leaf, got {number!r:.80} for {path!r}. "
            "Return int(...), 0 for the layer at the bottom."
        ) from None


def _exempt(no_decay: Unchecked, leaves: dict[str, Leaf]) -> frozenset[str]:
    """The paths of the leaves that shall not decay."""
    if no_decay is None:
        return frozenset()
    matches = matcher("no_decay", no_decay)
    found = frozenset(path for path, leaf in leaves.items() if matches(path, leaf))
    if not found:
        raise ValueError(
            f"no_decay must match some of the weights, got {no_decay!r:.80}, but there are {some(leaves)}. "
            "Leave it out if all of them decay."
        )
    return found
