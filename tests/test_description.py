"""What a scheduler is: one record, from which repr, ==, hash, config and the state dict are derived."""

import copy
import dataclasses
import enum
import functools
import json

import brainstate
import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

import lrax
from helpers import assert_close, assert_same_bits


@dataclasses.dataclass(frozen=True)
class Stairs(lrax.Formula):
    """A formula of a user's, with a tuple."""

    milestones: tuple
    factor: float = 0.5

    def raw(self, t, base, x):
        return base * x.power(self.factor, x.count(self.milestones, t))


@dataclasses.dataclass(frozen=True)
class AtLeast(lrax.Formula):
    """A formula of a user's around another one."""

    inner: lrax.Formula
    low: float

    def raw(self, t, base, x):
        return x.maximum(self.inner.raw(t, base, x), self.low)


class Clipped(lrax.LRScheduler):
    """A composite of a user's, with one argument of any name."""

    def __init__(self, of, low=0.02, last_epoch=0):
        inner, base_lr = of.pieces()[0]
        super().__init__(base_lr, last_epoch, formula=AtLeast(inner, low))


class Averaged(lrax.LRScheduler):
    """A composite of many, in a list."""

    def __init__(self, parts, last_epoch=0):
        pieces = [part.pieces()[0] for part in parts]
        super().__init__(pieces[0][1], last_epoch, formula=Mean(tuple(f for f, _ in pieces)))


@dataclasses.dataclass(frozen=True)
class Mean(lrax.Formula):
    parts_of: tuple

    def raw(self, t, base, x):
        return sum(part.raw(t, base, x) for part in self.parts_of) / len(self.parts_of)


@dataclasses.dataclass(frozen=True)
class WithInitVar(lrax.Formula):
    rate: float
    other: dataclasses.InitVar[float]

    def __post_init__(self, other):
        object.__setattr__(self, "kept", other)

    def raw(self, t, base, x):
        return base * self.kept


class Undecorated(lrax.Formula):
    rate: float = 0.5

    def raw(self, t, base, x):
        return base * self.rate


class Learned(lrax.LRScheduler):
    """A schedule with a State of its own."""

    def __init__(self, base_lr=0.1, last_epoch=0):
        super().__init__(base_lr, last_epoch)
        self.factor = brainstate.State(jnp.float32(1.0))
        self.table = brainstate.State(jnp.ones((2, 3), jnp.bfloat16))

    def get_lr(self):
        return [base * self.factor.value for base in self.base_lrs]


class Halving(lrax.LRScheduler):
    def get_lr(self):
        return [base * 0.5**self.last_epoch.value for base in self.base_lrs]


@dataclasses.dataclass(frozen=True)
class Function:
    """A function that says it equals another one."""

    factor: float

    def __call__(self, epoch):
        return self.factor


@dataclasses.dataclass(frozen=True)
class Cached(lrax.Formula):
    """A formula with more in it than its fields."""

    rate: float
    doubled: float = dataclasses.field(init=False, default=0.0)

    def __post_init__(self):
        object.__setattr__(self, "doubled", 2 * self.rate)
        object.__setattr__(self, "extra", self.rate)

    @functools.cached_property
    def table(self):
        return np.arange(3) * self.rate

    def raw(self, t, base, x):
        return base * (self.table[1] + self.doubled + self.extra) / 4


@dataclasses.dataclass(frozen=True, slots=True)
class Slotted(lrax.Formula):
    rate: float

    def raw(self, t, base, x):
        return base * self.rate


class Optional(Halving):
    def __init__(self, base_lr, warm=None, *rest):
        self.given = (warm, rest)
        super().__init__(base_lr)


class ByPlace(Halving):
    def __init__(self, base_lr, b=2.0, /, *, c=3.0):
        self.given = (b, c)
        super().__init__(base_lr)


class Simple(lrax.StepLR):
    """Of fewer arguments than its base."""

    def __init__(self, base_lr, last_epoch=0):
        super().__init__(base_lr, step_size=2, gamma=0.5, last_epoch=last_epoch)


