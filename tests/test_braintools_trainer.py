"""In programs of braintools: its Trainer with our optimizers, its optimizers with our schedulers."""

import importlib.metadata
import inspect
import subprocess
import sys
import textwrap

import brainstate
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lrax
from helpers import (
    METRICS,
    assert_close,
    assert_same_bits,
    assert_trees_equal,
    compiled_programs,
    values_of,
)
from lrax.interop import to_braintools
from registry import KINDS
from registry.own import Halving

braintools = pytest.importorskip("braintools")
from braintools.trainer import CheckpointManager as TrainerCheckpoints  # noqa: E402
from braintools.trainer import (  # noqa: E402
    DataLoader,
    LearningRateMonitor,
    LightningModule,
    ModelCheckpoint,
    Trainer,
)

pytestmark = pytest.mark.braintools

OPTIMIZERS = {
    "SGD": lambda lr: lrax.SGD(lr=lr),
    "SGD with momentum": lambda lr: lrax.SGD(lr=lr, momentum=0.9),
    "Adam": lambda lr: lrax.Adam(lr=lr),
    "AdamW": lambda lr: lrax.AdamW(lr=lr, grad_clip_norm=1.0),
    "OptaxOptimizer": lambda lr: lrax.OptaxOptimizer(optax.scale_by_lion(), lr=lr),
}
SCHEDULERS = {
    "StepLR": lambda: lrax.StepLR(0.02, step_size=2, gamma=0.5),
    "OneCycleLR": lambda: lrax.OneCycleLR(0.05, total_steps=8),
    "SequentialLR": lambda: lrax.SequentialLR(
        [lrax.WarmupScheduler(0.02, 3, 0.001), lrax.CosineAnnealingLR(0.02, 5)], [3]
    ),
    "LambdaLR": lambda: lrax.LambdaLR(0.02, lr_lambda=lambda t: 0.8**t if t < 5 else 0.1),
    "a subclass": lambda: Halving(0.02),
}
EPOCHS = 8
COMPLETE = [int(n) for n in importlib.metadata.version("braintools").split(".")[:2]] >= [0, 4]
"""Whether a checkpoint of the trainer counts its epochs and holds its schedulers."""
RNG = np.random.default_rng(5)
X = RNG.normal(size=(24, 4)).astype(np.float32)
Y = (X @ RNG.normal(size=(4, 1)) + 0.5).astype(np.float32)


class Model(LightningModule):
    """`configured` turns optimizer and scheduler into what ``configure_optimizers`` returns."""

    def __init__(self, optimizer, kind="StepLR", configured=lambda o, s: (o, s)):
        super().__init__()
        self.layer = brainstate.nn.Linear(4, 1, w_init=lambda size, **_: jnp.full(size, 0.1))
        self.scheduler = SCHEDULERS[kind]()
        self.optimizer = OPTIMIZERS[optimizer](self.scheduler)
        self.configured = configured

    def loss(self, batch):
        x, y = batch
        return jnp.mean((self.layer(x) - y) ** 2)

    def training_step(self, batch, batch_idx):
        return {"loss": self.loss(batch)}

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", self.loss(batch))
        return {"val_loss": self.loss(batch)}

    def configure_optimizers(self):
        return self.configured(self.optimizer, self.scheduler)


def data():
    return DataLoader((jnp.asarray(X), jnp.asarray(Y)), batch_size=8, shuffle=False)


def fit(model, folder, epochs, callbacks=(), **options):
    trainer = Trainer(
        max_epochs=epochs,
        callbacks=list(callbacks),
        logger=False,
        enable_progress_bar=False,
        enable_checkpointing=False,
        default_root_dir=str(folder),
    )
    trainer.fit(model, data(), **options)
    return trainer


def by_hand(model, epochs):
    """The same training without the Trainer; the learning rate of each epoch."""
    params = model.states(brainstate.ParamState)
    model.optimizer.register_trainable_weights(params)
    batches = [(jnp.asarray(X[i : i + 8]), jnp.asarray(Y[i : i + 8])) for i in (0, 8, 16)]

    @brainstate.transform.jit
    def gradient(batch):
        return brainstate.transform.grad(lambda: model.loss(batch), params)()

    @brainstate.transform.jit
    def update(grads):
        model.optimizer.step(grads)

    rates = []
    for _ in range(epochs):
        rates.append(float(model.optimizer.current_lr))
        for batch in batches:
            update(gradient(batch))
        model.scheduler.step()
    return rates


