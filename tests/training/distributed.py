"""Trains a tiny network on several devices or processes, and on one.

The processes are those of `python -m tests.training.distributed`, which see what the
environment describes.
"""

import argparse
import dataclasses
import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
from keras import layers

from keras_pamunet import regularizers, training
from keras_pamunet.distribution import join
from keras_pamunet.layers import InvertedResidual, ProgressiveLuongAttention
from keras_pamunet.models import Segmenter
from keras_pamunet.models.task import Task

ROOT = Path(__file__).parents[2]
BACKEND = keras.backend.backend()
SIZE = 32
RECIPE = dataclasses.replace(
    training.RECIPES["default"], batch_size=16, batch_statistics=False, flips=False
)


@keras.saving.register_keras_serializable(package="tests")
class Tiny(Segmenter):
    """All that depends on the batch: its statistics, a gate and its regulariser."""

    network = "tiny"
    has_encoder_weights = False

    def __init__(self, input_shape=(32, 32, 3), num_classes=1, **kwargs):
        task = Task(
            input_shape=input_shape,
            num_classes=num_classes,
            **{"name": "tiny", **kwargs},
        )
        inputs, x = task.prepare(4)
        skip = InvertedResidual(4, 2, 2, dtype=task.dtype, name="block_0")(x)
        x = InvertedResidual(8, 2, 2, dtype=task.dtype, name="block_1")(skip)
        x = InvertedResidual(8, 1, 2, dtype=task.dtype, name="block_2")(x)
        x = layers.Conv2DTranspose(4, 2, 2, dtype=task.dtype, name="up")(x)
        x = ProgressiveLuongAttention(
            attention_regularizer=regularizers.AttentionVariance(1.0),
            dtype=task.dtype,
            name="gate",
        )(skip, x)
        x = layers.Conv2DTranspose(
            task.num_classes, 2, 2, dtype="float32", name="logits"
        )(x)
        super().__init__(inputs, task.head(x, inputs), task)


class Steps(keras.callbacks.Callback):
    """Writes down the loss of each step, and ends a process in the middle."""

    def __init__(self, kill_at=None):
        super().__init__()
        self.means, self.losses = [], []
        self.kill_at = kill_at

    def on_epoch_begin(self, epoch, logs=None):
        self.means = [0.0]

    def on_train_batch_end(self, batch, logs=None):
        # Keras tells the mean of the epoch so far.
        self.means.append((batch + 1) * float(logs["loss"]))
        self.losses.append(self.means[-1] - self.means[-2])
        if len(self.losses) == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("output", type=Path)
    parser.add_argument("distribute")
    parser.add_argument("--network", default="tiny")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--learning-rate", type=float, default=0.01)
    parser.add_argument("--kill", type=int, nargs=2, help="process, step")
    parser.add_argument("--devices", type=int, default=1, help="of TensorFlow")
    options = parser.parse_args()
    if options.devices > 1:
        import tensorflow as tf

        tf.config.set_logical_device_configuration(
            tf.config.list_physical_devices("CPU")[0],
            [tf.config.LogicalDeviceConfiguration()] * options.devices,
        )
    devices = join(options.distribute)
    kill_at = None
    if options.kill and options.kill[0] == devices.process:
        kill_at = options.kill[1]
    steps = Steps(kill_at)
    result = training.train(
        "phantom",
        options.output / "run",
        network=options.network,
        recipe=RECIPE,
        size=SIZE,
        progress=False,
        epochs=options.epochs,
        learning_rate=options.learning_rate,
        distribute=devices,
        callbacks=[steps],
    )
    found = {"losses": steps.losses, "devices": devices.count, "dice": result.dice}
    if BACKEND == "jax" and devices.count > devices.processes:
        found |= collectives(options.network) | {"own_scope": fit_in_own_scope()}
    path = options.output / f"process_{devices.process}.json"
    path.write_text(json.dumps(found))


