"""Exports a model to ONNX, and makes sure that it finds the same there."""

import json
import os
import subprocess
import sys
import tempfile
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import keras
import numpy as np
import rich.progress
from rich.console import Console

from keras_pamunet.data import Phantom, open_splits
from keras_pamunet.inference import fit_image, make_folder, to_labels
from keras_pamunet.layers import Conv2D, InvertedResidual
from keras_pamunet.models import PAMUNet, load_model
from keras_pamunet.onnx_model import METADATA, OnnxModel
from keras_pamunet.ops import portable_attention

NEEDED = ("tensorflow", "tf2onnx", "onnx", "onnxruntime")
# What the process with TensorFlow does if Keras runs on another back end.
CONVERT = """
import sys
from keras_pamunet.export import convert
from keras_pamunet.models import load_model

model, output, batch_size = sys.argv[1:]
convert(load_model(model), output, int(batch_size) or None)
"""


def export(
    model: PAMUNet | str | Path,
    output: str | Path,
    size: tuple[int | None, int | None] | None = None,
    batch_size: int | None = None,
    data: str | Path | None = None,
    split: str | None = None,
    part: str = "test",
    tolerance: float = 1e-4,
    overwrite: bool = False,
    progress: bool = True,
) -> dict[str, Any]:
    """Writes a model as an ONNX file, if that finds the same as the model in Keras.

    Args:
        model: a `PAMUNet`, or what `keras_pamunet.models.load_model` takes. It is
            exported in float32.
        output: the `.onnx` file.
        size: `(height, width)` of the images it shall take, `None` for a side of any
            length. Defaults to the model's own.
        batch_size: images it shall take at once. By default any number.
        data: images to compare on, see `keras_pamunet.data.open_splits`. Defaults to
            drawn ones, of the model's channels and range.
        split: see `keras_pamunet.data.open_splits`.
        part: of the split.
        tolerance: how far a probability may be off.
        overwrite: whether to replace a file that is there.
        progress: whether to show a progress bar.

    Returns:
        `{"images": ..., "largest_difference": ..., "changed_pixels": ...,
        "pixels": ...}`: what was compared, the largest difference of probabilities,
        and the number of pixels whose label is another.

    Raises:
        FileExistsError: if the file is there.
        ModuleNotFoundError: if TensorFlow or another requirement is not installed.
        OSError: if the file cannot be written.
        ValueError: if the file's name has another ending, the model cannot be
            converted, or the difference is above the tolerance. The file is not
            written then.
    """
    output = Path(output)
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        raise ModuleNotFoundError(
            f"Export needs {', '.join(missing)}. Install what is missing: pip install "
            "'keras-pamunet[export,tensorflow]'"
        )
    if output.suffix != ".onnx":
        raise ValueError(f"Expected the name of an .onnx file. Received: {output}")
    if output.exists() and not overwrite:
        raise FileExistsError(
            f"Expected a new file. Received: {output}, which exists. Name another, or "
            "overwrite it (--overwrite)."
        )
    if not isinstance(model, PAMUNet):
        model = load_model(model)
    shape = (*(size or model.input_shape[1:3]), model.input_shape[3])
    model = model.adapted(input_shape=shape, dtype="float32")
    images = _images(model, data, split, part)
    make_folder(output.parent)
    with tempfile.TemporaryDirectory(dir=output.parent) as folder:
        new = Path(folder, output.name)
        on_tensorflow = keras.backend.backend() == "tensorflow"
        convert_here = convert if on_tensorflow else _convert_elsewhere
        with Console(quiet=not progress).status("Converting, for up to a minute"):
            convert_here(model, new, batch_size)
        report = _compare(model, OnnxModel(new), images, progress)
        # Not >, which is false for NaN.
        if not report["largest_difference"] <= tolerance:
            raise ValueError(
                f"Expected probabilities within {tolerance} of those in Keras. "
                f"Received: a difference of {report['largest_difference']:.2g}, and "
                f"{report['changed_pixels']} of {report['pixels']} pixels of another "
                "mask. Nothing was written."
            )
        os.replace(new, output)
    return report