# --- Trainer ----------------------------------------------------------------------------------------

cases = [("AdamW", kind) for kind in SCHEDULERS] + [(name, "StepLR") for name in OPTIMIZERS]


@pytest.mark.parametrize("optimizer, kind", dict.fromkeys(cases))
def test_fit_trains_and_the_monitor_sees_the_schedule(optimizer, kind, tmp_path):
    model, twin = Model(optimizer, kind), Model(optimizer, kind)
    before = float(model.loss((X, Y)))
    monitor = LearningRateMonitor(logging_interval="epoch")
    fit(model, tmp_path, EPOCHS, [monitor])
    rates = by_hand(twin, EPOCHS)
    assert [seen["lr-opt0"] for seen in monitor._lr_history] == rates
    assert_same_bits(np.float32(rates), SCHEDULERS[kind]()(np.arange(EPOCHS)))
    assert len(set(rates)) > 2
    assert_trees_equal(
        values_of(model.states(brainstate.ParamState)),
        values_of(twin.states(brainstate.ParamState)),
    )
    assert int(model.optimizer.step_count.value) == 3 * EPOCHS
    assert float(model.loss((X, Y))) < before


CONFIGURED = {
    "the optimizer": lambda o, s: o,
    "a pair": lambda o, s: (o, s),
    "a pair of lists": lambda o, s: ([o], [s]),
    "a dict": lambda o, s: {"optimizer": o, "lr_scheduler": s},
}


@pytest.mark.parametrize("configured", CONFIGURED)
def test_all_that_configure_optimizers_may_return(configured, tmp_path):
    model = Model("Adam", "StepLR", CONFIGURED[configured])
    trainer = fit(model, tmp_path, 2)
    assert trainer.optimizers == [model.optimizer]
    assert int(model.optimizer.step_count.value) == 6
    stepped = configured != "the optimizer"
    assert trainer.schedulers == ([model.scheduler] if stepped else [])
    assert int(model.scheduler.last_epoch.value) == (2 if stepped else 0)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_checkpoint_of_the_trainer_is_resumed(optimizer, tmp_path):
    kind = "SequentialLR"
    straight = Model(optimizer, kind)
    fit(straight, tmp_path, EPOCHS)
    stopped = Model(optimizer, kind)
    checkpoint = ModelCheckpoint(dirpath=str(tmp_path / "saved"), filename="{epoch}", save_top_k=-1)
    fit(stopped, tmp_path, 5, [checkpoint])
    resumed = Model(optimizer, kind)
    # The last file is that of epoch 4, written before its scheduler was stepped.
    trainer = Trainer(
        max_epochs=EPOCHS if COMPLETE else EPOCHS - 5,
        logger=False,
        enable_progress_bar=False,
        enable_checkpointing=False,
        default_root_dir=str(tmp_path),
        callbacks=[] if COMPLETE else [SteppedOnceMore(resumed.scheduler)],
    )
    trainer.fit(resumed, data(), ckpt_path=str(tmp_path / "saved" / "4.ckpt"))
    assert int(resumed.optimizer.step_count.value) == 3 * EPOCHS
    assert_trees_equal(
        values_of(resumed.states(brainstate.ParamState)),
        values_of(straight.states(brainstate.ParamState)),
    )
    assert_trees_equal(resumed.optimizer.state_dict(), straight.optimizer.state_dict())


class SteppedOnceMore(braintools.trainer.Callback):
    """ModelCheckpoint saves before the epoch's scheduler step, which a resumed training must make up for."""

    def __init__(self, scheduler):
        super().__init__()
        self.scheduler = scheduler

    def on_fit_start(self, trainer, module):
        assert int(self.scheduler.last_epoch.value) == 4
        self.scheduler.step()


def test_the_checkpoint_manager_of_the_trainer(tmp_path):
    model, new = Model("AdamW"), Model("AdamW")
    fit(model, tmp_path, 3)
    new.optimizer.register_trainable_weights(new.states(brainstate.ParamState))
    manager = TrainerCheckpoints(str(tmp_path / "saved"), verbose=False)
    path = manager.save(model, model.optimizer, epoch=3)
    manager.load(path, new, new.optimizer)
    assert_trees_equal(new.optimizer.state_dict(), model.optimizer.state_dict())
    assert_trees_equal(new.state_dict(), model.state_dict())


