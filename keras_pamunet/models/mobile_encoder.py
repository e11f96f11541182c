from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from keras_pamunet.models.blocks import Blocks
from keras_pamunet.models.mobilenet_v2 import load_mobilenet_v2, mobilenet_v2
from keras_pamunet.models.segmenter import Segmenter
from keras_pamunet.models.task import Task


@keras.saving.register_keras_serializable(package="keras_pamunet")
class MobileEncoder(Segmenter):
    """MobileNetV2 alone, with one head that enlarges: no decoder and no skips.

    The encoder is that of `PAMUNet`. A 1x1 convolution makes logits of its features at
    1/32 of the image, and bilinear interpolation enlarges these. So the masks' edges
    are as smooth as a grid of 32 pixels allows: what a decoder adds shows beside it.

    Args:
        input_shape: see `PAMUNet`.
        num_classes: see `PAMUNet`.
        encoder_weights: see `PAMUNet`.
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

    >>> model = keras_pamunet.models.MobileEncoder(input_shape=(128, 128, 3))
    >>> model.output_shape
    (None, 128, 128, 1)

    Reference:
        - The head is that of FCN-32s, arXiv 1411.4038, section 4.1 and Fig. 3; the
          encoder MobileNetV2, arXiv 1801.04381, table 2.
    """

    network = "mobile_encoder"

    def __init__(
        self,
        input_shape: tuple[int | None, int | None, int] = (128, 128, 3),
        num_classes: int = 1,
        encoder_weights: str | Path | None = None,
        masks: str = "exclusive",
        class_names: Sequence[str] | None = None,
        input_range: tuple[float, float] = (0, 255),
        mirror_axes: Sequence[int] = (1, 2),
        batch_norm_momentum: float = 0.9,
        name: str = "mobile_encoder",
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

        # === Functional model ===
        inputs, x = task.prepare()
        _, x = mobilenet_v2(x, 6, batch_norm_momentum, task.dtype)
        x = blocks.logits(x, task.num_classes, 1)
        logits = blocks.enlarge(x, 32, "up_logits", dtype="float32")
        super().__init__(inputs, task.head(logits, inputs), task)
        if encoder_weights is not None:
            load_mobilenet_v2(self, encoder_weights)
