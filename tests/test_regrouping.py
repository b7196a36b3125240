"""What is learned belongs to weights: a run goes on with other groups, and what is new begins fresh."""

import re
import warnings

import brainstate
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import formats
import lrax
from helpers import assert_close, assert_trees_equal, compiled_programs, slow_but, weekly_but

RNG = np.random.default_rng(8)
START = {
    "a": {"w": jnp.asarray(RNG.normal(size=(3, 4)), jnp.float32), "b": jnp.ones(4)},
    "b": {"w": jnp.asarray(RNG.normal(size=(4, 2)), jnp.float32), "b": jnp.ones(2)},
    "c": {"w": jnp.asarray(RNG.normal(size=2), jnp.float32)},
}
PATHS = ["a.b", "a.w", "b.b", "b.w", "c.w"]


def leaf_of(tree, path):
    name, key = path.split(".")
    return tree[name][key]


def gradients(step):
    rng = np.random.default_rng(100 + step)
    return jax.tree.map(lambda w: jnp.asarray(rng.normal(size=w.shape), jnp.float32), START)


KINDS = {
    "SGD": (lambda **k: lrax.SGD(momentum=0.9, **k), lambda: optax.trace(0.9)),
    "Adam": (lambda **k: lrax.Adam(**k), optax.scale_by_adam),
    "AdamW": (lambda **k: lrax.AdamW(weight_decay=0.0, **k), optax.scale_by_adam),
    "lion": (
        lambda **k: lrax.OptaxOptimizer(optax.lion, b1=0.9, weight_decay=0.0, **k),
        optax.scale_by_lion,
    ),
}


def schedule():
    return lrax.ExponentialLR(0.1, gamma=0.9)


def begin(groups=None, kind="Adam", names="abc", lr=None, values=START, **options):
    states = {name: brainstate.ParamState(jax.tree.map(jnp.copy, values[name])) for name in names}
    lr = schedule() if lr is None else lr
    return KINDS[kind][0](lr=lr, groups=groups, **options).register_trainable_weights(
        states
    ), states


def train(optimizer, states, first, last, jit=lambda f: f, metric=None):
    @jit
    def update(grads):
        optimizer.step(grads)
        optimizer.lr.step(**({} if metric is None else {"metric": metric}))

    for step in range(first, last):
        update({name: g for name, g in gradients(step).items() if name in states})


def values_of(states):
    return {name: jax.tree.map(np.asarray, state.value) for name, state in states.items()}


def contents(optimizer, states):
    return jax.tree.map(np.asarray, [optimizer.state_dict(), values_of(states)])


def resumed(optimizer, states, groups, strict=True, **options):
    """Another optimizer that goes on from there, and its weights."""
    twin, weights = begin(groups, values=values_of(states), **options)
    with warnings.catch_warnings():
        warnings.simplefilter("error" if strict else "ignore")
        twin.load_state_dict(optimizer.state_dict(), strict=strict)
    return twin, weights


FREEZE = {"frozen": True}
TWO = {r"\.b$": {"lr_scale": 0.5}}
THREE = {"^a": {"lr_scale": 0.5}, "^b": {"lr_scale": 0.25}}

# what changes: groups before and after, and leaves after which are fresh
CHANGES = {
    "split": (None, TWO, []),
    "merged": (TWO, None, []),
    "in another way": (TWO, THREE, []),
    "in another order": (THREE, dict(reversed(THREE.items())), []),
    "frozen": (TWO, {"^a": FREEZE, **TWO}, []),
    "unfrozen": ({"^a": FREEZE, **TWO}, TWO, ["a.b", "a.w"]),
    "exchanged": ({"^a": FREEZE}, {"^b": FREEZE}, ["a.b", "a.w"]),
    "unfrozen into one group": ({"a.b|c": FREEZE}, None, ["a.b", "c.w"]),
    "unfrozen, others merged": ({"a.b": FREEZE, "c": {"lr_scale": 0.5}}, None, ["a.b"]),
}
REASONS = {
    "frozen": "weights that are not trained here: a.b, a.w",
    "unfrozen": "lacks weights, which begin with fresh moments: a.w, a.b",
    "exchanged": "fresh moments: a.b, a.w; opt_state has weights that are not trained here: b.b, b.w",
    "unfrozen into one group": "fresh moments: a.b, c.w",
    "unfrozen, others merged": "fresh moments: a.b",
    "in another order": "opt_state has the groups in another order",
}


