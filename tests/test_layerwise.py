"""Learning rates that fall from layer to layer: which leaf is in which group, beside what BEiT and MAE do."""

import re

import brainstate
import jax.numpy as jnp
import numpy as np
import pytest

import lrax

nn = brainstate.nn


def scales(params, *arguments, **options):
    """What every leaf gets, by its path; each must be in exactly one group."""
    groups = lrax.layerwise_lr_decay(params, *arguments, **options)
    found = {}
    for path, leaf in leaves_of(params):
        (own,) = [options for pattern, options in groups if pattern(path, leaf)]
        found[path] = own
    assert all(any(pattern(*pair) for pair in leaves_of(params)) for pattern, _ in groups)
    return found


def leaves_of(params):
    """Path and leaf, for dicts in dicts and tuples of keys."""
    for key, state in params.items():
        name = ".".join(map(str, key)) if isinstance(key, tuple) else str(key)
        value = state.value if isinstance(state.value, dict) else {"": state.value}
        for part, leaf in value.items():
            yield f"{name}.{part}".rstrip("."), leaf


def weights(*paths):
    return {path: brainstate.ParamState(jnp.ones(2)) for path in paths}


def names(groups):
    return [pattern.__name__ for pattern, _ in groups]


# --- beside BEiT and MAE ----------------------------------------------------------------------------

VIT = (
    *("cls_token", "pos_embed", "patch_embed.proj.weight", "patch_embed.proj.bias"),
    *(
        f"blocks.{i}.{part}.{kind}"
        for i in range(12)
        for part in ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")
        for kind in ("weight", "bias")
    ),
    *("fc_norm.weight", "fc_norm.bias", "head.weight", "head.bias"),
)


def layer_id_of_mae(name, num_layers):
    """``get_layer_id_for_vit`` of MAE's util/lr_decay.py, for num_layers = blocks + 1; BEiT's is the same for these names."""
    if name in ["cls_token", "pos_embed"] or name.startswith("patch_embed"):
        return 0
    if name.startswith("blocks"):
        return int(name.split(".")[1]) + 1
    return num_layers


def param_groups_lrd(shapes, weight_decay=0.05, no_weight_decay_list=(), layer_decay=0.75):
    """MAE's function of this name: learning-rate scale and weight decay of each parameter."""
    num_layers = 12 + 1
    layer_scales = [layer_decay ** (num_layers - i) for i in range(num_layers + 1)]
    found = {}
    for name, ndim in shapes.items():
        decays = not (ndim == 1 or name in no_weight_decay_list)
        scale = layer_scales[layer_id_of_mae(name, num_layers)]
        found[name] = scale, weight_decay if decays else 0.0
    return found


@pytest.mark.parametrize("decay", [0.75, 0.65, 0.9, 1.0])
def test_a_vit_as_mae_and_beit_have_it(decay):
    ndim = {p: 2 if p.endswith("weight") and "norm" not in p else 1 for p in VIT}
    ndim |= {"cls_token": 3, "pos_embed": 3, "patch_embed.proj.weight": 4}
    params = {p: brainstate.ParamState(jnp.ones((1,) * ndim[p])) for p in VIT}
    listed = ("cls_token", "pos_embed")
    wanted = param_groups_lrd(ndim, no_weight_decay_list=listed, layer_decay=decay)
    found = scales(params, decay, no_decay=lambda path, leaf: leaf.ndim == 1 or path in listed)
    assert len(found) == len(VIT) == 152
    for path, options in found.items():
        scale, weight_decay = wanted[path]
        np.testing.assert_allclose(options["lr_scale"], scale, rtol=1e-14)
        assert options.get("weight_decay", 0.05) == weight_decay
    assert {scale for scale, _ in wanted.values()} == {decay**i for i in range(14)}


# --- models of brainstate ---------------------------------------------------------------------------


class Transformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(5, 3)
        self.layers = [nn.Linear(3, 3) for _ in range(11)]
        self.norm = nn.LayerNorm(3)
        self.head = nn.Linear(3, 2)


