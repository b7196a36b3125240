"""Who holds whom: a scheduler never an optimizer, an optimizer its current scheduler only, a copy nothing of its original."""

import contextlib
import copy
import gc
import weakref

import brainstate
import jax.numpy as jnp
import numpy as np
import pytest

import lrax
from helpers import assert_close, compiled_programs

transform = brainstate.transform
JITS = {"lrax": lrax.jit, "brainstate": transform.jit}
COPIES = {
    "deepcopy": copy.deepcopy,
    "clone": brainstate.graph.clone,
    "split and merge": lambda node: brainstate.graph.treefy_merge(
        *brainstate.graph.treefy_split(node)
    ),
}
GRADIENT = {"w": jnp.ones(4)}


def trained(scheduler, kind=lrax.AdamW):
    """A weight and an optimizer that has made an eager step."""
    weight = brainstate.ParamState(jnp.ones(4))
    optimizer = kind(lr=scheduler).register_trainable_weights({"w": weight})
    optimizer.step(GRADIENT)
    return weight, optimizer


@contextlib.contextmanager
def without_collector():
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


class Halving(lrax.LRScheduler):
    def get_lr(self):
        return [base * 0.5**self.last_epoch.value for base in self.base_lrs]


SCHEDULERS = {
    "a formula": lambda: lrax.ExponentialLR(0.1, gamma=0.5),
    "a composite": lambda: lrax.SequentialLR([lrax.StepLR(0.1), Halving(0.1)], [2]),
    "get_lr": lambda: Halving(0.1),
}


@pytest.mark.parametrize(
    "kind", [lrax.SGD, lrax.Adam, lrax.AdamW, lambda lr: lrax.SGD(lr, momentum=0.9)]
)
def test_an_optimizer_that_is_dropped_frees_its_arrays_at_once(kind):
    scheduler = lrax.ExponentialLR(0.1, gamma=0.5)
    with without_collector():
        weight, optimizer = trained(scheduler, kind)
        scheduler.step()
        arrays = [weight.value, *optimizer.opt_state.value.moments[0]]
        gone = [weakref.ref(held) for held in (weight, optimizer, optimizer.opt_state, *arrays)]
        del weight, optimizer, arrays
        assert [ref() for ref in gone] == [None] * len(gone)
    scheduler.step()
    assert_close(scheduler.get_last_lr(), [0.025])


@pytest.mark.parametrize("jit", JITS)
def test_a_compiled_step_that_is_dropped_frees_all_at_once(jit):
    def train():
        weight, optimizer = trained(lrax.ConstantLR(0.1, 1.0, 0))
        step = JITS[jit](lambda grads: optimizer.step(grads))
        for _ in range(3):
            step({"w": np.ones(4, np.float32)})
        arrays = [weight.value, *optimizer.opt_state.value.moments[0]]
        return [weakref.ref(held) for held in (weight, optimizer, optimizer.opt_state, *arrays)]

    with without_collector():
        gone = train()
        assert [ref() for ref in gone] == [None] * len(gone)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_scheduler_that_is_dropped_is_freed_at_once(name):
    with without_collector():
        scheduler = SCHEDULERS[name]()
        scheduler.step()
        scheduler(3)
        gone = weakref.ref(scheduler)
        del scheduler
        assert gone() is None
        _, optimizer = trained(SCHEDULERS[name]())
        first = weakref.ref(optimizer.lr)
        optimizer.add_scheduler(lrax.StepLR(0.1))
        assert first() is None


def test_optimizers_that_were_dropped_cost_nothing():
    scheduler = lrax.ExponentialLR(0.1, gamma=0.5)
    with without_collector():
        for _ in range(100):
            weight = brainstate.ParamState(jnp.ones(4))
            lrax.AdamW(lr=scheduler).register_trainable_weights({"w": weight})
        assert len(scheduler.publishing.followers) == 1
        assert len(brainstate.graph.states(scheduler)) == 2
        kept = [trained(scheduler) for _ in range(3)]
        del kept[1]
        assert len(scheduler.publishing.followers) == 2
        scheduler.step()
        assert_close([optimizer.current_lr for _, optimizer in kept], [0.05, 0.05])


def test_an_optimizer_knows_its_current_scheduler_only():
    _, optimizer = trained(lrax.StepLR(0.1))
    entries = len(brainstate.graph.states(optimizer))
    gone = []
    for _ in range(300):
        scheduler = lrax.ExponentialLR(0.1)
        gone.append(weakref.ref(scheduler))
        scheduler.attach_optimizer(optimizer)
    assert len(brainstate.graph.states(optimizer)) == entries
    del scheduler
    assert [ref() for ref in gone[:-1]] == [None] * 299
    assert optimizer.lr is gone[-1]()