@pytest.mark.parametrize("change", CHANGES)
def test_other_groups_are_refused_with_the_difference_and_nothing_has_changed(change):
    before, after, _ = CHANGES[change]
    optimizer, states = begin(before)
    train(optimizer, states, 0, 3)
    twin, weights = begin(after)
    train(twin, weights, 0, 2)
    kept = contents(twin, weights)
    reason = REASONS.get(change, "opt_state has the weights grouped in another way")
    with pytest.raises(ValueError, match=f"must be of this optimizer.*{reason}.*strict=False"):
        twin.load_state_dict(optimizer.state_dict())
    assert_trees_equal(contents(twin, weights), kept)
    with pytest.raises(UserWarning, match=f"goes on as it is here.*{reason}"):
        twin.load_state_dict(optimizer.state_dict(), strict=False)  # warnings are errors
    assert_trees_equal(contents(twin, weights), kept)
    train(twin, weights, 2, 3)


def scale(groups, path):
    """The factor of a leaf: None if it is frozen."""
    for pattern, options in (groups or {}).items():
        if re.search(pattern, path):
            return None if options == FREEZE else options["lr_scale"]
    return 1.0


EACH = [
    (kind, change, way) for kind in KINDS for change in CHANGES for way in ("eager", "lrax.jit")
]
QUICK = [
    ("Adam", "unfrozen into one group", "eager"),
    ("Adam", "in another way", "lrax.jit"),
    ("Adam", "exchanged", "lrax.jit"),
    ("SGD", "unfrozen, others merged", "eager"),
]


@pytest.mark.parametrize("case", weekly_but(EACH, *QUICK), ids=str)
def test_each_weight_goes_on_as_optax_does_with_that_weight_alone(case):
    kind, change, way = case
    before, after, fresh = CHANGES[change]
    jit = {"eager": lambda f: f, "lrax.jit": lrax.jit}[way]
    optimizer, states = begin(before, kind)
    train(optimizer, states, 0, 6, jit)
    saved = values_of(states)
    twin, weights = resumed(optimizer, states, after, strict=False, kind=kind)
    for path in PATHS:  # moments bit for bit
        kept = optimizer.state_dict()["opt_state"]["weights"].get(path)
        here = twin.state_dict()["opt_state"]["weights"].get(path)
        if kept and here:
            drop = ("part", "group")
            assert {k: v.tolist() for k, v in kept.items() if k not in drop} == {
                k: v.tolist() for k, v in here.items() if k not in drop
            }
    train(twin, weights, 6, 12, jit)
    after_all, tx = values_of(weights), KINDS[kind][1]()
    for path in PATHS:
        value, state = leaf_of(START, path), tx.init(leaf_of(START, path))
        for step in range(12):
            factor = scale(before if step < 6 else after, path)
            if step == 6:
                assert_close(leaf_of(saved, path), value, rtol=2e-6, floor=2e-6)
                state = tx.init(value) if path in fresh else state
            if factor is not None:
                update, state = tx.update(leaf_of(gradients(step), path), state, value)
                value = value - np.float32(0.1 * 0.9**step * factor) * update
        assert_close(leaf_of(after_all, path), value, rtol=2e-6, floor=2e-6)
    assert int(twin.step_count) == 12


@pytest.mark.parametrize("change", slow_but(CHANGES, "unfrozen into one group", "merged"))
def test_afterwards_it_is_saved_and_loaded_by_an_optimizer_with_the_same_groups(change):
    before, after, _ = CHANGES[change]
    optimizer, states = begin(before)
    train(optimizer, states, 0, 3, lrax.jit)
    second, weights = resumed(optimizer, states, after, strict=False)
    train(second, weights, 3, 5, lrax.jit)
    third, others = resumed(second, weights, after)  # strict, in a fresh one
    assert_trees_equal(contents(third, others), contents(second, weights))
    for each, own in ((second, weights), (third, others)):
        train(each, own, 5, 8, lrax.jit)
    assert_trees_equal(contents(third, others), contents(second, weights))
    third.load_state_dict(second.state_dict())
    plain, own = begin(after)  # a run that never was regrouped, into one that was
    train(plain, own, 0, 2)
    third.load_state_dict(plain.state_dict())
    assert_trees_equal(third.state_dict(), plain.state_dict())
    back, own = resumed(second, weights, before, strict=False)
    train(back, own, 8, 10)
    again, same = resumed(back, own, before)
    assert_trees_equal(contents(again, same), contents(back, own))


