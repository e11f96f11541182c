from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from keras_pamunet.models.blocks import Blocks
from keras_pamunet.models.encoder_weights import load_bgr_encoder
from keras_pamunet.models.resnet50 import resnet50
from keras_pamunet.models.segmenter import Segmenter
from keras_pamunet.models.task import Task
from keras_pamunet.models.unet_decoder import unet_decoder


@keras.saving.register_keras_serializable(package="keras_pamunet")
class UNet(Segmenter):
    """U-Net whose encoder is ResNet50.

    Each of the decoder's five blocks doubles the size (nearest pixel), joins the
    encoder's features of that size and applies two 3x3 convolutions with batch
    normalisation and ReLU; the last has none to join. A 3x3 convolution makes the
    logits.

    Args:
        input_shape: see `PAMUNet`.
        num_classes: see `PAMUNet`.
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

    >>> model = keras_pamunet.models.UNet(input_shape=(128, 128, 3))
    >>> model.output_shape
    (None, 128, 128, 1)

    Reference:
        - U-Net, arXiv 1505.04597, Fig. 1, with the encoder of Deep Residual Learning,
          arXiv 1512.03385, table 1, and "same" convolutions. It is the `Unet` with
          `resnet50` of segmentation_models.pytorch, weight for weight.
    """

    network = "unet"

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
        name: str = "unet",
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
        *skips, x = resnet50(blocks, x)
        x = unet_decoder(blocks, skips, x)
        logits = blocks.logits(x, task.num_classes, 3)
        super().__init__(inputs, task.head(logits, inputs), task)
        if encoder_weights is not None:
            load_bgr_encoder(self, keras.applications.ResNet50, encoder_weights)