def convert(model: PAMUNet, output: str | Path, batch_size: int | None = None) -> None:
    """Converts a model of float32, under TensorFlow. Compares nothing.

    Raises:
        ValueError: if ONNX has no operation for something in the model.
    """
    import onnx

    model = _folded(model)
    shape = (batch_size, *model.input_shape[1:])
    with portable_attention(), warnings.catch_warnings():
        # Keras asks for a type that NumPy may bring back one day.
        warnings.filterwarnings("ignore", ".*np.object", FutureWarning)
        try:
            model.export(
                str(output),
                format="onnx",
                verbose=False,
                input_signature=[keras.InputSpec("float32", shape, name="image")],
            )
        except Exception as error:  # Whatever tf2onnx meets.
            raise ValueError(f"Cannot convert {model.name} to ONNX: {error}") from error
    graph = onnx.load(output)
    metadata = {
        "num_classes": model.num_classes,
        "activation": model.activation,
        "input_range": model.input_range,
    }
    onnx.helper.set_model_props(graph, {METADATA: json.dumps(metadata)})
    onnx.save(graph, output)


def _folded(model):
    """A copy whose convolutions do the scaling of batch normalisation.

    ONNX Runtime folds, too, but in float32, with errors that can be seen in the masks'
    probabilities (1e-5).
    """
    model = model.adapted()
    blocks = [x for x in model._flatten_layers() if isinstance(x, InvertedResidual)]
    for steps in (model.layers, *(block.steps for block in blocks)):
        named = {step.name: step for step in steps}
        for norm in steps:
            if not isinstance(norm, keras.layers.BatchNormalization):
                continue
            weights = [weight.astype("float64") for weight in norm.get_weights()]
            gamma, beta, mean, variance = weights
            scale = gamma / np.sqrt(variance + norm.epsilon)
            conv = named[norm.name.removesuffix("_bn")]
            (kernel,) = conv.get_weights()
            if type(conv) is Conv2D:
                kernel = kernel * scale
            else:  # Of the others, the last axis is not the output's.
                kernel = kernel * scale[:, np.newaxis]
            conv.set_weights([kernel])
            ones = np.ones_like(scale)
            shift = beta - mean * scale
            norm.set_weights([ones, shift, 0 * ones, ones - norm.epsilon])
    return model


def _convert_elsewhere(model, output, batch_size):
    """Converts in a process of its own, whose back end is TensorFlow."""
    environment = {
        **os.environ,
        "KERAS_BACKEND": "tensorflow",
        "CUDA_VISIBLE_DEVICES": "-1",
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    saved = output.with_name("model.keras")
    model.save(saved)
    arguments = [str(saved), str(output), str(batch_size or 0)]
    done = subprocess.run(
        [sys.executable, "-c", CONVERT, *arguments],
        env=environment,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        _, found, message = done.stderr.rpartition("\nValueError: ")
        if not found:
            message = (
                "TensorFlow's process could not convert the model. It ended with "
                f"{done.returncode} and said: {done.stderr[-2000:]}"
            )
        raise ValueError(message.strip())


def _images(model, data, split, part):
    """Images to compare on, in the model's size or else in their own."""
    channels = model.input_shape[-1]
    if data is None:
        low, high = model.input_range
        images = [
            low + (high - low) / 255 * image[..., np.arange(channels) % 3]
            for image, _ in (*Phantom(10), *Phantom(10, size=97))
        ]
    else:
        parts = open_splits(data, split, model.num_classes)
        if part not in parts or parts[part].channels != channels:
            raise ValueError(
                f"Expected one of {tuple(parts)} with images of {channels} channels. "
                f"Received: part={part!r} of {data}"
            )
        images = (image for image, _ in parts[part])
    return [fit_image(model, image) for image in images]


def _compare(model, exported, images, progress):
    """The report on all the images, each repeated to fill a batch."""
    batch_size = exported.input_shape[0] or 1
    largest, changed, pixels = 0.0, 0, 0
    for image in rich.progress.track(
        images, "Comparing", disable=not progress, transient=True
    ):
        batch = np.repeat(image[np.newaxis], batch_size, axis=0)
        ours = np.asarray(model.predict_on_batch(batch))
        theirs = exported.predict_on_batch(batch)
        largest = np.maximum(largest, np.abs(ours - theirs).max())
        one, other = (
            to_labels(batch[0], batch.shape[1:3], model.activation)
            for batch in (ours, theirs)
        )
        changed += int(np.count_nonzero(one != other))
        pixels += one.size
    return {
        "images": len(images),
        "largest_difference": float(largest),
        "changed_pixels": changed,
        "pixels": pixels,
    }