class Kind(enum.StrEnum):
    LOW = "low"


class AnyArguments(lrax.StepLR):
    def __init__(self, base_lr, *rest, table=None, mode="a", **more):
        self.rest, self.more = rest, more
        super().__init__(base_lr, step_size=3)


class Grandchild(AnyArguments):
    pass


USERS = [
    Clipped,
    Averaged,
    AnyArguments,
    Grandchild,
    Stairs,
    AtLeast,
    Mean,
    Cached,
    Slotted,
    Optional,
    ByPlace,
    Simple,
]

# --- Nothing that a caller can still change is kept -------------------------------------------------

LISTS = {  # a scheduler from a list that grows afterwards; and what it must be
    "milestones": (lambda ms: lrax.MultiStepLR(0.1, ms), [30, 60]),
    "base_lr": (lambda rates: lrax.StepLR(rates), [0.1, 0.2]),
    "max_lr": (lambda rates: lrax.OneCycleLR(rates, total_steps=9), [0.1, 0.2]),
    "min_lr": (lambda rates: lrax.ReduceLROnPlateau(0.1, min_lr=rates), [1e-3, 1e-4]),
    "boundaries": (lambda bs: lrax.PiecewiseConstantSchedule(boundaries=bs, values=(1.0, 0.5, 0.1)), [3, 5]),
    "values": (lambda vs: lrax.PiecewiseConstantSchedule(boundaries=(3, 5), values=vs), [1.0, 0.5, 0.1]),
    "lr_lambda": (lambda fs: lrax.LambdaLR(0.1, fs), [abs, abs]),
    "schedulers": (lambda ss: lrax.ChainedScheduler(ss), [lrax.StepLR(0.1), lrax.StepLR(0.2)]),
    "milestones of a sequence": (lambda ms: lrax.SequentialLR([lrax.StepLR(0.1)] * 3, ms), [3, 6]),
    "a user's formula": (lambda ms: lrax.LRScheduler(0.1, formula=Stairs(ms)), [3, 6]),
    "a list of formulas": (lambda fs: lrax.LRScheduler(0.1, formula=fs), [Stairs((3,)), Stairs((4,))]),
    "a user's class": (lambda ps: Averaged(ps), [lrax.StepLR(0.1), lrax.ExponentialLR(0.1)]),
    "a user's table": (lambda table: AnyArguments(0.1, table=table), [[1, 2], [3, 4]]),
}  # fmt: skip


@pytest.mark.parametrize("name", LISTS)
def test_a_list_that_grows_afterwards_changes_nothing(name):
    make, values = LISTS[name]
    mine = list(values)
    scheduler, twin = make(mine), make(tuple(values))
    before, shown = copy.deepcopy(scheduler.state_dict()), repr(scheduler)
    mine.append(mine[-1])
    mine[0] = mine[1]
    assert scheduler.state_dict() == before == twin.state_dict()
    assert repr(scheduler) == shown == repr(twin)
    assert scheduler == twin


@pytest.mark.parametrize("name", LISTS)
def test_what_is_shown_cannot_be_changed(name):
    make, values = LISTS[name]
    scheduler = make(list(values))
    before = copy.deepcopy(scheduler.state_dict())
    for argument in {*scheduler.parameters} - {"last_epoch"}:
        found = getattr(scheduler, argument, None)
        assert not isinstance(found, (list, dict, np.ndarray)), argument
        with pytest.raises(AttributeError, match=argument):
            setattr(scheduler, argument, values)
    assert scheduler.state_dict() == before


def test_an_array_that_is_changed_afterwards():
    rates, table = np.array([0.1, 0.2]), np.array([[1.0, 2.0]])
    scheduler, users = lrax.StepLR(rates), AnyArguments(0.1, table=table)
    rates[:] = 7
    table[:] = 7
    assert scheduler.base_lrs == [0.1, 0.2]
    assert users.table == ((1.0, 2.0),)
    assert users.state_dict()["AnyArguments"]["table"] == {"0": {"0": 1.0, "1": 2.0}}


