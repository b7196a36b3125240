"""What an optimizer is made of: an optax transformation, as a function of its hyper-parameters."""

import dataclasses
import difflib
import inspect
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NewType, TypeAlias

import optax
import optax.contrib
from brainstate.graph import Node

from .. import _checks
from .._names import other_names, unknown_keyword
from .._types import Function, Scalar, Unchecked
from ..schedulers.scheduler import LRScheduler
from .scheduled import as_schedule, check_range
from .transformations import checked_transformation

Build: TypeAlias = Callable[..., optax.GradientTransformation]

Hyperparameter: TypeAlias = Scalar | Function | LRScheduler
"""A number, or what it is at each epoch."""

if not TYPE_CHECKING:
    Hyperparameter = NewType("Hyperparameter", Hyperparameter)

MOMENTA = ("momentum", "beta1", "b1")
"""What a scheduler with ``cycle_momentum=True`` drives: the first of them that there is."""


@dataclasses.dataclass(frozen=True, eq=False)
class Recipe:
    """How to make the transformation of a group."""

    build: Build
    values: Mapping[str, Any]
    """Its arguments by name: numbers, schedules, and what is neither."""

    takes_lr: bool = False
    """Whether it takes the learning rate, and its updates are used as they are."""

    ours: bool = True
    """Whether the arguments are known to us, and checked."""

    foreign: bool = False
    """Whether the transformation is the user's."""

    def fewest_alike(self, values: Mapping[str, Any]) -> int | None:
        """From how many small weights of one shape on they are updated together, with such arguments; None: never.

        Ours update each number by its own gradient alone. What is saved is a kernel for each moment.
        """
        if not self.ours or self.foreign or is_zero(values.get("momentum")):
            return None
        return 64 if "momentum" in values else 4

    @property
    def foreign_values(self) -> dict[str, Any]:
        """The arguments of a factory, beside those that every optimizer has."""
        if self.ours:
            return {}
        return {k: v for k, v in self.values.items() if k not in ("weight_decay", *OUTSIDE)}

    @property
    def factory(self) -> dict[str, str]:
        """The name of a factory of optax's, as it is described in a state dict; a user may call theirs as they like."""
        named = (pair for module in (optax, optax.contrib) for pair in vars(module).items())
        return next(({"tx": name} for name, value in named if value is self.build), {})

    def clipped(self, value: Any) -> "Recipe":
        """The same with gradients of at most this value."""
        return dataclasses.replace(self, values={**self.values, "grad_clip_value": value})

    @property
    def momentum(self) -> str | None:
        """The name of its momentum, if it has one."""
        return next((name for name in MOMENTA if name in self.values), None)

    def with_options(self, where: str, options: Mapping[str, Unchecked]) -> dict[str, Any]:
        """Its arguments, with those of a group that has some of its own."""
        changed = dict(self.values)
        known = [*self.values] if self.ours else [*self.values, *_arguments_of(self.build)]
        for name, value in _spread(options, self.values):
            if name not in known:
                options_here = [n for n in _known(known) if n != "frozen" or where != ADDED]
                raise ValueError(
                    f"{where} must have options of {', '.join(options_here)}, got {name!r}.{_meant(name, known)}"
                )
            changed[name] = self._checked(name, value)
        if self.ours and options.keys() & {"momentum", "nesterov"}:  # else a cycle may drive it
            check_together(changed)
        return changed

    def _checked(self, name: str, value: Unchecked) -> Any:
        if self.ours or name in OUTSIDE:
            return checked(name, value)
        return theirs(self.build, name, value)


OUTSIDE = ("grad_clip_value",)
"""Among the values of a recipe, what is no argument of its transformation."""

ADDED = "add_param_group(...)"
"""Where the options of a group stand that is added later."""

_GROUP_OPTIONS = ("lr", "lr_scale", "frozen")


def _known(names: Collection[str]) -> list[str]:
    return list(dict.fromkeys([*_GROUP_OPTIONS, *(["betas"] if "beta1" in names else []), *names]))


def _meant(name: str, names: Collection[str]) -> str:
    if name in ("grad_clip_norm", "clip_norm"):
        return (
            " The norm is that of the gradients of all groups together: give it to the optimizer."
        )
    if name == "frozen":
        return " Weights are frozen by leaving them out, or by a pattern in groups=..."
    found = [ours for ours in _known(names) if name in other_names(ours)]
    found = found or difflib.get_close_matches(str(name), _known(names), n=1)
    return f" Did you mean {found[0]!r}?" if found else ""


def _spread(
    options: Mapping[str, Unchecked], values: Mapping[str, Any]
) -> Iterator[tuple[str, Unchecked]]:
    """The options one by one: the entries of betas have names of their own, which say more."""
    options = dict(options)
    if "betas" in options and "beta1" in values:
        _refuse_both([name for name in ("beta1", "beta2") if name in options])
        yield from zip(("beta1", "beta2"), betas_of(options.pop("betas")), strict=True)
    yield from options.items()


