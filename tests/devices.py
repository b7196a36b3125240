"""Trains a small model on all devices there are, and prints what a test wants to know about it as JSON.

    python devices.py KINDS [PORT PROCESS PROCESSES]

The kinds are such as "replicated, lrax", with semicolons between them. With a port it is one of several processes.
"""

import json
import sys

import brainstate
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import lrax
from helpers import compiled_programs

transform = brainstate.transform
JITS = {"lrax": lrax.jit, "brainstate": transform.jit}
STEPS = 6


def twins(jit, where):
    """Two States get the same array, or memory, between two calls: XLA must not be asked to take it twice."""
    a, b = (brainstate.State(jax.device_put(np.zeros(16, np.float32), where)) for _ in range(2))

    def add():
        a.value, b.value = a.value + 1, b.value + 2

    add = JITS[jit](add)
    add()
    b.value = a.value
    add()
    parts = [shard.data for shard in a.value.addressable_shards]
    b.value = jax.make_array_from_single_device_arrays(a.value.shape, where, parts)
    add()
    return [
        sorted({float(v) for s in st.value.addressable_shards for v in s.data}) for st in (a, b)
    ]


def counted(jit, where, everywhere):
    """Two gradients for one update of two groups, one that is left out, and where all that is kept lives."""
    first = np.random.default_rng(1).normal(size=(16, 8)).astype(np.float32)
    params = {
        "w": brainstate.ParamState(jax.device_put(first, where)),
        "b": brainstate.ParamState(jax.device_put(first[:8, 0], where)),
    }
    groups = {"b": {"lr_scale": 0.5, "weight_decay": 0.0}}
    counting = {"accumulate_steps": 2, "skip_nonfinite": True, "auto_step": True}
    optimizer = lrax.AdamW(lr=lrax.StepLR(0.1, 2), grad_clip_norm=1.0, groups=groups, **counting)
    optimizer.register_trainable_weights(params)

    def step(factor):
        optimizer.step({name: factor * jnp.sin(state.value) for name, state in params.items()})

    programs, step = [], JITS[jit](step)
    for factor in (1.0, 2.0, float("nan"), 3.0, 4.0, 5.0, 6.0):
        with compiled_programs() as compiled:
            step(jnp.float32(factor))
        programs.append(len(compiled))
        if factor == 3.0:  # in the middle
            optimizer.load_state_dict(optimizer.state_dict())
    value = optimizer.opt_state.value
    kept = [leaf for leaf in jax.tree.leaves(value) if leaf.shape in ((16, 8), (8,))]
    gather = jax.jit(lambda tree: tree, out_shardings=everywhere)
    return {
        "programs": programs,
        "kept": len(kept),
        "stay": all(leaf.sharding.is_equivalent_to(where, leaf.ndim) for leaf in kept),
        "rows": {
            name: mean.addressable_shards[0].data.shape[0]
            for name, mean in value.beside["means"].items()
        },
        "counts": [
            int(optimizer.step_count),
            int(optimizer.skipped),
            int(optimizer.lr.last_epoch.value),
        ],
        "params": {
            name: np.asarray(gather(state.value)).tolist() for name, state in params.items()
        },
        "norm": float(optimizer.grad_norm),
    }


