"""Writes a model as an ONNX file, and compares nothing."""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

import keras_pamunet
from keras_pamunet.files import replace_bytes
from keras_pamunet.inference.exported_model import METADATA
from keras_pamunet.inference.onnx_model import seal
from keras_pamunet.models.conversion import NEEDED, check_requirements, convert
from keras_pamunet.models.description import describe

AXES = ("batch", "height", "width")


def write_onnx(
    model: keras.Model,
    output: str | Path,
    batch_size: int | None = None,
    source: Mapping[str, Any] | None = None,
    input_dtype: str = "float32",
) -> None:
    """Writes a network as an ONNX file of float32, whole or not at all.

    Args:
        model: the model.
        output: the file. One that is there is replaced.
        batch_size: images it shall take at once. By default any number.
        source: what else the file shall say, see `describe`.
        input_dtype: of the images, `"float32"` or `"uint8"`.

    Raises:
        ModuleNotFoundError: if TensorFlow or another requirement is not installed.
        OSError: if the file cannot be written.
        ValueError: if ONNX has no operation for something in the model.
    """
    check_requirements(NEEDED["onnx"])
    import onnx

    with tempfile.TemporaryDirectory() as folder:
        new = Path(folder, "model.onnx")
        convert(model, new, "onnx", batch_size, input_dtype=input_dtype)
        graph = onnx.load(new)
    _name(graph.graph)
    graph.producer_name = "keras_pamunet"
    graph.producer_version = keras_pamunet.__version__
    text = json.dumps(describe(model, source))
    onnx.helper.set_model_props(graph, {METADATA: text})
    replace_bytes(Path(output), seal(graph.SerializeToString()))


def _name(graph):
    """Has the output be `mask`, and the axes of any length say what they are."""
    (image,), (mask,) = graph.input, graph.output
    old = mask.name
    for node in graph.node:
        node.input[:] = ["mask" if name == old else name for name in node.input]
        node.output[:] = ["mask" if name == old else name for name in node.output]
    mask.name = "mask"
    for tensor in (image, mask):
        for side, name in zip(tensor.type.tensor_type.shape.dim, AXES):
            if not side.dim_value:
                side.dim_param = name
