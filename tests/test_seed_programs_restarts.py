"""Programs with warm restarts that users of braintools.optim write, with only the import changed, run in full."""

import copy
import math
import pickle

import brainstate
import jax
import numpy as np
import optax
import pytest

import lrax as braintools
from helpers import assert_close, assert_same_bits, assert_trees_close, global_norm
from seed_programs import advance, cosine, restarts, run
from training import Task


def test_restarts_every_50_epochs():
    task = Task()
    scheduler = braintools.optim.CosineAnnealingWarmRestarts(
        base_lr=0.1,
        T_0=50,
        T_mult=1,  # Fixed cycle length
        eta_min=0.001,
    )
    optimizer = braintools.optim.SGD(lr=scheduler, momentum=0.9)
    optimizer.register_trainable_weights(task.model.states(brainstate.ParamState))

    used = run(task, optimizer, scheduler, 200)

    assert_close(used, restarts(0.1, 0.001, 50, 1, 200))
    assert [t for t in range(1, 200) if used[t] > used[t - 1]] == [50, 100, 150]
    assert {used[t] for t in (0, 50, 100, 150)} == {float(np.float32(0.1))}
    assert min(used) > 0.001


def test_cycles_of_10_20_and_40_epochs():
    scheduler = braintools.optim.CosineAnnealingWarmRestarts(
        base_lr=0.1,
        T_0=10,
        T_mult=2,  # Double cycle length each time
        eta_min=0.0001,
    )
    lengths, seen = [], []
    for _ in range(150):
        lengths.append(int(scheduler.T_i.value))
        seen.append(float(scheduler.get_last_lr()[0]))
        scheduler.step()
    assert lengths == [10] * 10 + [20] * 20 + [40] * 40 + [80] * 80
    assert_close(seen, restarts(0.1, 0.0001, 10, 2, 150))


def test_transformer_training_restarts_at_1000_and_3000_steps():
    task = Task()
    scheduler = braintools.optim.CosineAnnealingWarmRestarts(
        base_lr=0.0005,
        T_0=1000,  # First cycle: 1000 steps
        T_mult=2,  # Increasing cycles
        eta_min=1e-6,
    )
    optimizer = braintools.optim.AdamW(lr=scheduler, weight_decay=0.01)
    optimizer.register_trainable_weights(task.model.states(brainstate.ParamState))
    before = task.total_loss()
    train_epoch = task.epoch(optimizer, scheduler)
    for _ in range(25):
        train_epoch()
    assert task.total_loss() < before
    assert int(scheduler.last_epoch.value) == 100

    seen = advance(scheduler, 3901)
    wanted = restarts(0.0005, 1e-6, 1000, 2, 4001)[100:]
    assert_close(seen, wanted)
    assert_close(optimizer.current_lr, cosine(0.0005, 1e-6, 1001, 4000))
    assert [100 + t for t in range(1, 3901) if seen[t] > seen[t - 1]] == [1000, 3000]


def test_fine_tuning_in_cycles_of_5_epochs():
    task = Task()
    scheduler = braintools.optim.CosineAnnealingWarmRestarts(
        base_lr=0.001,  # Lower LR for fine-tuning
        T_0=5,  # Short initial cycle
        T_mult=1,  # Keep cycles short
        eta_min=1e-5,
    )
    optimizer = braintools.optim.Adam(lr=scheduler)
    optimizer.register_trainable_weights(task.model.states(brainstate.ParamState))
    used = run(task, optimizer, scheduler, 50)
    assert_close(used, restarts(0.001, 1e-5, 5, 1, 50))
    assert [t for t in range(1, 50) if used[t] > used[t - 1]] == list(range(5, 50, 5))


