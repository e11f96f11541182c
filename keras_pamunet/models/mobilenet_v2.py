"""MobileNetV2 (alpha 1.0), the encoder of PAM-UNet and Mobile-UNet."""

from pathlib import Path
from typing import Any

import keras
from keras import layers

from keras_pamunet.layers import Conv2D, MBConv
from keras_pamunet.models.encoder_weights import fit_channels, read_layers

# Filters, repeats and strides of each stage. The first has expansion 1.
STAGES = (
    (16, 1, 1),
    (24, 2, 2),
    (32, 3, 2),
    (64, 4, 2),
    (96, 3, 1),
    (160, 3, 2),
    (320, 1, 1),
)
# Stages whose output is the last of its size.
SKIP_STAGES = (0, 1, 2, 4)


def mobilenet_v2(
    x: Any, expansion: int, batch_norm_momentum: float, dtype: Any
) -> tuple[list[Any], Any]:
    """Features of an image at five sizes.

    Args:
        x: tensor of Keras, `(batch, height, width, channels)` in [-1, 1].
        expansion: expansion factor of the inverted residual blocks.
        batch_norm_momentum: momentum of the moving statistics.
        dtype: dtype policy.

    Returns:
        `(skips, top)`: the features at 1/2, 1/4, 1/8 and 1/16 of the image, of 16,
        24, 32 and 96 channels, and those at 1/32, of 1280.

    Reference:
        - MobileNetV2, arXiv 1801.04381, table 2.
    """
    x = Conv2D(
        32,
        3,
        2,
        padding="same",
        use_bias=False,
        data_format="channels_last",
        dtype=dtype,
        name="stem",
    )(x)
    x = batch_norm_relu(x, "stem_bn", batch_norm_momentum, dtype)
    skips = []
    for index, (filters, repeats, strides) in enumerate(STAGES):
        x = MBConv(
            filters,
            repeats,
            strides,
            expansion=expansion if index else 1,
            batch_norm_momentum=batch_norm_momentum,
            dtype=dtype,
            name=f"encoder_{index}",
        )(x)
        if index in SKIP_STAGES:
            skips.append(x)
    x = Conv2D(
        1280,
        1,
        use_bias=False,
        data_format="channels_last",
        dtype=dtype,
        name="encoder_top",
    )(x)
    return skips, batch_norm_relu(x, "encoder_top_bn", batch_norm_momentum, dtype)


def batch_norm_relu(x: Any, name: str, momentum: float, dtype: Any) -> Any:
    """Batch normalisation and ReLU6, as they follow the network's convolutions."""
    x = layers.BatchNormalization(
        epsilon=1e-3, momentum=momentum, dtype=dtype, name=name
    )(x)
    return layers.ReLU(6.0, dtype=dtype)(x)


def load_mobilenet_v2(model: keras.Model, weights: str | Path) -> None:
    """Copies the weights of Keras Applications' MobileNetV2 into a network.

    Args:
        model: a network with the layers of `mobilenet_v2`, of expansion 6.
        weights: see `read_layers`; fitted to the image's channels by `fit_channels`.

    Raises:
        ValueError: if there are no such weights, or they do not fit.
    """
    source = read_layers(keras.applications.MobileNetV2, weights)
    stages = [model.get_layer(f"encoder_{index}") for index in range(len(STAGES))]
    target = [
        model.get_layer("stem"),
        model.get_layer("stem_bn"),
        *(step for stage in stages for block in stage.blocks for step in block.steps),
        model.get_layer("encoder_top"),
        model.get_layer("encoder_top_bn"),
    ]
    for layer, pretrained in zip(
        (layer for layer in target if layer.weights),
        source,
        strict=True,
    ):
        values = pretrained.get_weights()
        if layer.name == "stem":
            values = [fit_channels(values[0], model.input_shape[-1])]
        layer.set_weights(values)
