"""Formats that people keep state dicts in: each saves `tree` and gives back what was loaded.

`like` is a tree of the same structure, `folder` an empty one.
"""

import copy
import json
import pickle

import jax
import msgpack
import numpy as np
import orbax.checkpoint as ocp
import pytest


def same_dict(tree, like, folder):
    return copy.deepcopy(tree)


def through_pickle(tree, like, folder):
    return pickle.loads(pickle.dumps(tree))


def through_json(tree, like, folder):
    return json.loads(json.dumps(tree))


def through_msgpack(tree, like, folder):
    return msgpack.unpackb(msgpack.packb(tree))


def through_flax(tree, like, folder):
    flax = pytest.importorskip("flax.serialization")
    return flax.msgpack_restore(flax.msgpack_serialize(tree))


def through_flax_target(tree, like, folder):
    flax = pytest.importorskip("flax.serialization")
    return flax.from_bytes(like, flax.to_bytes(tree))


def through_braintools(tree, like, folder):
    files = pytest.importorskip("braintools.file")
    files.msgpack_save(str(folder / "checkpoint"), tree, verbose=False)
    return files.msgpack_load(str(folder / "checkpoint"), verbose=False)


def through_braintools_target(tree, like, folder):
    files = pytest.importorskip("braintools.file")
    files.msgpack_save(str(folder / "checkpoint"), tree, verbose=False)
    return files.msgpack_load(str(folder / "checkpoint"), target=like, verbose=False)


def through_orbax(tree, like, folder):
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(folder / "checkpoint", tree)
        checkpointer.wait_until_finished()
        return checkpointer.restore(folder / "checkpoint")


def through_orbax_target(tree, like, folder):
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(folder / "checkpoint", tree)
        checkpointer.wait_until_finished()
        return checkpointer.restore(folder / "checkpoint", like)


def through_manager(tree, like, folder):
    with ocp.CheckpointManager(folder) as manager:
        manager.save(3, args=ocp.args.StandardSave(tree))
        manager.wait_until_finished()
        return manager.restore(3, args=ocp.args.StandardRestore())


def through_manager_target(tree, like, folder):
    with ocp.CheckpointManager(folder) as manager:
        manager.save(3, args=ocp.args.StandardSave(tree))
        manager.wait_until_finished()
        return manager.restore(3, args=ocp.args.StandardRestore(like))


def guest(way):
    return pytest.param(way, marks=pytest.mark.braintools)


ANY = [
    same_dict,
    through_pickle,
    guest(through_flax),
    guest(through_flax_target),
    guest(through_braintools),
    guest(through_braintools_target),
    through_orbax,
    through_orbax_target,
    through_manager,
    through_manager_target,
]


def name_of(way):
    return way.__name__


def assert_plain(tree, arrays=False):
    """Nested dicts with str keys; leaves are numbers of Python, or arrays where they are allowed."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            assert type(key) is str
            assert_plain(value, arrays or key == "opt_state")
    else:
        allowed = (jax.Array, np.ndarray, int) if arrays else (int, float)
        assert isinstance(tree, allowed), type(tree)


def through_lists(tree, like, folder):
    """As the trainer of braintools hands on what it read: dicts with the keys of a list are lists."""
    if not isinstance(tree, dict):
        return tree
    tree = {key: through_lists(value, like, folder) for key, value in tree.items()}
    return list(tree.values()) if list(tree) == list(map(str, range(len(tree)))) else tree
