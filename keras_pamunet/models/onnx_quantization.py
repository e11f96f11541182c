"""Stores the numbers of an ONNX file in 8 or 16 bits."""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import onnx

from keras_pamunet.files import replace_bytes
from keras_pamunet.inference.onnx_model import METADATA, keep_traces_here, seal

# The gates sum over all of an image's pixels, and the last layer decides: both in
# float32 by default.
GATES, HEAD = "attention", "logits"


def quantize_onnx(
    path: Path,
    quantize: str,
    calibration: np.ndarray | None,
    float_layers: Sequence[str] | None,
    model: keras.Model,
) -> tuple[str, ...]:
    """Quantises an ONNX file that `write_onnx` wrote, in its place.

    Int8 is that of ONNX Runtime's static quantisation: kernels by channel,
    activations by tensor in the range that the images gave them, with
    QuantizeLinear and DequantizeLinear around each operation. Float16 has all
    weights and computes in float16, but for inputs and outputs.

    Args:
        path: the file.
        quantize: `"int8"` or `"float16"`.
        calibration: for int8, images `(images, height, width, channels)`.
        float_layers: of int8, names of the model's layers that stay in float32.
            Defaults to the gates and the last one.
        model: the `Segmenter` that was exported.

    Returns:
        Names of the layers that stay in float32.

    Raises:
        ValueError: if the model has no layer of such a name.
    """
    kept = _float_layers(model, float_layers) if quantize == "int8" else ()
    held = onnx.load(path)
    said = {entry.key: entry.value for entry in held.metadata_props}
    if quantize == "int8":
        graph = _to_int8(held, calibration, kept)
    else:
        graph = _to_float16(held)
    text = json.dumps({**json.loads(said[METADATA]), "float_layers": kept})
    del graph.metadata_props[:]
    onnx.helper.set_model_props(graph, {METADATA: text})
    graph.producer_name, graph.producer_version = (
        held.producer_name,
        held.producer_version,
    )
    replace_bytes(path, seal(graph.SerializeToString()))
    return kept


def _float_layers(model, names):
    known = [layer.name for layer in model.layers if layer.weights]
    if names is None:
        return tuple(x for x in known if x.startswith(GATES) or x == HEAD)
    if unknown := set(names) - set(known):
        raise ValueError(
            f"Expected names of layers: {', '.join(known)}. Received: "
            f"{', '.join(sorted(unknown))}"
        )
    return tuple(names)


def _to_int8(graph, images, kept):
    keep_traces_here()
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantType,
        quantize_static,
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Images(CalibrationDataReader):
        """The images, one by one."""

        def __init__(self):
            self._images = iter(images)

        def get_next(self):
            image = next(self._images, None)
            return None if image is None else {"image": image[np.newaxis]}

    with tempfile.TemporaryDirectory() as folder:
        plain, quantised = Path(folder, "plain.onnx"), Path(folder, "int8.onnx")
        quant_pre_process(graph, plain, skip_symbolic_shape=True)
        nodes = (node.name for node in onnx.load(plain).graph.node)
        quantize_static(
            plain,
            quantised,
            Images(),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=[
                x.name for x in nodes if set(x.name.split("/")) & {*kept}
            ],
        )
        return onnx.load(quantised)


def _to_float16(graph):
    from onnxruntime.transformers.float16 import convert_float_to_float16

    return convert_float_to_float16(graph, keep_io_types=True)