def train(kind):
    """With weights that are "replicated" or "sharded"."""
    weights, jit = kind.split(", ")
    process, processes = jax.process_index(), jax.process_count()
    mesh = jax.make_mesh((jax.device_count(),), ("data",), axis_types=(AxisType.Auto,))
    rows, everywhere = (NamedSharding(mesh, PartitionSpec(*spec)) for spec in (("data",), ()))
    where = rows if weights == "sharded" else everywhere

    rng = np.random.default_rng(0)
    x = rng.normal(size=(STEPS, 64, 16)).astype(np.float32)
    y = np.tanh(x @ rng.normal(size=(16, 8))).astype(np.float32)
    first = rng.normal(size=(16, 8)).astype(np.float32)
    params = {
        "w": brainstate.ParamState(jax.device_put(first, where)),
        "b": brainstate.ParamState(jax.device_put(np.zeros(8, np.float32), where)),
    }
    scheduler = lrax.OneCycleLR(max_lr=0.1, total_steps=10)
    optimizer = lrax.AdamW(lr=scheduler, grad_clip_norm=1.0)
    optimizer.register_trainable_weights(params)
    averaged = lrax.AveragedWeights(params, 0.9)

    def train_step(x, y):
        loss_fn = lambda: jnp.mean((jnp.tanh(x @ params["w"].value + params["b"].value) - y) ** 2)  # noqa: E731
        grads, loss = transform.grad(loss_fn, params, return_value=True)()
        optimizer.step(grads)
        averaged.update()
        return loss

    def train_and_schedule(x, y):
        loss = train_step(x, y)
        scheduler.step()
        return loss

    inside, outside = JITS[jit](train_and_schedule), JITS[jit](train_step)
    share = slice(*(64 // processes * (process + i) for i in (0, 1)))
    losses, rates, programs, parts = [], [], [], []

    def epoch():
        for i in range(STEPS):
            batch = [
                jax.make_array_from_process_local_data(rows, a[i, share], a[i].shape)
                for a in (x, y)
            ]
            with compiled_programs() as compiled:
                losses.append((inside if i % 2 else outside)(*batch))
            programs.append(len(compiled))
            if not i % 2:
                scheduler.step()
            rates.append(scheduler.get_last_lr()[0])
            if len(programs) == STEPS + 2:  # each program has met what was loaded
                parts.extend(first_parts())

    def first_parts():
        """On one device; an array itself would be copied."""
        opt = optimizer.opt_state.value  # its norm is written and never read, so no program gets it
        states = [state.value for state in (*params.values(), averaged.state)]
        leaves = jax.tree.leaves([states, opt.counts, opt.moments])
        return [leaf.addressable_data(0) for leaf in leaves]

    epoch()
    scheduler.load_state_dict(scheduler.state_dict())
    scheduler.step(2)
    optimizer.load_state_dict(optimizer.state_dict())
    averaged.load_state_dict(averaged.state_dict())
    epoch()

    moments = optimizer.opt_state.value.moments
    scalars = [
        scheduler.last_epoch.value,
        optimizer.opt_state.value.counts,
        averaged.state.value["updates"],
    ]
    arrays = {
        name: [leaf for leaf in jax.tree.leaves(moments) if leaf.shape == state.value.shape]
        for name, state in params.items()
    }
    with averaged.swapped():
        inside = [state.value for state in params.values()]
    inside += averaged.value.values()
    gather = jax.jit(lambda tree: tree, out_shardings=everywhere)
    return {
        "devices": jax.device_count(),
        "local devices": jax.local_device_count(),
        "programs": programs,
        "losses": [float(loss) for loss in losses],
        "lr": [float(rate) for rate in rates],
        "epoch": int(scheduler.last_epoch.value),
        "params": {
            name: np.asarray(gather(state.value)).tolist() for name, state in params.items()
        },
        "weights stay": all(
            state.value.sharding.is_equivalent_to(where, state.value.ndim)
            for state in params.values()
        ),
        "moments": {name: len(found) for name, found in arrays.items()},
        "moments stay": all(
            leaf.sharding.is_equivalent_to(where, leaf.ndim)
            for found in arrays.values()
            for leaf in found
        ),
        "rows of a moment on a device": [
            leaf.addressable_shards[0].data.shape[0] for leaf in arrays["w"]
        ],
        "scalars on the mesh": [
            leaf.sharding.is_equivalent_to(everywhere, leaf.ndim) for leaf in scalars
        ],
        "averages": {
            name: np.asarray(gather(value)).tolist() for name, value in averaged.value.items()
        },
        "averages stay": [leaf.sharding.is_equivalent_to(where, leaf.ndim) for leaf in inside],
        "updates": int(averaged.updates),
        "twins": twins(jit, where),
        "counted": counted(jit, where, everywhere),
        "given away": all(part.is_deleted() for part in parts),
    }


def main(kinds, port=None, process=0, processes=1):
    if port:
        jax.distributed.initialize(f"localhost:{port}", int(processes), int(process))
    print(json.dumps({kind: train(kind) for kind in kinds.split("; ")}))


if __name__ == "__main__":
    main(*sys.argv[1:])
