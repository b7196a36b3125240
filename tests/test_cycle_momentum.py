"""A cyclic learning rate drives the momentum as torch has it, of whichever optimizer follows it."""

import copy

import brainstate
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lrax
from helpers import assert_close, assert_same_bits, compiled_programs

EPOCHS = 40


def to(kind, a, b, where):
    """torch's annealing functions."""
    return b + (a - b) / 2 * (np.cos(np.pi * where) + 1) if kind == "cos" else (b - a) * where + a


def one_cycle(t, total=EPOCHS, share=0.3, kind="cos", three=False, low=0.85, high=0.95):
    """The momentum of torch's OneCycleLR, in float64."""
    peak, last = share * total - 1, total - 1
    ends = [(peak, high, low), (2 * peak, low, high), (last, high, high)]
    begin = 0.0
    for end, a, b in ends if three else [ends[0], (last, low, high)]:
        if t <= end or end == last:
            return to(kind, a, b, (t - begin) / (end - begin))
        begin = end
    raise AssertionError


def cyclic(t, up=4, down=6, scale=lambda cycle, t: 1.0, low=0.8, high=0.9):
    """The momentum of torch's CyclicLR, in float64."""
    cycle = np.floor(1 + t / (up + down))
    x = 1 + t / (up + down) - cycle
    ratio = up / (up + down)
    height = x / ratio if x <= ratio else (x - 1) / (ratio - 1)
    return high - (high - low) * height * scale(cycle, t)


def _cyclic(**options):
    return lambda **own: lrax.CyclicLR(
        1e-3, 0.1, step_size_up=4, step_size_down=6, cycle_momentum=True, **options, **own
    )


def _one_cycle(**options):
    return lambda **own: lrax.OneCycleLR(
        0.1, total_steps=EPOCHS, cycle_momentum=True, **options, **own
    )


def _torch_cyclic(**options):
    return lambda torch, optimizer: torch.optim.lr_scheduler.CyclicLR(
        optimizer, 1e-3, 0.1, step_size_up=4, step_size_down=6, **options
    )


def _torch_one_cycle(**options):
    return lambda torch, optimizer: torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 0.1, total_steps=EPOCHS, **options
    )


def _half(x):
    return 0.5 / (1 + x)


# name: (ours, the momentum in float64, torch's own)
CYCLES = {
    "one cycle": (_one_cycle(), one_cycle, _torch_one_cycle()),
    "one cycle, linear, early, other ends": (
        _one_cycle(anneal_strategy="linear", pct_start=0.1, base_momentum=0.1, max_momentum=0.5),
        lambda t: one_cycle(t, share=0.1, kind="linear", low=0.1, high=0.5),
        _torch_one_cycle(
            anneal_strategy="linear", pct_start=0.1, base_momentum=0.1, max_momentum=0.5
        ),
    ),
    "three phases": (
        _one_cycle(three_phase=True, pct_start=0.4),
        lambda t: one_cycle(t, share=0.4, three=True),
        _torch_one_cycle(three_phase=True, pct_start=0.4),
    ),
    "three phases, linear": (
        _one_cycle(three_phase=True, anneal_strategy="linear"),
        lambda t: one_cycle(t, kind="linear", three=True),
        _torch_one_cycle(three_phase=True, anneal_strategy="linear"),
    ),
    "triangular": (_cyclic(), cyclic, _torch_cyclic()),
    "triangular2, other ends": (
        _cyclic(mode="triangular2", base_momentum=0.0, max_momentum=0.99),
        lambda t: cyclic(t, scale=lambda cycle, t: 0.5 ** (cycle - 1), low=0.0, high=0.99),
        _torch_cyclic(mode="triangular2", base_momentum=0.0, max_momentum=0.99),
    ),
    "exp_range": (
        _cyclic(mode="exp_range", gamma=0.93),
        lambda t: cyclic(t, scale=lambda cycle, t: 0.93**t),
        _torch_cyclic(mode="exp_range", gamma=0.93),
    ),
    "by a function of the cycle": (
        _cyclic(scale_fn=_half),
        lambda t: cyclic(t, scale=lambda cycle, t: _half(cycle)),
        _torch_cyclic(scale_fn=_half),
    ),
    "by a function of the epoch": (
        _cyclic(scale_fn=_half, scale_mode="iterations"),
        lambda t: cyclic(t, scale=lambda cycle, t: _half(t)),
        _torch_cyclic(scale_fn=_half, scale_mode="iterations"),
    ),
}
# name: (our optimizer, the name of its momentum, torch's)
OPTIMIZERS = {
    "SGD": (lrax.SGD, "momentum", lambda t, p: t.optim.SGD(p, momentum=0.5)),
    "Adam": (lrax.Adam, "beta1", lambda t, p: t.optim.Adam(p)),
    "AdamW": (lrax.AdamW, "beta1", lambda t, p: t.optim.AdamW(p)),
    "a factory": (
        lambda lr: lrax.OptaxOptimizer(optax.lion, lr, b1=0.3),
        "b1",
        lambda t, p: t.optim.Adamax(p),
    ),
}


