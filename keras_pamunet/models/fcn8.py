from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_pamunet.layers import Conv2DTranspose
from keras_pamunet.models.arguments import MAX_CHANNELS, to_integer
from keras_pamunet.models.blocks import Blocks
from keras_pamunet.models.encoder_weights import load_bgr_encoder
from keras_pamunet.models.segmenter import Segmenter
from keras_pamunet.models.task import Task
from keras_pamunet.models.vgg16 import vgg16


@keras.saving.register_keras_serializable(package="keras_pamunet")
class FCN8(Segmenter):
    """FCN-8s: VGG16, read out at three sizes.

    VGG16's fully connected layers are convolutions, fc6 of 7x7 and fc7 of 1x1. 1x1
    convolutions make logits of fc7 and of the pooling layers at 1/16 and 1/8 of the
    image. Transposed convolutions, bilinear at the start, enlarge the coarser ones
    by 2, 2 and 8; at each size those of the pooling layer are added. "Same" padding
    stands for the paper's 100 pixels around the image. There is no dropout, without
    which the paper's authors saw little difference, and no batch normalisation.

    Args:
        input_shape: see `PAMUNet`.
        num_classes: see `PAMUNet`.
        filters: channels of fc6 and fc7, which hold nearly all of the weights.
        encoder_weights: `None`, `"imagenet"` (downloaded by Keras Applications) or
            the path of a `.weights.h5` file of
            `keras.applications.VGG16(include_top=False)`. For images of other than
            3 channels see `PAMUNet`.
        masks: see `PAMUNet`.
        class_names: see `PAMUNet`.
        input_range: see `PAMUNet`.
        mirror_axes: see `PAMUNet`.
        batch_norm_momentum: as other networks have it; of no effect here.
        dtype: see `PAMUNet`.

    Input shape:
        `(batch, height, width, channels)`, raw values.

    Output shape:
        `(batch, height, width, num_classes)`, probabilities.

    Raises:
        ValueError: as `PAMUNet`.

    Example:

    >>> model = keras_pamunet.models.FCN8(input_shape=(128, 128, 3))
    >>> model.output_shape
    (None, 128, 128, 1)

    Reference:
        - FCN, arXiv 1411.4038, section 4.2 and Fig. 3; VGG16, arXiv 1409.1556, table 1.
    """

    network = "fcn8"
    search_space = {
        "filters": lambda hp, name: hp.Choice(name, [256, 1024, 4096], default=4096)
    }

    def __init__(
        self,
        input_shape: tuple[int | None, int | None, int] = (128, 128, 3),
        num_classes: int = 1,
        filters: int = 4096,
        encoder_weights: str | Path | None = None,
        masks: str = "exclusive",
        class_names: Sequence[str] | None = None,
        input_range: tuple[float, float] = (0, 255),
        mirror_axes: Sequence[int] = (1, 2),
        batch_norm_momentum: float = 0.9,
        name: str = "fcn8",
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

        def score(x, name):
            return blocks.conv(x, task.num_classes, 1, use_bias=True, name=name)

        def up(x, factor, name, dtype=task.dtype):
            return Conv2DTranspose(
                task.num_classes,
                2 * factor,
                factor,
                padding="same",
                kernel_initializer=keras.initializers.Constant(
                    _bilinear(factor, task.num_classes)
                ),
                data_format="channels_last",
                dtype=dtype,
                name=name,
            )(x)

        # === Functional model ===
        inputs, x = task.prepare()
        *_, pool3, pool4, x = vgg16(blocks, x)
        for kernel_size, layer in ((7, "fc6"), (1, "fc7")):
            x = blocks.conv(x, filters, kernel_size, use_bias=True, name=layer)
            x = blocks.relu(x)
        x = score(x, "score_fc7")
        x = blocks.add(up(x, 2, "up_2"), score(pool4, "score_pool4"))
        x = blocks.add(up(x, 2, "up_4"), score(pool3, "score_pool3"))
        logits = up(x, 8, "logits", dtype="float32")
        super().__init__(inputs, task.head(logits, inputs), task)
        self.filters = filters
        if encoder_weights is not None:
            load_bgr_encoder(self, keras.applications.VGG16, encoder_weights)

    def architecture(self) -> dict[str, Any]:
        return {**super().architecture(), "filters": self.filters}

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "filters": self.filters}


def _bilinear(factor, num_classes):
    """Kernel of a transposed convolution that enlarges each class by itself."""
    ramp = 1 - np.abs(np.arange(2 * factor) - factor + 0.5) / factor
    return np.outer(ramp, ramp)[..., np.newaxis, np.newaxis] * np.eye(num_classes)
