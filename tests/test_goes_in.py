"""What is taken in can be saved and loaded again; what could not is refused where it comes in, with the documented exception."""

import decimal
import fractions
import json

import brainstate
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

import lrax
from helpers import assert_close, assert_same_bits
from ready import optimizer, plateau, values
from steps import jits

KEY = jax.random.key(0)
LARGEST = float(np.finfo(np.float32).max)

# --- odd values, everywhere -------------------------------------------------------------------------

NO_NUMBERS = {
    "random key": KEY,
    "random keys": jax.random.split(KEY, 2),
    "seconds": np.timedelta64(3, "s"),
    "nanoseconds": np.timedelta64(3, "ns"),
    "times": np.zeros(1, "m8[ns]"),
    "date": np.datetime64("2020-01-01"),
    "masked": np.ma.masked,
    "masked array": np.ma.array([1.0], mask=[True]),
    "unmasked array": np.ma.array([1.0]),
    "State": brainstate.State(3.5),
    "State of a whole number": brainstate.State(3),
    "record": np.zeros((), [("a", "f4")]),
    "object": np.array(3, object),
    "objects": np.array([3], object),
    "text": "3",
    "text of NumPy": np.str_("3"),
    "bytes": b"3",
    "complex": 3 + 0j,
    "complex of NumPy": np.complex64(3),
    "bool": True,
    "bool of NumPy": np.bool_(True),
    "bool of jax": jnp.bool_(True),
    "None": None,
    "dict": {"0": 1},
    "set": {3},
    "shape": jax.ShapeDtypeStruct((), np.float32),
    "class": float,
    "decimal": decimal.Decimal("0.5"),
    "large fraction": fractions.Fraction(10**400),
}
NO_RATES = {
    "huge": 10**400,
    "-huge": -(10**400),
    "-1": -1,
    "-1 of jax": jnp.int32(-1),
    "NaN": float("nan"),
    "NaN of jax": jnp.float32(np.nan),
    "NaN of long double": np.longdouble("nan"),
    "inf": float("inf"),
    "inf of bfloat16": jnp.bfloat16(np.inf),
}
INTO = {
    "epoch": lambda s, o, v: s(v),
    "epoch of lr_at": lambda s, o, v: o.lr_at(v),
    "step": lambda s, o, v: s.step(v),
    "last_epoch": lambda s, o, v: setattr(s, "last_epoch", v),
    "last_epoch.value": lambda s, o, v: setattr(s.last_epoch, "value", v),
    "current_lrs": lambda s, o, v: setattr(s.current_lrs, "value", v),
    "one of current_lrs": lambda s, o, v: setattr(s.current_lrs, "value", [v]),
    "apply": lambda s, o, v: s.apply(lambda lr: v),
    "lr_apply": lambda s, o, v: o.lr_apply(lambda lr: v),
    "current_lr": lambda s, o, v: setattr(o, "current_lr", v),
    "lr of a group": lambda s, o, v: o.param_groups[0].__setitem__("lr", v),
    "base_lr": lambda s, o, v: lrax.StepLR(v),
    "bases": lambda s, o, v: lrax.StepLR([0.1, v]),
    "gamma": lambda s, o, v: lrax.StepLR(0.1, gamma=v),
    "step_size": lambda s, o, v: lrax.StepLR(0.1, v),
    "milestone": lambda s, o, v: lrax.MultiStepLR(0.1, [v]),
    "start": lambda s, o, v: lrax.StepLR(last_epoch=v),
    "lr": lambda s, o, v: lrax.SGD(lr=v),
    "beta": lambda s, o, v: lrax.Adam(betas=(v, 0.9)),
    "decay": lambda s, o, v: lrax.AdamW(weight_decay=v),
    "metric": lambda s, o, v: plateau().step(metric=v),
    "metric, first": lambda s, o, v: plateau().step(v),
}
ACCEPTED = {  # what is meant by it
    ("epoch", "unmasked array"): False,
    ("current_lrs", "unmasked array"): True,
    ("current_lrs", "objects"): True,
    ("base_lr", "unmasked array"): True,
    ("base_lr", "objects"): True,
    ("start", "None"): False,
    ("step", "None"): True,
    ("step", "-1"): False,
    ("start", "-1"): True,  # torch's habit
    ("start", "-1 of jax"): True,
    ("gamma", "huge"): False,
}


def takes(way, label):
    if (way, label) in ACCEPTED:
        return ACCEPTED[way, label]
    if way.startswith("metric"):
        return label in ("-1", "-1 of jax") or ("NaN" in label or "inf" in label)
    return False


