"""Every optimizer that optax exports, by its own name: as optax trains with the same schedule, compiled once, resumed."""

import functools
import inspect

import brainstate
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optax import contrib

import lrax
from helpers import assert_trees_equal, compiled_programs, weekly_but

STEPS = 20
RNG = np.random.default_rng(5)
START = {
    "matrix": RNG.normal(size=(4, 5)).astype(np.float32),
    "vector": RNG.normal(size=3).astype(np.float32),
    "scalar": np.float32(0.7),
}
TARGETS = {k: RNG.normal(size=(STEPS, *np.shape(w))).astype(np.float32) for k, w in START.items()}
RATES = (0.005 + 0.0225 * (1 + np.cos(np.pi * np.arange(STEPS) / 25))).astype(np.float32)


def exported():
    """The functions of optax that make a transformation and have a learning rate, or scale gradients."""
    found = {}
    for module, before in ((optax, ""), (contrib, "contrib.")):
        for name, function in sorted(vars(module).items()):
            if inspect.isfunction(function) and not name.startswith("_"):
                named = any(p.endswith("learning_rate") for p in parameters(function))
                if named or name.startswith("scale_by_"):
                    found[before + name] = function
    return found


def parameters(function):
    return inspect.signature(function).parameters


def matrices(weights):
    return {k: contrib.MuonDimensionNumbers() if w.ndim == 2 else None for k, w in weights.items()}


FOUND = exported()
ARGUMENTS = {
    "adadelta": {"eps": 1e-3},
    "contrib.dadapt_adamw": {"estim_lr0": 0.1},
    "contrib.dog": {"init_step": ("heuristic", 0.1)},
    "contrib.dowg": {"init_estim_sq_dist": 0.1},
    "contrib.dpsgd": {"l2_norm_clip": 1.0, "noise_multiplier": 0.1, "seed": 3},
    "contrib.prodigy": {"estim_lr0": 0.1},
    "contrib.scale_by_muon": {"weight_dimension_numbers": matrices},
    "contrib.schedule_free": {"base_optimizer": optax.sgd(0.1)},
    "lars": {"trust_coefficient": 0.1},
    "noisy_sgd": {"seed": 3},
    "scale_by_adadelta": {"eps": 1e-3},
    "scale_by_backtracking_linesearch": {"max_backtracking_steps": 5},
    "scale_by_distance_over_gradients": {"reps_rel": 0.1},
    "scale_by_schedule": {"step_size_fn": lambda count: 1 / (1 + count)},
    "scale_by_zoom_linesearch": {"max_linesearch_steps": 5},
}
"""What a factory must be given, or needs in order to move the weights in so few steps."""

LEAST = {
    "contrib.scale_by_muon": 2,
    "scale_by_distance_over_gradients": 1,
    "scale_by_sm3": 1,
    "sm3": 1,
}
"""The least number of dimensions of weights that optax itself can use some for."""

EXTRAS = {
    "contrib.momo": ("value",),
    "contrib.momo_adam": ("value",),
    "contrib.sophia": ("obj_fn",),
    "lbfgs": ("value", "grad", "value_fn"),
    "polyak_sgd": ("value",),
    "scale_by_backtracking_linesearch": ("value", "grad", "value_fn"),
    "scale_by_polyak": ("value",),
    "scale_by_zoom_linesearch": ("value", "grad", "value_fn"),
}
"""What an update takes beside gradients."""

OTHERWISE = {
    "contrib.dpsgd": "it takes one gradient for each example, which no weight has the shape of",
    "contrib.scale_by_cocob": "it is no direction but descends: OptaxOptimizer(contrib.cocob, lr=1.0)",
    "polyak_sgd": "it finds its own learning rate: OptaxOptimizer(optax.polyak_sgd)",
    "rprop": "its learning rate is the first step size, read once: OptaxOptimizer(optax.rprop(0.1))",
    "scale_by_rprop": "as rprop",
}
"""Why some cannot be used as ``OptaxOptimizer(factory, lr=scheduler)``."""

