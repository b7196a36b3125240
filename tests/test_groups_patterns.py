"""Which leaves a pattern takes, what groups show of themselves, what is refused, and what is frozen."""

import re

import brainstate
import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lrax
from helpers import assert_close, assert_same_bits, assert_trees_equal

SHAPES = {
    "embed": {"weight": (4, 8)},
    "layers.0": {"weight": (8, 8), "bias": (8,)},
    "layers.1": {"weight": (8, 8), "bias": (8,)},
    "norm": {"scale": (8,)},
}
PATHS = [f"{name}.{key}" for name, leaves in SHAPES.items() for key in sorted(leaves)]
SIZES = {f"{n}.{k}": int(np.prod(s)) for n, leaves in SHAPES.items() for k, s in leaves.items()}


def new_states():
    rng = np.random.default_rng(1)
    return {
        name: brainstate.ParamState(
            {key: jnp.asarray(rng.normal(size=s), jnp.float32) for key, s in leaves.items()}
        )
        for name, leaves in SHAPES.items()
    }


def gradients(states, seed=2):
    rng = np.random.default_rng(seed)
    return {
        name: jax.tree.map(lambda w: jnp.asarray(rng.normal(size=w.shape), jnp.float32), s.value)
        for name, s in states.items()
    }


def begin(groups, kind=lrax.AdamW, lr=0.1, **options):
    states = new_states()
    return kind(lr=lr, groups=groups, **options).register_trainable_weights(states), states


def found(optimizer):
    return {group["name"]: group["leaves"] for group in optimizer.param_groups}


# --- Which leaves -----------------------------------------------------------------------------------


def flat(path, leaf):
    return leaf.ndim < 2


def wide(path, leaf):
    return np.bool_(leaf.shape[0] == 4)


BIASES = ["layers.0.bias", "layers.1.bias"]
SORTED = {
    "a regular expression is searched": ({"ias": {}}, {"ias": BIASES}),
    "anchored": ({r"^layers\.1": {}}, {r"^layers\.1": ["layers.1.bias", "layers.1.weight"]}),
    "of several cases": ({re.compile("BIAS$", re.IGNORECASE): {}}, {"BIAS$": BIASES}),
    "a function": ({flat: {}}, {"flat": [*BIASES, "norm.scale"]}),
    "a function with NumPy's bool": ({wide: {}}, {"wide": ["embed.weight"]}),
    "the first decides": (
        {"bias": {}, flat: {}, "^layers": {}},
        {"bias": BIASES, "flat": ["norm.scale"], "^layers": ["layers.0.weight", "layers.1.weight"]},
    ),
    "pairs, in the order given": (
        [("^layers", {}), ("embed", {})],
        {"^layers": [p for p in PATHS if "layers" in p], "embed": ["embed.weight"]},
    ),
    "none": ([], {}),
    "all": ({"": {}}, {"": PATHS}),
    "what is frozen is no group, and takes first": (
        {r"0\.bias": {"frozen": True}, "bias": {"frozen": False}},
        {"bias": ["layers.1.bias"]},
    ),
}


@pytest.mark.parametrize("label", SORTED)
def test_the_leaves_of_each_group(label):
    groups, wanted = SORTED[label]
    optimizer, _ = begin(groups)
    taken = {path for paths in wanted.values() for path in paths}
    frozen = {"layers.0.bias"} if "frozen" in label else set()
    rest = [path for path in PATHS if path not in taken | frozen]
    wanted = {**({"default": rest} if rest else {}), **wanted}
    assert found(optimizer) == wanted
    assert list(found(optimizer)) == list(wanted)
    assert [g["size"] for g in optimizer.param_groups] == [
        sum(SIZES[path] for path in paths) for paths in wanted.values()
    ]
    assert len(optimizer.get_last_lr()) == len(optimizer.hyperparams) == len(wanted)