# --- Arguments ------------------------------------------------------------------------------------


_CHECKS: dict[str, Callable[[str, Unchecked], Any]] = {
    "momentum": _checks.share,
    "beta1": _checks.share,
    "beta2": _checks.share,
    "betas[0]": _checks.share,
    "betas[1]": _checks.share,
    "eps": _checks.non_negative,
    "weight_decay": _checks.non_negative,
    "grad_clip_norm": _checks.positive,
    "grad_clip_value": _checks.positive,
}


def checked(name: str, value: Unchecked) -> Any:
    """An argument of ours: a checked number or flag, or the schedule of one."""
    if name in ("nesterov", "amsgrad"):
        return _checks.flag(name, value)
    if value is None and name.startswith("grad_clip"):
        return None
    schedule = as_schedule(name, value)
    return _CHECKS[name](name, value) if schedule is None else schedule


BETAS = (0.9, 0.999)


def _refuse_both(names: Sequence[str]) -> None:
    if names:
        raise ValueError(
            f"betas must not be given beside {names[0]}, which is another name for one of them. Pass one of the two."
        )


def betas_of(betas: Unchecked, **single: Hyperparameter | None) -> tuple[Any, Any]:
    """The two decay rates of Adam, each a number or a schedule; `single` are those given by name."""
    if is_number(betas):
        raise TypeError(
            f"betas must be two numbers, got {betas!r}. The learning rate comes first, and weights are registered: "
            "AdamW(1e-3).register_trainable_weights(...)."
        )
    pair = _checks.sequence("betas", betas, lambda name, value: value, of="two numbers")
    if len(pair) != 2:
        raise ValueError(f"betas must be two numbers, got {betas!r}.")
    if betas is not BETAS:
        _refuse_both([name for name, value in single.items() if value is not None])
    given = list(single.items()) or [("beta1", None), ("beta2", None)]
    first, second = (
        checked(f"betas[{i}]", pair[i]) if value is None else checked(name, value)
        for i, (name, value) in enumerate(given)
    )
    return first, second


def check_together(values: Mapping[str, Any]) -> None:
    """Refuse arguments of ours that do not go together."""
    momentum = values.get("momentum")
    if values.get("nesterov") and is_zero(momentum):
        raise ValueError(f"nesterov=True needs momentum > 0, got momentum={momentum}.")


def recipe_of(
    kind: Any,
    tx: Unchecked,
    lr: Unchecked,
    weight_decay: Unchecked,
    arguments: Mapping[str, Unchecked],
) -> Recipe:
    """What an optimizer of that class is made of, out of the arguments of its constructor."""
    if hasattr(kind, "default_tx") and (tx is None or isinstance(tx, Recipe)):
        raise TypeError(
            f"{kind.__name__}.default_tx() is asked by braintools, and not here. Pass what it returns: "
            "super().__init__(tx, lr=...)."
        )
    if isinstance(tx, Recipe):
        if lr is None:
            raise TypeError(
                "lr must be a number or an lrax scheduler, got None. Leave it out for 1e-3."
            )
        return tx
    if is_factory(tx):
        decay = {} if weight_decay is None else {"weight_decay": weight_decay}
        return from_factory(tx, {**decay, **arguments}, lr is not None)
    for name, value in arguments.items():
        raise unknown_keyword(kind, name, value)
    number = checked("weight_decay", 0.0 if weight_decay is None else weight_decay)
    if tx is None:
        return Recipe(plain_adam, {"weight_decay": number})
    build = around(checked_transformation(tx))
    if lr is None and not is_zero(number):
        raise ValueError(
            "weight_decay needs lr=...: without it tx is used as it is, so build the decay into tx "
            "(optax.adamw, optax.add_decayed_weights)."
        )
    return Recipe(build, {"weight_decay": number}, foreign=True)


# --- Ours -----------------------------------------------------------------------------------------


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def is_zero(value: Any) -> bool:
    """Whether it is known, and for good: a scheduled number may be 0 at times."""
    return is_number(value) and value == 0


def decay(weight_decay: Any) -> optax.GradientTransformation:
    return optax.identity() if is_zero(weight_decay) else optax.add_decayed_weights(weight_decay)


def sgd(momentum: Any, weight_decay: Any, nesterov: bool) -> optax.GradientTransformation:
    if is_zero(momentum):
        return decay(weight_decay)
    return optax.chain(decay(weight_decay), optax.trace(momentum, nesterov))


def adam(
    beta1: Any, beta2: Any, eps: Any, weight_decay: Any, amsgrad: bool
) -> optax.GradientTransformation:
    scale = optax.scale_by_amsgrad if amsgrad else optax.scale_by_adam
    return optax.chain(decay(weight_decay), scale(beta1, beta2, eps))