def test_a_transformer():
    params = Transformer().states(brainstate.ParamState)
    groups = lrax.layerwise_lr_decay(params, 0.5)
    assert names(groups) == ["bottom", *(f"layer {i}" for i in range(11)), "head"]  # 10 after 9
    assert [options for _, options in groups] == [{"lr_scale": 0.5 ** (12 - i)} for i in range(13)]
    found = {path: options["lr_scale"] for path, options in scales(params, 0.5).items()}
    assert found.pop("embed.weight") == 0.5**12
    assert {v for k, v in found.items() if k.split(".")[0] in ("norm", "head")} == {1.0}
    for i in range(11):
        assert found[f"layers.{i}.weight.weight"] == found[f"layers.{i}.weight.bias"]
        assert found[f"layers.{i}.weight.weight"] == 0.5 ** (11 - i)


def test_layers_of_a_sequential_are_counted_without_gaps():
    model = nn.Sequential(nn.Linear(1, 4), nn.Tanh(), nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 1))
    params = model.states(brainstate.ParamState)
    groups = lrax.layerwise_lr_decay(params)
    assert [(pattern.__name__, o["lr_scale"]) for pattern, o in groups] == [
        ("layer 0", 0.5625),
        ("layer 2", 0.75),
        ("layer 4", 1.0),
    ]


def test_leaves_that_shall_not_decay_are_groups_of_their_own():
    params = Transformer().states(brainstate.ParamState)
    plain = scales(params)
    for no_decay in (
        r"bias|norm|scale",
        re.compile("bias|norm|scale"),
        lambda path, leaf: np.ndim(leaf) < 2,
    ):
        groups = lrax.layerwise_lr_decay(params, no_decay=no_decay)
        assert names(groups) == [
            "bottom",
            *(name for i in range(11) for name in (f"layer {i}", f"layer {i}, no decay")),
            "head",
            "head, no decay",
        ]
        found = scales(params, no_decay=no_decay)
        for path, leaf in leaves_of(params):
            exempt = {"weight_decay": 0.0} if leaf.ndim < 2 else {}
            assert found[path] == plain[path] | exempt
    # A layer of which nothing decays is one group.
    groups = lrax.layerwise_lr_decay(params, no_decay="^embed")
    assert names(groups)[:2] == ["bottom, no decay", "layer 0"]


BOTTOM = (
    *(
        "embed",
        "embedding",
        "Embeddings.LayerNorm",
        "tok_embeddings",
        "embed_tokens",
        "wordEmbedding",
    ),
    *("patch_embed", "patchify.proj", "pos", "pos_embed", "position_ids", "cls", "cls_token"),
    *("mask_token", "model.tok", "transformer.wte", "wpe", "conv_stem", "stem.conv", "pos_emb"),
)
HEAD = (
    *("head", "norm", "fc.weight", "lm_head", "unembed", "cls_head", "token_classifier"),
    *("cls.predictions.bias", "system", "compose", "tokenizer", "positive", "dispatch"),
)


def test_what_has_no_number_is_at_the_bottom_or_the_head():
    params = weights("layers.0.weight", *BOTTOM, *HEAD)
    found = {path: options["lr_scale"] for path, options in scales(params, 0.5).items()}
    assert {path for path, scale in found.items() if scale == 0.25} == {*BOTTOM}
    assert {path for path, scale in found.items() if scale == 1.0} == {*HEAD}
    assert found["layers.0.weight"] == 0.5


def test_the_first_number_counts():
    params = weights(
        "blocks.1.mlp.7.weight",
        "blocks.1.embed",
        "blocks.3.mlp.0",
        "x2.y",
        "stage1.0.w",
        "a.b.c.d.3.e",
    )
    groups = lrax.layerwise_lr_decay(params, 0.5)
    assert names(groups) == ["layer 0", "layer 1", "layer 3", "head"]
    found = {path: options["lr_scale"] for path, options in scales(params, 0.5).items()}
    assert found == {
        "stage1.0.w": 0.125,
        "blocks.1.mlp.7.weight": 0.25,
        "blocks.1.embed": 0.25,
        "blocks.3.mlp.0": 0.5,
        "a.b.c.d.3.e": 0.5,
        "x2.y": 1.0,
    }


