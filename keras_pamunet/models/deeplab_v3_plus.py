from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
from keras import layers, ops

from keras_pamunet.layers import DepthwiseConv2D
from keras_pamunet.models.arguments import MAX_CHANNELS, to_integer
from keras_pamunet.models.blocks import Blocks
from keras_pamunet.models.encoder_weights import load_bgr_encoder
from keras_pamunet.models.resnet50 import resnet50
from keras_pamunet.models.segmenter import Segmenter
from keras_pamunet.models.task import Task

# Dilation of the pyramid's three 3x3 convolutions.
RATES = (12, 24, 36)
# Channels of the encoder's features at 1/4 in the decoder.
FINE_FILTERS = 48


@keras.saving.register_keras_serializable(package="keras_pamunet")
class DeepLabV3Plus(Segmenter):
    """DeepLabv3+: ResNet50, atrous spatial pyramid pooling and a small decoder.

    The encoder ends at 1/16 of the image. Five branches look at it: a 1x1
    convolution, three 3x3 separable ones dilated by 12, 24 and 36, and the mean over
    all pixels. A 1x1 convolution joins them, a separable one follows. The decoder
    enlarges that four times (bilinear), joins 48 channels of the encoder's features at
    1/4 and applies a separable convolution; the logits are enlarged four times.
    A convolution is followed by batch normalisation and ReLU, but within a separable
    one. Where the features at 1/16 have fewer pixels a side than the dilation, as 8
    have of an image of 128, a dilated convolution sees the pixel itself alone.

    Args:
        input_shape: see `PAMUNet`.
        num_classes: see `PAMUNet`.
        filters: channels of the pyramid's branches and of the decoder.
        encoder_weights: `None`, `"imagenet"` (downloaded by Keras Applications) or
            the path of a `.weights.h5` file of
            `keras.applications.ResNet50(include_top=False)`. For images of other than
            3 channels see `PAMUNet`.
        masks: see `PAMUNet`.
        class_names: see `PAMUNet`.
        input_range: see `PAMUNet`.
        mirror_axes: see `PAMUNet`.
        batch_norm_momentum: momentum of the moving statistics.
        dtype: see `PAMUNet`.

    Input shape:
        `(batch, height, width, channels)`, raw values.

    Output shape:
        `(batch, height, width, num_classes)`, probabilities.

    Raises:
        ValueError: as `PAMUNet`.

    Example:

    >>> model = keras_pamunet.models.DeepLabV3Plus(input_shape=(128, 128, 3))
    >>> model.output_shape
    (None, 128, 128, 1)

    Reference:
        - DeepLabv3+, arXiv 1802.02611, Fig. 2 and section 3.1 (separable convolutions
          in the pyramid and the decoder); the pyramid is that of DeepLabv3, arXiv
          1706.05587, Fig. 5, with the dilations and the one convolution in the decoder
          of `DeepLabV3Plus` in segmentation_models.pytorch.
    """

    network = "deeplab_v3_plus"
    search_space = {
        "filters": lambda hp, name: hp.Choice(name, [64, 128, 256], default=256)
    }

    def __init__(
        self,
        input_shape: tuple[int | None, int | None, int] = (128, 128, 3),
        num_classes: int = 1,
        filters: int = 256,
        encoder_weights: str | Path | None = None,
        masks: str = "exclusive",
        class_names: Sequence[str] | None = None,
        input_range: tuple[float, float] = (0, 255),
        mirror_axes: Sequence[int] = (1, 2),
        batch_norm_momentum: float = 0.9,
        name: str = "deeplab_v3_plus",
        trainable: bool = True,
        dtype: Any = None,
    ):
        task = Task(
            input_shape=input_shape,
            num_classes=num_classes,
            masks=masks,
            class_names=class_names,
            input_range=input_range,
            mirror_axes=mirror_axes,
            encoder_weights=encoder_weights,
            batch_norm_momentum=batch_norm_momentum,
            name=name,
            trainable=trainable,
            dtype=dtype,
        )
        blocks = Blocks(task.dtype, batch_norm_momentum)
        filters = to_integer("filters", filters, MAX_CHANNELS)

        def separable(x, name, dilation_rate=1):
            x = DepthwiseConv2D(
                3,
                padding="same",
                dilation_rate=dilation_rate,
                use_bias=False,
                data_format="channels_last",
                dtype=task.dtype,
                name=f"{name}_depthwise",
            )(x)
            return blocks.conv_norm_relu(x, filters, 1, name=name)

        # === Functional model ===
        inputs, x = task.prepare()
        _, fine, _, _, top = resnet50(blocks, x, output_stride=16)
        mean = layers.GlobalAveragePooling2D(
            data_format="channels_last", keepdims=True, dtype=task.dtype
        )(top)
        mean = blocks.conv_norm_relu(mean, filters, 1, name="aspp_mean")
        x = blocks.conv_norm_relu(top, filters, 1, name="aspp_1x1")
        x = blocks.join(
            x,
            *(
                separable(top, f"aspp_{index}", rate)
                for index, rate in enumerate(RATES)
            ),
            mean + ops.zeros_like(x),  # At every pixel.
        )
        x = blocks.conv_norm_relu(x, filters, 1, name="aspp_joined")
        x = blocks.enlarge(separable(x, "aspp_top"), 4, "up")
        fine = blocks.conv_norm_relu(fine, FINE_FILTERS, 1, name="fine")
        x = separable(blocks.join(fine, x), "decoder")
        x = blocks.logits(x, task.num_classes, 1)
        logits = blocks.enlarge(x, 4, "up_logits", dtype="float32")
        super().__init__(inputs, task.head(logits, inputs), task)
        self.filters = filters
        if encoder_weights is not None:
            load_bgr_encoder(self, keras.applications.ResNet50, encoder_weights)

    def architecture(self) -> dict[str, Any]:
        return {**super().architecture(), "filters": self.filters}

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "filters": self.filters}
