from collections.abc import Sequence
from typing import Any

import keras

from keras_pamunet.models.arguments import MAX_CHANNELS, to_integer
from keras_pamunet.models.blocks import Blocks
from keras_pamunet.models.segmenter import Segmenter
from keras_pamunet.models.task import Task

LEVELS = 4


@keras.saving.register_keras_serializable(package="keras_pamunet")
class ResUNet(Segmenter):
    """Deep Residual U-Net: a U-Net of residual units with full pre-activation.

    A unit is twice batch normalisation, ReLU and a 3x3 convolution, beside which a 1x1
    convolution leads from its input to the sum. The first one has no normalisation at
    its beginning. Four levels; strides of 2 lead down, doubling (nearest pixel) and
    joining the skip lead up.

    Args:
        input_shape: see `PAMUNet`.
        num_classes: see `PAMUNet`.
        filters: channels of the finest level; each level below has twice as many.
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

    >>> model = keras_pamunet.models.ResUNet(input_shape=(128, 128, 3))
    >>> model.output_shape
    (None, 128, 128, 1)

    Reference:
        - Road Extraction by Deep Residual U-Net (Zhang et al.), arXiv 1711.10684,
          table I and Figs. 1b and 2; eq. 1 is the unit.
    """

    network = "res_unet"
    has_encoder_weights = False
    search_space = {
        "filters": lambda hp, name: hp.Choice(name, [16, 32, 64], default=64)
    }

    def __init__(
        self,
        input_shape: tuple[int | None, int | None, int] = (128, 128, 3),
        num_classes: int = 1,
        filters: int = 64,
        masks: str = "exclusive",
        class_names: Sequence[str] | None = None,
        input_range: tuple[float, float] = (0, 255),
        mirror_axes: Sequence[int] = (1, 2),
        batch_norm_momentum: float = 0.9,
        name: str = "res_unet",
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
            batch_norm_momentum=batch_norm_momentum,
            name=name,
            trainable=trainable,
            dtype=dtype,
        )
        blocks = Blocks(task.dtype, batch_norm_momentum)
        filters = to_integer("filters", filters, MAX_CHANNELS // 8)

        def unit(x, channels, strides, name, activated=True):
            conv = {"filters": channels, "use_bias": True}
            shortcut = blocks.conv(
                x, kernel_size=1, strides=strides, name=f"{name}_shortcut", **conv
            )
            if activated:
                x = blocks.relu(blocks.norm(x, f"{name}_0_bn"))
            x = blocks.conv(x, kernel_size=3, strides=strides, name=f"{name}_0", **conv)
            x = blocks.relu(blocks.norm(x, f"{name}_1_bn"))
            x = blocks.conv(x, kernel_size=3, name=f"{name}_1", **conv)
            return blocks.add(x, shortcut)

        # === Functional model ===
        inputs, x = task.prepare()
        skips: list[Any] = []
        for level in range(LEVELS):
            if level:
                skips.append(x)
            strides = 2 if level else 1
            x = unit(x, filters * 2**level, strides, f"encoder_{level}", bool(level))
        for level, skip in reversed(list(enumerate(skips))):
            x = blocks.join(blocks.repeat(x, f"up_{level}"), skip)
            x = unit(x, filters * 2**level, 1, f"decoder_{level}")
        logits = blocks.logits(x, task.num_classes, 1)
        super().__init__(inputs, task.head(logits, inputs), task)
        self.filters = filters

    def architecture(self) -> dict[str, Any]:
        return {**super().architecture(), "filters": self.filters}

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "filters": self.filters}