def test_the_default_group_is_first_everywhere():
    rates = [0.1, 0.2, 0.3]
    optimizer, states = begin({"embed": {}, "bias": {}}, lrax.SGD, lrax.StepLR(rates, 5))
    assert list(found(optimizer)) == ["default", "embed", "bias"]
    assert_close(optimizer.get_last_lr(), rates)
    assert_close([used["lr"] for used in optimizer.hyperparams], rates)
    before = jax.tree.map(np.asarray, {name: s.value for name, s in states.items()})
    optimizer.step(jax.tree.map(jnp.ones_like, before))
    moved = jax.tree.map(lambda a, s: a - s, before, {n: s.value for n, s in states.items()})
    wanted = {"embed.weight": 0.2, "layers.0.bias": 0.3, "layers.1.bias": 0.3}
    for name, leaves in moved.items():
        for key, by in leaves.items():
            assert_close(by, np.full(by.shape, wanted.get(f"{name}.{key}", 0.1)), floor=2e-6)


def test_without_a_default_group_the_lists_begin_with_the_first_pattern():
    optimizer, _ = begin({"weight": {}, "": {}}, lrax.SGD, lrax.StepLR([0.1, 0.2], 5))
    assert list(found(optimizer)) == ["weight", ""]
    assert_close(optimizer.get_last_lr(), [0.1, 0.2])


def test_registered_in_two_calls_the_default_group_comes_to_be_the_first():
    states = new_states()
    optimizer = lrax.Adam(lr=lrax.StepLR([0.1, 0.2], 5), groups={"^norm": {"eps": 0.1}})
    with pytest.raises(ValueError, match="'\\^norm' matches nothing"):
        optimizer.register_trainable_weights({"embed": states["embed"]})
    assert not optimizer.param_states
    optimizer.register_trainable_weights({"norm": states["norm"]})
    assert list(found(optimizer)) == ["^norm"]
    optimizer.register_trainable_weights({"embed": states["embed"]})
    assert found(optimizer) == {"default": ["embed.weight"], "^norm": ["norm.scale"]}
    assert_close(optimizer.get_last_lr(), [0.1, 0.2])
    assert [used["eps"] for used in optimizer.hyperparams] == [1e-8, 0.1]
    optimizer.step(gradients(states))


def test_a_group_that_is_added_is_the_last_one_and_patterns_do_not_look_at_it():
    optimizer, states = begin({"bias": {"weight_decay": 0.0}}, lr=lrax.StepLR(0.1, 1))
    for _ in range(3):
        optimizer.step(gradients(states))
        optimizer.lr.step()
    moments = optimizer.optax_states()
    extra = {"extra": brainstate.ParamState({"bias": jnp.ones(2)})}
    optimizer.add_param_group(extra, lr=0.5, lr_scale=0.1, betas=(0.5, 0.6), weight_decay=0.2)
    assert found(optimizer)["added 1"] == ["extra.bias"]
    assert list(found(optimizer)) == ["default", "bias", "added 1"]
    assert_trees_equal(optimizer.optax_states()[:2], moments)
    used = optimizer.hyperparams[2]
    assert (used["betas"], used["weight_decay"]) == ((0.5, 0.6), 0.2)
    assert_close(optimizer.get_last_lr(), [1e-4, 1e-4, 5e-5])
    with pytest.raises(ValueError, match=r"must have options of .* got 'beta'.* mean 'beta"):
        optimizer.add_param_group({"more": brainstate.ParamState(jnp.ones(2))}, beta=0.5)


def test_lists_tuples_inside_states_quantities_and_shared_weights():
    shared = brainstate.ParamState(jnp.ones(3))
    tree = {
        "a": {"x": brainstate.ParamState((jnp.ones(2), {"k": jnp.ones(3)}))},
        "l": [shared, brainstate.ParamState(jnp.ones(2))],
        "q": brainstate.ParamState(jnp.ones(2) * u.mV),
        "tied": shared,
    }
    groups = {r"^a\.x\.1\.k$": {"frozen": True}, r"^q": {"lr_scale": 0.5}, r"^l\.0": {"lr": 0.2}}
    optimizer = lrax.SGD(lr=0.1, groups=groups).register_trainable_weights(tree)
    assert [g["size"] for g in optimizer.param_groups] == [4, 2, 3]
    assert list(optimizer.param_groups[2]["params"]) == ["l.0"]
    is_state = lambda node: isinstance(node, brainstate.State)  # noqa: E731
    values = jax.tree.map(lambda s: s.value, tree, is_leaf=is_state)
    optimizer.step(jax.tree.map(jnp.ones_like, values))
    assert_close(tree["a"]["x"].value[0], [0.9, 0.9])
    assert_trees_equal(tree["a"]["x"].value[1], {"k": np.ones(3, np.float32)})
    assert_close(shared.value, [0.8] * 3)
    assert_close(tree["q"].value / u.mV, [0.95, 0.95])


