"""Small optimizers and schedulers that are ready to be used, rightly or wrongly, and what they hold."""

import brainstate
import jax
import jax.numpy as jnp
import numpy as np

import lrax


def weight(*shape):
    return brainstate.ParamState(jnp.ones(shape))


def optimizer(lr=0.1):
    ready = lrax.SGD(lr, momentum=0.9)
    return ready.register_trainable_weights({"w": weight(3)})


def trained(scheduler, groups=1):
    """An optimizer that has made one step."""
    made = optimizer(scheduler)
    for group in range(1, groups):
        made.add_param_group({f"w{group}": weight(2)})
    made.step({name: state.value for name, state in made.param_states.items()})
    return made


def averaged(decay=0.75):
    return lrax.AveragedWeights({"w": weight(3)}, decay)


def plateau():
    return lrax.ReduceLROnPlateau(patience=0)


def values(owner):
    """Every State of a scheduler or an optimizer, as text."""
    states = dict(brainstate.graph.states(owner)) | getattr(owner, "param_states", {})
    return {key: repr(jax.tree.map(np.asarray, state.value)) for key, state in states.items()}
