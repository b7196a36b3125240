"""Optimizers: thin plumbing around optax."""

from .named import SGD, Adam, AdamW
from .optimizer import OptaxOptimizer

__all__ = ["SGD", "Adam", "AdamW", "OptaxOptimizer"]
