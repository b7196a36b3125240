"""Recipes that tutorials write for other libraries, as classes, compositions and functions of ours."""

import math

import brainstate
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lrax
from helpers import assert_close, assert_same_bits, assert_trees_close, compiled_programs, stepped
from training import Task


def in_every_mode(scheduler, make, wanted):
    """Called, called with an array, jitted, stepped eagerly and in a compiled loop."""
    epochs = len(wanted)
    rates = scheduler(np.arange(epochs))
    assert_close(rates, wanted)
    assert_same_bits([scheduler(t) for t in range(0, epochs, 7)], rates[::7])
    assert_same_bits(jax.jit(scheduler)(jnp.arange(epochs)), rates)
    assert_same_bits(jax.jit(jax.vmap(scheduler))(jnp.arange(epochs)), rates)
    assert_same_bits(stepped(make(), min(epochs, 100)), rates[:100])

    looping = make()

    def body(_):
        lr = looping.get_lr()[0]
        looping.step()
        return lr

    assert_same_bits(brainstate.transform.for_loop(body, jnp.arange(epochs)), rates)


# --- warmup by a function ---------------------------------------------------------------------------


def test_linear_warmup_function():
    def linear_warmup(step, warmup_steps, target_lr):
        if step < warmup_steps:
            return target_lr * (step / warmup_steps)
        return target_lr

    wanted = [linear_warmup(step, 30, 1e-3) for step in range(80)]

    def as_lambda():
        return lrax.LambdaLR(1.0, lr_lambda=lambda step: linear_warmup(step, 30, 1e-3))

    def as_class():
        return lrax.WarmupScheduler(1e-3, 30)

    in_every_mode(as_lambda(), as_lambda, wanted)
    in_every_mode(as_class(), as_class, wanted)


def test_exponential_warmup_function():
    def exponential_warmup(step, warmup_steps, target_lr):
        if step < warmup_steps:
            return target_lr * (1 - math.exp(-5 * step / warmup_steps))
        return target_lr

    def make():
        return lrax.LambdaLR(1.0, lr_lambda=lambda step: exponential_warmup(step, 40, 1e-3))

    in_every_mode(make(), make, [exponential_warmup(step, 40, 1e-3) for step in range(90)])


def test_lambda_of_a_factor_in_a_compiled_train_step():
    warmup_steps = 10

    def lr_lambda(step):
        if step < warmup_steps:
            return step / warmup_steps
        return 1.0

    task = Task()
    scheduler = lrax.LambdaLR(1e-2, lr_lambda=lr_lambda)
    optimizer = lrax.AdamW(lr=scheduler)
    optimizer.register_trainable_weights(task.params)
    before = task.total_loss()
    train_epoch = task.epoch(optimizer, scheduler)
    for epoch in range(8):
        assert_close(optimizer.current_lr, 1e-2 * min(1.0, 4 * epoch / 10))
        train_epoch()
    assert task.total_loss() < before


# --- GradualWarmupScheduler -------------------------------------------------------------------------


def gradual_warmup(base_lr, multiplier, total_epoch, after_scheduler):
    """From 0 (from `base_lr`, if `multiplier` is above 1) to the base of `after_scheduler`, then that."""
    peak = base_lr * multiplier
    warmup = lrax.WarmupScheduler(peak, total_epoch, 0.0 if multiplier == 1 else base_lr)
    return lrax.SequentialLR([warmup, after_scheduler(peak)], [total_epoch])


