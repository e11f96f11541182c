"""The decoder that U-Net and Mobile-UNet share."""

from typing import Any

from keras_pamunet.models.blocks import Blocks

# Channels of the decoder's blocks, the coarsest first.
FILTERS = (256, 128, 64, 32, 16)


def unet_decoder(blocks: Blocks, skips: list[Any], x: Any) -> Any:
    """Features in the image's size, from an encoder's at five sizes.

    Each of five blocks doubles the size (nearest pixel), joins the skip and applies
    two 3x3 convolutions with batch normalisation and ReLU; the last has no skip.

    Args:
        blocks: makes the layers.
        skips: features at 1/2, 1/4, 1/8 and 1/16 of the image.
        x: features at 1/32.

    Returns:
        Tensor of Keras, `(batch, height, width, 16)`.

    Reference:
        - U-Net, arXiv 1505.04597, Fig. 1, with the channels of segmentation_models
          and "same" convolutions.
    """
    for level, filters in zip(reversed(range(len(FILTERS))), FILTERS):
        x = blocks.repeat(x, f"up_{level}")
        if level:
            x = blocks.join(skips[level - 1], x, name=f"join_{level}")
        for index in range(2):
            x = blocks.conv_norm_relu(x, filters, 3, name=f"decoder_{level}_{index}")
    return x
