import keras

from keras_pamunet.layers.inverted_residual import InvertedResidual


@keras.saving.register_keras_serializable(package="keras_pamunet")
class MBConv(keras.layers.Layer):
    """A stage of inverted residual blocks, the first of which may reduce the size.

    Args:
        filters: number of output channels of every block.
        repeats: number of blocks.
        strides: of the first block; 1 or 2. The others have 1.
        expansion: see `InvertedResidual`.
        batch_norm_momentum: momentum of the moving statistics.

    Input shape:
        `(batch, height, width, channels)`.

    Output shape:
        `(batch, ceil(height / strides), ceil(width / strides), filters)`.

    Raises:
        ValueError: if `repeats` is below 1, or see `InvertedResidual`.

    Example:

    >>> stage = keras_pamunet.layers.MBConv(24, repeats=2, strides=2)
    >>> keras.ops.shape(stage(keras.ops.ones((1, 8, 8, 16))))
    (1, 4, 4, 24)

    Reference:
        - MobileNetV2, arXiv 1801.04381, table 2.
    """

    def __init__(
        self,
        filters: int,
        repeats: int = 1,
        strides: int = 1,
        expansion: int = 6,
        batch_norm_momentum: float = 0.9,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if not (isinstance(repeats, int) and repeats > 0):
            raise ValueError(
                "Invalid value for argument `repeats`. Expected a positive integer. "
                f"Received: repeats={repeats!r}"
            )
        self.filters = filters
        self.repeats = repeats
        self.strides = strides
        self.expansion = expansion
        self.batch_norm_momentum = batch_norm_momentum
        self.blocks = [
            InvertedResidual(
                filters,
                strides if index == 0 else 1,
                expansion,
                batch_norm_momentum=batch_norm_momentum,
                dtype=self.dtype_policy,
                name=f"block_{index}",
            )
            for index in range(repeats)
        ]

    def build(self, input_shape):
        for block in self.blocks:
            block.build(input_shape)
            input_shape = block.compute_output_shape(input_shape)

    def call(self, inputs, training=None):
        for block in self.blocks:
            inputs = block(inputs, training=training)
        return inputs

    def compute_output_shape(self, input_shape):
        for block in self.blocks:
            input_shape = block.compute_output_shape(input_shape)
        return input_shape

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "repeats": self.repeats,
            "strides": self.strides,
            "expansion": self.expansion,
            "batch_norm_momentum": self.batch_norm_momentum,
        }
