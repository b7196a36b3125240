"""Resuming is exact: a training that stops anywhere and goes on from a checkpoint ends in the same bits.

Many schedulers and optimizers at once: all of them are trained by one compiled step.
"""

import itertools
import json
import pickle
import random

import brainstate
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lrax
from helpers import METRICS, compiled_programs, takes_metric, weekly_but
from registry import SCHEDULERS
from saved import contents, set_weights

OPTIMIZERS = {
    "SGD": lambda lr: lrax.SGD(lr=lr, momentum=0.9),
    "Adam": lambda lr: lrax.Adam(lr=lr),
    "AdamW": lambda lr: lrax.AdamW(lr=lr),
}
LAST = 60
"""Past the end of every schedule."""
BOUNDARIES = [0, 1, 3, 4, 5, 6, 7, 8, 9, 10, 13, 14, 15, 16, 18, 20, 21, 23, 24, 27, 28, 29, 30, 31]
BOUNDARIES += [36, 40, 41, 45, 46, 47, 48, 49, 50, 55, LAST]
"""Where the checkpoints are: at the boundaries of some schedule or other, between them, at the end."""
START = np.linspace(0.5, 2.0, 4, dtype=np.float32)
TWO_GROUPS = [kind for kind in SCHEDULERS if "two groups" in kind]
WITH_METRIC = [kind for kind in SCHEDULERS if takes_metric(SCHEDULERS[kind]())]


EACH_WITH_EACH = [*itertools.product(SCHEDULERS, OPTIMIZERS)]
JITS = {"lrax": lrax.jit, "brainstate": brainstate.transform.jit}


def each_of_both(shift):
    """Every scheduler with one optimizer, and that with every third scheduler; by another shift with another one."""
    return [
        *zip(SCHEDULERS, itertools.islice(itertools.cycle(OPTIMIZERS), shift, None), strict=False)
    ]


def gradient(states):
    return brainstate.transform.grad(
        lambda: sum(jnp.sum((state.value**2 - 1.5) ** 2) for state in states.values()), states
    )()


class Trainings:
    """One training for each of these schedulers and optimizers, with weights of its own."""

    def __init__(self, pairs):
        self.weights, self.optimizers = {}, {}
        for kind, name in pairs:
            states = {"w": brainstate.ParamState(jnp.asarray(START))}
            optimizer = OPTIMIZERS[name](SCHEDULERS[kind]())
            optimizer.register_trainable_weights(states)
            if kind in TWO_GROUPS:
                states["v"] = brainstate.ParamState(jnp.asarray(START))
                optimizer.add_param_group({"v": states["v"]})
            self.weights[kind, name] = states
            self.optimizers[kind, name] = optimizer
        self.states = {
            key: dict(brainstate.graph.states(optimizer))
            for key, optimizer in self.optimizers.items()
        }

    def step(self, metric):
        """One step of each training; to be compiled."""
        flat = {
            (*key, name): state
            for key, states in self.weights.items()
            for name, state in states.items()
        }
        grads = gradient(flat)
        for key, optimizer in self.optimizers.items():
            optimizer.step({name: grads[*key, name] for name in self.weights[key]})
            options = {"metric": metric} if key[0] in WITH_METRIC else {}
            optimizer.lr_scheduler.step(**options)

    def save(self):
        """A checkpoint of all, as bytes."""
        saved = {
            key: (
                {name: np.asarray(state.value) for name, state in self.weights[key].items()},
                optimizer.state_dict(),
            )
            for key, optimizer in self.optimizers.items()
        }
        return pickle.dumps(saved)

    def load(self, checkpoint):
        for key, (weights, state) in pickle.loads(checkpoint).items():
            set_weights(self.weights[key], weights)
            self.optimizers[key].load_state_dict(state)

    def contents(self):
        """Every State of every training."""
        values = {
            key: {path: state.value for path, state in states.items()}
            for key, states in self.states.items()
        }
        return jax.tree.map(np.array, values)


def assert_same(actual, expected):
    leaves, structure = jax.tree.flatten(actual)
    wanted, wanted_structure = jax.tree.flatten_with_path(expected)
    assert structure == wanted_structure
    assert leaves
    for leaf, (path, value) in zip(leaves, wanted, strict=True):
        assert np.asarray(leaf).dtype == np.asarray(value).dtype, path
        assert np.asarray(leaf).tobytes() == np.asarray(value).tobytes(), path


