import keras
from keras import layers, ops

from keras_pamunet.layers.conv2d import Conv2D
from keras_pamunet.layers.conv2d_transpose import Conv2DTranspose
from keras_pamunet.layers.depthwise_conv2d import DepthwiseConv2D


@keras.saving.register_keras_serializable(package="keras_pamunet")
class InvertedResidual(layers.Layer):
    """Inverted residual block, the "IR block" of PAM-UNet (Fig. 2a).

    A 1x1 convolution expands the channels, a 3x3 depthwise convolution works on
    them, a linear 1x1 convolution projects them. Each is followed by batch
    normalisation, the first two by ReLU6. The input is added where shapes agree.

    Args:
        filters: number of output channels.
        strides: of the depthwise convolution; 1 or 2.
        expansion: expanded channels as a multiple of the input's. With 1 there is
            no expanding convolution.
        transpose: if `True`, a transposed convolution takes the place of the
            depthwise one, and `strides` enlarges instead of reducing.
        batch_norm_momentum: momentum of the moving statistics.

    Attributes:
        folds: whether, where nothing is trained, the kernels do the scaling of the
            normalisation. If not, each layer of the block is called.

    Input shape:
        `(batch, height, width, channels)`.

    Output shape:
        `(batch, ceil(height / strides), ceil(width / strides), filters)`, or
        `(batch, height * strides, width * strides, filters)` if `transpose`.

    Raises:
        ValueError: for strides other than 1 and 2, or filters or expansion below 1.

    Example:

    >>> block = keras_pamunet.layers.InvertedResidual(16, strides=2)
    >>> keras.ops.shape(block(keras.ops.ones((1, 8, 8, 4))))
    (1, 4, 4, 16)

    Reference:
        - MobileNetV2, arXiv 1801.04381.
        - PAM-UNet, arXiv 2405.01503, section III-A.
    """

    def __init__(
        self,
        filters: int,
        strides: int = 1,
        expansion: int = 6,
        transpose: bool = False,
        batch_norm_momentum: float = 0.9,
        **kwargs,
    ):
        super().__init__(**kwargs)
        for name, value in (("filters", filters), ("expansion", expansion)):
            if not (isinstance(value, int) and value > 0):
                raise ValueError(
                    f"Invalid value for argument `{name}`. Expected a positive "
                    f"integer. Received: {name}={value!r}"
                )
        if strides not in (1, 2):
            raise ValueError(
                "Invalid value for argument `strides`. Expected 1 or 2. "
                f"Received: strides={strides!r}"
            )
        self.filters = filters
        self.strides = strides
        self.expansion = expansion
        self.transpose = transpose
        self.batch_norm_momentum = batch_norm_momentum
        self.folds = True

    def build(self, input_shape):
        channels = input_shape[-1]
        hidden = channels * self.expansion
        self.residual = self.strides == 1 and channels == self.filters
        policy = self.dtype_policy
        conv = {"use_bias": False, "data_format": "channels_last", "dtype": policy}
        if self.transpose:
            spatial = Conv2DTranspose(
                hidden, 3, self.strides, padding="same", name="deconvolution", **conv
            )
        else:
            spatial = DepthwiseConv2D(
                3, self.strides, padding="same", name="depthwise", **conv
            )
        expand = [
            Conv2D(hidden, 1, name="expand", **conv),
            self._batch_norm("expand_bn"),
            layers.ReLU(6.0, dtype=policy),
        ]
        self.steps = [
            *(expand if self.expansion > 1 else []),
            spatial,
            self._batch_norm(f"{spatial.name}_bn"),
            layers.ReLU(6.0, dtype=policy),
            Conv2D(self.filters, 1, name="project", **conv),
            self._batch_norm("project_bn"),
        ]
        shape = input_shape
        for step in self.steps:
            step.build(shape)
            shape = step.compute_output_shape(shape)

    def _batch_norm(self, name):
        return layers.BatchNormalization(
            epsilon=1e-3,
            momentum=self.batch_norm_momentum,
            dtype=self.dtype_policy,
            name=name,
        )

    def call(self, inputs, training=None):
        # Half precision is too coarse for a kernel that is scaled.
        fold = self.folds and not training and self.compute_dtype == "float32"
        outputs = inputs
        # Convolution, normalisation and, but for the last, ReLU6.
        for start in range(0, len(self.steps), 3):
            conv, norm, *relu = self.steps[start : start + 3]
            if fold:
                outputs = _normalized(conv, norm, outputs)
            else:
                outputs = norm(conv(outputs), training=training)
            for activation in relu:
                outputs = activation(outputs)
        return inputs + outputs if self.residual else outputs

    def compute_output_shape(self, input_shape):
        batch, *size, _ = input_shape
        if self.transpose:
            size = [side and side * self.strides for side in size]
        else:
            size = [side and -(-side // self.strides) for side in size]
        return (batch, *size, self.filters)

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "strides": self.strides,
            "expansion": self.expansion,
            "transpose": self.transpose,
            "batch_norm_momentum": self.batch_norm_momentum,
        }


def _normalized(conv, norm, inputs):
    """What a convolution and its normalisation give at inference.

    The kernel is scaled in place of the outputs, which are far more.
    """
    scale = norm.gamma * ops.rsqrt(norm.moving_variance + norm.epsilon)
    shift = norm.beta - norm.moving_mean * scale
    if not isinstance(conv, Conv2D):  # Their kernels have the outputs on axis -2.
        scale = scale[:, None]
    return conv.convolution_op(inputs, conv.kernel * scale) + shift
