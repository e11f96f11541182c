"""What has to be set per back end and system, beyond Keras' own settings."""

import ctypes
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import keras
import numpy as np


def set_random_seed(seed: int) -> None:
    """Seeds Python, NumPy and the back end, and makes the same run give the same bits.

    TensorFlow adds up in the order its threads happen to finish, unless told not to.
    """
    keras.utils.set_random_seed(seed)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()


def keep_freed_memory() -> None:
    """Has glibc keep freed memory for the next tensor.

    By itself it returns freed blocks of more than 32 MiB to the system at once, and in
    threads others, too. A step then spends a third of its time and more on getting the
    same memory back, page by page. Call it before the back end starts its threads.
    """
    if sys.platform == "linux":
        glibc = ctypes.CDLL(None)
        glibc.mallopt(-8, 1)  # M_ARENA_MAX: threads share the heap, which may grow
        glibc.mallopt(-4, 0)  # M_MMAP_MAX: no mapping of its own for any block
        glibc.mallopt(-1, -1)  # M_TRIM_THRESHOLD: never


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Within it glibc keeps freed memory, see `keep_freed_memory`; then returns it."""
    keep_freed_memory()
    try:
        yield
    finally:
        if sys.platform == "linux":
            ctypes.CDLL(None).malloc_trim(0)


@contextmanager
def on_device(name: str) -> Iterator[None]:
    """Within it, Keras computes on a device.

    Args:
        name: kind and number, such as `"cpu"`, `"gpu"` or `"gpu:1"`.

    Raises:
        ValueError: if the back end sees no such device.
    """
    kind, _, number = name.lower().partition(":")
    there = _devices(kind) if kind in ("cpu", "gpu") else []
    if not number.isdecimal() and number or int(number or 0) >= len(there):
        seen = [*_devices("cpu"), *_devices("gpu")]
        raise ValueError(
            f"Expected a device of {keras.backend.backend()}: {', '.join(seen)}. "
            f"Received: {name!r}"
        )
    with keras.device(f"{kind}:{number or 0}"):
        yield


def _devices(kind):
    try:
        return keras.distribution.list_devices(kind)
    except RuntimeError:  # JAX, of a kind that it does not see.
        return []


def device_names() -> list[str]:
    """What the back end computes on: the names of its GPUs, else `["CPU"]`."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")
        details = map(tf.config.experimental.get_device_details, gpus)
        names = [detail.get("device_name", "GPU") for detail in details]
    elif backend == "jax":
        import jax

        names = [
            device.device_kind for device in jax.devices() if device.platform != "cpu"
        ]
    else:
        import torch

        count = torch.cuda.device_count()
        names = [torch.cuda.get_device_name(index) for index in range(count)]
    return names or ["CPU"]


def runtime() -> dict[str, str]:
    """The versions of Keras and its back end, and the device that computes now."""
    backend = keras.backend.backend()
    device = str(keras.ops.zeros(()).device)  # TensorFlow's begin with the job's.
    return {
        "keras": keras.__version__,
        backend: import_module(backend).__version__,
        "device": device.rpartition("device:")[2],
    }


def run_once(model: keras.Model, images: np.ndarray) -> Any:
    """Predicts one batch without the cost of compiling, for models used once or twice.

    Only TensorFlow does without: JAX would compile each operation on its own, which
    takes longer than compiling the whole, and PyTorch would keep what it needs for
    gradients.
    """
    if keras.backend.backend() == "tensorflow":
        return model(images, training=False)
    return model.predict_on_batch(images)


def jax_on_cpu() -> bool:
    """Whether tensors are computed by JAX, and on a CPU."""
    if keras.backend.backend() != "jax":
        return False
    import jax

    return jax.default_backend() == "cpu"


def resize_bilinear(images: Any, factor: int) -> Any:
    """Images `factor` times as large, by bilinear interpolation.

    In TensorFlow's graphs for any size `keras.ops.image.resize` fails, as it compares
    the size with 0.
    """
    size = [factor * side for side in keras.ops.shape(images)[1:3]]
    if keras.backend.backend() != "tensorflow":
        return keras.ops.image.resize(images, size, data_format="channels_last")
    import tensorflow as tf

    return tf.cast(tf.image.resize(images, size), images.dtype)


def over_batch(function: Callable[..., Any], tensors: Any) -> Any:
    """Applies a function to each example of a batch.

    One CPU does the examples one after the other, so that what one needs stays in the
    cache. A loop over the batch would undo data parallelism in JAX: each device would
    gather all examples and compute all of them.
    """
    if keras.backend.backend() == "jax":
        import jax

        if jax.device_count() > 1 or jax.default_backend() != "cpu":
            return keras.ops.vectorized_map(function, tensors)
    return keras.ops.map(function, tensors)


def own_losses(losses: list[Any]) -> list[Any]:
    """Those that this replica has added, of the losses in a model's layers.

    TensorFlow's replicas within a process take turns, and all add to the same lists.
    """
    if keras.backend.backend() != "tensorflow":
        return losses
    import tensorflow as tf

    is_one = tf.distribute.get_strategy().num_replicas_in_sync == 1
    if is_one or tf.distribute.in_cross_replica_context():
        return losses
    here = tf.zeros(()).device
    return [loss for loss in losses if loss.device == here]


def fused(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, its operations fused by XLA under TensorFlow, too.

    Otherwise TensorFlow passes over all of a tensor for each operation. The result
    has no gradient: it is for the inside of `keras.ops.custom_gradient`.
    """
    if keras.backend.backend() != "tensorflow":
        return function
    import tensorflow as tf

    # Inside a graph XLA pays. Eagerly it would compile for a single call.
    if tf.inside_function():
        function = tf.function(function, jit_compile=True)
    return lambda *inputs: function(*(tf.stop_gradient(x) for x in inputs))


@contextmanager
def channels_last() -> Iterator[None]:
    """Within it, Keras' layers have channels last, whatever `keras.json` says."""
    before = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_last")
    try:
        yield
    finally:
        keras.config.set_image_data_format(before)