def adamw(beta1: Any, beta2: Any, eps: Any, weight_decay: Any) -> optax.GradientTransformation:
    return optax.chain(optax.scale_by_adam(beta1, beta2, eps), decay(weight_decay))


def plain_adam(weight_decay: Any) -> optax.GradientTransformation:
    return optax.chain(decay(weight_decay), optax.scale_by_adam())


def around(tx: optax.GradientTransformation) -> Build:
    """`tx`, and the weight decay after it."""
    return lambda weight_decay: optax.chain(tx, decay(weight_decay))


# --- Factories ------------------------------------------------------------------------------------


_MISSING = {
    "lr": "Call it learning_rate there: that is where lr goes.",
    "count": "A schedule is no optimizer, but its lr: lr=lrax.interop.from_optax(schedule).",
}
"""What to do about an argument that is not given, other than to give it."""


def is_factory(tx: Unchecked) -> bool:
    """Whether it is a function that makes a transformation."""
    return callable(tx) and not isinstance(tx, (type, Node))


def from_factory(factory: Build, arguments: Mapping[str, Unchecked], with_lr: bool) -> Recipe:
    """The recipe of a factory such as ``optax.lion``; `with_lr` if there is a learning rate for it."""
    name = name_of(factory)
    parameters = _parameters(factory)
    if "learning_rate" in arguments:
        raise TypeError(
            f"learning_rate must be passed as lr, got learning_rate={arguments['learning_rate']!r:.80}."
        )
    takes_any = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    known = _arguments_of(factory)
    for given in arguments:
        if given not in parameters and not takes_any:
            raise TypeError(_no_argument(name, given, arguments[given], known))
    missing = [p for p in known if _required(parameters[p]) and p not in arguments]
    if missing:
        raise TypeError(
            f"tx must be a transformation, or a function of its arguments by name; {name} needs {', '.join(missing)}, "
            f"got {factory!r:.80}. {_MISSING.get(missing[0], f'Pass {missing[0]}=...')}"
        )
    takes_lr = "learning_rate" in parameters
    if takes_lr and not with_lr and _required(parameters["learning_rate"]):
        raise TypeError(
            f"tx must be given lr=..., since {name} takes a learning rate and has none of its own, got {factory!r:.80}."
        )
    values = {given: theirs(factory, given, value) for given, value in arguments.items()}
    return Recipe(factory, values, takes_lr and with_lr, ours=False, foreign=True)


def name_of(factory: Any) -> str:
    """What a factory is called in errors and descriptions."""
    return getattr(factory, "__name__", None) or name_of(getattr(factory, "func", type(factory)))


def _arguments_of(factory: Build) -> list[str]:
    """What can be passed by name, beside the learning rate."""
    return [name for name in _parameters(factory) if name != "learning_rate"]


def _parameters(factory: Build) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(factory).parameters
    except ValueError:
        raise TypeError(
            f"tx must be a function that says which arguments it takes, got {factory!r:.80}. Wrap it in a def."
        ) from None


def _required(parameter: inspect.Parameter) -> bool:
    variable = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    return parameter.default is inspect.Parameter.empty and parameter.kind not in variable


def _no_argument(name: str, given: str, value: Unchecked, known: Sequence[str]) -> str:
    text = f"{name} has no argument {given}, got {given}={value!r:.80}."
    if given == "weight_decay":
        return (
            f"{text} Put the decay where it belongs yourself: OptaxOptimizer(optax.chain(direction, "
            "optax.add_decayed_weights(...)), lr=...), or take a factory that has one."
        )
    close = difflib.get_close_matches(given, known, n=1)
    return f"{text} Did you mean {close[0]}?" if close else f"{text} It has {', '.join(known)}."


def theirs(factory: Build, name: str, value: Unchecked) -> Any:
    """An argument of a factory: a schedule, or what it was. A function is one where a number would be expected."""
    parameter = _parameters(factory).get(name)
    default = None if parameter is None else parameter.default
    schedulable = is_number(default) or name in _CHECKS
    if isinstance(value, LRScheduler) or (schedulable and callable(value)):
        return as_schedule(name, value)
    if name == "weight_decay" and value is not None:
        return _checks.non_negative(name, value)
    if isinstance(value, (list, tuple)) and any(isinstance(v, LRScheduler) for v in value):
        raise TypeError(
            f"{name} must be made of numbers, got {value!r:.80}. Write a factory with an argument for each of them: "
            f"def mine(learning_rate, a, b): return {name_of(factory)}(learning_rate, {name}=(a, b))."
        )
    return value


def check_scheduled(values: Mapping[str, Any]) -> None:
    """Refuse schedules that leave the range of their hyper-parameter at an epoch that can be known."""
    for name, value in values.items():
        check_range(name, value)
