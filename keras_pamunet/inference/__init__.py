"""Prediction. Needs no Keras: a model may be an `OnnxModel`."""

from keras_pamunet.inference.images import predict_images
from keras_pamunet.inference.onnx_model import OnnxModel
from keras_pamunet.inference.predictor import Predictor, segment
from keras_pamunet.inference.segmentation import Segmentation
from keras_pamunet.inference.segmented_object import SegmentedObject
from keras_pamunet.inference.volumes import predict_volume, predict_volumes

__all__ = [
    "OnnxModel",
    "Predictor",
    "Segmentation",
    "SegmentedObject",
    "predict_images",
    "predict_volume",
    "predict_volumes",
    "segment",
]