SEQUENCES = [
    list,
    tuple,
    np.array,
    jnp.asarray,
    iter,
    lambda v: (e for e in v),
    lambda v: map(int, v),
]


@pytest.mark.parametrize("kind", range(len(SEQUENCES)))
def test_any_sequence_is_taken_and_described(kind):
    as_sequence = SEQUENCES[kind]
    for make in (
        lambda ms: lrax.MultiStepLR(1.0, ms),
        lambda ms: lrax.PiecewiseConstantSchedule(boundaries=ms, values=[1.0, 0.5, 0.1]),
        lambda ms: lrax.SequentialLR([lrax.StepLR(), lrax.StepLR(), lrax.StepLR()], ms),
    ):
        scheduler, wanted = make(as_sequence([30, 60])), make([30, 60])
        assert scheduler == wanted
        assert scheduler.state_dict() == wanted.state_dict()
        assert lrax.from_config(json.loads(json.dumps(scheduler.config))) == wanted
    assert lrax.MultiStepLR(1.0, range(30, 90, 30)).config == lrax.MultiStepLR(1.0, [30, 60]).config
    values = lrax.PiecewiseConstantSchedule(boundaries=[1], values=(v for v in (1.0, 0.1)))
    assert values.config["PiecewiseConstantSchedule"]["values"] == {"0": 1.0, "1": 0.1}


# --- Comparing --------------------------------------------------------------------------------------

DIFFERENT = [
    lambda: lrax.StepLR(0.1),
    lambda: lrax.StepLR(0.1, gamma=0.2),
    lambda: lrax.StepLR(0.1000000001),
    lambda: lrax.StepLR([0.1, 0.1]),
    lambda: lrax.ExponentialLR(0.1),
    lambda: lrax.MultiStepLR(0.1, [3, 6]),
    lambda: lrax.MultiStepLR(0.1, [3, 7]),
    lambda: lrax.MultiStepLR(0.1, [3, 6, 6]),
    lambda: lrax.CyclicLR(0.1, 0.2, scale_fn=abs),
    lambda: lrax.CyclicLR(0.1, 0.2),
    lambda: lrax.LambdaLR(0.1, abs),
    lambda: lrax.LambdaLR(0.1, round),
    lambda: lrax.ReduceLROnPlateau(0.1),
    lambda: lrax.ReduceLROnPlateau([0.1, 0.1], min_lr=[0.0, 0.01]),
    lambda: lrax.ReduceLROnPlateau([0.1, 0.1], min_lr=[0.01, 0.0]),
    lambda: lrax.SequentialLR([lrax.StepLR(0.1), lrax.StepLR(0.1)], [5]),
    lambda: lrax.SequentialLR([lrax.StepLR(0.1), lrax.StepLR(0.2)], [5]),
    lambda: lrax.SequentialLR([lrax.StepLR(0.1), lrax.StepLR(0.2, 31)], [5]),
    lambda: lrax.ChainedScheduler([lrax.StepLR(0.1), lrax.StepLR(0.1)]),
    lambda: lrax.LRScheduler(0.1, formula=Stairs((3, 6))),
    lambda: lrax.LRScheduler(0.1, formula=Stairs((3, 7))),
    lambda: lrax.LRScheduler([0.1, 0.2], formula=[Stairs((3, 6)), Stairs((3, 7))]),
    lambda: lrax.LRScheduler(0.1, formula=AtLeast(lrax.ExponentialLR(0.1), 0.01)),
    lambda: lrax.LRScheduler(0.1, formula=AtLeast(lrax.ExponentialLR(0.1, 0.9), 0.01)),
    lambda: Clipped(lrax.ExponentialLR(0.1)),
    lambda: Clipped(lrax.ExponentialLR(0.1), low=0.03),
    lambda: Clipped(lrax.ExponentialLR(0.1, gamma=0.9)),
    lambda: Averaged([lrax.StepLR(0.1), lrax.ExponentialLR(0.1)]),
]