def collectives(network):
    """What the devices exchange in a step, as JAX has compiled it."""
    import jax

    shape = (16, SIZE, SIZE)
    with keras.distribution.DataParallel().scope():
        model = Segmenter.networks[network]((*shape[1:], 3))
        model.make_train_function()  # Makes the optimizer's variables.
        layout = keras.distribution.distribution().get_data_layout((16, 1, 1, 1))
        state = [
            [variable.value for variable in variables]
            for variables in (
                model.trainable_variables,
                model.non_trainable_variables,
                model.optimizer.variables,
                model.metrics_variables,
            )
        ]
        batch = [
            jax.device_put(np.zeros((*shape, channels)), layout.backend_layout)
            for channels in (3, 1)
        ]
        text = jax.jit(model.train_step).lower(state, batch).compile().as_text()
    sums = [
        sum(map(_numbers, re.findall(r"\[([\d,]*)\]", shapes)))
        for shapes in re.findall(r"= (\S+|\(.*?\)) all-reduce(?:-start)?\(", text)
    ]
    gathers = re.findall(r" (all-gather|all-to-all|collective-permute)\S*\(", text)
    norms = [
        layer
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    channels = sum(layer.gamma.shape[0] for layer in norms)
    return {
        "gathers": len(gathers),
        "largest_sum": max(sums),
        "other_sums": sum(sums) - max(sums),
        "weights": model.count_params() - 4 * channels,
        "channels": channels,
    }


def _numbers(shape):
    return int(np.prod([int(side) for side in shape.split(",") if side]))


def fit_in_own_scope():
    """Losses of `fit` alone, and within a distribution that its caller has set."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (32, 32, 32, 3), "uint8")
    masks = rng.integers(0, 2, (32, 32, 32, 1), "uint8")
    losses = []
    for distribution in (None, keras.distribution.DataParallel()):
        keras.distribution.set_distribution(distribution)
        keras.utils.set_random_seed(0)
        history = Tiny().fit(images, masks, 16, epochs=2, verbose=0, shuffle=False)
        losses.append(history.history["loss"])
    keras.distribution.set_distribution(None)
    return losses


def start(output, distribute, *, devices=1, processes=1, options=()):
    """Starts processes that train together; returns them."""
    output.mkdir(exist_ok=True)
    ports = [_free_port() for _ in range(processes)]
    addresses = [f"127.0.0.1:{port}" for port in ports]
    return [
        subprocess.Popen(
            [
                *(sys.executable, "-m", __name__, str(output), distribute),
                *(("--devices", str(devices)) if BACKEND == "tensorflow" else ()),
                *options,
            ],
            cwd=ROOT,
            env={**os.environ, **_described(addresses, process, devices)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for process in range(processes)
    ]


def _described(addresses, process, devices):
    """The variables that tell a process of the others."""
    described = {"KERAS_BACKEND": BACKEND, "TF_CPP_MIN_LOG_LEVEL": "2"}
    if BACKEND == "jax":
        described["XLA_FLAGS"] = (
            f"{os.environ.get('XLA_FLAGS', '')} "
            f"--xla_force_host_platform_device_count={devices}"
        )
    if len(addresses) == 1:
        return described
    task = {"type": "worker", "index": process}
    return described | {
        "KERAS_DISTRIBUTION_JOB_ADDRESSES": addresses[0],
        "KERAS_DISTRIBUTION_NUM_PROCESSES": str(len(addresses)),
        "KERAS_DISTRIBUTION_PROCESS_ID": str(process),
        "TF_CONFIG": json.dumps({"cluster": {"worker": addresses}, "task": task}),
    }


def _free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def run(output, distribute, **arguments):
    """Trains; returns what each process has found."""
    processes = start(output, distribute, **arguments)
    said = [process.communicate(timeout=900)[0] for process in processes]
    for process, text in zip(processes, said):
        assert process.returncode == 0, text[-3000:]
    return [
        json.loads((output / f"process_{index}.json").read_text())
        for index in range(len(processes))
    ]


if __name__ == "__main__":
    main()
