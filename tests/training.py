"""A small task with real gradients, for the programs that the tests run in full."""

import brainstate
import jax.numpy as jnp
import numpy as np


class Task:
    """Linear regression from 10 to 5 numbers, on 64 examples in 4 batches."""

    def __init__(self, seed=0, dtype=jnp.float32):
        brainstate.random.seed(seed)
        rng = np.random.default_rng(seed)
        self.model = brainstate.nn.Linear(10, 5)
        x = rng.normal(size=(64, 10))
        y = x @ rng.normal(size=(10, 5)) + 0.5
        self.batches = (
            jnp.asarray(x.reshape(4, 16, 10), dtype),
            jnp.asarray(y.reshape(4, 16, 5), dtype),
        )
        self.params = self.model.states(brainstate.ParamState)
        self.gradient = brainstate.transform.grad(self.loss, self.params, return_value=True)
        self.compiled_gradient = brainstate.transform.jit(self.gradient)

    def loss(self, x, y):
        return jnp.mean((self.model(x) - y) ** 2)

    def total_loss(self):
        return float(np.mean([self.loss(x, y) for x, y in zip(*self.batches, strict=True)]))

    def grads(self, batch=0):
        """Gradients at the present parameters, on one batch."""
        x, y = (data[batch % 4] for data in self.batches)
        return self.compiled_gradient(x, y)[0]

    def epoch(self, optimizer, scheduler=None):
        """A compiled epoch of one update a batch; with `scheduler` it is stepped after each."""

        def update(x, y):
            grads, loss = self.gradient(x, y)
            optimizer.step(grads)
            if scheduler is not None:
                scheduler.step()
            return loss

        return brainstate.transform.jit(
            lambda: brainstate.transform.for_loop(update, *self.batches)
        )

    def values(self):
        return {key: dict(state.value) for key, state in self.params.items()}
