"""Converts networks for other runtimes, by TensorFlow."""

import os
import subprocess
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_pamunet.layers import Conv2D
from keras_pamunet.ops import portable_attention
from keras_pamunet.saving import to_keras_file

# What each format needs beside TensorFlow.
NEEDED = {
    "onnx": ("tensorflow", "tf2onnx", "onnx"),
    "litert": ("tensorflow",),
    "saved_model": ("tensorflow",),
}
# As Keras calls them.
KERAS_FORMATS = {"onnx": "onnx", "litert": "litert", "saved_model": "tf_saved_model"}
# What the process with TensorFlow does if Keras runs on another back end.
CONVERT = """
import sys
import numpy as np
from keras_pamunet.models import load_model
from keras_pamunet.models.conversion import convert

model, output, format, batch_size, quantize, calibration, dtype = sys.argv[1:]
convert(
    load_model(model),
    output,
    format,
    int(batch_size) or None,
    quantize or None,
    np.load(calibration) if calibration else None,
    dtype,
)
"""


def check_requirements(names: tuple[str, ...], extra: str = "export") -> None:
    """Makes sure that packages are installed.

    Args:
        names: of the packages.
        extra: of this package that brings them, beside TensorFlow.

    Raises:
        ModuleNotFoundError: names those that are not, and how to get them.
    """
    if missing := [name for name in names if find_spec(name) is None]:
        raise ModuleNotFoundError(
            f"Export needs {', '.join(missing)}. Install what is missing, in a "
            f"checkout of the package: pip install '.[{extra},tensorflow]'"
        )


def convert(
    model: keras.Model,
    output: str | Path,
    format: str,
    batch_size: int | None = None,
    quantize: str | None = None,
    calibration: np.ndarray | None = None,
    input_dtype: str = "float32",
) -> None:
    """Converts a network, whose input is then `image` and whose output `mask`.

    Args:
        model: a `Segmenter`. It is converted in float32.
        output: the file or, of a SavedModel, the folder to make.
        format: `"onnx"`, `"litert"` or `"saved_model"`.
        batch_size: images it shall take at once. By default any number.
        quantize: of LiteRT, `"int8"` or `"float16"`.
        calibration: for int8, images as the model takes them, `(images, height, width,
            channels)`.
        input_dtype: of the images, `"float32"` or `"uint8"`.

    Raises:
        ValueError: if the format has no operation for something in the model.
    """
    arguments = Path(output), format, batch_size, quantize, calibration, input_dtype
    if keras.backend.backend() == "tensorflow":
        _convert(model, *arguments)
    else:
        _convert_elsewhere(model, *arguments)


def _convert(model, output, format, batch_size, quantize, calibration, input_dtype):
    """Converts under TensorFlow."""
    model = _folded(model.clone(dtype="float32"))
    shape = (batch_size, *model.input_shape[1:])
    # The output has the name that it has in a dictionary.
    named = keras.Model(model.inputs[0], {"mask": model.outputs[0]})
    settings = _settings(quantize, calibration) if format == "litert" else {}
    with portable_attention(), warnings.catch_warnings():
        # Keras tests for `np.object`, which NumPy 2 answers with a FutureWarning.
        warnings.filterwarnings("ignore", ".*np.object", FutureWarning)
        # TensorFlow's converter says of its own interpreter where it will move to.
        warnings.filterwarnings("ignore", ".*tf.lite.Interpreter", UserWarning)
        warnings.filterwarnings("ignore", "Statistics for quantized", UserWarning)
        try:
            named.export(
                str(output),
                format=KERAS_FORMATS[format],
                verbose=False,
                input_signature=[keras.InputSpec(input_dtype, shape, name="image")],
                **settings,
            )
        except Exception as error:  # Whatever the converters meet.
            raise ValueError(
                f"Cannot convert {model.name} to {format}: {error}"
            ) from error


def _settings(quantize: str | None, calibration: Any) -> dict[str, Any]:
    """Of TensorFlow's converter to LiteRT.

    TensorFlow's own operations, which Keras would allow, are not in LiteRT's runtime.
    """
    import tensorflow as tf

    floats, integers = (
        tf.lite.OpsSet.TFLITE_BUILTINS,
        tf.lite.OpsSet.TFLITE_BUILTINS_INT8,
    )
    if quantize is None:
        return {"target_spec": {"supported_ops": [floats]}}
    settings = {"optimizations": [tf.lite.Optimize.DEFAULT]}
    if quantize == "float16":
        target = {"supported_ops": [floats], "supported_types": [tf.float16]}
        return {**settings, "target_spec": target}

    def images():
        for image in calibration:
            yield [image[np.newaxis]]

    target = {"supported_ops": [integers, floats]}
    return {**settings, "target_spec": target, "representative_dataset": images}


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


def _convert_elsewhere(
    model, output, format, batch_size, quantize, calibration, input_dtype
):
    """Converts in a process of its own, whose back end is TensorFlow."""
    environment = {
        **os.environ,
        "KERAS_BACKEND": "tensorflow",
        "CUDA_VISIBLE_DEVICES": "-1",
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    saved = output.with_name("model.keras")
    saved.write_bytes(to_keras_file(model))
    images = ""
    if calibration is not None:
        images = output.with_name("calibration.npy")
        np.save(images, calibration)
    arguments = [saved, output, format, batch_size or 0, quantize or "", images]
    # Ends with this one, whatever ends it.
    done = subprocess.run(
        [sys.executable, "-c", CONVERT, *map(str, arguments), input_dtype],
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
