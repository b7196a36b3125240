"""Many devices and many processes, simulated on this machine: each run is a process of its own."""

import json
import os
import pathlib
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from helpers import assert_close, assert_same_bits, free_port

SCRIPT = pathlib.Path(__file__).with_name("devices.py")


def start(devices, *arguments):
    environment = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        # With steps in flight, the network of two CPU processes has been seen to wait for ever.
        "JAX_CPU_ENABLE_ASYNC_DISPATCH": "false",
    }
    command = [sys.executable, "-W", "error", SCRIPT, *map(str, arguments)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True)


def finish(*processes):
    """What each of them found out."""
    found = []
    try:
        for process in processes:
            out, errors = process.communicate(timeout=300)
            assert process.returncode == 0, errors
            found.append(json.loads(out.splitlines()[-1]))  # before it comes the network library
    finally:
        for process in processes:
            process.kill()
    return found


def assert_same_training(found, expected):
    assert_close(found["losses"], expected["losses"], rtol=1e-5)
    for part in ("params", "averages"):
        assert found[part].keys() == expected[part].keys()
        for name, values in expected[part].items():
            assert_close(found[part][name], values, rtol=1e-5, floor=1e-5)
    assert found["averages"] != found["params"]
    assert found["updates"] == expected["updates"] == 12
    assert_same_bits(np.float32(found["lr"]), np.float32(expected["lr"]))
    assert found["epoch"] == expected["epoch"] == 8
    found, expected = found["counted"], expected["counted"]
    assert found["counts"] == expected["counts"] == [3, 1, 3]
    assert_close(found["norm"], expected["norm"], rtol=1e-5)
    for name, values in expected["params"].items():
        assert_close(found["params"][name], values, rtol=1e-5, floor=1e-5)


