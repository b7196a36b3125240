"""Names of other libraries: answered with what it is called here."""

import dataclasses

import brainstate
import jax.numpy as jnp
import optax
import pytest

import lrax
from registry.rows import STEP

KEYWORDS = {  # a class and a keyword that it does not have: the one that is meant
    ("StepLR", "lr"): "base_lr",
    ("StepLR", "learning_rate"): "base_lr",
    ("StepLR", "decay_rate"): "gamma",
    ("StepLR", "transition_steps"): "step_size",
    ("OneCycleLR", "lr"): "max_lr",
    ("OneCycleLR", "max_epochs"): "epochs",
    ("CyclicLR", "step_size"): "step_size_up",
    ("WarmupCosineSchedule", "init_value"): "warmup_start_lr",
    ("WarmupCosineSchedule", "peak_value"): "base_lr",
    ("WarmupCosineSchedule", "decay_steps"): "total_steps",
    ("WarmupCosineSchedule", "num_training_steps"): "total_steps",
    ("WarmupCosineSchedule", "num_warmup_steps"): "warmup_steps",
    ("WarmupCosineSchedule", "end_value"): "eta_min",
    ("WarmupScheduler", "warmup_steps"): "warmup_epochs",
    ("CosineAnnealingLR", "min_lr"): "eta_min",
    ("CosineAnnealingLR", "t_max"): "T_max",
    ("CosineAnnealingLR", "init_value"): "base_lr",
    ("CosineAnnealingWarmRestarts", "T_max"): "T_0",
    ("PolynomialLR", "max_steps"): "total_iters",
    ("ReduceLROnPlateau", "eta_min"): "min_lr",
    ("PiecewiseConstantSchedule", "milestones"): "boundaries",
    ("SequentialLR", "schedules"): "schedulers",
    ("LambdaLR", "fn"): "lr_lambda",
    ("Adam", "learning_rate"): "lr",
    ("Adam", "epsilon"): "eps",
    ("AdamW", "b2"): "betas",
    ("AdamW", "wd"): "weight_decay",
    ("SGD", "max_grad_norm"): "grad_clip_norm",
    ("OptaxOptimizer", "learning_rate"): "lr",
    ("AveragedWeights", "ema_decay"): "decay",
    ("AveragedWeights", "model"): "params",
}


@pytest.mark.parametrize("name, keyword", KEYWORDS)
def test_a_keyword_of_another_library(name, keyword):
    with pytest.raises(TypeError) as caught:
        getattr(lrax, name)(**{keyword: 0.25})
    wanted = f"{name} has no argument {keyword}, got {keyword}=0.25. It is called {KEYWORDS[name, keyword]} here."
    assert str(caught.value) == wanted


def test_a_keyword_that_nobody_knows():
    with pytest.raises(TypeError, match="Its arguments are base_lr, step_size, gamma"):
        lrax.StepLR(0.1, colour="red")


NOT_NEEDED = {
    "optimizer": (lambda: lrax.OneCycleLR(optimizer=None, total_steps=9), "optimizer takes the scheduler"),
    "params": (lambda: lrax.AdamW(params=[]), "register_trainable_weights"),
    "verbose": (lambda: lrax.StepLR(0.1, verbose=True), "get_last_lr"),
    "threshold": (lambda: lrax.ReduceLROnPlateau(min_delta=0.1), "called threshold here"),
    "a slip": (lambda: lrax.StepLR(gama=0.5), "Did you mean gamma"),
    "warmup": (lambda: lrax.PolynomialLR(0.1, warmup_iters=5), r"total_iters.*with_warmup\(5\)"),
    "warmup of a cycle": (lambda: lrax.OneCycleLR(0.1, warmup_steps=5), r"pct_start.*\w\.$"),
    "warmup of an average": (lambda: lrax.AveragedWeights({}, warmup_steps=5), r"scheduler\.$"),
    "warmup of timm": (lambda: lrax.WSDSchedule(0.1, warmup_t=5), "called warmup_steps here"),
    "epochs": (lambda: lrax.OneCycleLR(0.1, num_epochs=90), "called epochs here"),
    "first of a cycle": (lambda: lrax.OneCycleLR(initial_lr=0.004), "Its arguments are max_lr"),
    "stable": (lambda: lrax.WSDSchedule(0.1, 10, stable_steps=50), "Its arguments are base_lr"),
    "final fraction": (lambda: lrax.SGD(0.1, lrf=0.01), "Its arguments are"),
    "no guess": (lambda: lrax.WarmupCosineSchedule(warmup_ratio=0.1), "Its arguments are"),
}  # fmt: skip


@pytest.mark.parametrize("label", NOT_NEEDED)
def test_a_keyword_of_others_that_is_said_otherwise(label):
    call, message = NOT_NEEDED[label]
    with pytest.raises(TypeError, match=message):
        call()


class OfMyOwn(lrax.StepLR):
    def __init__(self, base_lr=0.1, **more):
        super().__init__(base_lr, **more)


class Narrow(lrax.SGD):
    def __init__(self, lr=0.1):
        super().__init__(lr)


def test_a_keyword_of_a_class_of_the_users():
    assert OfMyOwn(step_size=5).step_size == 5
    with pytest.raises(TypeError, match="Narrow has no argument momentum, got"):
        Narrow(momentum=0.9)


