"""What schedulers and optimizers have in common as nodes of a graph of States."""

import copy
import inspect
from typing import TYPE_CHECKING, Any, ClassVar

import brainstate
from brainstate.graph import Node, register_graph_node_type

from .._names import check_keywords


class ShowsArguments(type(Node)):
    """Shows ``help()`` and editors the arguments of ``__init__``, which brainstate's metaclass hides, and not brainstate's methods."""

    if not TYPE_CHECKING:

        def __call__(cls, *args: Any, **kwargs: Any) -> Any:
            check_keywords(cls, kwargs, args)
            return super().__call__(*args, **kwargs)

        @property
        def __signature__(cls) -> inspect.Signature:
            _, *parameters = inspect.signature(cls.__init__).parameters.values()
            return inspect.Signature(parameters)

    def __dir__(cls) -> list[str]:
        return [name for name in super().__dir__() if not _is_brainstates(cls, name)]


def _is_brainstates(cls: type, name: str) -> bool:
    owner = next((base for base in cls.__mro__ if name in vars(base)), object)
    return owner.__module__.partition(".")[0] == "brainstate"


def _flatten(node: Node) -> tuple[list[tuple[str, Any]], tuple[type]]:
    hidden = node.graph_invisible_attrs
    return sorted((k, v) for k, v in vars(node).items() if k not in hidden), (type(node),)


def _set_in_copy(node: Node, name: Any, value: Any) -> None:
    """Put a copy together: what its attributes refuse from a user is none of its business."""
    state = vars(node).get(name)
    if isinstance(state, brainstate.State) and not isinstance(value, brainstate.State):
        state.update_from_ref(value)
    else:
        vars(node)[name] = value


class GuardedNode(Node, metaclass=ShowsArguments):
    """A node whose attributes cannot be assigned by mistake."""

    parameters: ClassVar[tuple[str, ...]] = ()
    """The arguments of the constructor."""

    fixed: ClassVar[frozenset[str]] = frozenset()
    """Attributes that cannot be changed after construction: the arguments of our constructors."""

    ours: ClassVar[bool] = True
    """Whether it is a class of lrax, not one that a user has derived."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.ours = cls.__module__.partition(".")[0] == __name__.partition(".")[0]
        kinds = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
        _, *parameters = inspect.signature(cls.__init__).parameters.values()
        cls.parameters = tuple(p.name for p in parameters if p.kind not in kinds)
        if cls.ours:
            cls.fixed = cls.fixed | {*cls.parameters}
        register_graph_node_type(
            type=cls,
            flatten=_flatten,
            set_key=_set_in_copy,
            pop_key=lambda node, key: vars(node).pop(key),
            create_empty=lambda static: object.__new__(static[0]),
            clear=lambda node: vars(node).clear(),
        )

    def __dir__(self) -> list[str]:
        return [name for name in super().__dir__() if not _is_brainstates(type(self), name)]

    def __reduce_ex__(self, protocol: Any) -> Any:
        kind = type(self).__name__
        raise TypeError(
            f"{kind} cannot be pickled or copied by its attributes. Save its state_dict() and the config of the scheduler, from "
            "which lrax.from_config makes it again, or copy it with copy.deepcopy(...)."
        )


def _is_copied_inside() -> bool:
    """Whether what has called ``copy.deepcopy`` is that itself: the first entry of a tuple finds no memo."""
    frame: Any = inspect.currentframe()
    for _ in range(3):
        frame = frame and frame.f_back
    return frame is not None and frame.f_globals.get("__name__") == copy.__name__


class OfNetwork(GuardedNode):
    """One that trains or averages the weights of a network."""

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Any:
        if memo or _is_copied_inside():
            kind = type(self).__name__
            raise TypeError(
                f"{kind} cannot be copied by copy.deepcopy(...) as a part of something else: brainstate copies each object by itself, "
                "and it would have other weights than the network beside it. Copy them together: "
                "brainstate.graph.clone((network, optimizer))."
            )
        return super().__deepcopy__(memo)