def test_equal_if_and_only_if_the_arguments_are():
    ones, others = [make() for make in DIFFERENT], [make() for make in DIFFERENT]
    for other in others:
        other.last_epoch = 7  # where a clock is makes no difference
    for i, one in enumerate(ones):
        assert [one == other for other in others] == [i == k for k in range(len(others))]
        assert hash(one) == hash(others[i])
    assert len({*ones, *others}) == len(DIFFERENT)
    assert lrax.StepLR(0.1) != 0.1


def test_what_runs_code_of_a_user_equals_itself_only():
    for make in (
        lambda: Learned(),
        lambda: lrax.LambdaLR(0.1, lambda t: 1.0),
        lambda: lrax.SequentialLR([Halving(), lrax.StepLR(0.1)], [3]),
        lambda: Clipped(Halving()),
        lambda: lrax.LambdaLR(0.1, Function(1.0)),
    ):
        one, other = make(), make()
        assert one == one
        assert one != other
        assert hash(one) != hash(other)


def test_a_traced_schedule_equals_itself_only():
    def same(rate):
        one, other = lrax.StepLR(rate), lrax.StepLR(rate)
        assert one == one
        assert one != other
        assert lrax.StepLR(0.1) != one
        return one(3)

    assert np.isfinite(jax.jit(same)(0.1))


def test_programs_are_not_shared_by_schedules_that_differ():
    """jax looks a compiled function up by ``==``."""
    rates = [float(jax.jit(lrax.MultiStepLR(0.1, [m]))(jnp.int32(4))) for m in (3, 4, 5, 6)]
    assert_close(rates, [0.01, 0.01, 0.1, 0.1])


# --- Described and rebuilt --------------------------------------------------------------------------

REBUILT = [
    lambda: lrax.LRScheduler(0.1, formula=Stairs((3, 6))),
    lambda: lrax.LRScheduler([0.1, 0.2], formula=[Stairs((3, 6)), Stairs((3, 7))]),
    lambda: lrax.LRScheduler(0.1, formula=AtLeast(lrax.ExponentialLR(0.1), 0.01)),
    lambda: lrax.LRScheduler(0.1, formula=Mean((lrax.StepLR(0.1), lrax.ExponentialLR(0.1)))),
    lambda: Clipped(lrax.ReduceLROnPlateau(0.1)),
    lambda: Clipped(Clipped(lrax.ExponentialLR(0.1)), 0.05),
    lambda: Averaged([lrax.StepLR(0.1), Clipped(lrax.ExponentialLR(0.1))]),
    lambda: lrax.SequentialLR([Clipped(lrax.ExponentialLR(0.1)), lrax.StepLR(0.1)], [3]),
    lambda: lrax.ChainedScheduler([lrax.StepLR([0.1, 0.2]), lrax.ExponentialLR(0.3)]),
    lambda: AnyArguments(0.1, 7, "8", table={3: 0.1, "x": [1, None, True]}, mode="3", extra=2),
    lambda: Grandchild(0.1, table=(), mode="str"),
    lambda: AnyArguments(0.1, table=None, mode="None", none=None, dict="dict"),
    lambda: AnyArguments(0.1, table=Kind.LOW),
    lambda: lrax.LRScheduler(0.1, formula=Cached(0.5)),
    lambda: lrax.LRScheduler(0.1, formula=Slotted(0.5)),
    lambda: lrax.LRScheduler(0.1, formula=lrax.StepLR(0.1, 3).pieces()[0][0]),
    lambda: lrax.LRScheduler([0.1, 0.2], formula=[f for f, _ in lrax.StepLR([0.1, 0.2]).pieces()]),
    lambda: Simple(0.1),
]


@pytest.mark.parametrize("number", range(len(REBUILT)))
def test_a_class_of_a_user_is_rebuilt(number):
    scheduler = REBUILT[number]()
    config = json.loads(json.dumps(scheduler.config))
    twin = lrax.from_config(config, classes=USERS)
    assert type(twin) is type(scheduler)
    assert twin == scheduler
    assert twin.config == scheduler.config == config
    assert repr(twin) == repr(scheduler)
    twin.load_state_dict(json.loads(json.dumps(scheduler.state_dict())))


