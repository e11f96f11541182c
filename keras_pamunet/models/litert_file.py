"""Writes a model as a LiteRT file, and compares nothing."""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_pamunet.files import replace_bytes
from keras_pamunet.inference.litert_model import seal
from keras_pamunet.models.conversion import NEEDED, check_requirements, convert
from keras_pamunet.models.description import describe


def write_litert(
    model: keras.Model,
    output: str | Path,
    batch_size: int | None = 1,
    source: Mapping[str, Any] | None = None,
    quantize: str | None = None,
    calibration: np.ndarray | None = None,
    input_dtype: str = "float32",
) -> None:
    """Writes a network as a LiteRT file, whole or not at all.

    Args:
        model: the model.
        output: the `.tflite` file. One that is there is replaced.
        batch_size: images it shall take at once, `None` for any number.
        source: what else the file shall say, see `describe`.
        quantize: `"int8"` or `"float16"`, by default float32.
        calibration: for int8, see `keras_pamunet.models.conversion.convert`.
        input_dtype: of the images, `"float32"` or `"uint8"`.

    Raises:
        ModuleNotFoundError: if TensorFlow is not installed.
        OSError: if the file cannot be written.
        ValueError: if LiteRT has no operation for something in the model.
    """
    check_requirements(NEEDED["litert"], "litert")
    with tempfile.TemporaryDirectory() as folder:
        new = Path(folder, "model.tflite")
        convert(model, new, "litert", batch_size, quantize, calibration, input_dtype)
        content = new.read_bytes()
    replace_bytes(Path(output), seal(content, json.dumps(describe(model, source))))
