"""Train on all devices there are: each gets a part of every batch, and all end with the same network.

    python examples/data_parallel.py
    XLA_FLAGS=--xla_force_host_platform_device_count=8 python examples/data_parallel.py   # to try it
    python examples/data_parallel.py --coordinator localhost:1234 --processes 2 --process 0 &
    python examples/data_parallel.py --coordinator localhost:1234 --processes 2 --process 1

With `--fully-sharded` each device also keeps only a part of the weights and of the optimizer's moments.
The network learns scikit-learn's handwritten digits, to the same result on any number of devices by
which the batch of 64 can be divided; otherwise the batch is a little larger.
"""

import argparse

import brainstate
import jax
import jax.numpy as jnp
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
    mesh = jax.make_mesh((jax.device_count(),), ("devices",), axis_types=(AxisType.Auto,))
    on_each, split = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in ([], ["devices"]))

    def place(weight):
        """The weight on all devices: the whole on each of them, or the rows of it divided."""
        divided = args.fully_sharded and weight.shape[0] % mesh.size == 0
        return jax.device_put(weight, split if divided else on_each)

    brainstate.random.seed(0)
    nn = brainstate.nn
    model = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 10))
    params = model.states(brainstate.ParamState)
    for param in params.values():
        param.value = jax.tree.map(place, param.value)

    x_train, y_train, x_val, y_val = load_data()
    batch_size = -(-BATCH // mesh.size) * mesh.size  # rounded up: as much for each device
    steps_per_epoch = len(x_train) // batch_size
    total_steps = args.epochs * steps_per_epoch
    scheduler = lrax.WarmupCosineSchedule(
        base_lr=1e-2, warmup_steps=total_steps // 15, total_steps=total_steps
    )
    optimizer = lrax.AdamW(lr=scheduler, weight_decay=0.05, grad_clip_norm=1.0)
    optimizer.register_trainable_weights(params)  # the moments go where the weights are

    @lrax.jit
    def train_step(x, y):
        def loss_fn():
            return optax.softmax_cross_entropy_with_integer_labels(model(x), y).mean()

        grads, loss = brainstate.transform.grad(loss_fn, grad_states=params, return_value=True)()
        optimizer.step(grads)
        scheduler.step()
        return loss

    @lrax.jit
    def evaluate(x, y):
        weights = jax.tree.leaves([param.value for param in params.values()])
        norm = jnp.sqrt(sum(jnp.sum(weight**2) for weight in weights))
        return jnp.mean(jnp.argmax(model(x), axis=-1) == y), norm

    def to_devices(array):
        """A batch, of which every process has its share and every device its part."""
        share = np.array_split(array, jax.process_count())[jax.process_index()]
        return jax.make_array_from_process_local_data(split, share)

    loss = np.nan
    for epoch in range(args.epochs):
        order = np.random.default_rng([0, epoch]).permutation(len(x_train))
        for batch in order[: steps_per_epoch * batch_size].reshape(-1, batch_size):
            # float() waits for the step: many of them in flight can block simulated devices.
            loss = float(train_step(to_devices(x_train[batch]), to_devices(y_train[batch])))

    score, norm = evaluate(x_val, y_val)
    weight = next(iter(params.values())).value["weight"]
    rows = weight.addressable_shards[0].data.shape[0]
    print(f"devices              {jax.device_count()} in {jax.process_count()} processes")
    print(f"rows on each device  {rows} of {weight.shape[0]} of the first weight")
    print(f"final loss           {loss:.4f}")
    print(f"validation accuracy  {float(score):.2%}")
    print(f"final learning rate  {float(optimizer.current_lr):.3e}")
    print(f"norm of the weights  {float(norm):.4f}")


if __name__ == "__main__":
    main()
