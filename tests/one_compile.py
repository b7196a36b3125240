"""Counts what XLA compiles for a train step around which everything happens that may happen.

A module, and a script for processes of their own: ``python one_compile.py PLACE ...``.
"""

import itertools
import json
import pathlib
import pickle
import sys
import tempfile

import brainstate
import jax
import jax.numpy as jnp
import msgpack
import numpy as np
import orbax.checkpoint as ocp
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import lrax
from helpers import compiled_programs

transform = brainstate.transform
JITS = {"lrax.jit": lrax.jit, "brainstate.transform.jit": transform.jit}


def mesh(axis_type=AxisType.Auto):
    return jax.make_mesh((jax.device_count(),), ("d",), axis_types=(axis_type,))


def on_mesh(*spec, axis_type=AxisType.Auto):
    return lambda v: jax.device_put(v, NamedSharding(mesh(axis_type), PartitionSpec(*spec)))


PLACES = {
    "wherever": jnp.asarray,
    "on one device": lambda value: jax.device_put(value, jax.devices()[0]),
    "in float64": lambda value: jnp.asarray(value, jnp.float64),
    "on a mesh": on_mesh(),
    "on a mesh, by rows": on_mesh("d"),
    "on an explicit mesh, by rows": on_mesh("d", axis_type=AxisType.Explicit),
}
"""Where the weights are."""


# --- What travels -----------------------------------------------------------------------------------


def through_msgpack(tree):
    def pack(array):
        array = np.asarray(array)
        return {"bytes": array.tobytes(), "dtype": array.dtype.str, "shape": array.shape}

    def unpack(found):
        if set(found) != {"bytes", "dtype", "shape"}:
            return found
        return np.frombuffer(found["bytes"], found["dtype"]).reshape(found["shape"])

    return msgpack.unpackb(msgpack.packb(tree, default=pack), object_hook=unpack)


def through_orbax(tree):
    folder = pathlib.Path(tempfile.mkdtemp()) / "checkpoint"
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(folder, tree)
        checkpointer.wait_until_finished()
        return checkpointer.restore(folder)


WAYS = {
    "own": lambda tree: tree,
    "numpy": lambda tree: jax.tree.map(np.asarray, tree),
    "pickle": lambda tree: pickle.loads(pickle.dumps(tree)),
    "json": lambda tree: json.loads(json.dumps(tree)),
    "msgpack": through_msgpack,
    "orbax": through_orbax,
}
NUMBERS_ONLY = {"json"}


# --- What happens -----------------------------------------------------------------------------------


