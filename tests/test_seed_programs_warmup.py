"""Programs with a warmup that users of braintools.optim write, with only the import changed, run in full."""

import pickle

import brainstate
import numpy as np

import lrax as braintools
from helpers import assert_close, assert_same_bits, assert_trees_close, compiled_programs
from seed_programs import advance, cosine, run, run_single_updates, warmup
from training import Task


def test_warmup_from_0_over_10_epochs_then_constant():
    task = Task()
    # Warmup from 0 to 0.1 over 10 epochs
    scheduler = braintools.optim.WarmupScheduler(base_lr=0.1, warmup_epochs=10, warmup_start_lr=0.0)
    optimizer = braintools.optim.SGD(lr=scheduler, momentum=0.9)
    optimizer.register_trainable_weights(task.model.states(brainstate.ParamState))
    start = task.values()

    assert float(optimizer.current_lr) == 0.0  # the LR is the schedule's from construction on
    optimizer.step(task.grads())
    assert_trees_close(task.values(), start, rtol=0, floor=0)  # an update at LR 0
    scheduler.step()
    used = [0.0, *run_single_updates(task, optimizer, scheduler, 49)]

    # Epochs 0-9: lr increases linearly from 0 to 0.1
    # Epochs 10+: lr stays at 0.1
    assert_close(used, [0.01 * t for t in range(10)] + [0.1] * 40)


def test_warmup_from_a_tenth():
    task = Task()
    scheduler = braintools.optim.WarmupScheduler(
        base_lr=0.01, warmup_epochs=5, warmup_start_lr=0.001
    )
    optimizer = braintools.optim.Adam(lr=scheduler)
    optimizer.register_trainable_weights(task.model.states(brainstate.ParamState))
    used = run_single_updates(task, optimizer, scheduler, 30)
    assert_close(used, [0.001, 0.0028, 0.0046, 0.0064, 0.0082] + [0.01] * 25)


def test_large_batch_training():
    task = Task()
    scheduler = braintools.optim.WarmupScheduler(
        base_lr=0.1 * (1024 / 256),  # Linear scaling rule: 0.1 * (batch_size / 256)
        warmup_epochs=20,
        warmup_start_lr=0.0,
    )
    optimizer = braintools.optim.SGD(lr=scheduler, momentum=0.9, weight_decay=1e-4)
    optimizer.register_trainable_weights(task.model.states(brainstate.ParamState))
    used = run(task, optimizer, scheduler, 100)
    assert_close(used, warmup(0.4, 0.0, 20, 100))


def test_bert_style_warmup_over_10_000_of_100_000_steps():
    task = Task()
    scheduler = braintools.optim.WarmupScheduler(
        base_lr=0.0001,
        warmup_epochs=10000,  # Often in steps/iterations
        warmup_start_lr=0.0,
    )
    optimizer = braintools.optim.Adam(lr=scheduler, weight_decay=0.01)
    optimizer.register_trainable_weights(task.model.states(brainstate.ParamState))
    before = task.total_loss()
    train_epoch = task.epoch(optimizer, scheduler)
    for _ in range(50):
        train_epoch()
    assert task.total_loss() < before
    seen = advance(scheduler, 99_800)
    assert_close(seen, warmup(0.0001, 0.0, 10_000, 100_000)[200:])
    assert int(scheduler.last_epoch.value) == 100_000
    assert float(optimizer.current_lr) == float(np.float32(0.0001))


def test_warmup_then_step_decay():
    task = Task()
    warmup_part = braintools.optim.WarmupScheduler(
        base_lr=0.1, warmup_epochs=5, warmup_start_lr=0.0
    )
    decay = braintools.optim.StepLR(base_lr=0.1, step_size=30, gamma=0.1)
    scheduler = braintools.optim.ChainedScheduler([warmup_part, decay])

    optimizer = braintools.optim.SGD(lr=scheduler, momentum=0.9)
    optimizer.register_trainable_weights(task.model.states(brainstate.ParamState))
    used = run_single_updates(task, optimizer, scheduler, 90)
    wanted = [0.0, 0.02, 0.04, 0.06, 0.08] + [0.1] * 25 + [0.01] * 30 + [0.001] * 30
    assert_close(used, wanted)


def test_short_warmup_for_fine_tuning():
    task = Task()
    scheduler = braintools.optim.WarmupScheduler(
        base_lr=0.0001, warmup_epochs=3, warmup_start_lr=0.00001
    )
    optimizer = braintools.optim.Adam(lr=scheduler, weight_decay=1e-5)
    optimizer.register_trainable_weights(task.model.states(brainstate.ParamState))
    used = run(task, optimizer, scheduler, 20)
    assert_close(used, [1e-5, 4e-5, 7e-5] + [1e-4] * 17)


