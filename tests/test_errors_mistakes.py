"""Mistakes that train silently elsewhere: refused, with a message that says what to do instead."""

import brainstate
import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lrax
from helpers import takes_metric
from ready import optimizer, plateau, trained, values, weight
from registry import KINDS
from registry.rows import NAN, STEP

# --- What belongs together -----------------------------------------------------------------------


def dict_of_brainstate():
    return brainstate.nn.Linear(2, 1).states(brainstate.ParamState)


def optax_direction(tx):
    return lrax.OptaxOptimizer(tx, lr=0.1).register_trainable_weights({"w": weight(3)})


def complete():
    return lrax.OptaxOptimizer(optax.adam(1e-3)).register_trainable_weights({"w": weight(3)})


def grouped(groups):
    return lrax.AdamW(groups=groups).register_trainable_weights({"w": weight(3)})


def misshapen(count):
    """A step with weights of one number, which had three before."""
    states = {str(i): weight(3) for i in range(count)}
    optimizer = lrax.Adam().register_trainable_weights(states)
    for state in states.values():
        state.value = jnp.ones(1)
    optimizer.step({name: jnp.ones(1) for name in states})


class TwoRates(lrax.LRScheduler):
    def get_lr(self):
        return [0.1, 0.2]


class OwnTx(lrax.OptaxOptimizer):
    def default_tx(self):
        return optax.sgd(0.1)


class NoReturn(lrax.Formula):
    def raw(self, t, base, x):
        base / (1 + t)


class Stepping(lrax.LRScheduler):
    def get_lr(self):
        self.step()
        return self.base_lrs


class NoInit(lrax.LRScheduler):
    def __init__(self, peak=0.1):
        self.peak = peak

    def get_lr(self):
        return [self.peak]


def cycle():
    return lrax.OneCycleLR(total_steps=10, cycle_momentum=True)


def prodigy():
    return lrax.OptaxOptimizer(optax.contrib.prodigy, lr=lrax.WarmupScheduler(1.0, 5))


class OwnInit(lrax.Formula):
    def __init__(self, rate):
        object.__setattr__(self, "rate", rate)

    def raw(self, t, base, x):
        return base / (1 + self.rate * t)


class Complex(lrax.Formula):
    def raw(self, t, base, x):
        return np.complex128(1 + 2j)


class DoublePlateau(lrax.ReduceLROnPlateau):
    def get_lr(self):
        return [2 * lr for lr in super().get_lr()]


def of_groups(*schedulers):
    return lrax.LRScheduler(0.5, formula=[s.pieces()[0][0] for s in schedulers])


