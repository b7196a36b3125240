"""Optimizers: thin plumbing around optax."""

from .averaging import AveragedWeights
from .layerwise import layerwise_lr_decay
from .named import SGD, Adam, AdamW
from .optimizer import OptaxOptimizer

__all__ = ["SGD", "Adam", "AdamW", "AveragedWeights", "OptaxOptimizer", "layerwise_lr_decay"]
