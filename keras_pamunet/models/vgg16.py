"""VGG16, the encoder of FCN8."""

from typing import Any

from keras_pamunet.models.blocks import Blocks

# Channels and number of the convolutions of each stage.
STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))


def vgg16(blocks: Blocks, x: Any) -> list[Any]:
    """Features of an image at five sizes.

    Layers have the names of `keras.applications.VGG16`.

    Args:
        blocks: makes the layers.
        x: tensor of Keras, `(batch, height, width, channels)` in [-1, 1].

    Returns:
        The features at 1/2, 1/4, 1/8, 1/16 and 1/32 of the image, of 64, 128, 256, 512
        and 512 channels: the outputs of the pooling layers.

    Reference:
        - Very Deep Convolutional Networks, arXiv 1409.1556, table 1, column D.
    """
    features = []
    for stage, (filters, repeats) in enumerate(STAGES, 1):
        for index in range(repeats):
            name = f"block{stage}_conv{index + 1}"
            x = blocks.relu(blocks.conv(x, filters, 3, use_bias=True, name=name))
        x = blocks.halve(x, f"block{stage}_pool")
        features.append(x)
    return features