MISTAKES = {  # what is wrong: the call, and what its message holds
    "a plateau without a metric": (lambda: plateau().step(), "metric", "step(metric=...)"),
    "a plateau inside, without a metric": (lambda: lrax.ChainedScheduler([STEP, plateau()]).step(), "metric", "step(metric=...)"),
    "step_epoch of a plateau": (lambda: plateau().step_epoch(), "metric", "step(metric=...)"),
    "a metric to a scheduler of the epoch": (lambda: lrax.StepLR().step(metric=0.5), "metric", "ReduceLROnPlateau"),
    "a metric as an epoch": (lambda: lrax.StepLR().step(3.25), "3.25", "step(metric=...)"),
    "a loss as an epoch": (lambda: lrax.StepLR().step(jnp.float32(0.5)), "0.5", "step(metric=...)"),
    "weights first, as in torch": (lambda: lrax.AdamW({"w": weight(3)}, lr=1e-3), "AdamW", "lr", "0.001", "register_trainable_weights"),
    "an optimizer first, as in torch": (lambda: lrax.StepLR(optimizer(), base_lr=0.1), "StepLR", "base_lr", "SGD(lr=StepLR("),
    "a rate twice": (lambda: lrax.StepLR(0.1, base_lr=1.0), "base_lr", "0.1", "1.0", "Leave one"),
    "a rate by another name": (lambda: setattr(optimizer(), "learning_rate", 0.1), "learning_rate", "current_lr"),
    "a number that is fixed": (lambda: setattr(optimizer(), "momentum", 0.5), "momentum", "compiled", "CosineAnnealingLR("),
    "an optimizer's state": (lambda: lrax.StepLR().load_state_dict(optimizer().state_dict()), "optimizer's", "state_dict['lr_scheduler']"),
    "a plateau at an epoch": (lambda: plateau()(3), "metric", "get_last_lr()"),
    "a plateau inside, at an epoch": (lambda: lrax.SequentialLR([STEP, plateau()], [3]).lr_at(3), "metric", "get_last_lr()"),
    "several groups at an epoch": (lambda: lrax.StepLR([0.1, 0.2])(3), "2 ", "lr_at(epoch)"),
    "a list for other groups": (lambda: trained(lrax.StepLR([0.1, 0.2])), "2 ", "1 ", "single"),
    "a list for fewer groups": (lambda: trained(lrax.StepLR([0.1, 0.2]), groups=3), "2 ", "3", "lr=..."),
    "lists of two lengths": (lambda: lrax.CyclicLR([0.1, 0.2], [0.3, 0.4, 0.5]), "base_lr", "max_lr", "2", "3"),
    "a list in a plateau": (lambda: lrax.ReduceLROnPlateau([0.1, 0.2], min_lr=[0.1] * 3), "base_lr", "2", "3"),
    "functions for other groups": (lambda: lrax.LambdaLR([0.1, 0.2], [abs] * 3), "base_lr", "2", "3"),
    "members for other groups": (lambda: lrax.ChainedScheduler([lrax.StepLR([0.1, 0.2]), lrax.StepLR([0.1] * 3)]), "schedulers[0]", "schedulers[1]", "2", "3"),
    "warmup beyond the total": (lambda: lrax.WarmupCosineSchedule(warmup_steps=20, total_steps=10), "total_steps", "20", "warmup_steps + n"),
    "a cycle upside down": (lambda: lrax.CyclicLR(0.5, 0.1), "max_lr", "0.5", "0.1", "Swap"),
    "an optimizer in a scheduler": (lambda: lrax.StepLR(optimizer(), 30), "base_lr", "SGD(lr=StepLR("),
    "a class of schedulers": (lambda: lrax.SGD(lr=lrax.StepLR), "lr", "not a class", "StepLR(...)"),
    "a model": (lambda: lrax.SGD().register_trainable_weights(brainstate.nn.Linear(2, 2)), "Linear", "model.states("),
    "an infinite rate": (lambda: setattr(optimizer(), "current_lr", 1e39), "lr", "3.40282e+38", "1e+39"),
    "a formula that is no dataclass": (lambda: lrax.LRScheduler(0.1, formula=OwnInit(2)), "formula", "OwnInit", "frozen=True"),
    "a length twice": (lambda: lrax.OneCycleLR(total_steps=5, epochs=5), "total_steps=5", "epochs=5", "either"),
    "three phases that do not fit": (lambda: lrax.OneCycleLR(total_steps=100, pct_start=0.6, three_phase=True), "pct_start", "[0, 0.5]", "0.6", "three_phase=False"),
    "half a length": (lambda: lrax.OneCycleLR(epochs=5), "steps_per_epoch=None", "total_steps"),
    "no length": (lambda: lrax.OneCycleLR(), "total_steps", "epochs"),
    "a share of more than all": (lambda: lrax.ReduceLROnPlateau(threshold=2.0), "threshold", "2.0", "'abs'"),
    "unsorted milestones": (lambda: lrax.MultiStepLR(milestones=[60, 30]), "milestones", "[60, 30]", "Use [30, 60]"),
    "a factor of nothing": (lambda: lrax.ChainedScheduler([lrax.StepLR(), lrax.CyclicLR(0.0, 1.0)]), "schedulers[1]", "base_lr", "0"),
    "nothing times factors": (lambda: lrax.ChainedScheduler([lrax.CyclicLR(0.0, 1.0), lrax.StepLR()]), "schedulers[0]", "base_lr", "0"),
    "a base class alone": (lambda: lrax.LRScheduler(0.1), "LRScheduler", "formula", "get_lr"),
    "a function that returns a list": (lambda: lrax.LambdaLR(lr_lambda=lambda t: [1.0, 2.0])(3), "function", "[1.0, 2.0]"),
    "a function that returns nothing": (lambda: lrax.LambdaLR(lr_lambda=lambda t: None).step(), "function", "None"),
    "a scale that returns nothing": (lambda: lrax.CyclicLR(scale_fn=lambda cycle: None), "function", "None"),
    "a map to a negative": (lambda: lrax.StepLR().apply(lambda lr: -lr), "lr", ">= 0", "-0.001"),
    "a map to NaN": (lambda: optimizer().lr_apply(lambda lr: lr * NAN), "lr", ">= 0", "nan"),
    "a map to a list": (lambda: lrax.StepLR().apply(lambda lr: [lr, lr]), "lr", "number", "["),
    "a map to nothing": (lambda: optimizer().lr_apply(lambda lr: None), "lr", "number", "None"),
    "Nesterov without momentum": (lambda: lrax.SGD(nesterov=True), "nesterov", "momentum > 0", "0"),
    "one clip twice": (lambda: lrax.SGD(grad_clip_norm=1.0, clip_norm=2.0), "grad_clip_norm", "clip_norm", "one of them"),
    "a schedule as a function": (lambda: lrax.LambdaLR(0.1, STEP), "lr_lambda", "StepLR(", "a * b", "scheduler(x)"),
    "a schedule as factors": (lambda: lrax.MultiplicativeLR(0.1, STEP), "lr_lambda", "StepLR(", "a * b"),
    "a schedule as a scale": (lambda: lrax.CyclicLR(0.1, 0.2, scale_fn=STEP), "scale_fn", "StepLR("),
    "a polynomial that rises": (lambda: lrax.get_scheduler("polynomial", 1e-8, 10, 100), "lr_end", "less than base_lr", "1e-07", "eta_min"),
    "a constructor without the other": (lambda: NoInit(), "NoInit.__init__", "super().__init__(base_lr"),
    "a formula without return": (lambda: lrax.LRScheduler(0.1, formula=NoReturn()), "raw() of NoReturn", "number", "None"),
    "a formula without return in groups": (lambda: lrax.LRScheduler([0.1, 0.2], formula=NoReturn()), "raw() of NoReturn", "number", "None"),
    "a schedule as a rate": (lambda: setattr(optimizer(), "current_lr", STEP), "current_lr", "StepLR(", "attach_optimizer(optimizer)"),
    "a schedule for what is complete": (lambda: STEP.attach_optimizer(complete()), "tx was given without lr"),
    "groups as in torch": (lambda: grouped([{"params": [], "lr": 0.1}]), "pairs", "'params'", "{'bias': {'lr': 0.01}}"),
    "formulas that learn by different rules": (lambda: of_groups(plateau(), lrax.ReduceLROnPlateau(patience=99)), "formula", "learn the same", "groups="),
    "a formula that learns beside one that does not": (lambda: of_groups(STEP, plateau()), "formula", "learn the same", "groups="),
    "functions multiplied up": (lambda: of_groups(*[lrax.MultiplicativeLR(1.0, lambda t, f=f: f) for f in (0.5, 0.9)]), "formula", "learn the same"),
    "a formula that the base does not scale": (lambda: of_groups(lrax.PiecewiseConstantSchedule(boundaries=[2], values=[0, 1.0])), "base_lr=0.5", "PiecewiseConstant", "base_lr is 0"),
    "a formula that lies below the base": (lambda: of_groups(lrax.CyclicLR(0.1, 0.2)), "base_lr=0.5", "max_lr", "0.2 < 0.5"),
    "a get_lr of what was learned as a part": (lambda: DoublePlateau(0.1) + 0.5, "get_lr()", "learned", "DoublePlateau"),
    "patience beyond the last epoch": (lambda: lrax.ReduceLROnPlateau(patience=2**31), "patience", "2147483648"),
    "a formula of complex numbers": (lambda: lrax.LRScheduler(0.1, formula=Complex())(3), "raw() of Complex", "number", "(1+2j)"),
    "a list of lists as a shape": (lambda: lrax.WSDSchedule(decay=[[1], 2]), "decay", "[[1], 2]"),
    "lists of epochs of two lengths": (lambda: STEP([[1, 2], [3]]), "epoch", "[[1, 2], [3]]"),
    "an optimizer of optax as base_lr": (lambda: lrax.StepLR(optax.sgd(0.1), 30), "base_lr must", "SGD(lr=StepLR("),
    "a function as base_lr": (lambda: lrax.LambdaLR(lambda e: 0.9**e), "base_lr must", "LambdaLR(1.0, function)"),
    "an optimizer before schedulers": (lambda: lrax.SequentialLR(lrax.SGD(), [STEP], [9]), "schedulers must be a list", "SGD(lr=StepLR("),
    "weights before the rate": (lambda: lrax.AdamW({}, 1e-3), "betas must be two numbers", "register_trainable_weights"),
    "States of a model as the rate": (lambda: lrax.AdamW(dict_of_brainstate()), "lr must", "register_trainable_weights"),
    "States of a model as a decay": (lambda: lrax.AdamW(weight_decay=dict_of_brainstate()), "weight_decay must", "register_trainable_weights"),
    "States of a model as a schedule's rate": (lambda: lrax.StepLR(dict_of_brainstate()), "base_lr must", "register_trainable_weights"),
    "States of a model as the optimizer": (lambda: STEP.attach_optimizer(dict_of_brainstate()), "optimizer must be an lrax optimizer"),
    "States of a model as schedulers": (lambda: lrax.SequentialLR(dict_of_brainstate(), [9]), "schedulers must be a list"),
    "States of a model as an epoch": (lambda: lrax.StepLR(0.1).step(dict_of_brainstate()), "epoch must"),
    "States of a model to be averaged by themselves": (lambda: lrax.AveragedWeights(dict_of_brainstate(), dict_of_brainstate()), "must"),
    "States of a model to be checked": (lambda: lrax.check(dict_of_brainstate(), 10), "scheduler must be"),
    "States of a model from torch": (lambda: lrax.interop.from_torch(dict_of_brainstate()), "must be a scheduler of torch"),
    "States of a model from optax": (lambda: lrax.interop.from_optax(dict_of_brainstate()), "schedule must be a function"),
    "States of a model as the current rate": (lambda: setattr(optimizer(), "current_lr", dict_of_brainstate()), "lr must"),
    "a whole epoch to begin with": (lambda: lrax.StepLR(0.1, 3, last_epoch=3.5), "last_epoch must be a whole number >= 0, got 3.5."),
    "a state dict in place of torch's scheduler": (lambda: lrax.interop.from_torch({"base_lrs": [0.1]}), "pass that"),
    "a state dict of torch's scheduler": (lambda: lrax.StepLR(0.1).load_state_dict({"base_lrs": [0.1], "_step_count": 1}), "with a version", "from_torch(scheduler)"),
    "a state dict of torch's optimizer": (lambda: optimizer().load_state_dict({"state": {}, "param_groups": []}), "with a version", "numbers its weights"),
    "a function of lr": (lambda: lrax.OptaxOptimizer(lambda lr: optax.adam(lr), lr=0.1), "needs lr", "Call it learning_rate there"),
    "a schedule of optax as tx": (lambda: lrax.OptaxOptimizer(optax.cosine_decay_schedule(0.1, 10)), "needs count", "from_optax(schedule)"),
    "an added group that is frozen": (lambda: optimizer().add_param_group({"m": brainstate.ParamState(jnp.ones(1))}, frozen=True), "options of lr, lr_scale, momentum", "got 'frozen'", "leaving them out"),
    "logs as a metric": (lambda: lrax.ReduceLROnPlateau(0.1).step(metric={"loss": 1.0}), "metric must be a number (not dict)", "Pass one number of it."),
    "a decay for some weights": (lambda: lrax.AdamW(weight_decay={"bias": 0.0}), "weight_decay must", "groups={pattern: {'weight_decay': ...}}"),
    "a beta for some weights": (lambda: lrax.Adam(betas=({"bias": jnp.float32(0.9)}, 0.999)), "betas[0] must", "groups={pattern: {'betas': ...}}"),
    "logs as an epoch": (lambda: lrax.StepLR(0.1).step({"loss": 1.0}), "epoch must", "step(metric=...)"),
    "a factor for some weights": (lambda: lrax.StepLR(0.1, 3, gamma={"bias": 0.1}), "gamma must", "Pass one number of it."),
    "States of a model as a pattern": (lambda: lrax.Adam(groups=[(dict_of_brainstate(), {"lr_scale": 0.1})]), "groups", "regular expression or a function"),
    "weights of torch": (lambda: lrax.AdamW(iter([1])), "lr must", "register_trainable_weights"),
    "statistics as weights": (lambda: lrax.SGD().register_trainable_weights({"m": brainstate.BatchState(jnp.ones(1))}), "statistics", "'m'", "ParamState"),
    "a membrane as a weight": (lambda: lrax.SGD().register_trainable_weights({"v": brainstate.HiddenState(jnp.ones(1))}), "HiddenState", "'v'", "ParamState"),
    "statistics as an added group": (lambda: optimizer().add_param_group({"m": brainstate.BatchState(jnp.ones(1))}), "statistics", "'m'", "ParamState"),
    "bounds of other groups": (lambda: lrax.ReduceLROnPlateau([0.1, 0.2], min_lr=[0.1, 0.2, 0.3]), "base_lr has 2", "min_lr has 3"),
    "a get_lr that steps": (lambda: Stepping(0.1), "get_lr() of Stepping", "steps", "last_epoch.value"),
    "a get_lr of two for one": (lambda: TwoRates(0.1)(3), "get_lr() of TwoRates", "1 learning rates", "got 2", "self.base_lrs"),
    "a beta that is 1 in float32": (lambda: lrax.Adam(betas=(0.9, 1 - 1e-8)), "betas[1]", "[0, 1)", "float32 it is 1"),
    "betas twice": (lambda: lrax.Adam(betas=(0.5, 0.9), beta2=0.99), "betas", "beta2", "one of the two"),
    "betas of a group twice": (lambda: lrax.AdamW(groups={"w": {"beta1": 0.5, "betas": (0.8, 0.9)}}), "betas", "beta1", "one of the two"),
    "a hook of braintools'": (lambda: OwnTx(lr=0.1), "OwnTx.default_tx()", "super().__init__(tx"),
    "no learning rate": (lambda: lrax.SGD(lr=None), "lr", "number", "None", "1e-3"),
    "a direction as a complete optimizer": (lambda: lrax.OptaxOptimizer(optax.scale_by_adam()).register_trainable_weights({"w": weight(2)}), "tx", "descend", "lr=..."),
    "a factory of directions as one": (lambda: lrax.OptaxOptimizer(optax.scale_by_lion).register_trainable_weights({"w": weight(2)}), "tx", "descend", "lr=..."),
    "decay of a complete optimizer": (lambda: lrax.OptaxOptimizer(optax.sgd(0.1), weight_decay=0.1), "weight_decay", "lr=...", "optax.adamw"),
    "a step before the weights": (lambda: lrax.SGD().step({}), "register_trainable_weights", "before"),
    "a group before the weights": (lambda: lrax.SGD().add_param_group({"w": weight(2)}), "register_trainable_weights", "before"),
    "a gradient is missing": (lambda: optimizer().step({"v": 1.0}), "'w'", "same states"),
    "a gradient that is a State": (lambda: optimizer().step({"w": weight(3)}), "The gradient of 'w'", "array of numbers", "ParamState"),
    "a rate to a step": (lambda: optimizer().step({"w": jnp.ones(3)}, lr=5.0), "step(...)", "got lr", "current_lr"),
    "a metric to a step": (lambda: optimizer().step({"w": jnp.ones(3)}, metric=5.0), "got metric", "scheduler.step(metric=...)"),
    "an option to a step": (lambda: optimizer().step({"w": jnp.ones(3)}, accumulate=4), "got accumulate", "constructor"),
    "a gradient of another shape": (lambda: optimizer().step({"w": jnp.ones(4)}), "'w'", "(3,)", "(4,)"),
    "a weight that has lost its shape": (lambda: misshapen(1), "'0'", "(1,)", "got (3,)", "registered"),
    "weights that have lost theirs": (lambda: misshapen(5), "'0'", "(1,)", "got (3,)", "registered"),
    "weights of nothing": (lambda: lrax.SGD().register_trainable_weights({"w": brainstate.ParamState(())}), "params", "leaf", "empty"),
    "more gradients than can be counted": (lambda: lrax.SGD(accumulate_steps=2**31), "accumulate_steps", "2147483648"),
    "two weights of one name": (lambda: optimizer().register_trainable_weights({"w": weight(2)}), "'w'", "if 'head' in k"),
    "weights in mid-training": (lambda: trained(0.1).register_trainable_weights({"v": weight(2)}), "add_param_group"),
    "a group of no new weights": (lambda: (o := optimizer()).add_param_group(o.param_states), "params", "not registered yet"),
    "adam as a direction": (lambda: optax_direction(optax.adam(1e-3)), "tx", "without lr"),
    "sgd as a direction": (lambda: optax_direction(optax.sgd(0.1)), "tx", "ascend"),
    "a warmup as a direction": (lambda: optax_direction(optax.adamw(optax.linear_schedule(0.0, 1.0, 9))), "tx", "without lr"),
    "the rate of a complete optimizer": (lambda: complete().current_lr, "tx", "lr=..."),
    "setting it": (lambda: setattr(complete(), "current_lr", 0.1), "tx", "lr=..."),
    "mapping it": (lambda: complete().lr_apply(abs), "tx", "lr=..."),
    "a group with another": (lambda: complete().add_param_group({"b": weight(2)}, lr=0.1), "tx", "lr=..."),
    "a pattern that matches nothing": (lambda: grouped({"biass": {"weight_decay": 0.0}}), "groups", "'biass' matches nothing", "'w'"),
    "a pattern in the shadow of another": (lambda: grouped({"w": {"lr": 0.1}, "^w$": {"lr": 0.2}}), "groups", "since 'w' before it takes them"),
    "the weights in place of a rate": (lambda: lrax.AdamW({"w": weight(3)}), "lr", "register_trainable_weights("),
    "a model in place of a rate": (lambda: lrax.AdamW(brainstate.nn.Linear(2, 2)), "lr", "register_trainable_weights("),
    "a model in place of an optimizer": (lambda: lrax.OptaxOptimizer(brainstate.nn.Linear(2, 2)), "tx", "GradientTransformation"),
    "an optimizer as a string": (lambda: lrax.OptaxOptimizer("lion", lr=0.1), "tx", "'lion'", "optax.lion"),
    "two leaves of one path": (lambda: lrax.SGD().register_trainable_weights({"a": brainstate.ParamState({"b": jnp.ones(2)}), "a.b": weight(3)}), "'a.b'", "Rename a key"),
    "two leaves of one path in a weight": (lambda: lrax.SGD().register_trainable_weights({"w": brainstate.ParamState({"b.c": jnp.ones(2), "b": {"c": jnp.ones(2)}})}), "'w.b.c'", "Rename a key"),
    "a rate of a group that is none": (lambda: grouped({"w": {"lr": None}}), "groups['w']", "lr must be"),
    "another name of an option": (lambda: grouped({"w": {"wd": 0.1}}), "groups['w']", "Did you mean 'weight_decay'?"),
    "a frozen group of later": (lambda: optimizer().add_param_group({"v": weight(2)}, frozen=True), "frozen", "leaving them out"),
    "an option of no optimizer": (lambda: grouped({"w": {"weight_decey": 0.0}}), "groups['w']", "Did you mean 'weight_decay'?"),
    "a norm of one group": (lambda: grouped({"w": {"grad_clip_norm": 1.0}}), "groups['w']", "all groups together"),
    "a frozen group with a rate": (lambda: grouped({"w": {"frozen": True, "lr": 0.1}}), "groups['w']", "frozen=True alone"),
    "nothing to train": (lambda: grouped({"w": {"frozen": True}}), "groups", "all of them are frozen"),
    "a pattern that answers with a number": (lambda: grouped([(lambda path, leaf: leaf.ndim, {"lr": 0.1})]), "groups", "True or False", "1"),
    "a group's schedule of several": (lambda: grouped({"w": {"lr": lrax.StepLR([0.1, 0.2])}}), "lr", "one base_lr"),
    "a momentum of 1": (lambda: lrax.SGD(momentum=lrax.ConstantLR(1.0)), "momentum", "[0, 1)", "ConstantLR"),
    "a momentum of 1 later on": (lambda: lrax.SGD(momentum=lrax.WarmupScheduler(1.0, 5)), "momentum", "[0, 1)", "1 at epoch 5"),
    "a clipping that ends at nothing": (lambda: lrax.SGD(grad_clip_norm=lrax.CosineAnnealingLR(1.0, 9)), "grad_clip_norm", "> 0", "0 at epoch 9"),
    "a function that is negative": (lambda: lrax.SGD(weight_decay=lambda t: -0.1), "weight_decay", ">= 0", "-0.1", "max(0.0, value)"),
    "a hyper-parameter that needs a metric": (lambda: [o := lrax.SGD(weight_decay=plateau()), o.lr.step()], "metric", "step(metric=...)"),
    "a momentum of two schedules": (lambda: lrax.SGD(lr=cycle(), momentum=lrax.ConstantLR(0.9)), "momentum", "cycle_momentum", "OneCycleLR"),
    "a momentum of nothing": (lambda: lrax.OptaxOptimizer(optax.sign_sgd, lr=cycle()), "cycle_momentum", "SGD, Adam, AdamW"),
    "a cycle inside": (lambda: lrax.SequentialLR([cycle(), STEP], [3]), "cycle_momentum", "momentum=..."),
    "a momentum upside down": (lambda: lrax.CyclicLR(base_momentum=0.9, max_momentum=0.8), "base_momentum", "max_momentum", "0.9 > 0.8"),
    "automatic steps of a plateau": (lambda: lrax.SGD(lr=plateau(), auto_step=True), "auto_step", "step(metric=...)"),
    "automatic steps of two": (lambda: [lrax.SGD(lr=STEP, auto_step=a) for a in (False, True)], "auto_step", "scheduler of its own"),
    "automatic steps of another": (lambda: [lrax.SGD(lr=STEP, auto_step=a) for a in (True, False)], "auto_step", "scheduler of its own"),
    "an argument of no factory": (lambda: lrax.OptaxOptimizer(optax.lion, lr=0.1, b3=0.9), "lion", "b3=0.9", "It has b1, b2"),
    "optax's name of the rate": (lambda: lrax.OptaxOptimizer(optax.lion, learning_rate=0.1), "learning_rate", "passed as lr"),
    "a decay that a factory has not": (lambda: lrax.OptaxOptimizer(optax.adam, lr=0.1, weight_decay=0.1), "weight_decay=0.1", "optax.add_decayed_weights"),
    "a factory without a rate": (lambda: lrax.OptaxOptimizer(optax.lion), "tx", "lr=..."),
    "a rate of 0 that gives NaN": (lambda: prodigy().register_trainable_weights({"w": weight(3)}), "lr", "NaN", "warmup_start_lr"),
    "what is not counted": (lambda: optimizer().skipped, "skip_nonfinite=True"),
    "what is not measured": (lambda: optimizer().grad_norm, "log_grad_norm=True", "grad_clip_norm"),
    "a cycle of another length": (lambda: setattr(lrax.CosineAnnealingWarmRestarts(T_mult=2), "T_i", 15), "T_i", "10, 20, 40", "15"),
    "beyond the cycle": (lambda: setattr(lrax.CosineAnnealingWarmRestarts(T_0=10), "T_cur", 10), "T_cur", "T_i = 10", "10"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake(mistake):
    call, *fragments = MISTAKES[mistake]
    kinds = (ValueError, TypeError, AttributeError)
    with pytest.raises(kinds) as caught:
        call()
    assert type(caught.value) in kinds
    missing = [text for text in fragments if text not in str(caught.value)]
    assert not missing, f"{missing} not in: {caught.value}"


# --- Under a plain jax transformation ------------------------------------------------------------

PLAIN = {
    "jit": lambda call: jax.jit(lambda x: (call(), x)[1])(1.0),
    "grad": lambda call: jax.grad(lambda x: (call(), x)[1])(1.0),
    "vmap": lambda call: jax.vmap(lambda x: (call(), x)[1])(jnp.ones(2)),
    "scan": lambda call: jax.lax.scan(lambda c, x: (c, (call(), x)[1]), 0.0, jnp.ones(2)),
    "cond": lambda call: jax.lax.cond(True, lambda x: (call(), x)[1], lambda x: x, 1.0),
}
STATEFUL = {
    "step": lambda s, o: s.step(),
    "jump": lambda s, o: s.step(3),
    "apply": lambda s, o: s.apply(lambda lr: lr / 2),
    "attach_optimizer": lambda s, o: lrax.StepLR(0.2).attach_optimizer(o),
    "load_state_dict": lambda s, o: s.load_state_dict({**s.state_dict(), "last_epoch": 5}),
    "optimizer.step": lambda s, o: o.step({"w": jnp.ones(3)}),
    "optimizer.lr_apply": lambda s, o: o.lr_apply(lambda lr: lr / 2),
    "optimizer.current_lr": lambda s, o: setattr(o, "current_lr", 0.5),
    "last_epoch": lambda s, o: setattr(s, "last_epoch", 3),
    "last_epoch.value": lambda s, o: setattr(s.last_epoch, "value", 3),
    "current_lrs": lambda s, o: setattr(s.current_lrs, "value", [0.5]),
    "lr of a group": lambda s, o: o.param_groups[0].__setitem__("lr", 0.5),
    "the view of that": lambda s, o: setattr(o.param_groups[0]["lr"], "value", 0.5),
    "publish": lambda s, o: s.publish(),
    "add_scheduler": lambda s, o: o.add_scheduler(lrax.StepLR(0.2)),
    "optimizer.load_state_dict": lambda s, o: o.load_state_dict(o.state_dict()),
    "register_trainable_weights": lambda s, o: o.register_trainable_weights({"v": weight(2)}),
    "add_param_group": lambda s, o: o.add_param_group({"v": weight(2)}),
}


@pytest.mark.parametrize("transformation", PLAIN)
@pytest.mark.parametrize("action", STATEFUL)
def test_stateful_call_under_plain_jax(action, transformation):
    scheduler = lrax.StepLR()
    owner = optimizer(scheduler)
    before = values(owner)
    with pytest.raises(brainstate.TraceContextError, match=r"jax\.jit"):
        PLAIN[transformation](lambda: STATEFUL[action](scheduler, owner))
    assert values(owner) == before


@pytest.mark.parametrize("kind", KINDS)
def test_every_scheduler_under_plain_jit(kind):
    scheduler = KINDS[kind]()
    metric = {"metric": 1.0} if takes_metric(scheduler) else {}
    with pytest.raises(brainstate.TraceContextError, match=type(scheduler).__name__):
        jax.jit(lambda: scheduler.step(**metric))()
    assert scheduler.last_epoch.value == 0


# --- What cannot be traced ---------------------------------------------------------------------

REFUSED = {
    "a unit": (lambda x: lrax.StepLR(0.1 * u.mV), "no unit"),
    "a traced list": (lambda x: lrax.StepLR(0.1, gamma=x[None]), "traced value must be a real"),
    "a traced bool": (lambda x: lrax.StepLR(0.1, gamma=x > 1), "traced value must be a real"),
    "a traced epoch": (lambda x: lrax.StepLR(0.1).step(x), "Cast a traced epoch to int32"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_traced(what):
    call, message = REFUSED[what]
    with pytest.raises(TypeError, match=message):
        brainstate.transform.jit(lambda x: (call(x), x)[1])(1.5)


def test_an_imaginary_update_of_a_real_weight():
    tx = optax.stateless(lambda updates, _: jax.tree.map(lambda g: 1j * g, updates))
    optimizer = lrax.OptaxOptimizer(tx, lr=0.1)
    optimizer.register_trainable_weights({"w": brainstate.ParamState(jnp.ones(2))})
    with pytest.raises(TypeError, match=r"update of 'w' must be real.*complex64"):
        optimizer.step({"w": jnp.ones(2)})


@pytest.mark.parametrize("gradient", ["steep", np.array(["a", "b"])])
def test_a_gradient_that_is_no_array(gradient):
    optimizer = lrax.SGD(lr=0.1)
    optimizer.register_trainable_weights({"w": brainstate.ParamState(jnp.ones(2))})
    with pytest.raises(TypeError, match="gradient of 'w' must be an array"):
        brainstate.transform.jit(lambda: optimizer.step({"w": gradient}))()
