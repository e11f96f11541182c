"""What several tests share."""

import keras
import numpy as np


def gradients(function, *arrays):
    """Value and gradients of a scalar function, by the back end's own means."""
    tensors = [keras.ops.convert_to_tensor(array) for array in arrays]
    if keras.backend.backend() == "jax":
        import jax

        positions = tuple(range(len(tensors)))
        value, slopes = jax.jit(jax.value_and_grad(function, positions))(*tensors)
    else:
        import tensorflow as tf

        with tf.GradientTape() as tape:
            for tensor in tensors:
                tape.watch(tensor)
            value = function(*tensors)
        slopes = tape.gradient(value, tensors)
    return np.asarray(value), [np.asarray(slope) for slope in slopes]
