from typing import Any

import keras
from keras import ops

from keras_pamunet.layers.conv2d import Conv2D


@keras.saving.register_keras_serializable(package="keras_pamunet")
class AdditiveAttention(keras.layers.Layer):
    """Gate of a skip connection: one coefficient a pixel, from skip and decoder.

    With 1x1 convolutions W to half the skip's channels and psi to one,

        coefficients = sigmoid(psi(relu(W_x skip + W_g gate)))
        output = coefficients * skip

    Pixels do not look at each other, so the cost grows with the image's pixels and
    not with their square.

    Args:
        attention_regularizer: called with the variance of each image's coefficients
            (shape `(batch,)`); its result is added to the loss, as by
            `ProgressiveLuongAttention`.

    Call arguments:
        skip: the features to weigh.
        gate: the decoder's features, of the skip's height and width.
        return_attention_scores: if `True`, the coefficients are returned, too.

    Input shape:
        `skip`: `(batch, height, width, channels)`;
        `gate`: `(batch, height, width, gate_channels)`.

    Output shape:
        That of `skip`, and with `return_attention_scores=True` also
        `(batch, height, width, 1)`.

    Raises:
        ValueError: if skip and gate differ in height or width.

    Example:

    >>> layer = keras_pamunet.layers.AdditiveAttention()
    >>> outputs = layer(keras.ops.ones((1, 8, 8, 16)), keras.ops.ones((1, 8, 8, 32)))
    >>> keras.ops.shape(outputs)
    (1, 8, 8, 16)

    Reference:
        - Attention U-Net (Oktay et al. 2018), arXiv 1804.03999, eqs. 1-2. There the
          gate is coarser than the skip, here the decoder has enlarged it before.
    """

    def __init__(self, attention_regularizer: Any = None, **kwargs):
        super().__init__(**kwargs)
        self.attention_regularizer = keras.regularizers.get(attention_regularizer)

    def build(self, skip_shape, gate_shape):
        if tuple(skip_shape[1:3]) != tuple(gate_shape[1:3]):
            raise ValueError(
                "Expected a gate of the skip's height and width. Received: "
                f"skip_shape={skip_shape}, gate_shape={gate_shape}"
            )
        hidden = max(skip_shape[-1] // 2, 1)
        conv = {
            "kernel_size": 1,
            "data_format": "channels_last",
            "dtype": self.dtype_policy,
        }
        # The paper's biases: one for the sum of the two, one for psi.
        self.skip_projection = Conv2D(hidden, use_bias=False, name="skip", **conv)
        self.gate_projection = Conv2D(hidden, name="gate", **conv)
        self.psi = Conv2D(1, name="psi", **conv)
        self.skip_projection.build(skip_shape)
        self.gate_projection.build(gate_shape)
        self.psi.build((*skip_shape[:-1], hidden))

    def call(self, skip, gate, return_attention_scores=False):
        hidden = ops.relu(self.skip_projection(skip) + self.gate_projection(gate))
        coefficients = ops.sigmoid(self.psi(hidden))
        if self.attention_regularizer is not None:
            variance = ops.var(ops.cast(coefficients, "float32"), axis=(1, 2, 3))
            self.add_loss(self.attention_regularizer(variance))
        if return_attention_scores:
            return coefficients * skip, coefficients
        return coefficients * skip

    def compute_output_shape(self, skip_shape, gate_shape):
        return skip_shape

    def get_config(self):
        return {
            **super().get_config(),
            "attention_regularizer": keras.regularizers.serialize(
                self.attention_regularizer
            ),
        }