def test_weights_that_are_new_and_gone_are_listed():
    optimizer, states = begin(TWO, names="ab")
    train(optimizer, states, 0, 3)
    twin, weights = begin(TWO, names="bc")
    new = "opt_state lacks weights, which begin with fresh moments: c.w"
    gone = "opt_state has weights that are not trained here: a.b, a.w"
    with pytest.warns(UserWarning, match=f"{new}; {gone}") as caught:
        twin.load_state_dict(optimizer.state_dict(), strict=False)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    train(twin, weights, 3, 5)
    states = twin.optax_states()
    ages = [sorted((int(s[1].count), *s[1].mu) for s in own) for own in (states[0], [states[1]])]
    assert ages == [[(2, "c.w"), (5, "b.w")], [(5, "b.b")]]


WAYS = [
    formats.same_dict,
    formats.through_orbax,
    formats.guest(formats.through_braintools),
    pytest.param(formats.through_manager_target, marks=pytest.mark.slow),
]


@pytest.mark.parametrize("way", WAYS, ids=formats.name_of)
def test_a_regrouped_optimizer_goes_through_files(way, tmp_path):
    optimizer, states = begin({"a.b|c": FREEZE}, "SGD")
    train(optimizer, states, 0, 3)
    second, weights = resumed(optimizer, states, TWO, strict=False, kind="SGD")
    adam, others = resumed(*begin({"a.b|c": FREEZE}), TWO, strict=False)
    for i, (each, own, kind) in enumerate(((second, weights, "SGD"), (adam, others, "Adam"))):
        train(each, own, 3, 5)
        (tmp_path / str(i)).mkdir()
        like, _ = resumed(each, own, TWO, kind=kind)
        found = way(each.state_dict(), like.state_dict(), tmp_path / str(i))
        third, _ = begin(TWO, kind, values=values_of(own))
        for loaded in (found, formats.through_lists(found, None, None)):
            third.load_state_dict(loaded)
            assert_trees_equal(third.state_dict(), each.state_dict())
        fourth, _ = begin(THREE, kind)
        with pytest.warns(UserWarning, match="grouped in another way"):
            fourth.load_state_dict(formats.through_lists(found, None, None), strict=False)


# --- What comes after a load ------------------------------------------------------------------------


def test_groups_that_are_added_and_schedulers_leave_weights_of_different_age_alone():
    optimizer, states = begin({"a": FREEZE})
    train(optimizer, states, 0, 4)
    twin, _ = resumed(optimizer, states, None, strict=False)
    moments = twin.optax_states()[0]
    assert sorted(int(state[1].count) for state in moments) == [0, 4]
    twin.add_param_group({"d": brainstate.ParamState(jnp.ones(2))})
    assert_trees_equal(twin.optax_states()[0], moments)
    twin.add_scheduler(lrax.StepLR(0.1, 5))
    twin.add_scheduler(lrax.OneCycleLR(0.1, total_steps=20, cycle_momentum=True))
    assert_trees_equal(twin.optax_states()[0], moments)
    twin.step({**gradients(4), "d": jnp.ones(2)})
    assert sorted(int(state[1].count) for state in twin.optax_states()[0]) == [1, 5]
    assert int(twin.optax_states()[1][1].count) == 1