@pytest.mark.parametrize("jit", JITS)
def test_a_compiled_step_of_an_old_scheduler_writes_nothing(jit):
    first = lrax.ExponentialLR(0.1, gamma=0.5)
    _, optimizer = trained(first)
    step = JITS[jit](lambda: first.step())
    step()
    assert_close(optimizer.current_lr, 0.05)
    others = [lrax.ConstantLR(rate, 1.0, 0) for rate in (0.3, 0.4)]
    with compiled_programs() as compiled:
        for other in others:
            other.attach_optimizer(optimizer)
            step()
            assert_close(optimizer.current_lr, other.base_lrs[0])
        first.attach_optimizer(optimizer)
        assert_close(optimizer.current_lr, 0.0125)
        step()
        assert_close(optimizer.current_lr, 0.00625)
    assert not compiled


@pytest.mark.parametrize("jit", JITS)
def test_a_copy_of_a_scheduler_is_another_one(jit):
    """A compiled step of the one that an optimizer no longer follows writes nothing."""
    first = lrax.ExponentialLR(0.1, gamma=0.5)
    _, optimizer = trained(first)
    copied, twin = copy.deepcopy(first), copy.deepcopy(optimizer)
    step, step_twin = JITS[jit](lambda: first.step()), JITS[jit](lambda: twin_first.step())
    twin_first = twin.lr
    step()
    step_twin()
    assert_close([optimizer.current_lr, twin.current_lr], [0.05, 0.05])
    copied.attach_optimizer(optimizer)
    lrax.ConstantLR(0.3, 1.0, 0).attach_optimizer(twin)
    step()
    step_twin()
    assert_close([optimizer.current_lr, twin.current_lr], [0.1, 0.3])
    first.attach_optimizer(twin)
    step_twin()
    assert_close(twin.current_lr, 0.025)
    twin_first.attach_optimizer(twin)
    step_twin()
    assert_close(twin.current_lr, 0.1 * 0.5**4)


def test_schedulers_are_told_apart_by_the_same_numbers_in_every_process():
    """However many schedulers a process has made for itself before."""
    numbers = []
    for others in (0, 5):
        _ = [lrax.StepLR() for _ in range(others)]
        first, second = lrax.StepLR(), lrax.StepLR()
        _, optimizer = trained(first)
        for scheduler in (second, first, second):
            scheduler.attach_optimizer(optimizer)
            numbers.append(scheduler.publishing.first.number)
    assert numbers[:3] == numbers[3:]
    assert numbers[0] == numbers[2] != numbers[1]


@pytest.mark.parametrize("way", COPIES)
@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_copy_is_independent_of_its_original(way, name):
    weight, optimizer = trained(SCHEDULERS[name]())
    other = trained(optimizer.lr)[1]
    twin = COPIES[way](optimizer)
    rate = float(optimizer.current_lr)
    assert twin.lr is not optimizer.lr
    twin.lr.step()
    twin.current_lr = 0.7
    twin.lr.step(30)
    assert_close([optimizer.current_lr, other.current_lr], [rate, rate])
    assert_close(twin.current_lr, twin.lr(30))
    optimizer.lr.step(40)
    assert_close([optimizer.current_lr, other.current_lr], [optimizer.lr(40)] * 2)
    assert_close(twin.current_lr, twin.lr(30))
    before = np.array(weight.value)
    twin.step(GRADIENT)
    assert (weight.value == before).all()
    lrax.StepLR(0.5).attach_optimizer(twin)
    assert_close([twin.current_lr, optimizer.current_lr], [0.5, optimizer.lr(40)])


@pytest.mark.parametrize("way", COPIES)
def test_a_copy_that_is_dropped_is_no_follower(way):
    optimizer = trained(lrax.StepLR(0.1))[1]
    twin = COPIES[way](optimizer)
    scheduler = twin.lr
    trained(scheduler)  # a second one, dropped
    del twin
    gc.collect()  # brainstate's copying leaves a cycle
    assert [follower.number for follower in scheduler.publishing.followers] == [None]
    assert len(optimizer.lr.publishing.followers) == 1


def test_a_scheduler_of_its_own_states_is_copied_with_them():
    class Learned(lrax.LRScheduler):
        def __init__(self):
            super().__init__(0.1)
            self.factor = brainstate.State(jnp.float32(1.0))

        def get_lr(self):
            return [base * self.factor.value for base in self.base_lrs]

    for way, copied in COPIES.items():
        scheduler = Learned()
        twin = copied(scheduler)
        twin.factor.value = jnp.float32(0.5)
        twin.step()
        scheduler.step()
        assert_close([*twin.get_last_lr(), *scheduler.get_last_lr()], [0.05, 0.1], rtol=1e-6), way


class Holds(lrax.LRScheduler):
    def __init__(self, base_lr=0.1):
        super().__init__(base_lr)
        self.inner = lrax.ExponentialLR(1.0, gamma=0.5)


