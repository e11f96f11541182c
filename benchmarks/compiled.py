"""A scalar function of tensors as its back end runs it fastest, alone."""

from collections.abc import Callable
from typing import Any

import keras

from keras_pamunet.backend import keep_freed_memory


def compiled(
    function: Callable[..., Any], inputs: list[Any], gradient: bool, xla: bool = False
) -> Callable[[], None]:
    """Work that computes `function(*inputs)`, or its gradients, to the end."""
    keep_freed_memory()
    tensors = [keras.ops.convert_to_tensor(x) for x in inputs]
    if keras.backend.backend() == "jax":
        import jax

        if gradient:
            function = jax.grad(function, tuple(range(len(tensors))))
        function = jax.jit(function)
        return lambda: jax.block_until_ready(function(*tensors))

    import tensorflow as tf

    @tf.function(jit_compile=xla)
    def slopes(*tensors):
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            value = function(*tensors)
        return tape.gradient(value, tensors)

    work = slopes if gradient else tf.function(function, jit_compile=xla)
    return lambda: tf.nest.map_structure(lambda x: x.numpy(), work(*tensors))
