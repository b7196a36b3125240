"""Optimizers: thin plumbing around optax."""