NAMES = {
    "adamw": "It is called AdamW.",
    "StepLr": "It is called StepLR.",
    "CosineScheduler": "Here that is CosineAnnealingLR, or WarmupCosineSchedule.",
    "PlateauLRScheduler": "Here that is ReduceLROnPlateau.",
    "CosineAnealingLR": "Did you mean CosineAnnealingLR?",
    "WSD": "Did you mean WSDSchedule?",
    "WSDScheduler": "Did you mean WSDSchedule?",
    "Warmup": "Did you mean WarmupScheduler?",
    "Step": "Did you mean StepLR?",
    "Plateau": "Did you mean ReduceLROnPlateau?",
    "PlateauLR": "Did you mean ReduceLROnPlateau?",
    "CosineLR": "Did you mean CosineAnnealingLR or CosineAnnealingWarmRestarts",
    "SGDR": "Here that is CosineAnnealingWarmRestarts.",
    "Noam": "Here that is InverseSqrtLR, with base_lr=(d_model * warmup_steps) ** -0.5.",
    "WarmupStableDecay": "Here that is WSDSchedule.",
    "clip_grad_norm_": "Here that is grad_clip_norm=... of an optimizer.",
    "MultiSteps": "Here that is accumulate_steps=... of an optimizer.",
    "inject_hyperparams": "Here that is not needed",
    "lr_scheduler": "Here that is lrax itself, where the schedulers are: lrax.StepLR.",
    "CosineDecay": "Here that is CosineAnnealingLR.",
    "NoamLR": "Here that is InverseSqrtLR, with base_lr=(d_model * warmup_steps) ** -0.5.",
    "SWALR": "Here that is SequentialLR",
    "AveragedModel": "Here that is AveragedWeights.",
    "ema": "Here that is AveragedWeights.",
    "param_groups_lrd": "Here that is layerwise_lr_decay.",
    "join_schedules": "Here that is SequentialLR.",
    "get_linear_schedule_with_warmup": "Here that is WSDSchedule, or get_scheduler(",
    "Lion": "lrax.OptaxOptimizer(optax.lion, lr=...)",
    "RMSprop": "lrax.OptaxOptimizer(optax.rmsprop, lr=...)",
    "Adagrad": "lrax.OptaxOptimizer(optax.adagrad, lr=...)",
    "NAdam": "lrax.OptaxOptimizer(optax.nadam, lr=...)",
    "Lamb": "lrax.OptaxOptimizer(optax.lamb, lr=...)",
    "Muon": "lrax.OptaxOptimizer(optax.contrib.muon, lr=...)",
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("module", [lrax, lrax.optim], ids=["lrax", "lrax.optim"])
def test_a_name_of_another_library(module, name):
    assert not hasattr(module, name)
    with pytest.raises(AttributeError) as caught:
        getattr(module, name)
    text = str(caught.value)
    assert text.startswith(f"module {module.__name__!r} has no attribute {name!r}. ")
    assert NAMES[name] in text


@pytest.mark.parametrize("name", [n for n, text in NAMES.items() if "OptaxOptimizer" in text])
def test_the_way_to_an_optimizer_of_optax_can_be_gone(name):
    code = NAMES[name].replace("lr=...", "lr=0.1").replace("learning_rate", "0.1")
    made = eval(code, {"lrax": lrax, "optax": optax})
    weight = brainstate.ParamState(jnp.ones((2, 2)))
    made.register_trainable_weights({"w": weight}).step({"w": jnp.eye(2)})
    assert weight.value[0, 0] < 1.0


@pytest.mark.parametrize("name", ["__wrapped__", "_private", "nothing_like_it"])
def test_a_name_that_nobody_knows(name):
    with pytest.raises(AttributeError, match=f"^module 'lrax' has no attribute '{name}'$"):
        getattr(lrax, name)


def test_everything_can_still_be_imported():
    namespace = {}
    exec("from lrax import *", namespace)
    assert {*lrax.__all__} <= namespace.keys()
    with pytest.raises(ImportError, match="cannot import name 'Lion'"):
        exec("from lrax import Lion", namespace)


# --- Formulas and get_lr() ------------------------------------------------------------------------


class Undecorated(lrax.Formula):
    rate: float

    def raw(self, t, base, x):
        return base / (1 + self.rate * t)


@dataclasses.dataclass(frozen=True)
class Decorated(Undecorated):
    pass


@pytest.mark.parametrize("arguments", [((4.0,), {}), ((), {"rate": 4.0})])
def test_a_forgotten_decorator(arguments):
    values, named = arguments
    with pytest.raises(
        TypeError, match=r"Undecorated takes no arguments.*@dataclasses.dataclass\(fr"
    ):
        Undecorated(*values, **named)
    with pytest.raises(TypeError, match="Undecorated is not decorated"):
        lrax.LRScheduler(0.1, formula=Undecorated())


@pytest.mark.parametrize(
    "formula, remedy",
    [
        (lambda t: 0.1, "LambdaLR(base_lr, function)"),
        ([abs], "LambdaLR(base_lr, function)"),
        (Decorated, "Construct it: Decorated(...)"),
        (STEP, "scheduler.pieces()"),
    ],
)
def test_what_is_no_formula(formula, remedy):
    with pytest.raises(TypeError, match="formula must be an") as caught:
        lrax.LRScheduler(0.1, formula=formula)
    assert remedy in str(caught.value)


@pytest.mark.parametrize("returned", [None, [None], []])
def test_get_lr_that_returns_nothing(returned):
    class Forgotten(lrax.LRScheduler):
        def get_lr(self):
            return returned

    with pytest.raises(TypeError) as caught:
        Forgotten(0.1)
    text = str(caught.value)
    assert text.startswith(
        f"get_lr() of Forgotten must return a list with a learning rate for each group, got {returned}."
    )