@pytest.mark.parametrize(
    "make",
    [
        lambda: Optional(0.1, None, 7.0, 8.0),
        lambda: Optional(0.1, 3),
        lambda: ByPlace(0.1, 5.0, c=4.0),
    ],
)
def test_arguments_that_are_given_by_place(make):
    scheduler = make()
    twin = lrax.from_config(json.loads(json.dumps(scheduler.config)), classes=USERS)
    assert twin.given == scheduler.given
    assert twin.config == scheduler.config


def test_functions_are_named_and_no_more():
    scheduler = AnyArguments(0.1, table={"f": np.sin, "k": (2, np.cos)})
    saved = json.loads(json.dumps(scheduler.state_dict()))
    scheduler.load_state_dict(saved)
    with pytest.raises(TypeError, match=r"table of AnyArguments.*cannot hold its code"):
        scheduler.config  # noqa: B018
    other = AnyArguments(0.1, table={"f": np.sin, "k": (3, np.cos)})
    with pytest.raises(ValueError, match="saved 2, here 3"):
        other.load_state_dict(saved)


def test_arguments_of_the_base_are_attributes_and_cannot_be_set():
    scheduler = Simple(0.1)
    assert (scheduler.gamma, scheduler.step_size, scheduler.base_lr) == (0.5, 2, 0.1)
    with pytest.raises(AttributeError, match="gamma"):
        scheduler.gamma = 0.9


def test_get_lr_may_return_an_array():
    class Array(lrax.LRScheduler):
        def get_lr(self):
            return np.array(self.base_lrs) * 0.5**self.last_epoch.value

    class Nothing(lrax.LRScheduler):
        def get_lr(self):
            return []

    assert_close(Array([0.1, 0.2]).lr_at(1), [0.05, 0.1])
    with pytest.raises(TypeError, match=r"get_lr\(\) of Nothing must return"):
        Nothing(0.1)


def test_repr_rebuilds():
    for make in DIFFERENT:
        scheduler = make()
        if "function" not in repr(scheduler):
            assert eval(repr(scheduler), {**vars(lrax), **globals()}) == scheduler


def test_a_class_that_is_not_passed_along():
    config = Clipped(lrax.StepLR(0.1)).config
    with pytest.raises(ValueError, match=r"'Clipped'.*classes=\[Clipped\]"):
        lrax.from_config(config)
    with pytest.raises(TypeError, match=r"classes.*must be a class of schedulers or formulas"):
        lrax.from_config(config, classes=[dict])
    with pytest.raises(ValueError, match="must describe a scheduler"):
        lrax.from_config({"Stairs": {"milestones": {"0": 3}}}, classes=[Stairs])


def test_every_class_of_ours_is_found():
    for name in lrax.schedulers.catalogue.CLASSES:
        assert issubclass(getattr(lrax, name), lrax.LRScheduler)
    found = {
        n
        for n in lrax.__all__
        if isinstance(c := getattr(lrax, n), type) and issubclass(c, lrax.LRScheduler)
    }
    assert found == set(lrax.schedulers.catalogue.CLASSES)


# --- Users' composites ------------------------------------------------------------------------------


def test_a_composite_of_a_user():
    scheduler = Clipped(lrax.ExponentialLR(0.1, gamma=0.5))
    assert_close(scheduler(np.arange(4)), [0.1, 0.05, 0.025, 0.02])
    assert_same_bits(jax.jit(scheduler)(jnp.arange(4)), scheduler(np.arange(4)))
    assert scheduler.state_dict()["Clipped"] == {
        "of": {"ExponentialLR": {"base_lr": 0.1, "gamma": 0.5}},
        "low": 0.02,
    }
    with pytest.raises(ValueError, match=r"Clipped.of.ExponentialLR.gamma: saved 0.5, here 0.6"):
        Clipped(lrax.ExponentialLR(0.1, gamma=0.6)).load_state_dict(scheduler.state_dict())


