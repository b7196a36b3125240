"""A run with any of what an optimizer can do is resumed bit for bit, groups and all."""

import itertools

import brainstate
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lrax
from helpers import assert_close, assert_same_bits, assert_trees_equal, global_norm

RNG = np.random.default_rng(21)
START = {
    name: {"w": jnp.asarray(RNG.normal(size=(3, 4)), jnp.float32), "b": jnp.ones(4)}
    for name in "abc"
}


def gradients(step):
    rng = np.random.default_rng(step)
    return jax.tree.map(lambda w: jnp.asarray(rng.normal(size=w.shape), jnp.float32), START)


def plateau():
    return lrax.ReduceLROnPlateau(0.05, factor=0.5, patience=1)


# what an optimizer may be given, one by one
FEATURES = {
    "scheduled betas": lambda k: {**k, "betas": (lrax.LinearLR(0.95, 0.8, 1.0, 9), 0.99)},
    "scheduled decay": lambda k: {**k, "weight_decay": lrax.CosineAnnealingLR(0.3, 20)},
    "accumulation": lambda k: {**k, "accumulate_steps": 3},
    "skipping": lambda k: {**k, "skip_nonfinite": True},
    "clip": lambda k: {**k, "grad_clip_norm": lrax.LinearLR(2.0, 1.0, 0.5, 9)},
    "frozen": lambda k: {**k, "groups": {"^a": {"frozen": True}, **k["groups"]}},
    "own schedule": lambda k: {**k, "groups": {**k["groups"], r"b\.w": {"lr": lrax.StepLR(0.2, 2)}}},
    "own decay": lambda k: {**k, "groups": {**k["groups"], r"c\.b": {"weight_decay": lambda t: 0.1 * t}}},
    "a plateau": lambda k: {**k, "groups": {**k["groups"], r"c\.w": {"lr": plateau(), "lr_scale": 0.5}}},
}  # fmt: skip


def begin(features, values=START):
    options = {"weight_decay": 0.1, "groups": {r"^b\.b": {"lr_scale": 0.1, "eps": 1e-4}}}
    for feature in features:
        options = FEATURES[feature](options)
    states = {name: brainstate.ParamState(jax.tree.map(jnp.copy, v)) for name, v in values.items()}
    scheduler = lrax.WarmupCosineSchedule(0.05, 3, 20)
    return lrax.AdamW(lr=scheduler, **options).register_trainable_weights(states), states


def train(optimizer, states, steps, bad=False):
    learns = "memory" in optimizer.state_dict()

    def update(grads, metric):
        optimizer.step(grads)
        optimizer.lr.step(**({"metric": metric} if learns else {}))

    jitted = lrax.jit(update)
    for step in steps:
        grads = gradients(step)
        if bad and step % 4 == 2:
            grads["c"]["w"] = grads["c"]["w"].at[0, 0].set(jnp.nan)
        jitted(grads, jnp.float32(1.0 if step < 4 else 2.0))


def contents(optimizer, states):
    return [optimizer.state_dict(), {name: state.value for name, state in states.items()}]


PAIRS = list(itertools.combinations(FEATURES, 2))
QUICK = [PAIRS[i] for i in range(3, len(PAIRS), 12)] + [tuple(FEATURES)]
CASES = [
    pytest.param(pair, id=" and ".join(pair) if len(pair) == 2 else "all",
                 marks=() if pair in QUICK else pytest.mark.weekly)
    for pair in [*PAIRS, tuple(FEATURES)]
]  # fmt: skip


@pytest.mark.parametrize("features", CASES)
def test_two_of_all_features_resume_bit_for_bit(features):
    bad = "skipping" in features
    optimizer, states = begin(features)
    train(optimizer, states, range(5), bad)
    saved = optimizer.state_dict()
    values = jax.tree.map(np.asarray, {name: state.value for name, state in states.items()})
    twin, weights = begin(features, values)
    twin.load_state_dict(saved)  # warnings are errors
    assert_trees_equal(contents(twin, weights), contents(optimizer, states))
    assert [g["name"] for g in twin.param_groups] == [g["name"] for g in optimizer.param_groups]
    train(optimizer, states, range(5, 12), bad)
    train(twin, weights, range(5, 12), bad)
    assert_trees_equal(contents(twin, weights), contents(optimizer, states))
    assert_trees_equal(twin.hyperparams, optimizer.hyperparams)
    assert not np.array_equal(states["c"].value["w"], values["c"]["w"])
    if bad:
        assert int(optimizer.skipped) == 3  # steps 2, 6 and 10
    if "frozen" in features:
        assert_trees_equal(states["a"].value, START["a"])