def assert_in_place(found, rows):
    assert found["programs"] == [1, 1] + [0] * 10
    assert found["weights stay"]
    assert found["moments"] == {"w": 2, "b": 2}
    assert found["moments stay"]
    assert found["rows of a moment on a device"] == [rows, rows]
    assert found["averages stay"] == [True] * 4
    assert len(found["scalars on the mesh"]) == 3  # clock, counts, updates
    assert all(found["scalars on the mesh"])
    assert found["twins"] == [[3.0], [4.0]]
    counted = found["counted"]
    assert counted["programs"] == [1] + [0] * 6
    assert counted["kept"] == 6  # two moments and a mean of each weight
    assert counted["stay"]
    assert counted["rows"] == {"w": rows, "b": rows // 2}


KINDS = [
    f"{weights}, {jit}" for weights in ("replicated", "sharded") for jit in ("lrax", "brainstate")
]


@pytest.fixture(scope="module")
def one():
    """The training on one device, with which all others are compared."""
    (found,) = finish(start(1, "replicated, lrax"))
    return found["replicated, lrax"]


@pytest.mark.slow
def test_eight_devices(one):
    (found,) = finish(start(8, "; ".join(KINDS)))
    assert [*found] == KINDS
    for kind, run in found.items():
        assert run["devices"] == 8, kind
        assert run["losses"][-1] < run["losses"][0]
        assert_in_place(run, rows=2 if "sharded" in kind else 16)
        assert run["given away"] == ("lrax" in kind)
        assert_same_training(run, one)


@pytest.mark.parametrize(
    "kinds",
    [
        pytest.param(("replicated, brainstate", "sharded, lrax"), marks=pytest.mark.slow),
        pytest.param(KINDS, marks=pytest.mark.weekly),
    ],
    ids=["each of both", "each with each"],
)
def test_two_processes(kinds, one):
    port = free_port()
    both = (start(2, "; ".join(kinds), port, process, 2) for process in range(2))
    first, second = finish(*both)
    assert [*first] == [*kinds]
    for kind, run in first.items():
        assert (run["devices"], run["local devices"]) == (4, 2), kind
        assert_in_place(run, rows=4 if "sharded" in kind else 16)
        assert_same_training(run, one)
    assert first == second


def run(script):
    """A program with four devices, in a process of its own."""
    found = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script)],
        env={**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=4"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert found.returncode == 0, found.stderr


def test_accumulators_are_sharded_as_their_weights():
    run("""
        import brainstate, jax, jax.numpy as jnp, numpy as np, lrax
        from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

        JITS = {"eager": lambda f: f, "lrax": lrax.jit, "brainstate": brainstate.transform.jit}
        COUNTED = {"accumulate_steps": 2, "skip_nonfinite": True, "auto_step": True}
        START = np.linspace(-1, 1, 32).reshape(8, 4).astype(np.float32)
        FACTORS = 1.0, 2.0, np.nan, 3.0, 4.0, 5.0

        def train(place, jit):
            params = {n: brainstate.ParamState(place(v)) for n, v in (("w", START), ("b", START[:, 0]))}
            optimizer = lrax.AdamW(lr=lrax.StepLR(0.1, 2), grad_clip_norm=1.0, groups={"b": {"lr": 0.05}}, **COUNTED)
            optimizer.register_trainable_weights(params)
            step = jit(lambda f: optimizer.step({n: f * jnp.sin(s.value) for n, s in params.items()}))
            for factor in FACTORS:
                step(jnp.float32(factor))
            assert [int(optimizer.step_count), int(optimizer.skipped), int(optimizer.lr.last_epoch.value)] == [2, 1, 2]
            return optimizer.opt_state.value, params

        expected = {n: np.asarray(s.value) for n, s in train(jnp.array, lrax.jit)[1].items()}
        for kind in (AxisType.Auto, AxisType.Explicit):
            mesh = jax.make_mesh((4,), ("x",), axis_types=(kind,))
            for spec in (P("x"), P()):
                where = NamedSharding(mesh, spec)
                for name, jit in JITS.items() if kind == AxisType.Auto and spec else [("lrax", lrax.jit)]:
                    kept, params = train(lambda v: jax.device_put(v, where), jit)
                    leaves = [leaf for leaf in jax.tree.leaves(kept) if leaf.shape in ((8, 4), (8,))]
                    assert len(leaves) == 6, (kind, spec, name)
                    for leaf in (*leaves, *(s.value for s in params.values())):
                        assert leaf.sharding.is_equivalent_to(where, leaf.ndim), (kind, spec, name, leaf.sharding)
                        assert leaf.addressable_shards[0].data.shape[0] == (2 if spec else 8)
                    assert kept.counts.sharding.is_fully_replicated
                    for n, s in params.items():
                        np.testing.assert_allclose(np.asarray(s.value), expected[n], rtol=1e-5)
    """)


def test_sharded_moments_are_neither_gathered_nor_moved():
    """In a process of its own, with four devices."""
    script = """
        import pathlib, sys, tempfile
        import brainstate, jax, jax.numpy as jnp, numpy as np, orbax.checkpoint as ocp, lrax
        from jax.sharding import NamedSharding, PartitionSpec as P

        mesh = jax.make_mesh((4,), ("x",))
        rows, everywhere = NamedSharding(mesh, P("x")), NamedSharding(mesh, P())

        def make():
            weight = brainstate.ParamState(jax.device_put(jnp.ones((8, 2)), rows))
            optimizer = lrax.AdamW(lr=lrax.StepLR(0.1, 2, 0.5))
            optimizer.register_trainable_weights({"w": weight})
            return weight, optimizer

        def train(weight, optimizer):
            optimizer.step({"w": 2 * weight.value})
            optimizer.lr_scheduler.step()

        def moments(tree):
            return [leaf for leaf in jax.tree.leaves(tree) if np.shape(leaf) == (8, 2)]

        def by_rows(tree):
            return all(moment.sharding.is_equivalent_to(rows, 2) for moment in moments(tree))

        weight, optimizer = make()
        for _ in range(3):
            train(weight, optimizer)
        saved = optimizer.state_dict()
        assert len(moments(saved)) == 2
        assert by_rows(saved)
        folder = pathlib.Path(tempfile.mkdtemp())
        twin_weight, twin = make()
        with ocp.StandardCheckpointer() as checkpointer:
            checkpointer.save(folder / "a", {"w": weight.value, "optimizer": saved})
            checkpointer.wait_until_finished()
            like = {"w": twin_weight.value, "optimizer": twin.state_dict()}
            for found in (checkpointer.restore(folder / "a", like), checkpointer.restore(folder / "a")):
                twin_weight.value = jax.device_put(found["w"], rows)
                twin.load_state_dict(found["optimizer"])
                assert len(moments(twin.opt_state.value)) == 2
                assert by_rows(twin.opt_state.value)
                assert not any(leaf.is_fully_replicated for leaf in moments(twin.opt_state.value))
                train(twin_weight, twin)
        train(weight, optimizer)
        assert np.array_equal(weight.value, twin_weight.value)
        assert np.array_equal(optimizer.get_last_lr(), twin.get_last_lr())
    """
    run(script)


def test_what_came_to_all_devices_from_one_stays():
    run("""
        import brainstate, jax, jax.numpy as jnp, numpy as np, lrax
        from jax.sharding import AxisType, NamedSharding, PartitionSpec

        mesh = jax.make_mesh((4,), ("d",), axis_types=(AxisType.Auto,))
        first = jnp.arange(64.0)
        state = brainstate.State(jax.device_put(first, NamedSharding(mesh, PartitionSpec())))
        step = lrax.jit(lambda: setattr(state, "value", 2 * state.value))
        step()
        step()
        np.testing.assert_array_equal(first, np.arange(64.0))
        np.testing.assert_array_equal(state.value, 4 * np.arange(64.0))
    """)


def test_shards_that_somebody_holds_stay():
    run("""
        import brainstate, jax, jax.numpy as jnp, numpy as np, lrax
        from jax.sharding import AxisType, NamedSharding, PartitionSpec

        mesh = jax.make_mesh((4,), ("d",), axis_types=(AxisType.Auto,))
        rows = NamedSharding(mesh, PartitionSpec("d"))
        parts = [jax.device_put(jnp.full(25, float(i)), device) for i, device in enumerate(jax.devices())]
        made = brainstate.State(jax.make_array_from_single_device_arrays((100,), rows, parts))
        put = brainstate.State(jax.device_put(jnp.ones(100), rows))
        shard = put.value.addressable_shards[1].data
        step = lrax.jit(lambda: [setattr(state, "value", 2 * state.value) for state in (made, put)])
        step()
        step()
        assert [float(part[0]) for part in parts] == [0, 1, 2, 3]
        np.testing.assert_array_equal(shard, np.ones(25))
        np.testing.assert_array_equal(put.value, np.full(100, 4.0))
        np.testing.assert_array_equal(made.value, 4 * np.repeat(np.arange(4.0), 25))
    """)


LATE = """
    import brainstate, jax, jax.numpy as jnp, numpy as np, lrax
    from jax.sharding import AxisType, NamedSharding, PartitionSpec

    mesh = jax.make_mesh((4,), ("d",), axis_types=(AxisType.Auto,))
    put = lambda value: jax.device_put(value, NamedSharding(mesh, PartitionSpec()))
    failing = []

    def same(x):
        if failing:
            raise ValueError("the third call")
        return x

    def asked(x):
        return jax.pure_callback(same, jax.ShapeDtypeStruct(x.shape, x.dtype), x)

    everywhere = PartitionSpec()
    ask = jax.shard_map(asked, mesh=mesh, in_specs=everywhere, out_specs=everywhere, check_vma=False)

    def fail(step, state):
        failing.append(True)
        try:
            step()
            jax.block_until_ready(state.value)
        except RuntimeError as error:
            assert "the third call" in str(error)
        else:
            raise AssertionError("nothing has failed")
        failing.clear()
"""
"""On several devices, and on a GPU, a call returns before it fails: what it returns is none."""


def test_what_a_failure_that_nobody_waited_for_has_lost_can_be_loaded_again():
    run(
        LATE
        + """
    ask = jax.jit(ask)
    for jit in (lrax.jit, brainstate.transform.jit, lambda function: function):
        for scheduler in (lrax.ReduceLROnPlateau(0.1), lrax.ExponentialLR(0.1, gamma=0.5)):
            metric = isinstance(scheduler, lrax.ReduceLROnPlateau)
            weights = {f"w{i}": brainstate.ParamState(np.full(4, 1.0 + i, np.float32)) for i in range(4)}
            optimizer = lrax.Adam(lr=scheduler).register_trainable_weights(weights)
            for weight in weights.values():
                weight.value = put(weight.value)

            def step():
                gradients = {name: ask(weight.value) for name, weight in weights.items()}
                optimizer.step(gradients)
                scheduler.step(*[gradients["w0"][0]] * metric)

            step = jit(step)
            step(), step()
            before = {name: np.array(weight.value) for name, weight in weights.items()}
            saved = optimizer.state_dict()
            fail(step, optimizer.opt_state)
            found = []
            for _ in range(2):
                for name, value in before.items():
                    weights[name].value = put(value)
                optimizer.load_state_dict(saved)
                for part, old in zip(*map(jax.tree.leaves, (optimizer.state_dict(), saved)), strict=True):
                    np.testing.assert_array_equal(part, old)
                step()
                found.append([np.array(weight.value) for weight in weights.values()])
            np.testing.assert_array_equal(*found)
            moved = [first - after[0] for first, after in zip((1, 2, 3, 4), found[0], strict=True)]
            np.testing.assert_allclose(moved, moved[0], rtol=0.05)  # Adam moves all alike
    """
    )


def test_what_is_not_loaded_stays_lost():
    run(
        LATE
        + """
    weight = brainstate.ParamState(put(jnp.arange(4.0)))
    scheduler = lrax.StepLR(0.1, 100)
    decay = lrax.ReduceLROnPlateau(0.5, patience=0, factor=0.5)
    optimizer = lrax.AdamW(lr=scheduler, weight_decay=decay).register_trainable_weights({"w": weight})
    judge = lrax.jit(lambda: scheduler.step(metric=ask(weight.value)[1]))
    judge(), judge()
    saved, whole = scheduler.state_dict(), optimizer.state_dict()
    assert whole["memory"]["0.weight_decay.0"]["reductions"] == 1
    fail(judge, scheduler.last_epoch)
    scheduler.load_state_dict(saved)
    try:
        optimizer.state_dict()
    except RuntimeError as error:
        assert "the third call" in str(error)
    else:
        raise AssertionError("what was learned is something else now")
    optimizer.load_state_dict(whole, strict=False)
    assert optimizer.state_dict()["memory"] == whole["memory"]
    """
    )


def test_a_guard_lets_a_checkpoint_in_from_several_devices():
    run(
        LATE
        + """
    weight = brainstate.ParamState(put(jnp.arange(4.0)))
    optimizer = lrax.Adam(lr=lrax.StepLR(0.1, 100)).register_trainable_weights({"w": weight})
    step = lrax.jit(lambda: optimizer.step({"w": weight.value}))
    step()
    with jax.transfer_guard("disallow"):
        saved = optimizer.state_dict()
        optimizer.current_lr = 0.5
        assert float(jax.device_get(optimizer.current_lr)) == 0.5
        assert int(jax.device_get(optimizer.step_count.value)) == 1
        optimizer.load_state_dict(saved)
        step()
        assert abs(float(jax.device_get(optimizer.get_last_lr()[0])) - 0.1) < 1e-6
    """
    )
