"""Names that arguments take. Needs no Keras, so that `--help` can show them."""

from typing import Literal

Network = Literal[
    "att_unet",
    "deeplab_v3_plus",
    "fcn8",
    "hrnet",
    "mobile_encoder",
    "mobile_unet",
    "pamunet",
    "res_unet",
    "unet",
]
Recipe = Literal["default", "paper"]
Tuner = Literal["bayesian", "random", "hyperband"]
Distribute = Literal["none", "auto", "data_parallel", "multi_worker"]
Attention = Literal["luong", "self", "cross", "additive", "none"]
ScoreActivation = Literal[
    "sigmoid", "softmax", "double_sigmoid", "sigmoid_log_n", "first_order"
]
Format = Literal["onnx", "litert", "saved_model"]
Quantize = Literal["int8", "float16"]
InputDtype = Literal["float32", "uint8"]
# The presets of the highest Dice.
PHOTOGRAPHS, VOLUMES = "pamunet_kvasir_seg_256", "pamunet_liver_ct"