class Run:
    """Weights in two groups, an optimizer, a scheduler, and a train step compiled by `jit`."""

    def __init__(self, jit, place, inside):
        first = np.linspace(-1, 1, 32, dtype=np.float32).reshape(8, 4)
        self.weights = {
            "a": brainstate.ParamState({"w": place(first), "b": place(first[:, 0].copy())}),
            "b": brainstate.ParamState(place(first + 0.5)),
        }
        self.scheduler = lrax.WarmupCosineSchedule(0.1, warmup_steps=5, total_steps=50)
        self.optimizer = lrax.AdamW(lr=self.scheduler)
        self.optimizer.register_trainable_weights({"a": self.weights["a"]})
        self.optimizer.add_param_group({"b": self.weights["b"]}, lr=0.03)
        self.inside = inside

        def train_step(x):
            grads, _ = self.gradient(x)
            self.optimizer.step(grads)
            rates = self.optimizer.get_last_lr()
            if inside:
                self.scheduler.step()
            return rates

        self.train_step = jit(train_step)

    def gradient(self, x):
        def loss():
            values = [state.value for state in self.weights.values()]
            return sum(jnp.sum((leaf * x) ** 2) for leaf in jax.tree.leaves(values))

        return transform.grad(loss, self.weights, return_value=True)()

    def load(self, what, way):
        what.load_state_dict(WAYS[way](what.state_dict()))

    def events(self):
        scheduler, optimizer = self.scheduler, self.optimizer
        clock, rates = scheduler.last_epoch, scheduler.current_lrs
        other, third = lrax.StepLR(0.2, step_size=2), lrax.CyclicLR([0.1, 0.2], [1.0, 2.0], 4)
        return {
            "nothing": lambda: None,
            "step()": scheduler.step,
            "step() twice": lambda: (scheduler.step(), scheduler.step()),
            "step(7)": lambda: scheduler.step(7),
            "step(np.int64(8))": lambda: scheduler.step(np.int64(8)),
            "step(jnp.int32(9))": lambda: scheduler.step(jnp.int32(9)),
            "last_epoch = 3": lambda: setattr(clock, "value", 3),
            "last_epoch = jnp.asarray(4)": lambda: setattr(clock, "value", jnp.asarray(4)),
            "current_lr = 0.5": lambda: setattr(optimizer, "current_lr", 0.5),
            "current_lr = 1": lambda: setattr(optimizer, "current_lr", 1),
            "current_lr = jnp.asarray(0.5)": lambda: setattr(
                optimizer, "current_lr", jnp.asarray(0.5)
            ),
            "current_lrs = np.array": lambda: setattr(rates, "value", np.array([0.1, 0.2])),
            "current_lrs = jnp.asarray": lambda: setattr(rates, "value", jnp.asarray([0.1, 0.2])),
            "lr of a group": lambda: optimizer.param_groups[1].__setitem__("lr", 0.25),
            "lr_apply": lambda: optimizer.lr_apply(lambda lr: lr * 0.5),
            "eager update": lambda: optimizer.step(self.gradient(1.0)[0]),
            "attach another": lambda: other.attach_optimizer(optimizer),
            "step() of the other": other.step,
            "attach a third, at epoch 6": lambda: (third.step(6), optimizer.add_scheduler(third)),
            "load the third": lambda: self.load(third, "json"),
            "load the optimizer with the third": lambda: self.load(optimizer, "numpy"),
            "attach the first again": lambda: optimizer.add_scheduler(scheduler),
            **{f"load the scheduler, {way}": lambda way=way: self.load(scheduler, way) for way in WAYS},
            **{
                f"load the optimizer, {way}": lambda way=way: self.load(optimizer, way)
                for way in WAYS
                if way not in NUMBERS_ONLY
            },
            "evaluate": lambda: (scheduler.lr_at(3), scheduler.lr_at(jnp.arange(3))),
        }  # fmt: skip

    def offenders(self):
        """What went wrong: events after which the step was compiled again, or went on with another rate."""
        self.scheduler.step()
        self.optimizer.step(self.gradient(1.0)[0])
        self.scheduler.step(4)
        with compiled_programs() as compiled:
            self.train_step(2.0)
        wrong = [] if len(compiled) == 1 else [f"the first call: {len(compiled)} programs"]
        for event, happen in self.events().items():
            happen()
            before = np.array(self.optimizer.get_last_lr())
            with compiled_programs() as compiled:
                used = np.array(self.train_step(2.0))
            if compiled:
                wrong.append(f"{event}: {len(compiled)} programs")
            if used.dtype != np.float32 or (used != before).any():
                wrong.append(f"{event}: {used} instead of {before}")
        return wrong


def offenders(place):
    if "explicit" in place:
        jax.set_mesh(mesh(AxisType.Explicit))
    return {
        f"{jit}, step {'inside' if inside else 'outside'}": Run(
            JITS[jit], PLACES[place], inside
        ).offenders()
        for jit, inside in itertools.product(JITS, (False, True))
    }


if __name__ == "__main__":
    if "in float64" in sys.argv:
        jax.config.update(
            "jax_enable_x64", True
        )  # the variable does not survive brainstate's import
    print(json.dumps({place: offenders(place) for place in sys.argv[1:]}))
