"""Prediction. Needs no Keras: a model may be an `OnnxModel` or a `LiteRTModel`.

Names are imported once they are used: who needs `OnnxModel` alone does without OpenCV.
"""

from importlib import import_module
from typing import Any

_NAMES = {
    "LiteRTModel": "litert_model",
    "OnnxModel": "onnx_model",
    "Predictor": "predictor",
    "Segmentation": "segmentation",
    "SegmentedObject": "segmented_object",
    "predict_images": "images",
    "predict_volume": "volumes",
    "predict_volumes": "volumes",
    "segment": "predictor",
}

__all__ = [*_NAMES]


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_NAMES[name]}"), name)