WORKING = [name for name in FOUND if name not in OTHERWISE]
pytestmark = pytest.mark.filterwarnings(
    "ignore:.(seed|optimistic_adam). is deprecated:DeprecationWarning"
)
QUICK = ("lion", "optimistic_adam", "contrib.sophia", "contrib.schedule_free_sgd")


def begin_of(name):
    return {k: jnp.asarray(w) for k, w in START.items() if np.ndim(w) >= LEAST.get(name, 0)}


def loss_of(weights, t):
    """With a minimum that is another one at each step."""
    away = [weights[k] - jnp.asarray(TARGETS[k])[t] for k in weights]
    return sum(jnp.mean(d**2 + 0.1 * d**4) for d in away)


def gradients_of(name, weights, t):
    """The gradients, and what else an optimizer of that name takes."""
    of = functools.partial(loss_of, t=t)
    value, grad = jax.value_and_grad(of)(weights)
    extras = {"value": value, "grad": grad, "value_fn": of, "obj_fn": of}
    return grad, {key: extras[key] for key in EXTRAS.get(name, ())}


def schedule(count):
    return jnp.asarray(RATES)[count]


def scheduler():
    """The same learning rates, of our own."""
    return lrax.CosineAnnealingLR(0.05, T_max=25, eta_min=0.005)


class Own:
    """Training with an optimizer of ours."""

    def __init__(self, name, dtype=jnp.float32, factory=None, **more):
        self.name = name
        weights = begin_of(name)
        self.states = {k: brainstate.ParamState(w.astype(dtype)) for k, w in weights.items()}
        self.scheduler = scheduler()
        arguments = {"lr": self.scheduler, **ARGUMENTS.get(name, {}), **more}
        self.optimizer = lrax.OptaxOptimizer(factory or FOUND[name], **arguments)
        self.optimizer.register_trainable_weights(self.states)
        self.step = lrax.jit(self.update)

    def update(self, t):
        grads, extras = gradients_of(self.name, self.values(), t)
        self.optimizer.step(grads, **extras)
        self.scheduler.step()

    def values(self):
        return {key: state.value for key, state in self.states.items()}

    def train(self, first=0, last=STEPS):
        for t in range(first, last):
            self.step(jnp.int32(t))
        return self.values()


def read_at(make):
    """The counts at which an optimizer of optax reads a schedule in two updates; None if it takes none."""
    counts = []

    def spy(count):
        counts.append(int(count))
        return schedule(count)

    try:
        tx = make(spy)
        weights = {"w": jnp.ones((2, 2))}
        state = tx.init(weights)
        counts.clear()
        for _ in range(2):
            _, state = tx.update({"w": jnp.ones((2, 2))}, state, weights)
    except (TypeError, ValueError):
        return None
    return [*dict.fromkeys(counts)]


def of_optax(name):
    """What makes optax's own transformation for an update, given its number."""
    factory = functools.partial(FOUND[name], **ARGUMENTS.get(name, {}))
    if "learning_rate" not in parameters(factory):
        tx = optax.chain(factory(), optax.scale_by_schedule(lambda count: -schedule(count)))
        return lambda t: tx
    others = [p for p in parameters(factory) if p != "learning_rate"]  # which it would round
    injected = optax.inject_hyperparams(factory, static_args=others)
    for make in (factory, injected):
        if read_at(lambda rate, make=make: make(learning_rate=rate)) == [0, 1]:
            tx = make(learning_rate=schedule)
            return lambda t: tx
    return lambda t: factory(learning_rate=schedule(t))


def by_itself(name, steps=STEPS):
    """The weights, and the state, that optax comes to."""
    make, weights = of_optax(name), begin_of(name)
    state = make(0).init(weights)

    @jax.jit
    def step(weights, state, t):
        tx = optax.with_extra_args_support(make(t))
        grads, extras = gradients_of(name, weights, t)
        updates, state = tx.update(grads, state, weights, **extras)
        return optax.apply_updates(weights, updates), state

    for t in range(steps):
        weights, state = step(weights, state, jnp.int32(t))
    return weights, state


