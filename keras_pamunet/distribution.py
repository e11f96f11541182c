"""Devices that train one model together, each on a part of every batch.

JAX does so by `keras.distribution`, TensorFlow by `tf.distribute`. All processes of a
training do the same and end with the same; only the first one's run folder is kept.
"""

import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

import grain
import keras
import numpy as np

from keras_pamunet.choices import Distribute
from keras_pamunet.files import LOCK


class Devices:
    """What a training computes on: here the one device that the back end chooses.

    Attributes:
        count: number of devices, of all processes together.
        processes: number of processes.
        process: number of this one.
        accumulates: whether optimizers can add up the gradients of several batches.
    """

    count = 1
    processes = 1
    process = 0
    accumulates = True

    @property
    def shard(self) -> grain.sharding.ShardOptions:
        """The part of each batch that this process reads."""
        return grain.sharding.ShardOptions(self.process, self.processes)

    @contextmanager
    def scope(self) -> Iterator[None]:
        """Within it, models are made and trained on all devices.

        Raises:
            ConnectionError: if another process has stopped.
        """
        yield

    def synchronize(self, model: keras.Model) -> None:
        """Has batch normalisation take the statistics of all devices."""

    def agree(self, number: int) -> int:
        """The first process' number, in all of them; each waits for the others."""
        return number

    def batches(self, dataset: grain.IterDataset) -> Any:
        """This process' parts of the batches, as `fit` takes them."""
        return dataset

    def rows(self, arrays: tuple, batch_size: int) -> tuple[tuple, int]:
        """Validation data, and their batch size, as `fit` takes them.

        Args:
            arrays: images and masks, the same in all processes.
            batch_size: of all devices together.

        Returns:
            `((images, masks), batch_size)`. Of several devices, which share whole
            batches only, further images fill the last one, and a third array holds
            their weight, 0, and that of the others.
        """
        return arrays, batch_size

    @contextmanager
    def folder(self, output: Path) -> Iterator[Path]:
        """The run folder of this process: all but the first have a passing copy."""
        if self.process == 0:
            self.agree(0)  # The others have copied it.
            yield output
            return
        with tempfile.TemporaryDirectory() as parent:
            copy = Path(parent, output.name)
            if output.is_dir():
                shutil.copytree(output, copy, ignore=shutil.ignore_patterns(LOCK))
            self.agree(0)
            yield copy


class _JaxDevices(Devices):
    def __init__(self):
        import jax

        self.count = jax.device_count()
        self.processes, self.process = jax.process_count(), jax.process_index()

    @contextmanager
    def scope(self):
        import jax

        # Each process reads its own part of the data.
        distribution = keras.distribution.DataParallel(auto_shard_dataset=False)
        with distribution.scope(), _named(jax.errors.JaxRuntimeError, self.processes):
            yield

    def agree(self, number):
        import jax
        from jax.experimental import multihost_utils

        with _named(jax.errors.JaxRuntimeError, self.processes):
            return int(multihost_utils.broadcast_one_to_all(np.int32(number)))

    def rows(self, arrays, batch_size):
        own = slice(self.process, None, self.processes)
        arrays = tuple(x[own] for x in _filled_up(arrays, batch_size))
        return arrays, batch_size // self.processes


class _TensorFlowDevices(Devices):
    # Keras 3.15 asks for a condition in which TensorFlow's replicas cannot meet.
    accumulates = False

    def __init__(self, strategy, processes=1, process=0):
        self.strategy = strategy
        self.count = strategy.num_replicas_in_sync
        self.processes, self.process = processes, process

    @contextmanager
    def scope(self):
        import tensorflow as tf

        with self.strategy.scope(), _named(tf.errors.OpError, self.processes):
            yield

    def synchronize(self, model):
        for layer in model._flatten_layers():
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.synchronized = True
        if self.processes > 1:
            # Keras 3.15 fails on the first batch of several processes, to build what
            # is built here, unless the strategy is that of the scope alone.
            model._distribute_strategy = None
            model.train_step = _of_vectors(model.train_step)
            model.test_step = _of_vectors(model.test_step)

    def agree(self, number):
        if self.processes == 1:
            return number
        import tensorflow as tf

        @tf.function
        def total():
            context = tf.distribute.get_replica_context()
            return context.all_reduce("SUM", tf.constant(number * (self.process == 0)))

        with _named(tf.errors.OpError, self.processes):
            found = self.strategy.run(total)
        first = self.strategy.experimental_local_results(found)[0]
        return int(first) * self.processes // self.count

    def batches(self, dataset):
        if self.processes == 1:
            return dataset
        import tensorflow as tf

        first = next(iter(dataset))
        specs = tuple(tf.TensorSpec((None, *x.shape[1:]), x.dtype) for x in first)
        parts = tf.data.Dataset.from_generator(lambda: dataset, output_signature=specs)
        size = len(first[0]) * self.processes // self.count
        return self.strategy.distribute_datasets_from_function(
            lambda context: parts.rebatch(size).prefetch(2)
        )

    def rows(self, arrays, batch_size):
        # Keras hands each process its part of arrays, though not of data sets.
        return _filled_up(arrays, batch_size), batch_size