@pytest.mark.parametrize("jit", [lrax.jit, brainstate.transform.jit])
def test_a_compiled_step_is_compiled_once_more_at_most(jit):
    old, states = begin({"a": FREEZE})
    train(old, states, 0, 3)
    twin, _ = begin(TWO)

    @jit
    def update(grads):
        twin.step(grads)
        twin.lr.step()

    update(gradients(0))
    same = twin.state_dict()
    with pytest.warns(UserWarning, match="fresh moments"):
        twin.load_state_dict(old.state_dict(), strict=False)
    with compiled_programs() as programs:
        for step in range(3, 6):
            update(gradients(step))
    assert len(programs) <= 1
    assert sorted(int(s[1].count) for s in twin.optax_states()[0]) == [3, 6]
    saved = twin.state_dict()
    twin.load_state_dict(saved)
    with compiled_programs() as programs:
        update(gradients(6))
    assert not programs
    twin.load_state_dict(same)
    update(gradients(7))
    assert int(twin.step_count) == 2


@pytest.mark.parametrize("jit", [lrax.jit, brainstate.transform.jit])
def test_a_compiled_step_knows_which_weights_have_which_moments(jit):
    start = {name: jnp.ones(2) for name in "abc"}

    def adam(names):
        states = {name: brainstate.ParamState(start[name]) for name in names}
        return lrax.Adam(0.1).register_trainable_weights(states), states

    saved = []
    for names in ("ac", "ab"):
        optimizer, _ = adam(names)
        optimizer.step({name: jnp.ones(2) for name in names})
        saved.append(optimizer.state_dict())
    optimizer, states = adam("abc")
    traced = []

    @jit
    def step(grads):
        traced.append(1)
        optimizer.step(grads)

    for state_dict, still in 2 * [*zip(saved, "bc", strict=True)]:
        with pytest.warns(UserWarning, match="fresh moments"):
            optimizer.load_state_dict(state_dict, strict=False)
        before = {name: float(state.value[0]) for name, state in states.items()}
        step({name: jnp.zeros(2) for name in "abc"})
        stood = {name for name, state in states.items() if float(state.value[0]) == before[name]}
        assert stood == {still}
    assert len(traced) == 2 or jit is not lrax.jit


def test_what_an_optimizer_holds_is_made_of_plain_trees():
    """So that the values of its States can be saved by anything, and compared with those of another process."""
    optimizer = lrax.AdamW(lrax.StepLR(0.1), accumulate_steps=2)
    optimizer.register_trainable_weights({"a": brainstate.ParamState(jnp.ones(2))})
    lrax.jit(lambda: optimizer.step({"a": jnp.ones(2)}))()
    optimizer.add_param_group({"b": brainstate.ParamState(jnp.ones(2))})

    def plain(tree):
        if isinstance(tree, (list, tuple)):
            return all(map(plain, tree))
        if isinstance(tree, dict):
            return all(map(plain, tree.values()))
        return tree is None or isinstance(tree, (np.generic, np.ndarray, jax.Array))

    assert all(plain(state.value) for state in brainstate.graph.states(optimizer).values())


BROKEN = {
    "a moment of another shape": (("weights", "b.w", "1.mu"), jnp.ones(3)),
    "a moment that is text": (("weights", "b.w", "1.mu"), "1"),
    "a second moment < 0": (("weights", "b.w", "1.nu"), -jnp.ones((4, 2))),
    "a count < 0": (("parts", "0", "1.count"), -1),
    "a part that is text": (("weights", "b.w", "part"), "0"),
    "a group < 0": (("weights", "b.w", "group"), -1),
    "no moments": (("weights", "b.w"), {"part": 0}),
    "no counts": (("parts",), {}),
    "parts are a number": (("parts",), 3),
}


@pytest.mark.parametrize("label", BROKEN)
@pytest.mark.parametrize("strict", [False, True])
def test_a_load_that_fails_changes_nothing(label, strict):
    optimizer, states = begin({"a": FREEZE})
    train(optimizer, states, 0, 3)
    saved = optimizer.state_dict()
    (*parents, last), value = BROKEN[label]
    place = saved["opt_state"]
    for key in parents:
        place = place[key]
    place[last] = value
    twin, weights = begin({"a": FREEZE} if strict else TWO)
    train(twin, weights, 0, 2)
    kept = contents(twin, weights)
    with pytest.raises(ValueError, match="opt_state"):
        twin.load_state_dict(saved, strict=strict)
    assert_trees_equal(contents(twin, weights), kept)
    train(twin, weights, 2, 4)