def test_snapshots_are_taken_one_epoch_before_each_restart():
    task = Task()
    scheduler = braintools.optim.CosineAnnealingWarmRestarts(
        base_lr=0.1, T_0=25, T_mult=1, eta_min=0
    )
    optimizer = braintools.optim.SGD(lr=scheduler)
    optimizer.register_trainable_weights(task.model.states(brainstate.ParamState))
    train_epoch = task.epoch(optimizer)

    snapshots, epochs, rates = [], [], []
    for epoch in range(100):
        train_epoch()
        scheduler.step()
        rates.append(float(scheduler.get_lr()[0]))
        # Save snapshot at minimum LR (just before restart)
        if scheduler.T_cur.value == scheduler.T_i.value - 1:
            snapshots.append(copy.deepcopy(task.values()))
            epochs.append(epoch)

    assert epochs == [23, 48, 73, 98]
    for epoch in epochs:
        assert rates[epoch] == min(rates[max(epoch - 24, 0) : epoch + 1])
    for epoch in epochs[:-1]:  # the step after it restarts
        assert rates[epoch + 1] == float(np.float32(0.1))
    weights = [snapshot[("weight",)]["weight"] for snapshot in snapshots]
    assert not np.array_equal(weights[0], weights[1])
    assert_trees_close(task.values(), snapshots[-1], rtol=1e-3)


def test_monitoring_prints_each_restart():
    scheduler = braintools.optim.CosineAnnealingWarmRestarts(
        base_lr=0.1, T_0=10, T_mult=2, eta_min=0.001
    )
    lines = []
    for epoch in range(100):
        old_T_cur = scheduler.T_cur.value
        scheduler.step()
        current_lr = scheduler.get_lr()[0]

        # Detect restart
        if scheduler.T_cur.value < old_T_cur:
            lines.append(f"Restart at epoch {epoch}! LR reset to {current_lr:.6f}")

        if epoch % 10 == 0:
            lines.append(
                f"Epoch {epoch}: LR={current_lr:.6f}, "
                f"T_cur={scheduler.T_cur.value}, T_i={scheduler.T_i.value}"
            )

    assert [line for line in lines if line.startswith("Restart")] == [
        f"Restart at epoch {epoch}! LR reset to 0.100000" for epoch in (9, 29, 69)
    ]
    position = {0: (1, 10), 10: (1, 20), 20: (11, 20), 30: (1, 40), 40: (11, 40), 50: (21, 40)}
    position |= {60: (31, 40), 70: (1, 80), 80: (11, 80), 90: (21, 80)}
    assert [line for line in lines if line.startswith("Epoch")] == [
        f"Epoch {epoch}: LR={cosine(0.1, 0.001, t, length):.6f}, T_cur={t}, T_i={length}"
        for epoch, (t, length) in position.items()
    ]


def test_custom_restart_epochs():
    scheduler = braintools.optim.CosineAnnealingWarmRestarts(
        base_lr=0.01,
        T_0=100,  # First cycle: 100 epochs
        T_mult=2,  # Each cycle doubles
        eta_min=0.0001,
    )

    def get_restart_epochs(T_0, T_mult, n_restarts):
        epochs = [0]
        T_i = T_0
        for _ in range(n_restarts):
            epochs.append(epochs[-1] + T_i)
            T_i = T_i * T_mult
        return epochs

    restart_epochs = get_restart_epochs(100, 2, 5)
    assert restart_epochs == [0, 100, 300, 700, 1500, 3100]
    rates = scheduler(np.arange(3200))
    assert_close(rates, restarts(0.01, 0.0001, 100, 2, 3200))
    assert [0, *(t for t in range(1, 3200) if rates[t] > rates[t - 1])] == restart_epochs
    assert (rates[restart_epochs] == np.float32(0.01)).all()


def test_gradient_clipping_and_weight_decay():
    task, twin = Task(), Task()
    scheduler = braintools.optim.CosineAnnealingWarmRestarts(
        base_lr=0.1, T_0=30, T_mult=2, eta_min=0.001
    )
    optimizer = braintools.optim.AdamW(
        lr=scheduler,
        weight_decay=1e-4,
        clip_norm=1.0,  # Gradient clipping
    )
    optimizer.register_trainable_weights(task.model.states(brainstate.ParamState))

    tx = optax.chain(
        optax.clip_by_global_norm(1.0), optax.scale_by_adam(), optax.add_decayed_weights(1e-4)
    )
    values = twin.values()
    opt_state = tx.init(values)
    norms = []
    for epoch, lr in enumerate(restarts(0.1, 0.001, 30, 2, 40)):
        grads = task.grads(epoch)
        norms.append(global_norm(grads))
        optimizer.step(grads)
        scheduler.step()
        updates, opt_state = tx.update(twin.grads(epoch), opt_state, values)
        values = optax.apply_updates(values, jax.tree.map(lambda u, lr=lr: -lr * u, updates))
        for key, state in twin.params.items():
            state.value = values[key]
    assert max(norms) > 1.0  # so that clipping mattered
    assert_trees_close(task.values(), values, rtol=1e-5, floor=1e-5)