# --- What they show ---------------------------------------------------------------------------------


def test_a_group_is_read_as_in_torch():
    betas = (lrax.LinearLR(0.8, 0.5, 1.0, 2), 0.95)
    own = {"bias": {"betas": betas, "weight_decay": 0.0, "lr": 0.5, "eps": 1e-3}}
    optimizer, _ = begin(own, lr=lrax.ExponentialLR(0.1, gamma=0.5), weight_decay=0.05)
    first, second = optimizer.param_groups
    assert (first["weight_decay"], first["betas"], first["eps"]) == (0.05, (0.9, 0.999), 1e-8)
    assert (second["weight_decay"], second["eps"], second["name"]) == (0.0, 1e-3, "bias")
    assert list(second["params"]) == ["layers.0", "layers.1"]
    lr, (beta1, beta2) = second["lr"], second["betas"]
    assert_close([lr, beta1, beta2, second["beta1"]], [0.5, 0.4, 0.95, 0.4])
    optimizer.lr.step()
    assert_close([lr, beta1], [0.25, 0.6])  # they are what they are when one looks
    second["lr"] = 0.125
    assert_close(optimizer.get_last_lr(), [0.05, 0.125])
    with pytest.raises(KeyError, match="only 'lr' can"):
        second["weight_decay"] = 1.0
    optimizer.lr.step()
    assert_close(optimizer.get_last_lr(), [0.025, 0.125])


def lines_of(optimizer):
    first, *lines = str(optimizer).splitlines()
    assert first == repr(optimizer)
    return lines


def test_the_table_of_groups():
    own = {
        "bias|scale": {"weight_decay": 0.0, "grad_clip_value": 1 / 3},
        "embed": {"frozen": True},
        r"^layers\.1 or a pattern that is so long that nobody|layers.1": {"lr_scale": 0.7},
    }
    optimizer, _ = begin(own, lr=lrax.StepLR(0.1, 5), betas=(lambda t: 0.9, 0.95))
    assert lines_of(optimizer) == [
        "group                                     leaves  weights    lr  beta1  beta2    eps  weight_decay  grad_clip_value",
        "default                                        1       64   0.1    0.9   0.95  1e-08          0.01                -",
        "bias|scale                                     3       24   0.1    0.9   0.95  1e-08             0           0.3333",
        "^layers\\.1 or a pattern that is so long…       1       64  0.07    0.9   0.95  1e-08          0.01                -",
        "(frozen)                                       1       32     -      -      -      -             -                -",
    ]


def test_the_table_of_one_group_of_none_and_of_twenty():
    optimizer, _ = begin(None, lrax.SGD, lr=0.1)
    assert lines_of(optimizer) == [
        "group    leaves  weights   lr  momentum  weight_decay",
        "default       6      184  0.1         0             0",
    ]
    assert lines_of(lrax.SGD(lr=0.1)) == []
    complete = lrax.OptaxOptimizer(optax.sgd(0.5)).register_trainable_weights(new_states())
    assert lines_of(complete) == ["group    leaves  weights", "default       6      184"]
    weights = {f"w{i}": brainstate.ParamState(jnp.ones(i + 1)) for i in range(20)}
    groups = {f"w{i}$": {"lr_scale": 0.9**i} for i in range(20)}
    many = lrax.SGD(lr=0.1, groups=groups).register_trainable_weights(weights)
    lines = lines_of(many)
    assert len(lines) == 21
    assert len(set(map(len, lines))) == 1
    for i, line in enumerate(lines[1:]):
        assert line.split()[:4] == [f"w{i}$", "1", f"{i + 1}", f"{0.1 * 0.9**i:.4g}"]