class Calls(Holds):
    def get_lr(self):
        return [base_lr * self.inner(self.last_epoch.value) for base_lr in self.base_lrs]


class Steps(Holds):
    def get_lr(self):
        return [base_lr * self.inner.get_lr()[0] for base_lr in self.base_lrs]

    def step(self, epoch=None, *, metric=None):
        self.inner.step()
        super().step(epoch)


def test_a_scheduler_inside_of_a_users_is_called_or_stepped():
    part = 2 * Calls()
    part.step(3)
    assert_close(part.get_last_lr(), [0.025])
    alone = Steps()
    alone.step()
    assert_close(alone.get_last_lr(), [0.05])
    with pytest.raises(TypeError, match="must hold no States"):
        2 * Steps()


def test_learning_rates_are_those_of_the_schedulers_own_arguments():
    scheduler = lrax.ExponentialLR(0.1, gamma=0.5)
    _, optimizer = trained(scheduler)
    optimizer.add_param_group({"b": brainstate.ParamState(jnp.ones(2))}, lr=0.02, weight_decay=0.0)
    assert_close(scheduler(3), 0.0125)
    assert scheduler.lr_at(np.arange(4)).shape == (4, 1)
    assert scheduler.base_lrs == [0.1]
    assert len(scheduler.get_lr()) == 1
    assert_close(optimizer.lr_at(3), [0.0125, 0.0025])
    assert optimizer.lr_at(jnp.arange(6).reshape(2, 3)).shape == (2, 3, 2)
    assert_close(scheduler.get_last_lr(), [0.1, 0.02])
    with pytest.raises(TypeError, match="depends on the metrics"):
        trained(lrax.ReduceLROnPlateau(0.1))[1].lr_at(3)


STRUCTURE = {
    "attach_optimizer": lambda o: lrax.StepLR(0.3).attach_optimizer(o),
    "add_scheduler": lambda o: o.add_scheduler(lrax.StepLR(0.3)),
    "add_param_group": lambda o: o.add_param_group({"v": brainstate.ParamState(jnp.ones(2))}),
    "register": lambda o: o.register_trainable_weights({"v": brainstate.ParamState(jnp.ones(2))}),
}


@pytest.mark.parametrize("transformation", [*JITS, "for_loop"])
@pytest.mark.parametrize("way", STRUCTURE)
def test_what_an_optimizer_is_made_of_is_not_changed_in_a_program(way, transformation):
    scheduler = lrax.StepLR(0.1)
    optimizer = lrax.SGD(scheduler).register_trainable_weights(
        {"w": brainstate.ParamState(jnp.ones(4))}
    )

    def call():
        if transformation == "for_loop":
            transform.for_loop(lambda _: STRUCTURE[way](optimizer), jnp.arange(2))
        else:
            JITS[transformation](lambda: STRUCTURE[way](optimizer))()

    with pytest.raises(brainstate.TraceContextError, match=r"inside of a transformation.*outside"):
        call()
    scheduler.step(30)
    assert_close([*scheduler.get_last_lr(), optimizer.current_lr], [0.01, 0.01])
    optimizer.step(GRADIENT)


def test_an_optimizer_that_is_made_in_a_program_may_be_made_there():
    def train(gradient):
        weights = {key: brainstate.ParamState(jnp.ones(4)) for key in "wv"}
        optimizer = lrax.SGD(lr=0.1).register_trainable_weights({"w": weights["w"]})
        optimizer.add_param_group({"v": weights["v"]}, lr=0.2)
        optimizer.add_scheduler(lrax.StepLR(0.5))
        optimizer.step({"w": gradient, "v": gradient})
        return weights["w"].value, weights["v"].value

    for found, wanted in zip(transform.jit(train)(jnp.ones(4)), (0.5, 0.8), strict=True):
        assert_close(found, np.full(4, wanted))


def test_a_scheduler_that_cannot_be_followed_changes_nothing():
    """Its function gives no learning rate at its epoch."""
    optimizer = lrax.SGD(lr=0.1).register_trainable_weights(
        {"w": brainstate.ParamState(jnp.ones(2))}
    )
    before, bad = optimizer.lr, lrax.LambdaLR(0.1, lambda e: -1.0 if e == 5 else 0.5)
    bad.last_epoch = 5
    for attach in (optimizer.add_scheduler, lambda s: s.attach_optimizer(optimizer)):
        with pytest.raises(ValueError, match="at epoch 5"):
            attach(bad)
        assert optimizer.lr is before
        bad.step(6)
        assert_close(optimizer.current_lr, 0.1)
        before.apply(lambda lr: 0.25)
        assert_close(optimizer.current_lr, 0.25)
        before.step()
        bad.last_epoch = 5
    assert_close(bad.get_last_lr(), [0.05])