@pytest.mark.parametrize(
    "make",
    [
        lambda plateau: Clipped(plateau, 1e-3),
        lambda plateau: lrax.LRScheduler(0.1, formula=AtLeast(plateau, 1e-3)),
        lambda plateau: lrax.LRScheduler(0.1, formula=Mean((plateau, plateau))),
        lambda plateau: lrax.SequentialLR([Clipped(plateau, 1e-3), lrax.StepLR(0.1)], [100]),
    ],
)
def test_a_plateau_inside_learns(make):
    def plateau():
        return lrax.ReduceLROnPlateau(0.1, factor=0.5, patience=0)

    scheduler, compiled = make(plateau()), make(plateau())
    for _ in range(3):
        scheduler.step(metric=1.0)
    assert_close(scheduler.get_last_lr(), [0.025])
    brainstate.transform.for_loop(lambda m: compiled.step(metric=m), jnp.ones(3))
    assert_same_bits(np.float32(compiled.get_last_lr()), np.float32(scheduler.get_last_lr()))
    twin = make(plateau())
    twin.load_state_dict(json.loads(json.dumps(scheduler.state_dict())))
    assert twin.get_last_lr() == scheduler.get_last_lr()


def test_a_scheduler_of_many_groups_in_a_field():
    with pytest.raises(ValueError, match=r"formula\.inner must be a scheduler with one base_lr"):
        lrax.LRScheduler(0.1, formula=AtLeast(lrax.StepLR([0.1, 0.2]), 0.01))


# --- Accepted means savable -------------------------------------------------------------------------

