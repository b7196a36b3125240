"""
Data parallel: the same network on any number of devices
========================================================

Each device gets a part of every batch, and all end with the same network. With ``--fully-sharded`` each also keeps only a
part of the weights and of the optimizer's moments.

.. code-block:: bash

    python examples/data_parallel.py
    XLA_FLAGS=--xla_force_host_platform_device_count=8 python examples/data_parallel.py   # to try it
    python examples/data_parallel.py --coordinator localhost:1234 --processes 2 --process 0 &
    python examples/data_parallel.py --coordinator localhost:1234 --processes 2 --process 1

The network learns scikit-learn's handwritten digits, to the same result on any number of devices by which the batch of
64 can be divided; otherwise the batch is a little larger. On several devices of one process it is also trained on
one of them and fully sharded, and a picture shows all three.
"""

import argparse

import brainstate
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from sklearn.datasets import load_digits

import lrax

BATCH, VALIDATION = 64, 360


def load_data():
    """1437 images to train on and 360 to validate with: 64 pixels each, from 0 to 1."""
    images, labels = load_digits(return_X_y=True)
    images, labels = images.astype(np.float32) / 16, labels.astype(np.int32)
    order = np.random.default_rng(0).permutation(len(images))
    validation, train = order[:VALIDATION], order[VALIDATION:]
    return images[train], labels[train], images[validation], labels[validation]


# %%
# Schedule and optimizer are told nothing of devices. The moments go where the weights are when they are registered, and
# the numbers of the scheduler are on all of them.


class Training:
    """A network on some devices, in whole or divided, and its optimizer."""

    def __init__(self, devices, fully_sharded, total_steps):
        self.losses = []
        mesh = jax.make_mesh(
            (len(devices),), ("devices",), axis_types=(AxisType.Auto,), devices=devices
        )
        on_each, self.split = (
            NamedSharding(mesh, PartitionSpec(*axes)) for axes in ([], ["devices"])
        )

        def place(weight):
            """The weight on all devices: the whole on each of them, or the rows of it divided."""
            divided = fully_sharded and weight.shape[0] % mesh.size == 0
            return jax.device_put(weight, self.split if divided else on_each)

        brainstate.random.seed(0)
        nn = brainstate.nn
        self.model = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 10))
        self.params = self.model.states(brainstate.ParamState)
        for param in self.params.values():
            param.value = jax.tree.map(place, param.value)
        self.scheduler = lrax.WarmupCosineSchedule(
            base_lr=1e-2, warmup_steps=total_steps // 15, total_steps=total_steps
        )
        self.optimizer = lrax.AdamW(lr=self.scheduler, weight_decay=0.05, grad_clip_norm=1.0)
        self.optimizer.register_trainable_weights(self.params)
        self.step, self.evaluate = lrax.jit(self._step), lrax.jit(self._evaluate)

    def _step(self, x, y):
        def loss_fn():
            return optax.softmax_cross_entropy_with_integer_labels(self.model(x), y).mean()

        grad = brainstate.transform.grad(loss_fn, grad_states=self.params, return_value=True)
        grads, loss = grad()
        self.optimizer.step(grads)
        self.scheduler.step()
        return loss

    def _evaluate(self, x, y):
        weights = jax.tree.leaves([param.value for param in self.params.values()])
        norm = jnp.sqrt(sum(jnp.sum(weight**2) for weight in weights))
        return jnp.mean(jnp.argmax(self.model(x), axis=-1) == y), norm

    def to_devices(self, array):
        """A batch, of which every process has its share and every device its part."""
        share = np.array_split(array, jax.process_count())[jax.process_index()]
        return jax.make_array_from_process_local_data(self.split, share)

    def run(self, epochs, batch_size):
        """Train, with the losses of all steps in `losses`."""
        x, y, *_ = load_data()
        for epoch in range(epochs):
            order = np.random.default_rng([0, epoch]).permutation(len(x))
            for batch in order[: len(x) // batch_size * batch_size].reshape(-1, batch_size):
                # float() waits for the step: many of them in flight can block simulated devices.
                loss = float(self.step(self.to_devices(x[batch]), self.to_devices(y[batch])))
                self.losses.append(loss)
        return self

    def memory(self):
        """How many bytes of weights and moments the first device holds."""
        weights = [param.value for param in self.params.values()]
        leaves = jax.tree.leaves((weights, self.optimizer.opt_state.value))
        return sum(leaf.addressable_shards[0].data.nbytes for leaf in leaves if leaf.ndim)


# %%
# On one device there is nothing to compare; ``XLA_FLAGS``, above, makes eight of one.


def draw(results):
    """The losses, which lie on each other, and the memory that each device needs."""
    _, (top, bottom) = plt.subplots(2, figsize=(6, 5.5), layout="constrained")
    for i, (name, training) in enumerate(results.items()):
        top.semilogy(training.losses, linewidth=6 - 2 * i, label=name)
        bottom.barh(name, training.memory() / 1024, color=f"C{i}")
    top.set(xlabel="step", ylabel="training loss")
    top.legend()
    bottom.invert_yaxis()
    bottom.set(xlabel="KiB of weights and moments on each")


def parse_args():
    parser = argparse.ArgumentParser(description="Train on scikit-learn's digits on all devices.")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--fully-sharded", action="store_true", help="split the weights, too")
    parser.add_argument("--coordinator", metavar="HOST:PORT", help="where process 0 listens")
    parser.add_argument("--processes", type=int, default=1, help="how many there are")
    parser.add_argument("--process", type=int, default=0, help="which of them this is")
    return parser.parse_args()


def main():
    args = parse_args()
    if args.coordinator:
        jax.distributed.initialize(args.coordinator, args.processes, args.process)
    devices, processes = jax.devices(), jax.process_count()
    count = len(devices)
    batch_size = -(-BATCH // count) * count  # rounded up: as much for each device
    x_train, _, x_val, y_val = load_data()
    steps = args.epochs * (len(x_train) // batch_size)

    def train(devices, fully_sharded):
        return Training(devices, fully_sharded, steps).run(args.epochs, batch_size)

    training = train(devices, args.fully_sharded)
    score, norm = map(float, training.evaluate(x_val, y_val))
    weight = next(iter(training.params.values())).value["weight"]
    rows = weight.addressable_shards[0].data.shape[0]
    print(f"devices              {count} in {processes} processes")
    print(f"rows on each device  {rows} of {weight.shape[0]} of the first weight")
    print(f"final loss           {training.losses[-1]:.4f}")
    print(f"validation accuracy  {score:.2%}")
    print(f"final learning rate  {float(training.optimizer.current_lr):.3e}")
    print(f"norm of the weights  {norm:.4f}")
    if processes > 1:
        return
    if count == 1:
        print("there is one device, and nothing to compare it with")
        results = {"1 device": training}
    else:
        other = train(devices, not args.fully_sharded)
        whole, divided = (other, training) if args.fully_sharded else (training, other)
        results = {"1 device": train(devices[:1], False), f"{count} devices": whole}
        results[f"{count}, fully sharded"] = divided
        for other in results.values():
            np.testing.assert_allclose(other.losses, training.losses, rtol=0, atol=2e-4)
    draw(results)


if __name__ == "__main__":
    main()
    plt.show()
