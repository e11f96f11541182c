"""Latency, throughput, memory and size of models, in whatever form they are."""

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from keras_pamunet import hub
from keras_pamunet.analysis.benchmark_chart import write_benchmark_chart
from keras_pamunet.files import make_folder, write_json
from keras_pamunet.inference.exported_model import ExportedModel
from keras_pamunet.inference.model_file import is_exported, open_exported
from keras_pamunet.inference.predictor import input_size
from keras_pamunet.sides import compare, machine, serve

# What a side's process does.
SERVE = """
import sys
from keras_pamunet.benchmarking import serve_model
serve_model(*sys.argv[1:])
"""


def benchmark(
    models: Sequence[str | Path],
    output: str | Path | None = None,
    *,
    size: int = 128,
    batch_size: int = 1,
    threads: int = 1,
    repeats: int = 30,
    progress: bool = True,
) -> dict[str, Any]:
    """Measures models in turn, each in a process of its own, on the same cores.

    Args:
        models: what `keras_pamunet.models.load_model` takes, and files of exported
            models. Ratios are to the first.
        output: folder for `benchmark.json` and `benchmark.png`. Nothing is written by
            default.
        size: height and width of the images, of models that take any.
        batch_size: images predicted at once.
        threads: cores that each model has, and threads of its runtime.
        repeats: turns of each model, of 0.2 seconds or one call.
        progress: whether to show that it works.

    Returns:
        `"machine"`, `"threads"`, `"batch_size"` and `"rows"`, one for each model:
        `"model"`, `"size"` (height and width), `"bytes"` of the file, what
        `keras_pamunet.sides.compare` measures, and `"images_per_second"`, the batch by
        its median time.

    Raises:
        ValueError: if there is no model, one is given twice, is none or cannot
            predict, or there are fewer cores.
        OSError: if the folder cannot be written.
    """
    names = [str(model) for model in models]
    if not names or len({*names}) < len(names):
        raise ValueError(f"Expected models, each once. Received: {names}")
    cores = _cores()
    if not 1 <= threads <= len(cores):
        raise ValueError(
            f"Expected from 1 to {len(cores)} threads, as there are cores. Received: "
            f"{threads}"
        )
    sizes = [_bytes(name) for name in names]
    if output is not None:
        make_folder(Path(output))
    numbers = [str(size), str(batch_size), str(threads)]
    commands = [[sys.executable, "-c", SERVE, name, *numbers] for name in names]
    try:
        with Console(quiet=not progress).status("Measuring, each model in turn"):
            measured = compare(commands, repeats)
    except RuntimeError as error:
        # The last that the process said is its exception.
        *_, reason = str(error).splitlines()
        raise ValueError(f"A model cannot be measured. {reason}") from error
    rows = [
        {
            "model": name,
            "bytes": size_in_bytes,
            "images_per_second": round(batch_size / (row["ms"] / 1e3), 1),
            **row,
        }
        for name, size_in_bytes, row in zip(names, sizes, measured)
    ]
    result = {
        "machine": machine(),
        "threads": threads,
        "batch_size": batch_size,
        "rows": rows,
    }
    if output is not None:
        write_json(Path(output, "benchmark.json"), result)
        write_benchmark_chart(result, Path(output, "benchmark.png"))
    return result


def serve_model(name: str, size: str, batch_size: str, threads: str) -> None:
    """The process of one model, see `keras_pamunet.sides.serve`.

    Args:
        name, size, batch_size, threads: see `benchmark`.
    """
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(_cores())[: int(threads)])
    serve(lambda: _prediction(name, int(size), int(batch_size), int(threads)))


def _prediction(name: str, size: int, batch_size: int, threads: int) -> Callable:
    """The work: to predict a batch of noise."""
    model = (
        open_exported(name, threads) if is_exported(name) else _in_keras(name, threads)
    )
    height, width = input_size(model, (size, size))
    shape = (batch_size, height, width, model.input_shape[-1])
    low, high = model.input_range
    dtype = model.input_dtype if isinstance(model, ExportedModel) else "float32"
    images = np.random.default_rng(0).uniform(low, high, shape).astype(dtype)
    return lambda: np.asarray(model.predict_on_batch(images))


def _in_keras(name, threads):
    import keras

    from keras_pamunet.models import load_model

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(threads)
    elif keras.backend.backend() == "torch":
        import torch

        torch.set_num_threads(threads)
    return load_model(name)  # JAX takes as many as there are cores.


def _cores():
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def _bytes(name):
    """Size of a model's file; of a run folder or a preset that of its model."""
    for path in (Path(name), Path(name, "model.keras")):
        if path.is_file():
            return path.stat().st_size
    return (hub.find(name) / hub.WEIGHTS).stat().st_size
