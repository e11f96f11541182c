from collections.abc import Sequence
from typing import Any

import keras

from keras_pamunet.models.arguments import MAX_CHANNELS, to_integer
from keras_pamunet.models.blocks import Blocks
from keras_pamunet.models.hrnet_v2 import hrnet_v2
from keras_pamunet.models.segmenter import Segmenter
from keras_pamunet.models.task import Task


@keras.saving.register_keras_serializable(package="keras_pamunet")
class HRNet(Segmenter):
    """HRNetV2: branches of several sizes side by side, which exchange features.

    All branches, see `keras_pamunet.models.hrnet_v2`, are enlarged to 1/4 of the image
    (bilinear) and joined; a 1x1 convolution with batch normalisation and ReLU mixes
    them, another makes the logits, which are enlarged four times.

    Args:
        input_shape: see `PAMUNet`.
        num_classes: see `PAMUNet`.
        width: channels of the finest branch, 18 and 48 in the paper's HRNetV2-W18 and
            HRNetV2-W48.
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

    >>> model = keras_pamunet.models.HRNet(input_shape=(128, 128, 3))
    >>> model.output_shape
    (None, 128, 128, 1)

    Reference:
        - HRNetV2, arXiv 1908.07919, Figs. 2, 3 and 4b and section 3.
    """

    network = "hrnet"
    has_encoder_weights = False
    search_space = {"width": lambda hp, name: hp.Choice(name, [18, 32, 48], default=18)}

    def __init__(
        self,
        input_shape: tuple[int | None, int | None, int] = (128, 128, 3),
        num_classes: int = 1,
        width: int = 18,
        masks: str = "exclusive",
        class_names: Sequence[str] | None = None,
        input_range: tuple[float, float] = (0, 255),
        mirror_axes: Sequence[int] = (1, 2),
        batch_norm_momentum: float = 0.9,
        name: str = "hrnet",
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
        width = to_integer("width", width, MAX_CHANNELS // 8)

        # === Functional model ===
        inputs, x = task.prepare()
        x, *coarser = hrnet_v2(blocks, x, width)
        for level, branch in enumerate(coarser, 1):
            branch = blocks.enlarge(branch, 2**level, f"up_{level}")
            x = blocks.join(x, branch)
        x = blocks.conv_norm_relu(x, x.shape[-1], 1, use_bias=True, name="joined")
        x = blocks.logits(x, task.num_classes, 1)
        logits = blocks.enlarge(x, 4, "up_logits", dtype="float32")
        super().__init__(inputs, task.head(logits, inputs), task)
        self.width = width

    def architecture(self) -> dict[str, Any]:
        return {**super().architecture(), "width": self.width}

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "width": self.width}