# --- What is refused --------------------------------------------------------------------------------

FREEZE = {"frozen": True}
OPTIONS = "lr, lr_scale, frozen, betas, beta1, beta2, eps, weight_decay, grad_clip_value"
REFUSED = {
    "nothing matches": ({"heads": {}}, "'heads' matches nothing, got 'embed.weight', 'layers.0.bias'"),
    "shadowed": ({"bias": {}, "0.bias": {}}, "'0.bias' gets none of its own, since 'bias' before"),
    "shadowed by what is frozen": ({"bias": FREEZE, "0.bias": {}}, "since 'bias' before it"),
    "twice": ([("bias", {}), ("bias", {})], "since 'bias' before it"),
    "no regular expression": ({"bias(": {}}, r"must be a regular expression, got 'bias\(': missing \)"),
    "bytes": ({re.compile(b"bias"): {}}, "must be a regular expression, got re.compile"),
    "a number": ({3: {}}, "must be a regular expression or a function of .*, got 3"),
    "no bool": ({lambda path, leaf: leaf.ndim: {}}, "'<lambda>'.*True or False for every leaf, got 2 for 'embed.weight'"),
    "None": ({lambda path, leaf: None: {}}, "True or False for every leaf, got None"),
    "a match": ({lambda path, leaf: re.search("e", path): {}}, "True or False for every leaf, got <re.Match"),
    "all frozen": ({"": FREEZE}, "must leave a weight to be trained"),
    "frozen with more": ({"bias": {"frozen": True, "lr": 0.1}}, "frozen=True alone"),
    "frozen by a number": ({"bias": {"frozen": 1}}, "frozen=True alone"),
    "no dict": ("bias", "must be a dict or a list of pairs"),
    "no pairs": (["bias"], "must be made of pairs"),
    "no options": ({"bias": 0.1}, r"groups\['bias'\] must be a dict of options"),
    "unknown": ({"bias": {"weight_deca": 0}}, f"'bias'.*options of {OPTIONS}, got 'weight_deca'.* mean 'weight_decay'"),
    "torch's lr": ({"bias": {"learning_rate": 0}}, "got 'learning_rate'. Did you mean 'lr'"),
    "of another optimizer": ({"bias": {"momentum": 0.9}}, "got 'momentum'"),
    "a norm of its own": ({"bias": {"grad_clip_norm": 1.0}}, "'grad_clip_norm'.*all groups together"),
    "lr < 0": ({"bias": {"lr": -0.1}}, "lr must be a finite number >= 0, got -0.1"),
    "lr is None": ({"bias": {"lr": None}}, "lr must be a finite number >= 0"),
    "a list of rates": ({"bias": {"lr": lrax.StepLR([0.1, 0.2])}}, "lr must be a scheduler with one base_lr"),
    "lr_scale is NaN": ({"bias": {"lr_scale": float("nan")}}, "lr_scale must be a finite number"),
    "lr_scale is a scheduler": ({"bias": {"lr_scale": lrax.StepLR(0.1)}}, "lr_scale must be a finite"),
    "beta1 = 1": ({"bias": {"betas": (1.0, 0.9)}}, r"betas\[0\] must be a number in \[0, 1\)"),
    "a schedule out of range": ({"bias": {"beta2": lrax.StepLR(1.5)}}, r"beta2 must be .* got 1.5 at epoch 0"),
    "betas out of range": ({"bias": {"betas": (0.9, lrax.StepLR(1.5))}}, r"beta2 must be .* got 1.5 at epoch 0"),
    "eps < 0": ({"bias": {"eps": -1.0}}, "eps must be a finite number >= 0"),
    "clipped at 0": ({"bias": {"grad_clip_value": 0.0}}, "grad_clip_value must be"),
}  # fmt: skip