class TestVisionTransformer:
    def setup_method(self):
        self.task = Task()
        self.warmup = braintools.optim.WarmupScheduler(
            base_lr=0.001, warmup_epochs=10, warmup_start_lr=0.0
        )
        self.cosine = braintools.optim.CosineAnnealingLR(base_lr=0.001, T_max=290, eta_min=1e-6)
        # Use sequentially: warmup first, then cosine
        self.optimizer = braintools.optim.AdamW(lr=self.warmup, weight_decay=0.05)
        self.optimizer.register_trainable_weights(self.task.model.states(brainstate.ParamState))

    wanted = tuple(
        [0.0001 * t for t in range(10)] + [cosine(0.001, 1e-6, t, 290) for t in range(290)]
    )

    def test_as_written(self):
        before, used = self.task.total_loss(), []

        # Warmup phase
        for epoch in range(10):
            used.append(float(self.optimizer.current_lr))
            self.optimizer.step(self.task.grads(epoch))
            self.warmup.step()

        # Switch to cosine after warmup
        self.cosine.attach_optimizer(self.optimizer)
        assert float(self.optimizer.current_lr) == float(np.float32(0.001))  # at once
        for epoch in range(290):
            used.append(float(self.optimizer.current_lr))
            self.optimizer.step(self.task.grads(epoch))
            self.cosine.step()

        assert_close(used, self.wanted)
        assert_close(self.optimizer.current_lr, 1e-6)
        assert self.task.total_loss() < before
        assert self.optimizer.lr_scheduler is self.cosine
        assert int(self.warmup.last_epoch.value) == 10

    def test_compiled(self):
        """The same update, not compiled anew, follows the new scheduler."""

        @brainstate.transform.jit
        def train_step(x, y):
            grads, _ = self.task.gradient(x, y)
            old = {key: dict(state.value) for key, state in self.task.params.items()}
            self.optimizer.step(grads)
            return old, self.optimizer.current_lr

        x, y = (data[0] for data in self.task.batches)
        used = []
        train_step(x, y)
        with compiled_programs() as compiled:
            for scheduler, epochs in ((self.warmup, 10), (self.cosine, 290)):
                if scheduler is self.cosine:
                    self.cosine.attach_optimizer(self.optimizer)
                for _ in range(epochs):
                    used.append(float(train_step(x, y)[1]))
                    scheduler.step()
        assert not compiled
        assert_close(used, self.wanted)

    def test_a_step_that_was_compiled_with_the_old_scheduler(self):
        """It may go on stepping the old scheduler; the learning rate is the new one's all the same."""

        @brainstate.transform.jit
        def train_step(x, y):
            grads, _ = self.task.gradient(x, y)
            lr = self.optimizer.current_lr
            self.optimizer.step(grads)
            self.warmup.step()
            return lr

        x, y = (data[0] for data in self.task.batches)
        used = [float(train_step(x, y)) for _ in range(10)]
        self.cosine.attach_optimizer(self.optimizer)
        with compiled_programs() as compiled:
            for _ in range(290):
                used.append(float(train_step(x, y)))
                assert float(self.optimizer.current_lr) == used[-1]
                self.cosine.step()
        assert not compiled
        assert_close(used, self.wanted)
        assert int(self.warmup.last_epoch.value) == 300

    def test_the_old_scheduler_no_longer_writes(self):
        self.cosine.attach_optimizer(self.optimizer)
        for _ in range(5):
            self.cosine.step()
        rate = float(self.optimizer.current_lr)
        self.warmup.step(epoch=3)
        assert float(self.optimizer.current_lr) == rate
        assert_close(rate, cosine(0.001, 1e-6, 5, 290))
        assert_close(self.warmup.get_last_lr(), [0.0003])


def test_warmup_state_persistence():
    def make(task):
        scheduler = braintools.optim.WarmupScheduler(
            base_lr=0.1, warmup_epochs=10, warmup_start_lr=0.0
        )
        optimizer = braintools.optim.SGD(lr=scheduler, momentum=0.9)
        optimizer.register_trainable_weights(task.model.states(brainstate.ParamState))
        return scheduler, optimizer

    scheduler, _ = make(Task())
    for _ in range(5):
        scheduler.step()
    checkpoint = {
        "epoch": 5,
        "scheduler": scheduler.state_dict(),
    }
    new_scheduler, new_optimizer = make(Task())
    new_scheduler.load_state_dict(pickle.loads(pickle.dumps(checkpoint))["scheduler"])
    assert int(new_scheduler.last_epoch.value) == 5
    assert_close(new_optimizer.current_lr, 0.05)  # the optimizer knows at once
    assert_close(advance(new_scheduler, 20), warmup(0.1, 0.0, 10, 25)[5:])


def test_linear_from_factor_0_is_the_same_warmup():
    warmup_sched = braintools.optim.WarmupScheduler(
        base_lr=0.1, warmup_epochs=10, warmup_start_lr=0.0
    )
    linear_sched = braintools.optim.LinearLR(start_factor=0.0, end_factor=1.0, total_iters=10)
    epochs = np.arange(40)
    assert_close(linear_sched(epochs) / 1e-3, warmup_sched(epochs) / 0.1)
    same_base = braintools.optim.LinearLR(0.1, start_factor=0.0, end_factor=1.0, total_iters=10)
    assert_same_bits(same_base(epochs), warmup_sched(epochs))