# --- isinstance -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_ours_is_an_optimizer_of_braintools(name):
    optimizer = OPTIMIZERS[name](0.1)
    assert isinstance(optimizer, braintools.optim.Optimizer)
    assert isinstance(optimizer, braintools.optim.OptaxOptimizer)
    assert not isinstance(lrax.StepLR(), braintools.optim.Optimizer)


def test_whichever_is_imported_first():
    """In a process of its own, where braintools comes second; it comes first in this one."""
    script = """
        import sys, warnings
        import brainstate, jax.numpy as jnp, lrax
        assert "braintools" not in sys.modules
        early = lrax.SGD(lr=0.1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import braintools
        early.register_trainable_weights({"w": brainstate.ParamState(jnp.ones(2))})
        assert isinstance(early, braintools.optim.Optimizer)
        assert isinstance(lrax.AdamW(lr=0.1), braintools.optim.OptaxOptimizer)
        class Mine(lrax.Adam):
            pass
        assert isinstance(Mine(lr=0.1), braintools.optim.Optimizer)
    """
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert run.returncode == 0, run.stderr


def test_the_interface_is_theirs():
    """What an optimizer of braintools has, ours has, too; besides what the table leaves out."""
    theirs = {n for n in dir(braintools.optim.OptaxOptimizer) if not n.startswith("_")}
    left_out = {"default_tx", "schedulers"}  # how braintools builds its own
    assert {n for n in theirs if not hasattr(lrax.OptaxOptimizer, n)} == left_out
    adapter = set(dir(to_braintools(lrax.StepLR())))
    assert {n for n in dir(braintools.optim.LRScheduler) if not n.startswith("_")} <= adapter


# --- to_braintools ----------------------------------------------------------------------------------


@pytest.mark.parametrize("rates", [[1.0, 2.0], 0.5], ids=repr)
def test_the_adapter_takes_as_many_rates_as_there_are_groups(rates):
    adapter = to_braintools(lrax.StepLR(0.1))
    with pytest.raises(ValueError, match="current_lrs"):
        adapter.current_lrs.value = rates
    assert_close(adapter.get_last_lr(), [0.1])
    adapter.current_lrs.value = [0.7]
    assert_close(adapter.get_last_lr(), [0.7])


THEIRS = {
    "SGD": lambda lr: braintools.optim.SGD(lr=lr, momentum=0.9),
    "Adam": lambda lr: braintools.optim.Adam(lr=lr),
    "AdamW": lambda lr: braintools.optim.AdamW(lr=lr),
    "RMSprop": lambda lr: braintools.optim.RMSprop(lr=lr),
}
SAME_IN_OPTAX = {  # with a learning rate of 1: what braintools multiplies it with
    "SGD": lambda: optax.trace(0.9),
    "Adam": optax.scale_by_adam,
}


def weights():
    return {"w": brainstate.ParamState(jnp.linspace(-1.0, 1.0, 6))}


def loss_of(states):
    return jnp.sum((states["w"].value ** 2 - 0.3) ** 2)


def trained(optimizer, stepped, states, jitted, epochs=30):
    """Train; the learning rates on the way, and how many programs were compiled after the first step."""

    def update(metric):
        optimizer.update(brainstate.transform.grad(lambda: loss_of(states), states)())
        stepped(metric)
        return optimizer.current_lr

    optimizer.register_trainable_weights(states)
    update = brainstate.transform.jit(update) if jitted else update
    rates, late = [], []
    for epoch in range(epochs):
        rates.append(float(optimizer.current_lr))
        with compiled_programs() as compiled:
            after = update(METRICS[epoch])
        late.append(len(compiled))
        assert float(after) == float(optimizer.current_lr)
    return np.float32(rates), sum(late[1:])


@pytest.mark.parametrize("through", ["adapter", "scheduler"])
@pytest.mark.parametrize("jitted", [False, True], ids=["eager", "jit"])
@pytest.mark.parametrize("kind", ["WarmupCosineSchedule", "ReduceLROnPlateau", "a subclass"])
def test_an_optimizer_of_braintools_follows_our_scheduler(kind, jitted, through):
    scheduler, states = KINDS[kind](), weights()
    adapter = to_braintools(scheduler)
    assert isinstance(adapter, braintools.optim.LRScheduler)
    optimizer = THEIRS["Adam"](adapter)
    target = adapter if through == "adapter" else scheduler
    plateau = kind == "ReduceLROnPlateau"

    def step(metric):
        target.step(metric) if plateau else target.step()

    rates, late = trained(optimizer, step, states, jitted)
    alone, wanted = KINDS[kind](), []
    for epoch in range(30):
        wanted.append(alone.get_last_lr()[0])
        alone.step(METRICS[epoch]) if plateau else alone.step()
    assert len(set(wanted)) > 2
    assert_same_bits(rates, np.float32(wanted))
    if jitted:
        assert late == 0

    tx = optax.adam(lambda count: jnp.asarray(rates)[count])
    values, state = values_of(weights()), None
    state = tx.init(values)
    for _ in range(30):
        grads = jax.grad(lambda v: jnp.sum((v["w"] ** 2 - 0.3) ** 2))(values)
        updates, state = tx.update(grads, state)
        values = optax.apply_updates(values, updates)
    assert_close(states["w"].value, values["w"], rtol=1e-5)