@pytest.mark.parametrize("multiplier", [1, 1.0, 8.0])
@pytest.mark.parametrize("after", ["step", "cosine", "none"])
def test_gradual_warmup(multiplier, after):
    base, total = 0.1, 5
    schedulers = {
        "step": lambda lr: lrax.StepLR(lr, step_size=10, gamma=0.1),
        "cosine": lambda lr: lrax.CosineAnnealingLR(lr, T_max=20),
        "none": lambda lr: lrax.ConstantLR(lr, factor=1.0, total_iters=0),
    }
    factors = {
        "step": lambda k: 0.1 ** (k // 10),
        "cosine": lambda k: (1 + math.cos(math.pi * min(k, 20) / 20)) / 2,
        "none": lambda k: 1.0,
    }

    def oracle(epoch):
        if epoch > total:
            return base * multiplier * factors[after](epoch - total)
        if multiplier == 1:
            return base * epoch / total
        return base * ((multiplier - 1) * epoch / total + 1)

    def make():
        return gradual_warmup(base, multiplier, total, schedulers[after])

    in_every_mode(make(), make, [oracle(epoch) for epoch in range(60)])


def test_warmup_factor_for_the_first_1000_of_10_000_iterations():
    def make():
        return lrax.ConstantLR(0.01, factor=0.1, total_iters=1000)

    in_every_mode(make(), make, [0.001] * 1000 + [0.01] * 9000)


# --- warmup then cosine -----------------------------------------------------------------------------


def test_worked_numbers_of_warmup_cosine():
    schedule = lrax.WarmupCosineSchedule(
        base_lr=0.001, warmup_steps=10, total_steps=100, warmup_start_lr=0.0, eta_min=0.0
    )
    worked = {0: 0.0, 5: 0.0005, 10: 0.001, 55: 0.0005, 100: 0.0}
    assert_close([schedule(step) for step in worked], list(worked.values()))
    assert_close(schedule(np.array(list(worked))), list(worked.values()))
    assert float(schedule(0)) == float(schedule(100)) == 0.0
    assert [float(schedule(step)) for step in (101, 1000, 2**31 - 1)] == [0.0] * 3  # clamped
    assert schedule(7) == schedule(7)  # a function, not a state
    for step in (55, 55.0, np.int32(55), np.float32(55), jnp.int32(55), jnp.float32(55)):
        lr = jnp.array([schedule(step)])  # as a 1-D (1,) array
        assert lr.shape == (1,)
        assert_close(lr, [0.0005])

    # The same, with the names of optax: its `decay_steps` is the total, not the length of the cosine.
    theirs = optax.warmup_cosine_decay_schedule(
        init_value=0.0, peak_value=0.001, warmup_steps=10, decay_steps=100, end_value=0.0
    )
    assert_close(schedule(np.arange(120)), [theirs(t) for t in range(120)])


@pytest.mark.parametrize("make_tx", [optax.adam, optax.sgd])
def test_schedule_plugs_into_optax(make_tx):
    schedule = lrax.WarmupCosineSchedule(base_lr=0.1, warmup_steps=3, total_steps=8)
    rates = jnp.asarray(schedule(np.arange(10)))

    def train(tx):
        def update(carry, _):
            params, state = carry
            updates, state = tx.update(2 * params, state, params)
            return (optax.apply_updates(params, updates), state), params

        start = jnp.array([1.0, -2.0, 3.0])
        return jax.lax.scan(update, (start, tx.init(start)), length=10)[1]

    assert_close(train(make_tx(schedule)), train(make_tx(lambda count: rates[count])))


def get_lr(step, warmup_steps, max_lr, total_steps):
    """Linear warmup then cosine decay."""
    if step < warmup_steps:
        return max_lr * step / warmup_steps
    progress = (step - warmup_steps) / (total_steps - warmup_steps)
    return max_lr * 0.5 * (1 + math.cos(math.pi * progress))


def test_manual_loop_that_sets_the_learning_rate():
    total_steps = 10_000
    task, twin = Task(), Task()
    optimizer = lrax.AdamW(lr=1e-4)
    optimizer.register_trainable_weights(task.params)
    tx = optax.chain(optax.scale_by_adam(), optax.add_decayed_weights(0.01))
    values = twin.values()
    opt_state = tx.init(values)

    @brainstate.transform.jit
    def train_step(x, y):
        grads, loss = task.gradient(x, y)
        optimizer.step(grads)
        return loss

    x, y = (data[0] for data in task.batches)
    before = task.total_loss()
    steps = [0, 1, 10, 500, 999, 1000, 1001, 5500, 9000, 9999]
    sizes = []
    for step in steps:
        lr = get_lr(step, warmup_steps=1000, max_lr=1e-4, total_steps=total_steps)
        for param_group in optimizer.param_groups:
            param_group["lr"] = lr
        assert_close(optimizer.current_lr, lr, floor=1e-12)
        with compiled_programs() as compiled:
            train_step(x, y)
        sizes.append(len(compiled))

        updates, opt_state = tx.update(twin.grads(0), opt_state, values)
        values = optax.apply_updates(values, jax.tree.map(lambda u, lr=lr: -lr * u, updates))
        for key, state in twin.params.items():
            state.value = values[key]
    assert sizes[0] > 0
    assert sizes[1:] == [0] * (len(steps) - 1)
    assert task.total_loss() < before
    assert_trees_close(task.values(), values)


def test_the_manual_formula_as_a_class():
    def make():
        return lrax.WarmupCosineSchedule(1e-4, warmup_steps=1000, total_steps=10_000)

    wanted = [get_lr(step, 1000, 1e-4, 10_000) for step in range(10_000)]
    in_every_mode(make(), make, wanted)


def test_linear_then_cosine_through_sequential():
    warmup_steps, total_steps = 100, 1000

    def make():
        warmup = lrax.LinearLR(1e-4, start_factor=0.1, total_iters=warmup_steps)
        main = lrax.CosineAnnealingLR(1e-4, T_max=total_steps - warmup_steps)
        return lrax.SequentialLR([warmup, main], milestones=[warmup_steps])

    def oracle(step):
        if step < warmup_steps:
            return 1e-4 * (0.1 + 0.9 * step / warmup_steps)
        progress = min(step, total_steps) - warmup_steps
        return 1e-4 * (1 + math.cos(math.pi * progress / (total_steps - warmup_steps))) / 2

    in_every_mode(make(), make, [oracle(step) for step in range(1100)])


def test_linear_warmup_alone():
    def make():
        return lrax.LinearLR(
            1e-4,
            start_factor=0.1,  # Start at 10% of target LR
            total_iters=50,
        )

    in_every_mode(make(), make, [1e-4 * (0.1 + 0.9 * min(t, 50) / 50) for t in range(80)])


# --- Hugging Face -----------------------------------------------------------------------------------


def linear_with_warmup(step, warmup, total):
    if step < warmup:
        return step / max(1, warmup)
    return max(0.0, (total - step) / max(1, total - warmup))


def cosine_with_warmup(step, warmup, total):
    if step < warmup:
        return step / max(1, warmup)
    progress = (step - warmup) / max(1, total - warmup)
    return max(0.0, 0.5 * (1.0 + math.cos(math.pi * progress)))


def linear_schedule(lr, warmup, total):
    decay = lrax.LinearLR(lr, start_factor=1.0, end_factor=0.0, total_iters=total - warmup)
    return lrax.SequentialLR([lrax.WarmupScheduler(lr, warmup), decay], [warmup])


# steps of the guide, 10 % of a fine-tuning run, 5 epochs of a ViT run, and no warmup
@pytest.mark.parametrize(
    "warmup, total", [(1000, 10_000), (int(0.1 * 1230), 1230), (5 * 40, 2000), (0, 50)]
)
def test_linear_and_cosine_schedules_with_warmup(warmup, total):
    lr, epochs = 5e-5, np.arange(total + 1)
    wanted = [lr * linear_with_warmup(t, warmup, total) for t in epochs]
    assert_close(linear_schedule(lr, warmup, total)(epochs), wanted)
    wanted = [lr * cosine_with_warmup(t, warmup, total) for t in epochs]
    assert_close(lrax.WarmupCosineSchedule(lr, warmup, total)(epochs), wanted)
    by_function = lrax.LambdaLR(lr, lr_lambda=lambda t: cosine_with_warmup(t, warmup, total))
    assert_close(by_function(epochs), wanted)


def test_published_tables_of_the_two():
    linear = [0.0, 5.0, 10.0, 8.75, 7.5, 6.25, 5.0, 3.75, 2.5, 1.25, 0.0]
    cosine = [0.0, 5.0, 10.0, 9.61, 8.53, 6.91, 5.0, 3.08, 1.46, 0.38, 0.0]
    assert_close(stepped(linear_schedule(10.0, 2, 10), 11), linear)
    np.testing.assert_allclose(
        stepped(lrax.WarmupCosineSchedule(10.0, 2, 10), 11), cosine, rtol=0, atol=0.01
    )


def test_training_with_a_linear_schedule():
    task = Task()
    num_epochs = 30
    total_steps = 4 * num_epochs
    warmup_steps = int(0.1 * total_steps)  # 10% warmup
    scheduler = linear_schedule(1e-2, warmup_steps, total_steps)
    optimizer = lrax.AdamW(lr=scheduler, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01)
    optimizer.register_trainable_weights(task.params)
    before, used = task.total_loss(), []
    for step in range(total_steps):
        used.append(float(scheduler.get_last_lr()[0]))
        optimizer.step(task.grads(step))
        scheduler.step()  # Update LR
    assert task.total_loss() < before / 2
    assert_close(
        used, [1e-2 * linear_with_warmup(t, warmup_steps, total_steps) for t in range(total_steps)]
    )
    assert float(optimizer.current_lr) == 0.0


# --- the scaling rule, and a picture ----------------------------------------------------------------


def test_linear_scaling_rule_with_its_float_warmup():
    base_lr = 1e-4
    base_batch = 256
    large_batch = 8192
    scaled_lr = base_lr * (large_batch / base_batch)  # 32x higher
    warmup_steps = 1000 * (large_batch / base_batch)  # 32x longer warmup
    assert isinstance(warmup_steps, float)

    epochs = np.arange(0, 130_000, 1000)
    wanted = [
        cosine_with_warmup(int(t), 32_000, 120_000) * 3.2e-3 for t in np.minimum(epochs, 120_000)
    ]
    assert_close(lrax.WarmupCosineSchedule(scaled_lr, warmup_steps, 120_000.0)(epochs), wanted)
    ramp = [3.2e-3 * min(1.0, t / 32_000) for t in epochs]
    assert_close(lrax.WarmupScheduler(scaled_lr, warmup_steps)(epochs), ramp)
    assert_close(lrax.LinearLR(scaled_lr, 0.0, 1.0, warmup_steps)(epochs), ramp)
    with pytest.raises((TypeError, ValueError), match="warmup_steps"):
        lrax.WarmupCosineSchedule(scaled_lr, 1000 * (1000 / 256), 120_000)


def test_visualize_lr_schedule(monkeypatch, tmp_path):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    plt = pytest.importorskip("matplotlib.pyplot")
    monkeypatch.setattr(plt, "show", lambda: plt.savefig(tmp_path / "schedule.png"))
    warmup_steps = 20

    def visualize_lr_schedule(scheduler, total_steps):
        lrs = []
        for _ in range(total_steps):
            lrs.append(scheduler.get_last_lr()[0])
            scheduler.step()

        plt.figure(figsize=(10, 4))
        plt.plot(lrs)
        plt.xlabel("Step")
        plt.ylabel("Learning Rate")
        plt.title("Learning Rate Schedule")
        plt.axvline(warmup_steps, color="r", linestyle="--", label="End warmup")
        plt.legend()
        plt.show()

    visualize_lr_schedule(lrax.WarmupCosineSchedule(1e-3, warmup_steps, 200), 200)
    drawn = plt.gca().lines[0].get_ydata()
    plt.close("all")
    assert_close(drawn, [1e-3 * cosine_with_warmup(t, 20, 200) for t in range(200)])
    assert (tmp_path / "schedule.png").stat().st_size > 5000