def distance(actual, expected):
    """The largest difference of two weights, as a share of the largest weight."""
    assert actual.keys() == expected.keys()
    for key, weight in expected.items():
        assert np.isfinite(weight).all()
        assert np.shape(actual[key]) == np.shape(weight)
    apart = max(np.abs(np.float64(actual[k]) - np.float64(expected[k])).max() for k in expected)
    return apart / max(np.abs(np.float64(w)).max() for w in expected.values())


@pytest.mark.parametrize("name", weekly_but(WORKING, *QUICK))
def test_trains_as_optax_does_in_one_program_and_resumes_to_the_same_bits(name):
    run = Own(name)
    run.train(last=1)
    with compiled_programs() as compiled:
        run.train(1, STEPS // 2)
    assert not compiled
    middle = jax.tree.map(np.asarray, (run.values(), run.optimizer.state_dict()))
    with compiled_programs() as compiled:
        whole = run.train(STEPS // 2)
    assert not compiled
    assert distance(whole, by_itself(name)[0]) <= 2e-6
    assert distance(begin_of(name), whole) > 1e-3

    second = Own(name)
    for key, state in second.states.items():
        state.value = jnp.asarray(middle[0][key])
    second.optimizer.load_state_dict(middle[1])
    assert_trees_equal(second.train(STEPS // 2), whole)


@pytest.mark.parametrize("name", QUICK)
def test_moments_are_named_by_the_path_of_their_weight(name):
    """Each leaf of optax's state that is in a dict of weights is beside its weight, the others in the group's part."""
    run = Own(name)
    saved = run.optimizer.state_dict()["opt_state"]
    (state,) = run.optimizer.optax_states()
    wanted = dict.fromkeys([*run.states, None], 0)
    for keys, _ in jax.tree_util.tree_leaves_with_path(state):
        names = [key.key for key in keys if isinstance(key, jax.tree_util.DictKey)]
        wanted[next((n for n in names if n in run.states), None)] += 1
    assert set(saved["weights"]) == set(run.states)
    for key in run.states:
        assert len(saved["weights"][key]) == wanted[key] + 1, key  # and the number of its part
    assert len(saved.get("parts", {}).get("0", {})) == wanted[None]


@pytest.mark.parametrize(
    "name", weekly_but([n for n in WORKING if "scale_by" not in n], "contrib.sophia")
)
def test_weights_of_half_precision_train_with_states_of_float32(name):
    run = Own(name, jnp.bfloat16)
    states = jax.tree.map(jnp.result_type, run.optimizer.optax_states())
    run.train(last=1)
    with compiled_programs() as compiled:
        half = run.train(1)
    assert not compiled
    assert states == jax.tree.map(jnp.result_type, run.optimizer.optax_states())
    assert jnp.bfloat16 not in jax.tree.leaves(states)
    assert {w.dtype for w in half.values()} == {jnp.dtype(jnp.bfloat16)}
    assert all(np.isfinite(np.float32(w)).all() for w in half.values())
    assert distance(begin_of(name), half) > 1e-3


@pytest.mark.parametrize("name", OTHERWISE)
def test_those_that_cannot_be_used_so_are_refused(name):
    with pytest.raises(ValueError):  # noqa: PT011 (some are refused by optax)
        Own(name).train(last=1)


def test_what_the_tables_say_of_factories_is_about_such_that_there_are():
    assert len(FOUND) > 80, sorted(FOUND)
    assert {*ARGUMENTS, *LEAST, *EXTRAS, *OTHERWISE} <= {*FOUND}


@pytest.mark.parametrize("name", LEAST)
def test_weights_of_fewer_dimensions_are_an_error_of_optax(name):
    factory = functools.partial(FOUND[name], **ARGUMENTS.get(name, {}))
    tx = factory(0.1) if "learning_rate" in parameters(factory) else factory()
    weights = {"w": jnp.full((2,) * (LEAST[name] - 1), 0.7)}
    try:
        updates, _ = tx.update(weights, tx.init(weights), weights)
    except (IndexError, ValueError):
        return
    assert np.shape(updates["w"]) != weights["w"].shape