@pytest.mark.parametrize("name", THEIRS)
def test_it_trains_as_ours_do_and_descends(name):
    scheduler, states = lrax.ExponentialLR(0.05, 0.9), weights()
    before = float(loss_of(states))
    optimizer = THEIRS[name](to_braintools(scheduler))
    trained(optimizer, lambda _: optimizer.lr.step(), states, True)
    assert float(loss_of(states)) < before
    assert optimizer.lr.scheduler is scheduler
    assert int(optimizer.lr.last_epoch.value) == 30
    assert_same_bits([optimizer.current_lr], [scheduler(30)])


def test_the_adapter_is_negated_and_the_scheduler_is_not():
    scheduler = lrax.StepLR(0.1, 2, 0.5)
    adapter = to_braintools(scheduler)
    adapter.step(4)
    assert float(adapter(0)) == -float(np.float32(0.025))
    assert float(scheduler(4)) == float(np.float32(0.025))
    assert_same_bits(adapter.get_last_lr(), scheduler.get_last_lr())
    assert_same_bits(adapter.get_lr(), scheduler.get_lr())
    assert adapter.base_lrs == [0.1]


def test_groups_manual_rates_and_checkpoints():
    adapter = to_braintools(lrax.StepLR([0.1, 0.01], 2, 0.5))
    optimizer = THEIRS["Adam"](adapter)
    optimizer.register_trainable_weights(weights())
    optimizer.add_param_group({"v": brainstate.ParamState(jnp.ones(2))})
    adapter.step(2)
    assert_close([group["lr"].value for group in optimizer.param_groups], [0.05, 0.005])
    optimizer.current_lr = 0.5
    assert float(adapter(0)) == -0.5
    assert_close([group["lr"].value for group in optimizer.param_groups], [0.5, 0.005])
    optimizer.lr_apply(lambda lr: lr / 2)
    assert_close([group["lr"].value for group in optimizer.param_groups], [0.25, 0.0025])
    adapter.step()
    assert_close([group["lr"].value for group in optimizer.param_groups], [0.05, 0.005])
    new = to_braintools(lrax.StepLR([0.1, 0.01], 2, 0.5))
    new.load_state_dict(adapter.state_dict())
    assert int(new.last_epoch.value) == 3
    assert_close(new.get_last_lr(), [0.05, 0.005])


def test_one_scheduler_serves_optimizers_of_both():
    scheduler, states = lrax.StepLR(0.1, 2, 0.5), weights()
    ours = lrax.SGD(lr=scheduler)
    ours.register_trainable_weights(states)
    theirs = THEIRS["SGD"](to_braintools(scheduler))
    theirs.register_trainable_weights(weights())
    for _ in range(5):
        scheduler.step()
        assert (
            float(ours.current_lr)
            == float(theirs.current_lr)
            == float(scheduler(int(scheduler.last_epoch.value)))
        )
    lrax.ConstantLR(0.3, 1.0, 0).attach_optimizer(ours)
    scheduler.step()
    assert float(ours.current_lr) == float(np.float32(0.3))
    assert float(theirs.current_lr) == float(scheduler(6))


@pytest.mark.parametrize("wrong", [0.1, None, lrax.StepLR, "StepLR"])
def test_only_a_scheduler_is_adapted(wrong):
    with pytest.raises(TypeError, match="scheduler must be an lrax scheduler"):
        to_braintools(wrong)


def test_a_scheduler_of_braintools_is_refused_with_the_remedy():
    with pytest.raises(TypeError, match=r"lr must be .*not StepLR"):
        lrax.Adam(lr=braintools.optim.StepLR(base_lr=0.1, step_size=3))


def test_the_adapter_is_documented():
    assert "braintools" in inspect.getdoc(to_braintools)