def test_a_function_gives_the_layer():
    params = weights("layer1.0.w", "layer2.0.w", "layer4.1.w", "conv1.w")
    number = {"c": 0}
    seen = []

    def layer(path, leaf):
        seen.append((path, leaf))
        return np.int64(number.get(path[0], path[5]))

    groups = lrax.layerwise_lr_decay(params, 0.5, layer=layer)
    assert names(groups) == ["layer 0", "layer 1", "layer 2", "layer 4"]
    assert [o["lr_scale"] for _, o in groups] == [0.5**4, 0.5**3, 0.5**2, 1.0]  # 3 is missed out
    assert {path for path, _ in seen} == {*params}
    assert all(params[path].value is leaf for path, leaf in seen)
    found = scales(params, 0.5, layer=lambda path, leaf: -len(path), no_decay="conv")
    assert found["conv1.w"] == {"lr_scale": 1.0, "weight_decay": 0.0}
    assert found["layer1.0.w"] == {"lr_scale": 0.125}


def test_the_factor_may_be_whole_or_of_numpy():
    params = weights("0", "1")
    for one in (1, 1.0, np.float32(1)):
        assert [o for _, o in lrax.layerwise_lr_decay(params, one)] == [{"lr_scale": 1.0}] * 2
    (_, options), _ = lrax.layerwise_lr_decay(params, jnp.float32(0.5))
    assert type(options["lr_scale"]) is float


def test_a_shared_weight_is_in_the_layer_of_its_first_path():
    shared = brainstate.ParamState(jnp.ones(2))
    params = {"0.w": shared, "1.w": brainstate.ParamState(jnp.ones(2)), "2.w": shared}
    groups = lrax.layerwise_lr_decay(params, 0.5)
    assert names(groups) == ["layer 0", "layer 1"]


ERRORS = {
    "no weights": (lambda: lrax.layerwise_lr_decay({}), r"params must hold at least one weight"),
    "nothing found": (
        lambda: lrax.layerwise_lr_decay(weights("embed", "stage1.w", "head")),
        r"params must have layers with a number.*'embed', 'head', 'stage1.w'.*Pass layer=",
    ),
    "no number": (
        lambda: lrax.layerwise_lr_decay(weights("0.w"), layer=lambda path, leaf: 0.5),
        r"layer must return a whole number for every leaf, got 0.5 for '0.w'. Return int",
    ),
    "a flag": (
        lambda: lrax.layerwise_lr_decay(weights("0.w"), layer=lambda path, leaf: "0" in path),
        r"layer must return a whole number for every leaf, got True",
    ),
    "nothing returned": (
        lambda: lrax.layerwise_lr_decay(weights("0.w"), layer=lambda path, leaf: None),
        r"layer must return a whole number for every leaf, got None",
    ),
    "nothing matches": (
        lambda: lrax.layerwise_lr_decay(weights(*map(str, range(7))), no_decay="bias"),
        r"no_decay must match some.*got 'bias', but there are '0', '1', '2', '3', '4', \.\.\.\. Leave",
    ),
    "a match": (
        lambda: lrax.layerwise_lr_decay(weights("0"), no_decay=lambda p, _: re.search("0", p)),
        r"no_decay must return True or False for every leaf, got <re.Match.* for '0'",
    ),
    "no expression": (
        lambda: lrax.layerwise_lr_decay(weights("0"), no_decay="bias("),
        r"no_decay must be a regular expression, got 'bias\(': missing \)",
    ),
    "zero": (lambda: lrax.layerwise_lr_decay(weights("0"), 0.0), r"in \(0, 1\], got 0.0"),
    "more than one": (lambda: lrax.layerwise_lr_decay(weights("0"), 1.1), r"in \(0, 1\], got 1.1"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name):
    call, message = ERRORS[name]
    with pytest.raises((TypeError, ValueError), match=message):
        call()