REFUSED = {
    "an object": lambda: AnyArguments(0.1, table=object()),
    "a class": lambda: AnyArguments(0.1, table=lrax.StepLR),
    "NaN": lambda: AnyArguments(0.1, table=float("nan")),
    "a complex number": lambda: AnyArguments(0.1, table=1j),
    "bytes": lambda: AnyArguments(0.1, table=b"x"),
    "a set": lambda: AnyArguments(0.1, table={1}),
    "an object in a formula": lambda: lrax.LRScheduler(0.1, formula=Stairs((object(),))),
    "an InitVar": lambda: lrax.LRScheduler(0.1, formula=WithInitVar(1.0, 2.0)),
    "a formula that is not decorated": lambda: lrax.LRScheduler(0.1, formula=Undecorated()),
    "a part that holds a State": lambda: lrax.SequentialLR([Learned()], []),
    "a part of a user's that holds a State": lambda: Clipped(Learned()),
    "the inside of a scheduler": lambda: lrax.LRScheduler(
        0.1, formula=lrax.StepLR(0.1).formulas[0]
    ),
    "the inside of a scheduler in a field": lambda: lrax.LRScheduler(
        0.1, formula=AtLeast(lrax.StepLR(0.1).formulas[0], 0.1)
    ),
    "a dict with tuples as keys": lambda: AnyArguments(0.1, table={(1, 2): 3}),
    "a dict in a tuple of a formula": lambda: lrax.LRScheduler(0.1, formula=Stairs(({3: 1},))),
    "a dict in a formula": lambda: lrax.LRScheduler(0.1, formula=Stairs({3: 1})),
    "NaN in a formula": lambda: lrax.LRScheduler(0.1, formula=Stairs((3,), float("nan"))),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_saved_is_refused(name):
    with pytest.raises(
        (TypeError, ValueError), match=r"table|milestones|factor|formula|part"
    ) as caught:
        REFUSED[name]()
    assert "must" in str(caught.value)


def through_orbax(saved, folder):
    """Written, and restored into a template of arrays, whose floats are float32."""
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(folder / "checkpoint", saved)
        checkpointer.wait_until_finished()
        return checkpointer.restore(folder / "checkpoint", jax.tree.map(jnp.asarray, saved))


@pytest.mark.parametrize("number", range(len(DIFFERENT)))
def test_a_state_dict_that_was_on_a_device(number, tmp_path):
    scheduler, twin = DIFFERENT[number](), DIFFERENT[number]()
    saved = scheduler.state_dict()
    for found in (jax.device_put(saved), through_orbax(saved, tmp_path)):
        twin.load_state_dict(found)


def test_a_file_that_keeps_nothing_but_floats():
    for make in (
        lambda: lrax.StepLR(0.1, 3),
        lambda: lrax.ReduceLROnPlateau(0.1),
        lambda: lrax.MultiStepLR(0.1, [3, 2**31 + 1]),
    ):
        scheduler, twin = make(), make()
        scheduler.last_epoch = 4
        twin.load_state_dict(jax.tree.map(jnp.float32, scheduler.state_dict()))
        assert twin.last_epoch.value == 4


def test_whole_numbers_beyond_int32_go_on_a_device():
    for scheduler in (lrax.MultiStepLR(0.1, [2**31 + 1]), lrax.CosineAnnealingLR(0.1, 3 * 10**9)):
        scheduler.load_state_dict(jax.device_put(scheduler.state_dict()))
        assert lrax.from_config(json.loads(json.dumps(scheduler.config))) == scheduler


def test_only_rounding_to_float32_is_overlooked():
    def load(saved, own):
        lrax.ExponentialLR(0.1, gamma=own).load_state_dict(
            lrax.ExponentialLR(0.1, gamma=saved).state_dict()
        )

    load(float(np.float32(0.1)), 0.1)
    load(0.1, float(np.float32(0.1)))
    for saved, own in ((0.1, 0.1000000001), (0.99999991, 0.9999999), (1e-300, 1e-200)):
        with pytest.raises(ValueError, match="gamma"):
            load(saved, own)
    with pytest.raises(ValueError, match="step_size"):
        lrax.StepLR(0.1, 2**24).load_state_dict(lrax.StepLR(0.1, 2**24 + 1).state_dict())


# --- States of a subclass ---------------------------------------------------------------------------


def test_states_of_a_subclass_are_saved():
    scheduler = Learned()
    scheduler.factor.value = jnp.float32(0.25)
    scheduler.table.value = 2 * scheduler.table.value
    scheduler.step()
    saved = scheduler.state_dict()
    assert saved["states"]["factor"] == 0.25
    twin = Learned()
    twin.load_state_dict(saved)
    assert float(twin.factor.value) == 0.25
    assert twin.factor.value.dtype == jnp.float32
    assert (twin.table.value == scheduler.table.value).all()
    assert twin.table.value.dtype == jnp.bfloat16
    assert_close(twin.get_last_lr(), [0.025])


@pytest.mark.parametrize(
    "wrong",
    [
        lambda s: {k: v for k, v in s.items() if k != "states"},
        lambda s: {**s, "states": {"factor": 0.25}},
        lambda s: {**s, "states": {**s["states"], "factor": np.ones(2, np.float32)}},
        lambda s: {**s, "states": {**s["states"], "surplus": 1.0}},
    ],
)
def test_wrong_states_of_a_subclass_change_nothing(wrong):
    scheduler, twin = Learned(), Learned()
    scheduler.factor.value = jnp.float32(0.25)
    scheduler.step(5)
    with pytest.raises(ValueError, match="states"):
        twin.load_state_dict(wrong(scheduler.state_dict()))
    assert float(twin.factor.value) == 1.0
    assert twin.last_epoch.value == 0


def test_get_lr_of_a_subclass_may_ask_its_parent():
    class Half(lrax.StepLR):
        def get_lr(self):
            return [lr / 2 for lr in super().get_lr()]

    scheduler = Half(0.1, step_size=2)
    assert_close(scheduler(np.arange(4)), [0.05, 0.05, 0.005, 0.005])
    assert_same_bits(jax.jit(scheduler)(jnp.arange(4)), scheduler(np.arange(4)))
    scheduler.step(2)
    assert_close(scheduler.get_last_lr(), [0.005])
