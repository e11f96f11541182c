"""Stores the numbers of an ONNX file in 8 or 16 bits."""

import re
import tempfile
from pathlib import Path

import numpy as np
import onnx

from keras_pamunet.files import replace_bytes
from keras_pamunet.inference.exported_model import METADATA
from keras_pamunet.inference.onnx_model import keep_traces_here, seal

# The gates sum over all pixels of an image: they stay in float32. Keras numbers what it
# traces again, `attention_0_1`.
GATE = re.compile(r"(?<=/)attention_\d+(?=(?:_\d+)?/)")


def quantize_onnx(
    path: Path, quantize: str, calibration: np.ndarray | None
) -> tuple[str, ...]:
    """Quantises an ONNX file that `write_onnx` wrote, in its place.

    Int8 is that of ONNX Runtime's static quantisation: kernels by channel,
    activations by tensor in the range that the images gave them, with
    QuantizeLinear and DequantizeLinear around each operation. In float16 are all
    weights and operations, but neither input nor output.

    Args:
        path: the file.
        quantize: `"int8"` or `"float16"`.
        calibration: for int8, images `(images, height, width, channels)`.

    Returns:
        Names of the gates, which int8 leaves in float32.
    """
    held = onnx.load(path)
    said = {entry.key: entry.value for entry in held.metadata_props}
    gates = {}
    if quantize == "int8":
        names = (node.name for node in held.graph.node)
        gates = {x: found[0] for x in names if (found := GATE.search(x))}
        quantised = _to_int8(path, calibration, [*gates])
    else:
        from onnxruntime.transformers.float16 import convert_float_to_float16

        quantised = convert_float_to_float16(held, keep_io_types=True)
    del quantised.metadata_props[:]
    onnx.helper.set_model_props(quantised, {METADATA: said[METADATA]})
    quantised.producer_name = held.producer_name
    quantised.producer_version = held.producer_version
    replace_bytes(path, seal(quantised.SerializeToString()))
    return tuple(sorted({*gates.values()}))


def _to_int8(path, images, kept):
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
        # Optimised, operations would have other names than those of their layers.
        quant_pre_process(path, plain, skip_optimization=True, skip_symbolic_shape=True)
        quantize_static(
            plain,
            quantised,
            Images(),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            # Processors without VNNI add two products in 16 bits, which overflow.
            reduce_range=True,
            nodes_to_exclude=kept,
        )
        return onnx.load(quantised)
