"""Schedulers out of plain data."""

from typing import Any

from ._checkpoint import restored
from .schedulers._base import LRScheduler


def from_config(config: dict[str, Any]) -> LRScheduler:
    """The scheduler that ``scheduler.config`` describes, at epoch 0.

    >>> import lrax
    >>> lrax.from_config({"StepLR": {"base_lr": 0.1, "step_size": 30, "gamma": 0.1}})
    StepLR(base_lr=0.1, step_size=30, gamma=0.1)
    """
    if not isinstance(config, dict) or len(config) != 1:
        raise ValueError(f"config must be a dict {{class name: arguments}}, got {config!r:.80}.")
    ((name, arguments),) = config.items()
    classes = {
        cls.__name__: cls
        for cls in LRScheduler.__subclasses__()
        if cls.__module__.startswith("lrax.")
    }
    if name not in classes:
        raise ValueError(f"config must name one of {', '.join(sorted(classes))}, got {name!r}.")
    if not isinstance(arguments, dict):
        raise ValueError(f"config[{name!r}] must be a dict of arguments, got {arguments!r:.80}.")
    values = {key: restored(value) for key, value in arguments.items() if key != "schedulers"}
    if "schedulers" in arguments:
        members = arguments["schedulers"]
        if not isinstance(members, dict) or set(members) != set(map(str, range(len(members)))):
            raise ValueError(
                f"config[{name!r}]['schedulers'] must be a dict with the keys '0', '1', ..., got {members!r:.80}."
            )
        values["schedulers"] = [from_config(members[str(i)]) for i in range(len(members))]
    try:
        return classes[name](**values)
    except TypeError as error:
        raise ValueError(f"config[{name!r}] does not fit: {error}") from None
