"""Write tests/data/torch_schedulers.json: live schedulers of torch, and the learning rates that follow.

    pip install torch
    python tools/make_torch_states.py            # rewrite the file
    python tools/make_torch_states.py --check    # compare the file with the installed torch

For `lrax.interop.from_torch`, which is tested where torch is not installed, too: each case has the call
that makes the scheduler, the attributes that it had after some steps, what stood in the parameter groups,
and the learning rates of every group from then on.
"""

import json
import math
import sys
import warnings
from importlib.metadata import version
from pathlib import Path

import torch
from torch.optim import lr_scheduler, swa_utils

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from torch_cases import CASES, FUNCTIONS, METRICS

PATH = Path(__file__).parents[1] / "tests" / "data" / "torch_schedulers.json"
STEPS, EPOCHS = 4, 12


def made(call, rates):
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": lr} for lr in rates]
    optimizer = torch.optim.SGD(groups, lr=0.1, momentum=0.9)
    optimizer.step()
    names = {**vars(lr_scheduler), "SWALR": swa_utils.SWALR, "optimizer": optimizer, **FUNCTIONS}
    return optimizer, eval(call, names)


def plain(value):
    """What an attribute is stored as; None: not at all."""
    if isinstance(value, lr_scheduler.LRScheduler):
        return state(value)
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    for name, function in FUNCTIONS.items():
        if value is function:
            return {"function": name}
    if isinstance(value, dict):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, float) and math.isinf(value):
        return {"float": str(value)}
    return value if isinstance(value, (bool, int, float, str, type(None))) else None


def state(scheduler):
    kept = {k: plain(v) for k, v in vars(scheduler).items() if k != "optimizer" and k[:2] != "__"}
    attributes = {k: v for k, v in kept.items() if v is not None or k == "_scale_fn_custom"}
    kind = type(scheduler)
    return {"class": kind.__name__, "module": kind.__module__, "attributes": attributes}


def case(key, call, rates):
    optimizer, scheduler = made(call, rates)
    metrics = METRICS if "Plateau" in call else [None] * (STEPS + EPOCHS)
    arguments = [() if metric is None else (metric,) for metric in metrics]
    for argument in arguments[:STEPS]:
        scheduler.step(*argument)
    found = {"key": key, "call": call, "rates": rates, "steps": STEPS, **state(scheduler)}
    found["groups"] = [
        {name: value for name, value in group.items() if isinstance(value, (int, float))}
        for group in optimizer.param_groups
    ]
    found["values"] = []
    for argument in arguments[STEPS : STEPS + EPOCHS]:
        found["values"].append([group["lr"] for group in optimizer.param_groups])
        scheduler.step(*argument)
    return found


def main():
    warnings.simplefilter("ignore")  # torch warns of what its own SequentialLR does
    lines = [json.dumps(case(*arguments)) for arguments in CASES]
    header = json.dumps({"library": "torch", "version": version("torch").split("+")[0]})
    text = header[:-1] + ', "cases": [\n' + ",\n".join(lines) + "\n]}\n"
    if "--check" not in sys.argv[1:]:
        PATH.write_text(text)
    elif json.loads(text)["cases"] != json.loads(PATH.read_text())["cases"]:
        sys.exit(f"{PATH.name} differs from the installed torch")


if __name__ == "__main__":
    main()