@pytest.mark.parametrize("way", INTO)
def test_odd_values_are_refused_as_documented(way):
    for label, value in {**NO_NUMBERS, **NO_RATES}.items():
        scheduler = lrax.StepLR(0.1, 3)
        owner = optimizer(scheduler)
        clock, before = scheduler.last_epoch, values(owner)
        if takes(way, label):
            INTO[way](scheduler, owner, value)
        elif label == "None" and way in ("lr", "metric, first"):
            continue  # not given
        else:
            with pytest.raises((TypeError, ValueError)) as caught:
                INTO[way](scheduler, owner, value)
            assert type(caught.value) in (TypeError, ValueError), label
            assert len(str(caught.value)) < 400, label
            assert values(owner) == before, label
        assert scheduler.last_epoch is clock, label


FITTING = {
    "int8": np.int8(3),
    "uint64": np.uint64(3),
    "int4": np.asarray(3, ml_dtypes.int4)[()],
    "float16": np.float16(3),
    "bfloat16": jnp.bfloat16(3),
    "float8": jnp.float8_e4m3fn(3),
    "long double": np.longdouble(3),
    "jax": jnp.int32(3),
    "0 dimensions": np.array(3),
    "fraction": fractions.Fraction(3),
}


@pytest.mark.parametrize("label", FITTING)
def test_every_kind_of_real_number_is_one(label):
    value = FITTING[label]
    scheduler = lrax.StepLR(value, step_size=value, gamma=0.5)
    assert scheduler.base_lr == scheduler.step_size == 3
    scheduler.step(value)
    assert_close(scheduler.get_last_lr(), [1.5])
    owner = optimizer(scheduler)
    owner.current_lr = value
    scheduler.apply(lambda lr: value)
    assert_close(owner.current_lr, 3.0)
    watching = plateau()
    for _ in range(3):
        watching.step(metric=value)
    saved = json.loads(json.dumps([scheduler.state_dict(), watching.state_dict()]))
    scheduler.load_state_dict(saved[0])
    watching.load_state_dict(saved[1])


# --- rates ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value", [1e39, LARGEST * (1 + 1e-7), jnp.asarray(jnp.inf), np.float64(1e300), -1e-30]
)
@pytest.mark.parametrize("way", ["current_lrs", "one of current_lrs", "apply", "lr_apply", "current_lr", "lr of a group"])  # fmt: skip
def test_a_rate_that_could_not_be_loaded_is_refused(way, value):
    scheduler = lrax.StepLR(0.1)
    owner = optimizer(scheduler)
    before = values(owner)
    with pytest.raises(ValueError, match=r"must be|must have"):
        INTO[way](scheduler, owner, value)
    assert values(owner) == before


@pytest.mark.parametrize("value", [LARGEST, 1e-45, 0, 1e-38, jnp.float32(0.5), np.float16(0.5)])
@pytest.mark.parametrize("way", ["one of current_lrs", "apply", "lr_apply", "current_lr", "lr of a group"])  # fmt: skip
def test_a_rate_that_is_taken_is_loaded_again(way, value):
    scheduler, twin = lrax.StepLR(0.1), optimizer(lrax.StepLR(0.1))
    owner = optimizer(scheduler)
    INTO[way](scheduler, owner, value)
    wanted = np.float32(value) if value >= 2.0**-126 else np.float32(0)
    assert_same_bits(owner.current_lr, wanted)
    twin.load_state_dict(owner.state_dict())
    assert_same_bits(twin.current_lr, wanted)


def test_a_map_that_fails_for_one_optimizer_changes_none():
    scheduler = lrax.ConstantLR(0.5, 1.0, 0)
    first, second = optimizer(scheduler), optimizer(scheduler)
    second.current_lr = 0.25
    with pytest.raises(ValueError, match=r"fn\(lr\) must be"):
        scheduler.apply(lambda lr: lr - 0.4)
    assert_close([first.current_lr, second.current_lr], [0.5, 0.25])


TRACED = {
    "current_lrs": lambda s, o, x: setattr(s.current_lrs, "value", x[None]),
    "one of current_lrs": lambda s, o, x: setattr(s.current_lrs, "value", [x]),
    "apply": lambda s, o, x: s.apply(lambda lr: x),
    "lr_apply": lambda s, o, x: o.lr_apply(lambda lr: x),
    "current_lr": lambda s, o, x: setattr(o, "current_lr", x),
    "lr of a group": lambda s, o, x: o.param_groups[0].__setitem__("lr", x),
}


