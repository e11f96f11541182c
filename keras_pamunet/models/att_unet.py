from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from keras_pamunet.models.arguments import MAX_CHANNELS, to_integer
from keras_pamunet.models.blocks import Blocks
from keras_pamunet.models.segmenter import Segmenter
from keras_pamunet.models.task import Task

LEVELS = 5


@keras.saving.register_keras_serializable(package="keras_pamunet")
class AttUNet(Segmenter):
    """Attention U-Net: a U-Net with an additive attention gate on every skip.

    Five levels of two 3x3 convolutions with batch normalisation and ReLU, maximum
    pooling between them. On the way up the size is doubled (nearest pixel), a 3x3
    convolution halves the channels, the gate weighs the skip, and two convolutions
    follow. Of skip x and decoder's features g a gate makes
    `x * sigmoid(psi(relu(W_x(x) + W_g(g))))`, 1x1 convolutions to half of the channels
    and to one, each with batch normalisation, so g is of the skip's size.

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

    >>> model = keras_pamunet.models.AttUNet(input_shape=(128, 128, 3))
    >>> model.output_shape
    (None, 128, 128, 1)

    Reference:
        - Attention U-Net, arXiv 1804.03999, Fig. 1, eqs. 1-2 and Fig. 2, in two
          dimensions, with gates behind the enlargement and batch normalisation in
          them, as the usual implementations have it.
    """

    network = "att_unet"
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
        name: str = "att_unet",
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
        filters = to_integer("filters", filters, MAX_CHANNELS // 16)

        # The usual implementations have biases before batch normalisation, too.
        def conv(*args, name):
            return blocks.conv_norm_relu(*args, name=name, use_bias=True)

        def double_conv(x, channels, name):
            for index in range(2):
                x = conv(x, channels, 3, name=f"{name}_{index}")
            return x

        def gate(skip, x, name):
            hidden = max(skip.shape[-1] // 2, 1)
            both = [
                blocks.conv_norm(y, hidden, 1, name=f"{name}_{kind}", use_bias=True)
                for kind, y in (("skip", skip), ("gate", x))
            ]
            psi = blocks.conv_norm(
                blocks.relu(blocks.add(*both)), 1, 1, name=f"{name}_psi", use_bias=True
            )
            weights = layers.Activation("sigmoid", dtype=task.dtype)(psi)
            return layers.Multiply(dtype=task.dtype)([skip, weights])

        # === Functional model ===
        inputs, x = task.prepare()
        skips: list[Any] = []
        for level in range(LEVELS):
            if level:
                skips.append(x)
                x = blocks.halve(x)
            x = double_conv(x, filters * 2**level, f"encoder_{level}")
        for level, skip in reversed(list(enumerate(skips))):
            x = blocks.repeat(x, f"up_{level}")
            x = conv(x, filters * 2**level, 3, name=f"up_{level}_conv")
            x = blocks.join(gate(skip, x, f"gate_{level}"), x)
            x = double_conv(x, filters * 2**level, f"decoder_{level}")
        logits = blocks.logits(x, task.num_classes, 1)
        super().__init__(inputs, task.head(logits, inputs), task)
        self.filters = filters

    def architecture(self) -> dict[str, Any]:
        return {**super().architecture(), "filters": self.filters}

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "filters": self.filters}