class TestStatePersistence:
    def make(self):
        return braintools.optim.CosineAnnealingWarmRestarts(base_lr=0.1, T_0=50, T_mult=2)

    def saved(self, epochs):
        scheduler = self.make()
        for _ in range(epochs):
            scheduler.step()
        state = {
            "epoch": epochs,
            "scheduler": scheduler.state_dict(),
            "T_cur": scheduler.T_cur,
            "T_i": scheduler.T_i,
        }
        return scheduler, state

    def test_as_written(self):
        old, state = self.saved(75)
        new = self.make()
        new.load_state_dict(state["scheduler"])
        new.T_cur = state["T_cur"]
        new.T_i = state["T_i"]

        assert (int(new.last_epoch.value), int(new.T_cur.value), int(new.T_i.value)) == (
            75,
            25,
            100,
        )
        rest = restarts(0.1, 0.0, 50, 2, 300)[75:]
        assert_close(advance(new, 225), rest)
        assert (int(old.last_epoch.value), int(old.T_cur.value)) == (
            75,
            25,
        )  # each has its own clock
        assert_close(advance(old, 225), rest)

    @pytest.mark.parametrize("order", [("T_cur", "T_i"), ("T_i", "T_cur")])
    @pytest.mark.parametrize("epochs", [0, 30, 50, 75, 110, 149, 150, 349])
    @pytest.mark.parametrize("pickled", [False, True])
    def test_without_the_state_dict_in_either_order(self, order, epochs, pickled):
        """At epoch 110 ``T_cur`` is 60, beyond the end of the cycle in which a new one starts."""
        old, state = self.saved(epochs)
        if pickled:
            state = pickle.loads(pickle.dumps({"T_cur": state["T_cur"], "T_i": state["T_i"]}))
            assert float(state["T_cur"]) == float(old.T_cur.value)
        new = self.make()
        for name in order:
            setattr(new, name, state[name])
        new.step()
        old.step()
        assert int(new.last_epoch.value) == int(old.last_epoch.value) == epochs + 1
        assert_same_bits(new.get_last_lr(), old.get_last_lr())

    def test_numbers_are_assigned_as_well(self):
        new = self.make()
        new.T_i = 100
        new.T_cur = 25
        assert int(new.last_epoch.value) == 75
        assert_close(new.get_lr(), [0.05 * (1 + math.cos(math.pi / 4))])

    def test_a_pickled_position_is_a_number(self):
        scheduler, _ = self.saved(75)
        text = pickle.dumps((scheduler.T_cur, scheduler.T_i))
        assert b"lrax" not in text
        assert tuple(int(n) for n in pickle.loads(text)) == (25, 100)


def test_warm_restarts_inside_jit():
    task = Task()
    scheduler = braintools.optim.CosineAnnealingWarmRestarts(
        base_lr=0.1, T_0=3, T_mult=2, eta_min=0.01
    )
    optimizer = braintools.optim.SGD(lr=scheduler)
    optimizer.register_trainable_weights(task.model.states(brainstate.ParamState))

    @brainstate.transform.jit
    def train_step(x, y):
        grads, _ = task.gradient(x, y)
        optimizer.step(grads)
        scheduler.step()
        return optimizer.current_lr, scheduler.T_cur.value, scheduler.T_i.value

    x, y = (data[0] for data in task.batches)
    seen = [tuple(float(v) for v in train_step(x, y)) for _ in range(22)]
    rates, position, length = zip(*seen, strict=True)
    assert_close(rates, restarts(0.1, 0.01, 3, 2, 23)[1:])
    assert position == (1, 2, *range(6), *range(12), 0, 1)
    assert length == (3,) * 2 + (6,) * 6 + (12,) * 12 + (24,) * 2