def registered(optimizer):
    weight = brainstate.ParamState(jnp.linspace(-1.0, 1.0, 4))
    optimizer.register_trainable_weights({"w": weight})
    return weight


def momenta(optimizer, name, epochs=EPOCHS):
    found = []
    for _ in range(epochs):
        found.append(optimizer.hyperparams[0][name])
        optimizer.lr.step()
    return np.array(found)


@pytest.mark.parametrize("cycle", CYCLES)
def test_the_momentum_of_each_cycle(cycle):
    make, right, _ = CYCLES[cycle]
    for new, name, _ in OPTIMIZERS.values():
        found = momenta(new(lr=make()), name)
        assert_close(found, [right(t) for t in range(EPOCHS)], rtol=2e-7)
        assert np.ptp(found) > 0.005


@pytest.mark.parametrize("cycle", CYCLES)
def test_what_is_written_down_is_torch(cycle):
    torch = pytest.importorskip("torch")
    _, right, make = CYCLES[cycle]
    for _, name, new in OPTIMIZERS.values():
        optimizer = new(torch, [torch.nn.Parameter(torch.zeros(1))])
        scheduler, found = make(torch, optimizer), []
        for epoch in range(EPOCHS):
            group = optimizer.param_groups[0]
            found.append(group["momentum"] if name == "momentum" else group["betas"][0])
            optimizer.step()
            if epoch < EPOCHS - 1:
                scheduler.step()
        np.testing.assert_allclose(found, [right(t) for t in range(EPOCHS)], rtol=1e-12)


# --- Who is driven --------------------------------------------------------------------------------


def test_a_momentum_of_zero_is_driven_too():
    optimizer = lrax.SGD(lr=_one_cycle()())
    weight = registered(optimizer)
    start, buffer, right = np.asarray(weight.value, np.float64), 0.0, 0.0
    for epoch in range(5):
        buffer = one_cycle(epoch) * buffer + 1
        right += float(optimizer.current_lr) * buffer
        optimizer.step({"w": jnp.ones(4)})
        optimizer.lr.step()
    assert_close(weight.value, start - right, rtol=1e-6)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_cycle_that_comes_later_goes_and_comes_back(name):
    make, argument, _ = OPTIMIZERS[name]
    optimizer = make(lr=lrax.ConstantLR(0.01))
    registered(optimizer)
    before, cycle, other = optimizer.hyperparams[0][argument], _cyclic()(), lrax.StepLR(0.01, 3)
    cycle.step(7)
    for scheduler, right in ((cycle, cyclic(7)), (other, before), (cycle, cyclic(7))):
        scheduler.attach_optimizer(optimizer)
        assert_close(optimizer.hyperparams[0][argument], right, rtol=2e-7)
    cycle.step()
    assert_close(optimizer.hyperparams[0][argument], cyclic(8), rtol=2e-7)
    other.step()
    assert_close(optimizer.hyperparams[0][argument], cyclic(8), rtol=2e-7)


def test_moments_survive_an_exchange_and_nothing_is_compiled_again():
    optimizer = lrax.SGD(lr=_one_cycle()())
    weight, first = registered(optimizer), optimizer.lr
    step = lrax.jit(lambda g: optimizer.step({"w": g}))
    step(jnp.ones(4))
    others = [lrax.StepLR(0.5, 3), _cyclic()(), first]
    for scheduler in others:
        scheduler.step(2)
    before = weight.value
    with compiled_programs() as compiled:
        for scheduler in others:
            scheduler.attach_optimizer(optimizer)
            step(jnp.zeros(4))
    assert not compiled
    buffers = np.cumprod([0.0, cyclic(2), one_cycle(2)])
    assert np.array_equal(buffers, [0, 0, 0])  # a momentum of 0 forgets
    assert_close(weight.value, before, rtol=1e-7)