@pytest.mark.parametrize("label", REFUSED)
def test_what_is_no_group(label):
    groups, message = REFUSED[label]
    with pytest.raises((TypeError, ValueError), match=message):
        begin(groups)


@pytest.mark.parametrize("option", ["lr", "lr_scale", "weight_decay"])
@pytest.mark.parametrize("later", [False, True])
def test_a_complete_transformation_does_not_follow_what_a_group_asks_for(option, later):
    states = new_states()
    complete = lambda **k: lrax.OptaxOptimizer(optax.sgd(0.1), **k)  # noqa: E731
    refused = pytest.raises(ValueError, match=f"^{option} of a group")
    if later:
        optimizer = complete().register_trainable_weights({"embed": states["embed"]})
        with refused:
            optimizer.add_param_group({"norm": states["norm"]}, **{option: 0.5})
    else:
        with refused:
            complete(groups={"bias": {option: 0.5}})


def test_a_complete_transformation_is_clipped_and_left_out_by_group():
    states = new_states()
    own = {"bias": FREEZE, "weight": {"grad_clip_value": 0.5}}
    optimizer = lrax.OptaxOptimizer(optax.sgd(0.1), groups=own).register_trainable_weights(states)
    before = {name: s.value for name, s in states.items()}
    optimizer.step(jax.tree.map(jnp.ones_like, before))
    assert_trees_equal(states["layers.0"].value["bias"], before["layers.0"]["bias"])
    assert_close(states["norm"].value["scale"], before["norm"]["scale"] - 0.1)
    assert_close(states["embed"].value["weight"], before["embed"]["weight"] - 0.05, floor=3e-7)


# --- What is frozen ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [lrax.SGD, lrax.Adam, lrax.AdamW])
@pytest.mark.parametrize("jit", [lambda f: f, lrax.jit, brainstate.transform.jit])
def test_what_is_frozen_has_no_moments_needs_no_gradients_and_stays_bit_for_bit(kind, jit):
    more = {"momentum": 0.9} if kind is lrax.SGD else {}
    groups = {"^(embed|norm)": FREEZE, r"1\.bias": FREEZE}
    optimizer, states = begin(
        groups, kind, weight_decay=0.3, grad_clip_norm=1.0, accumulate_steps=2, **more
    )
    before = {name: jax.tree.map(np.asarray, s.value) for name, s in states.items()}
    grads = {name: g for name, g in gradients(states).items() if "layers" in name}
    grads["layers.1"]["bias"] = jnp.full(8, jnp.nan)  # it counts nowhere, not in the norm either
    step = jit(lambda: optimizer.step(grads))
    for _ in range(4):
        step()
    trained = ["layers.0.bias", "layers.0.weight", "layers.1.weight"]
    assert sorted(optimizer.state_dict()["opt_state"]["weights"]) == trained
    leaves = [w for path, w in SIZES.items() if path in trained]
    moments = 1 if kind is lrax.SGD else 2
    held = jax.tree.leaves(optimizer.opt_state.value)
    assert sum(np.size(leaf) for leaf in held if np.ndim(leaf) and leaf.dtype == np.float32) == (
        (moments + 1) * sum(leaves)  # and the sums of the gradients
    )
    for name, key in (("embed", "weight"), ("norm", "scale"), ("layers.1", "bias")):
        assert_same_bits(states[name].value[key], before[name][key])
    assert not np.array_equal(states["layers.1"].value["weight"], before["layers.1"]["weight"])
    squares = [np.sum(np.float64(grads[n][k]) ** 2) for n, k in (p.rsplit(".", 1) for p in trained)]
    assert_close(optimizer.grad_norm, np.sqrt(sum(squares)))


def test_a_weight_with_a_unit_is_named_as_others_are():
    weights = {
        "a": {"bias": brainstate.ParamState(jnp.ones(2) * u.nA)},
        "b": {"bias": brainstate.ParamState(jnp.ones(2))},
    }
    optimizer = lrax.AdamW(groups={"bias$": {"weight_decay": 0.0}}).register_trainable_weights(
        weights
    )
    assert [[*group["params"]] for group in optimizer.param_groups] == [["a.bias", "b.bias"]]
