"""Writes a model as an ONNX file, and compares nothing."""

import json
import os
import subprocess
import sys
import tempfile
import warnings
from importlib.util import find_spec
from pathlib import Path

import keras
import numpy as np

from keras_pamunet.files import replace_bytes
from keras_pamunet.inference.onnx_model import METADATA, seal
from keras_pamunet.layers import Conv2D
from keras_pamunet.ops import portable_attention
from keras_pamunet.saving import to_keras_file

NEEDED = ("tensorflow", "tf2onnx", "onnx")
# What the process with TensorFlow does if Keras runs on another back end.
CONVERT = """
import sys
from keras_pamunet.models import load_model
from keras_pamunet.models.onnx_file import write_onnx

model, output, batch_size = sys.argv[1:]
write_onnx(load_model(model), output, int(batch_size) or None)
"""


def write_onnx(
    model: keras.Model, output: str | Path, batch_size: int | None = None
) -> None:
    """Writes a network as an ONNX file of float32, whole or not at all.

    Args:
        model: the model.
        output: the file. One that is there is replaced.
        batch_size: images it shall take at once. By default any number.

    Raises:
        ModuleNotFoundError: if TensorFlow or another requirement is not installed.
        OSError: if the file cannot be written.
        ValueError: if ONNX has no operation for something in the model.
    """
    check_requirements(NEEDED)
    with tempfile.TemporaryDirectory() as folder:
        new = Path(folder, "model.onnx")
        if keras.backend.backend() == "tensorflow":
            _convert(model, new, batch_size)
        else:
            _convert_elsewhere(model, new, batch_size)
        replace_bytes(Path(output), new.read_bytes())


def check_requirements(names: tuple[str, ...]) -> None:
    """Makes sure that packages are installed.

    Raises:
        ModuleNotFoundError: names those that are not, and how to get them.
    """
    if missing := [name for name in names if find_spec(name) is None]:
        raise ModuleNotFoundError(
            f"Export needs {', '.join(missing)}. Install what is missing, in a "
            "checkout of the package: pip install '.[export,tensorflow]'"
        )


def _convert(model, output, batch_size):
    """Converts under TensorFlow."""
    import onnx

    model = _folded(model.clone(dtype="float32"))
    shape = (batch_size, *model.input_shape[1:])
    with portable_attention(), warnings.catch_warnings():
        # Keras tests for `np.object`, which NumPy 2 answers with a FutureWarning.
        warnings.filterwarnings("ignore", ".*np.object", FutureWarning)
        try:
            keras.Model.export(
                model,
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
        "masks": model.masks,
        "class_names": model.class_names,
        "mirror_axes": model.mirror_axes,
        "input_range": model.input_range,
        "sealed": True,
    }
    onnx.helper.set_model_props(graph, {METADATA: json.dumps(metadata)})
    output.write_bytes(seal(graph.SerializeToString()))


def _folded(model):
    """The model, whose convolutions do the scaling of batch normalisation.

    ONNX Runtime folds, too, but in float32, with errors that can be seen in the masks'
    probabilities (1e-5).
    """
    for conv, norm in model.conv_batch_norm_pairs():
        weights = [weight.astype("float64") for weight in norm.get_weights()]
        gamma, beta, mean, variance = weights
        scale = gamma / np.sqrt(variance + norm.epsilon)
        kernel, *bias = conv.get_weights()
        if type(conv) is Conv2D:
            kernel = kernel * scale
        else:  # Transposed and depthwise kernels have their outputs on axis -2.
            kernel = kernel * scale[:, np.newaxis]
        conv.set_weights([kernel, *(values * scale for values in bias)])
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
    saved.write_bytes(to_keras_file(model))
    arguments = [str(saved), str(output), str(batch_size or 0)]
    # Ends with this one, whatever ends it.
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