def test_only_what_has_a_momentum_of_its_own_can_be_driven():
    cycle = _cyclic()()
    for make in (
        lambda: lrax.OptaxOptimizer(lr=cycle),
        lambda: lrax.OptaxOptimizer(optax.scale_by_adam(), lr=cycle),
        lambda: lrax.OptaxOptimizer(optax.rmsprop, lr=cycle),
    ):
        with pytest.raises(ValueError, match="cycle_momentum of CyclicLR needs an optimizer with"):
            make()
    for make in (
        lambda: lrax.SGD(cycle, momentum=lrax.StepLR(0.9, 3)),
        lambda: lrax.Adam(cycle, beta1=lambda epoch: 0.9),
        lambda: lrax.OptaxOptimizer(optax.lion, cycle, b1=lambda epoch: 0.9),
    ):
        with pytest.raises(ValueError, match="must have one schedule, but cycle_momentum of Cycl"):
            make()
    for make in (
        lambda: lrax.SequentialLR([cycle, cycle], milestones=[3]),
        lambda: lrax.ChainedScheduler([cycle]),
        lambda: lrax.SGD(weight_decay=cycle),
        lambda: lrax.SGD(groups={"w": {"lr": cycle}}),
    ):
        with pytest.raises(TypeError, match="cycle_momentum must be False in what is a part"):
            make()


def test_a_refused_cycle_changes_nothing():
    optimizer = lrax.SGD(0.1, momentum=lrax.ExponentialLR(0.9, 0.5))
    registered(optimizer)
    before = optimizer.lr
    with pytest.raises(ValueError, match="must have one schedule"):
        _cyclic()().attach_optimizer(optimizer)
    assert optimizer.lr is before
    before.step()
    assert_close(optimizer.hyperparams[0]["momentum"], 0.45)


def test_the_range_is_checked_when_it_is_made():
    for make in (_cyclic, _one_cycle):
        for options, message in (
            ({"max_momentum": 1.0}, r"max_momentum must be a number in \[0, 1\), got 1.0"),
            ({"base_momentum": -0.1}, "base_momentum must be a finite number >= 0, got -0.1"),
            ({"base_momentum": 0.96}, r"base_momentum must be <= max_momentum, got 0.96 > "),
        ):
            with pytest.raises(ValueError, match=message):
                make(**options)()


def test_nesterov_needs_no_momentum_where_it_is_driven():
    with pytest.raises(ValueError, match="nesterov=True needs momentum > 0"):
        lrax.SGD(lr=lrax.OneCycleLR(0.1, 20), nesterov=True)
    groups = {"v": {"weight_decay": 0.1}}
    optimizer = lrax.SGD(lr=_one_cycle()(), nesterov=True, groups=groups)
    states = {name: brainstate.ParamState(jnp.ones(2)) for name in "uvw"}
    optimizer.register_trainable_weights({name: states[name] for name in "uv"})
    optimizer.add_param_group({"w": states["w"]}, weight_decay=0.2)
    assert [used["weight_decay"] for used in optimizer.hyperparams] == [0.0, 0.1, 0.2]
    assert_close([used["momentum"] for used in optimizer.hyperparams], [0.95] * 3)


def test_a_copy_is_driven_by_its_own_cycle():
    optimizer = lrax.AdamW(lr=_one_cycle()())
    registered(optimizer)
    other = copy.deepcopy(optimizer)
    other.lr.step(5)
    assert_close([o.hyperparams[0]["beta1"] for o in (optimizer, other)], [0.95, one_cycle(5)])


def test_the_cycle_of_several_learning_rates_is_one():
    cycle = lrax.OneCycleLR([0.1, 0.3], total_steps=EPOCHS, cycle_momentum=True)
    optimizer = lrax.SGD(lr=cycle, groups={"v": {"momentum": 0.5}})
    states = {name: brainstate.ParamState(jnp.ones(2)) for name in "uv"}
    optimizer.register_trainable_weights(states)
    cycle.step(4)
    used = optimizer.hyperparams
    assert_close([u["momentum"] for u in used], [one_cycle(4)] * 2, rtol=2e-7)
    assert_close(used[1]["lr"] / used[0]["lr"], 3.0)


def test_what_is_given_to_anybody_else_has_no_momentum():
    plain, driving = lrax.OneCycleLR(0.1, 20), lrax.OneCycleLR(0.1, 20, cycle_momentum=True)
    epochs = np.arange(25)
    assert_same_bits(driving(epochs), plain(epochs))
    assert plain != driving
    assert lrax.from_config(driving.config) == driving