# --- Other groups with all of that ----------------------------------------------------------------


def two(names, groups, lr=None, **options):
    states = {name: brainstate.ParamState(jax.tree.map(jnp.copy, START[name])) for name in names}
    lr = lrax.ExponentialLR(0.1, gamma=0.9) if lr is None else lr
    return lrax.Adam(lr=lr, groups=groups, **options).register_trainable_weights(states), states


@pytest.mark.parametrize(
    "after", [{"^b": {"lr": plateau()}}, {"^b": {}}, {"^a": {"lr": plateau()}}]
)
def test_plateaus_of_other_groups_begin_anew_and_the_rest_goes_on(after):
    """A plateau of `a` has learned nothing of what one of `b` is to do."""
    optimizer, states = two("abc", {"^a": {"lr": plateau()}, "^c": {"lr": plateau()}})
    train(optimizer, states, range(6))
    assert_close(optimizer.get_last_lr(), [0.1 * 0.9**6, 0.0125, 0.0125])
    twin, _ = two("abc", after)
    with pytest.raises(ValueError, match="must be of this optimizer"):
        twin.load_state_dict(optimizer.state_dict())
    with pytest.warns(
        UserWarning, match="memory of schedules in groups, which goes on as it is here"
    ):
        twin.load_state_dict(optimizer.state_dict(), strict=False)
    own = 0.05 if any("lr" in options for options in after.values()) else 0.1 * 0.9**6
    assert_close(twin.get_last_lr(), [0.1 * 0.9**6, own])
    assert int(twin.step_count) == int(twin.lr.last_epoch.value) == 6


def test_two_groups_in_another_order_are_not_taken_for_each_other():
    groups = {"^a": {"lr": plateau()}, "^c": {"lr": plateau()}}
    optimizer, _ = two("abc", groups)
    optimizer.param_groups[1]["lr"] = 0.7
    twin, _ = two("abc", dict(reversed(groups.items())))
    with pytest.raises(ValueError, match="the groups in another order"):
        twin.load_state_dict(optimizer.state_dict())
    again, _ = two("abc", groups)
    again.load_state_dict(optimizer.state_dict())
    assert_close(again.get_last_lr(), [0.1, 0.7, 0.05])


def test_a_list_of_rates_for_more_groups():
    optimizer, states = two("abc", {"^a": {}}, lrax.StepLR([0.1, 0.2], 5))
    train(optimizer, states, range(6))
    twin, weights = two("abc", {"^a": {}, "^b": {}}, lrax.StepLR([0.1, 0.2, 0.3], 5))
    ours = pytest.warns(UserWarning, match="The optimizer has changed.*grouped in another way")
    with ours, pytest.warns(UserWarning, match=r"base_lr\.2: saved nothing, here 0\.3"):
        twin.load_state_dict(optimizer.state_dict(), strict=False)
    assert_close(twin.get_last_lr(), [0.01, 0.02, 0.03])
    train(twin, weights, range(6, 9))
    third, _ = two("abc", {"^a": {}, "^b": {}}, lrax.StepLR([0.1, 0.2, 0.3], 5))
    third.load_state_dict(twin.state_dict())
    assert_trees_equal(third.state_dict(), twin.state_dict())


def test_in_the_middle_of_an_accumulation_other_groups_of_the_same_weights_go_on():
    optimizer, states = two("ab", None, accumulate_steps=3)
    train(optimizer, states, range(5))
    values = {name: state.value for name, state in states.items()}
    twin, weights = two("ab", {r"\.b": {"eps": 1e-8}}, accumulate_steps=3)
    for name, value in values.items():
        weights[name].value = jax.tree.map(jnp.copy, value)
    with pytest.warns(UserWarning, match="grouped in another way"):
        twin.load_state_dict(optimizer.state_dict(), strict=False)
    train(optimizer, states, range(5, 9))
    train(twin, weights, range(5, 9))
    for name, state in states.items():
        for key in "wb":
            assert_same_bits(weights[name].value[key], state.value[key])
    assert int(twin.step_count) == 3