def _filled_up(arrays, batch_size):
    """Arrays of whole batches, and the weight of each row as the last of them."""
    count = len(arrays[0])
    total = -(-count // batch_size) * batch_size
    rows = np.arange(total)
    # Keras divides by all rows, those of no weight among them.
    weights = np.where(rows < count, total / count, 0).astype("float32")
    return *(array[rows % count] for array in arrays), weights


def _of_vectors(step):
    """Has a step return vectors: Keras takes their mean, along an axis, by process."""
    return lambda data: keras.tree.map_structure(lambda x: x[None], step(data))


@contextmanager
def _named(kind, processes):
    """Errors of this kind say what they come from, where there are other processes."""
    try:
        yield
    except kind as error:
        if processes == 1:
            raise
        raise ConnectionError(
            f"Expected all {processes} processes to train to the end. One has stopped "
            "or cannot be reached; its own output may tell why. Start all of them "
            "again: they go on after the last finished epoch."
        ) from error


def join(distribute: str) -> Devices:
    """The devices to train on. Call it before the back end computes anything.

    Args:
        distribute: `"none"`: one device. `"data_parallel"`: all that this process
            sees. `"multi_worker"`: those of several processes, which TensorFlow finds
            in `TF_CONFIG`, and JAX in the variables of `keras.distribution.initialize`
            (`KERAS_DISTRIBUTION_JOB_ADDRESSES`, `..._NUM_PROCESSES` and
            `..._PROCESS_ID`) or by itself under Slurm and Open MPI. `"auto"`: several
            processes if those variables describe them, else what this one sees.

    Raises:
        ValueError: for another word, under PyTorch, and if no processes are described.

    Warns:
        UserWarning: if there is one device only.
    """
    if distribute not in get_args(Distribute):
        raise ValueError(
            "Invalid value for argument `distribute`. Expected one of "
            f"{get_args(Distribute)}. Received: distribute={distribute!r}"
        )
    if distribute == "none":
        return Devices()
    backend = keras.backend.backend()
    if backend not in ("jax", "tensorflow"):
        raise ValueError(
            "Expected KERAS_BACKEND=jax or KERAS_BACKEND=tensorflow to train on "
            f"several devices. Received: {backend}, with distribute={distribute!r}. On "
            'one device (distribute="none") it trains, too.'
        )
    find = {"jax": _find_jax, "tensorflow": _find_tensorflow}[backend]
    devices = find(distribute)
    if devices.count > 1:
        return devices
    warnings.warn(
        f"Expected several devices for distribute={distribute!r}. There is one, on "
        "which training goes on.",
        stacklevel=2,
    )
    return Devices()


def _find_jax(distribute):
    import jax

    described = "KERAS_DISTRIBUTION_NUM_PROCESSES" in os.environ
    many = distribute == "multi_worker" or distribute == "auto" and described
    if many and not jax.distributed.is_initialized():
        try:
            keras.distribution.initialize()
        except ValueError as error:
            raise ValueError(
                "Expected a description of the processes in "
                "KERAS_DISTRIBUTION_JOB_ADDRESSES (HOST:PORT of the first), "
                "KERAS_DISTRIBUTION_NUM_PROCESSES and KERAS_DISTRIBUTION_PROCESS_ID. "
                f"Received: {error}"
            ) from error
    return _JaxDevices()


def _find_tensorflow(distribute):
    import tensorflow as tf

    workers = _workers()
    if distribute == "multi_worker" and not workers:
        raise ValueError(
            'Expected a description of the processes in TF_CONFIG: {"cluster": '
            '{"worker": ["HOST:PORT", ...]}, "task": {"type": "worker", "index": 0}}. '
            f"Received: TF_CONFIG={os.environ.get('TF_CONFIG')!r}"
        )
    if len(workers) > 1 and distribute != "data_parallel":
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
        index = strategy.cluster_resolver.task_id
        return _TensorFlowDevices(strategy, len(workers), index)
    devices = tf.config.list_logical_devices("GPU")
    devices = devices or tf.config.list_logical_devices("CPU")
    names = [device.name for device in devices]
    return _TensorFlowDevices(tf.distribute.MirroredStrategy(names))


def _workers():
    """Addresses of the processes in TensorFlow's description."""
    try:
        return json.loads(os.environ["TF_CONFIG"])["cluster"]["worker"]
    except (KeyError, ValueError, TypeError):
        return []
