"""ResNet50, the encoder of U-Net and DeepLabv3+."""

import dataclasses
from typing import Any

from keras import layers

from keras_pamunet.models.blocks import Blocks

STEM = 64
# Channels and number of the blocks at 1/4, 1/8, 1/16 and 1/32 of the image.
STAGES = ((64, 3), (128, 4), (256, 6), (512, 3))


def resnet50(blocks: Blocks, x: Any, output_stride: int = 32) -> list[Any]:
    """Features of an image at five sizes.

    Layers have the names of `keras.applications.ResNet50`. Convolutions have no bias,
    as batch normalisation follows; a stage's strides are in its first 3x3 convolution,
    as torchvision's ResNet50 and most networks with this encoder have it.

    Args:
        blocks: makes the layers.
        x: tensor of Keras, `(batch, height, width, channels)` in [-1, 1].
        output_stride: 32, or 16: then the last stage keeps the size of the one before,
            and has dilated convolutions in place of strides.

    Returns:
        The features at 1/2, 1/4, 1/8, 1/16 and `1 / output_stride` of the image, of
        64, 256, 512, 1024 and 2048 channels.

    Reference:
        - Deep Residual Learning, arXiv 1512.03385, table 1 and Fig. 5 (right).
        - Dilation in place of strides: DeepLabv3, arXiv 1706.05587, section 3.1.
    """
    blocks = dataclasses.replace(blocks, epsilon=1.001e-5)
    x = _pad(blocks, x, 3)
    x = _conv(blocks, x, STEM, 7, 2, padding="valid", name="conv1")
    features = [blocks.relu(x)]
    x = layers.MaxPooling2D(
        3, 2, data_format="channels_last", dtype=blocks.dtype, name="pool1"
    )(_pad(blocks, features[0], 1))
    for stage, (filters, repeats) in enumerate(STAGES):
        dilation = 2 if stage == 3 and output_stride == 16 else 1
        for index in range(repeats):
            first = index == 0
            x = _block(
                blocks,
                x,
                filters,
                strides=2 if first and stage and dilation == 1 else 1,
                # The stage's first one still sees what its strides would have.
                dilation=1 if first else dilation,
                project=first,
                name=f"conv{stage + 2}_block{index + 1}",
            )
        features.append(x)
    return features


def _block(blocks, x, filters, *, strides, dilation, project, name):
    """The bottleneck of 1x1, 3x3 and 1x1 convolutions, beside which x is added."""
    shortcut = x
    if project:
        shortcut = _conv(blocks, x, 4 * filters, 1, strides, name=f"{name}_0")
    x = blocks.relu(_conv(blocks, x, filters, 1, name=f"{name}_1"))
    if strides == 2:  # Centred where the shortcut's strides are.
        x = _pad(blocks, x, 1)
    padding = "valid" if strides == 2 else "same"
    x = _conv(
        blocks,
        x,
        filters,
        3,
        strides,
        padding=padding,
        dilation_rate=dilation,
        name=f"{name}_2",
    )
    x = _conv(blocks, blocks.relu(x), 4 * filters, 1, name=f"{name}_3")
    return blocks.relu(blocks.add(shortcut, x, name=f"{name}_add"))


def _conv(blocks, x, *args, name, **kwargs):
    return blocks.norm(
        blocks.conv(x, *args, name=f"{name}_conv", **kwargs), f"{name}_bn"
    )


def _pad(blocks, x, pixels):
    return layers.ZeroPadding2D(
        pixels, data_format="channels_last", dtype=blocks.dtype
    )(x)