@pytest.mark.parametrize(
    "pairs, jit",
    [
        pytest.param(each_of_both(0), "lrax", marks=pytest.mark.slow),
        pytest.param(each_of_both(1), "brainstate", marks=pytest.mark.slow),
        *(pytest.param(EACH_WITH_EACH, jit, marks=pytest.mark.weekly) for jit in JITS),
    ],
    ids=[
        "each of both-lrax",
        "each of both-brainstate",
        "each with each-lrax",
        "each with each-brainstate",
    ],
)
def test_compiled_trainings_are_resumed(pairs, jit):
    straight, resumed, jit = Trainings(pairs), Trainings(pairs), JITS[jit]
    step = jit(straight.step)
    checkpoints, wanted = {}, {}
    for epoch in range(LAST + 1):
        if epoch in BOUNDARIES:
            checkpoints[epoch] = straight.save()
        wanted[epoch] = straight.contents()
        step(METRICS[epoch])

    step = jit(resumed.step)
    step(METRICS[0])
    resumed.load(checkpoints[0])  # compiles what moves arrays, once
    to_the_end = {0, 1, 20, 31, 45}
    order = list(BOUNDARIES)
    random.Random(0).shuffle(order)  # so that each checkpoint finds the objects in another state
    with compiled_programs() as compiled:
        for epoch in order:
            resumed.load(checkpoints[epoch])
            assert_same(resumed.contents(), wanted[epoch])
            end = LAST if epoch in to_the_end else min(epoch + 3, LAST)
            for now in range(epoch, end):
                step(METRICS[now])
            assert_same(resumed.contents(), wanted[end])
    assert not compiled


@pytest.mark.parametrize("name", weekly_but(OPTIMIZERS, "AdamW"))
def test_eager_trainings_are_resumed(name):
    """One optimizer is handed from scheduler to scheduler, since each would be compiled for."""
    one = Trainings([("StepLR", name)])
    two = Trainings([("rates of two groups", name)])
    for kind, make in SCHEDULERS.items():
        trainings = two if kind in TWO_GROUPS else one
        ((key, optimizer),) = trainings.optimizers.items()
        states = trainings.weights[key]
        make().attach_optimizer(optimizer)

        def run(first, last, optimizer=optimizer, states=states, kind=kind):
            for epoch in range(first, last):
                optimizer.step({n: 4 * s.value * (s.value**2 - 1.5) for n, s in states.items()})
                options = {"metric": METRICS[epoch]} if kind in WITH_METRIC else {}
                optimizer.lr_scheduler.step(**options)

        def now(optimizer=optimizer, states=states):
            weights = {name: np.asarray(state.value) for name, state in states.items()}
            return {"weights": weights, "optimizer": jax.device_get(optimizer.state_dict())}

        set_weights(states, dict.fromkeys(states, START))
        wanted = []
        for epoch in range(LAST + 1):
            wanted.append(now())
            run(epoch, epoch + 1)
        order = list(BOUNDARIES)
        random.Random(0).shuffle(order)
        for epoch in order:
            saved = pickle.loads(pickle.dumps(wanted[epoch]))
            set_weights(states, saved["weights"])
            optimizer.load_state_dict(saved["optimizer"])
            end = min(epoch + 2, LAST)
            run(epoch, end)
            assert_same({kind: now()}, {kind: wanted[end]})


@pytest.mark.parametrize("kind", [k for k in SCHEDULERS if k != "MultiplicativeLR"])  # refused
def test_a_clock_at_the_end_of_time_is_resumed(kind):
    """The last epochs that the clock can show, and a step beyond."""
    scheduler, twin = SCHEDULERS[kind](), SCHEDULERS[kind]()
    scheduler.last_epoch.value = 2**31 - 3
    options = {"metric": 1.0} if kind in WITH_METRIC else {}
    for epoch in (2**31 - 2, 2**31 - 1, 2**31 - 1):
        scheduler.step(**options)
        assert int(scheduler.last_epoch.value) == epoch
        twin.load_state_dict(json.loads(json.dumps(scheduler.state_dict())))
        assert_same({kind: contents(twin)}, {kind: contents(scheduler)})


@pytest.mark.slow
def test_the_trainings_move():
    """What is compared above must not be standing still."""
    trainings = Trainings([(kind, "SGD") for kind in SCHEDULERS])
    before = trainings.contents()
    trainings.load(trainings.save())
    assert_same(trainings.contents(), before)
    brainstate.transform.jit(trainings.step)(METRICS[0])
    for key, states in trainings.contents().items():
        moved = [path for path, value in states.items() if str(value) != str(before[key][path])]
        assert len(moved) >= 3, (key, moved)