@jits
@pytest.mark.parametrize("way", TRACED)
def test_a_traced_rate_is_clamped_and_NaN_is_seen(way, jit):
    scheduler = lrax.StepLR(0.1)
    owner = optimizer(scheduler)
    write = jit(lambda x: TRACED[way](scheduler, owner, x))
    for value, wanted in ((0.5, 0.5), (-1.0, 0.0), (np.inf, LARGEST), (-np.inf, 0.0)):
        write(jnp.float32(value))
        assert_same_bits(owner.current_lr, np.float32(wanted))
        optimizer(lrax.StepLR(0.1)).load_state_dict(owner.state_dict())
    write(jnp.float32(np.nan))
    assert np.isnan(owner.current_lr)


# --- epochs -----------------------------------------------------------------------------------------

CLOCKS = {
    "step": lambda s, e: s.step(e),
    "last_epoch": lambda s, e: setattr(s, "last_epoch", e),
    "last_epoch.value": lambda s, e: setattr(s.last_epoch, "value", e),
}


@jits
@pytest.mark.parametrize("dtype", [jnp.int32, jnp.int8, jnp.uint32])
@pytest.mark.parametrize("way", CLOCKS)
def test_a_traced_epoch_is_clamped(way, dtype, jit):
    scheduler = lrax.StepLR(0.1, 3)
    write = jit(lambda e: CLOCKS[way](scheduler, e))
    info = jnp.iinfo(dtype)
    for epoch in (5, int(info.min), int(info.max)):
        write(jnp.asarray(epoch, dtype))
        now = min(max(epoch, 0), 2**31 - 1)
        assert int(scheduler.last_epoch.value) == now
        lrax.StepLR(0.1, 3).load_state_dict(scheduler.state_dict())
    scheduler.step()
    assert_same_bits(scheduler.get_last_lr()[0], scheduler(int(scheduler.last_epoch.value)))


@pytest.mark.parametrize("way", CLOCKS)
@pytest.mark.parametrize("value", [jnp.int32(-5), np.int64(2**32 + 5), np.uint64(2**63), jnp.float32(2.5), [3], 2**31])  # fmt: skip
def test_an_epoch_that_could_not_be_loaded_is_refused(way, value):
    scheduler = lrax.StepLR(0.1, 3)
    with pytest.raises((TypeError, ValueError), match="must be"):
        CLOCKS[way](scheduler, value)
    assert scheduler.last_epoch.value == 0


@pytest.mark.parametrize("value", [np.asarray(3, ml_dtypes.int4)[()], jnp.int4(3), jnp.uint32(3)])
def test_an_epoch_of_any_whole_dtype(value):
    scheduler = lrax.StepLR(0.1, 3)
    scheduler.last_epoch = value
    assert scheduler.last_epoch.value == 3


# --- what a function returns ------------------------------------------------------------------------

NO_RESULTS = {k: v for k, v in NO_NUMBERS.items() if not k.startswith("bool")} | {"huge": 10**400}


@pytest.mark.parametrize("label", NO_RESULTS)
def test_a_function_that_returns_no_number(label):
    with pytest.raises(TypeError, match="must return one number"):
        lrax.LambdaLR(0.1, lambda e: NO_RESULTS[label])


@jits
def test_a_function_that_returns_a_complex_number(jit):
    """jax would leave the imaginary part out."""
    schedule = jit(lambda e: lrax.LambdaLR(0.1, lambda e: 1.0 if is_known(e) else e * 1j)(e))
    with pytest.raises(TypeError, match="must return a real number"):
        schedule(jnp.int32(3))


def is_known(epoch):
    return not isinstance(epoch, jax.core.Tracer)


# --- States of a user's scheduler -------------------------------------------------------------------


class Several(lrax.LRScheduler):
    def __init__(self, base_lr=0.1, last_epoch=0):
        super().__init__(base_lr, last_epoch)
        self.plain = brainstate.State(3)
        self.real = brainstate.State(2.0)
        self.whole = brainstate.State(jnp.int32(-4))
        self.half = brainstate.State(jnp.bfloat16(2))
        self.rate = brainstate.State(jnp.float32(3.0))
        self.flag = brainstate.State(True)
        self.key = brainstate.State(jax.random.key(1))
        self.complex = brainstate.State(jnp.complex64(1 + 2j))

    def get_lr(self):
        return list(self.base_lrs)


def test_states_of_whole_values_come_back():
    scheduler, twin = Several(), Several()
    for name in ("plain", "real", "whole", "half", "rate"):
        getattr(twin, name).value = jnp.zeros((), jnp.result_type(getattr(twin, name).value))
    twin.load_state_dict(scheduler.state_dict())
    for name, state in vars(scheduler).items():
        if isinstance(state, brainstate.State) and name != "last_epoch":
            mine, theirs = state.value, getattr(twin, name).value
            assert jnp.result_type(theirs) == jnp.result_type(mine), name
            if name == "key":
                mine, theirs = map(jax.random.key_data, (mine, theirs))
            np.testing.assert_array_equal(theirs, mine)