def test_weights_that_are_unfrozen_begin_the_mean_of_gradients_anew():
    """The sums of some of the weights alone would be the mean of other gradients than the rest."""
    optimizer, states = two("ab", {"^a": {"frozen": True}}, accumulate_steps=3)
    train(optimizer, states, range(5))
    twin, weights = two("ab", None, accumulate_steps=3)
    with pytest.warns(UserWarning, match="fresh moments"):
        twin.load_state_dict(optimizer.state_dict(), strict=False)
    before = jax.tree.map(np.asarray, weights["b"].value)
    train(twin, weights, range(5, 7))
    assert_trees_equal(weights["b"].value, before)
    train(twin, weights, range(7, 8))
    assert int(twin.step_count) == 2
    g = np.float64(np.mean([gradients(i)["a"]["w"] for i in (5, 6, 7)], axis=0))
    lr = 0.1 * 0.9**7  # the scheduler has been stepped after each gradient
    wanted = np.float64(START["a"]["w"]) - lr * g / (np.abs(g) + 1e-8)  # Adam's first update
    assert_close(weights["a"].value["w"], wanted, rtol=1e-5)


# --- The norm of the gradients ----------------------------------------------------------------------


@pytest.mark.parametrize("jit", [lambda f: f, lrax.jit, brainstate.transform.jit])
@pytest.mark.parametrize("options", [{"log_grad_norm": True}, {"grad_clip_norm": 0.1}])
def test_the_norm_is_that_of_the_last_gradients_before_clipping(options, jit):
    optimizer, _ = two("abc", {"^a": {"frozen": True}, "^b": {"grad_clip_value": 0.01}}, **options)
    assert float(optimizer.grad_norm) == 0
    step = jit(optimizer.step)
    for i in range(3):
        step(gradients(i))
        trained = {name: g for name, g in gradients(i).items() if name != "a"}
        assert_close(optimizer.grad_norm, global_norm(trained))
    saved = optimizer.state_dict()
    twin, _ = two("abc", {"^a": {"frozen": True}, "^b": {"grad_clip_value": 0.01}}, **options)
    twin.load_state_dict(saved)
    assert_same_bits(twin.grad_norm, optimizer.grad_norm)


def test_the_norm_is_kept_where_it_is_asked_for():
    optimizer, _ = two("ab", None)
    with pytest.raises(AttributeError, match=r"grad_clip_norm=\.\.\. or log_grad_norm=True"):
        _ = optimizer.grad_norm
    mean, _ = two("ab", None, accumulate_steps=2, log_grad_norm=True)
    for i in range(2):
        mean.step({name: gradients(i)[name] for name in "ab"})
    wanted = jax.tree.map(lambda a, b: (a + b) / 2, gradients(0), gradients(1))
    assert_close(mean.grad_norm, global_norm({name: wanted[name] for name in "ab"}))


OTHER_MOMENTS = {
    "no momentum": (lambda: lrax.SGD(0.1, momentum=0.9), lambda: lrax.SGD(0.1)),
    "a momentum": (lambda: lrax.SGD(0.1), lambda: lrax.SGD(0.1, momentum=0.9)),
    "none of one group": (
        lambda: lrax.SGD(0.1, momentum=0.9),
        lambda: lrax.SGD(0.1, momentum=0.9, groups={"b": {"momentum": 0.0}}),
    ),
    "the largest": (lambda: lrax.Adam(0.1), lambda: lrax.Adam(0.1, amsgrad=True)),
}


@pytest.mark.parametrize("old, new", OTHER_MOMENTS.values(), ids=OTHER_MOMENTS)
def test_moments_of_another_kind_begin_fresh(old, new):
    made = []
    for make in (old, new, new):
        weights = {name: brainstate.ParamState(jnp.ones(2)) for name in "ab"}
        made.append(make().register_trainable_weights(weights))
    saved, loaded, fresh = made
    saved.step({name: jnp.ones(2) for name in "ab"})
    with pytest.raises(ValueError, match="saved"):
        loaded.load_state_dict(saved.state_dict())
    with pytest.warns(UserWarning, match="fresh moments"):
        loaded.load_state_dict(saved.state_dict(), strict=False)
    fresh.step({name: jnp.ones(2) for name in "ab"})
    loaded.step({name: jnp.ones(2) for name in "ab"})
    assert int(loaded.step_count) == 2
    np.testing.assert_array_equal(loaded.param_states["b"].value, fresh.param_states["b"].value)
