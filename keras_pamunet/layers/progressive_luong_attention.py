from typing import Any

import keras
from keras import ops

from keras_pamunet.layers.conv2d import Conv2D
from keras_pamunet.ops import (
    attention_scores,
    check_score_activation,
    first_order_attention,
    luong_attention,
    scaled_dot_products,
)

# Scores of these are divided by the number of keys. The others sum to about 1.
DIVIDED = ("sigmoid", "double_sigmoid", "first_order")


@keras.saving.register_keras_serializable(package="keras_pamunet")
class ProgressiveLuongAttention(keras.layers.Layer):
    """Gate of a skip connection: the skip attends to the decoder's features.

    With the 1x1 convolutions Q of the skip, K and V of the gating features, and
    `A = f(Q K^T / sqrt(channels))`, the output is

        skip + gamma * A V / N

    where gamma is a learned scalar that starts at 0 and N is the number of keys.
    For `"softmax"` and `"sigmoid_log_n"`, whose scores sum to about 1 over the keys
    as they are, there is no division. `"first_order"`, `f(s) = 1/2 + s/4`, is the
    sigmoid's tangent at 0. It makes no attention map, and its time grows with the
    pixels and not with their square:

        A V = sum(V) / 2 + Q (K^T V) / (4 sqrt(channels))

    nor does it make Q, K and V, see `keras_pamunet.ops.first_order_attention`.

    Weights trained with the sigmoid may be run with it where the scores |s| stay below
    about 1; `keras_pamunet.analysis.attention_maps.gate_effects` tells.

    Args:
        score_activation: f; see `keras_pamunet.ops.attention_scores`.
        attention_regularizer: called with the variance of each image's scores
            (shape `(batch,)`); its result is added to the loss (eqs. 7-8).
            `AttentionVariance(0.01)` is the paper's.
        key_stride: the gating features are averaged over squares of this side, in
            pixels, before they make keys and values: 2 leaves a quarter of the
            attention's work. 1 is the paper's.

    Call arguments:
        skip: source of the queries.
        gate: source of the keys and values. Its height and width may differ from
            the skip's.
        return_attention_scores: if `True`, the attention map A is returned, too. It
            holds a number for every pair of pixels: use it on small images.

    Input shape:
        `skip`: `(batch, height, width, channels)`;
        `gate`: `(batch, gate_height, gate_width, gate_channels)`.

    Output shape:
        That of `skip`, and with `return_attention_scores=True` also
        `(batch, height * width, keys)`, where `keys` is
        `ceil(gate_height / key_stride) * ceil(gate_width / key_stride)`.

    Raises:
        ValueError: if `score_activation` is unknown or `key_stride` below 1.

    Example:

    >>> layer = keras_pamunet.layers.ProgressiveLuongAttention()
    >>> outputs = layer(keras.ops.ones((1, 8, 8, 16)), keras.ops.ones((1, 8, 8, 16)))
    >>> keras.ops.shape(outputs)
    (1, 8, 8, 16)

    Reference:
        - PAM-UNet, arXiv 2405.01503, Fig. 2b and eqs. 1-5. Without the division the
          output of the sigmoid would grow with the image.
        - `"first_order"`: the sigmoid's first-order Taylor polynomial, and linear
          attention, Katharopoulos et al., arXiv 2006.16236.
    """

    def __init__(
        self,
        score_activation: str = "sigmoid",
        attention_regularizer: Any = None,
        key_stride: int = 1,
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_score_activation(score_activation)
        if not (isinstance(key_stride, int) and key_stride > 0):
            raise ValueError(
                "Invalid value for argument `key_stride`. Expected a positive "
                f"integer. Received: key_stride={key_stride!r}"
            )
        self.score_activation = score_activation
        self.key_stride = key_stride
        self.attention_regularizer = keras.regularizers.get(attention_regularizer)

    def build(self, skip_shape, gate_shape):
        channels = skip_shape[-1]
        self.query, self.key, self.value = (
            Conv2D(
                channels,
                1,
                data_format="channels_last",
                dtype=self.dtype_policy,
                name=name,
            )
            for name in ("query", "key", "value")
        )
        self.query.build(skip_shape)
        self.key.build(gate_shape)
        self.value.build(gate_shape)
        self.gamma = self.add_weight(name="gamma", shape=(), initializer="zeros")

    def call(self, skip, gate, return_attention_scores=False):
        scores = self.scores(skip, gate) if return_attention_scores else None
        gate = self._pooled(gate)
        form = self._linear if self.score_activation == "first_order" else self._exact
        added, variance = form(skip, gate)
        if self.attention_regularizer is not None:
            self.add_loss(self.attention_regularizer(variance))
        gated = skip + ops.cast(added, skip.dtype)
        return (gated, scores) if return_attention_scores else gated

    def _exact(self, skip, gate):
        """What is added to the skip, and the variance of the scores."""
        query, key, value = (
            _tokens(projection)
            for projection in (self.query(skip), self.key(gate), self.value(gate))
        )
        # Float32: sums over thousands of keys overflow half precision.
        value = ops.cast(value, "float32")
        if self.score_activation in DIVIDED:
            value = value / ops.cast(ops.shape(key)[1], "float32")
        context, variance = luong_attention(query, key, value, self.score_activation)
        context = ops.cast(context, skip.dtype)
        return self.gamma * ops.reshape(context, (-1, *ops.shape(skip)[1:])), variance

    def _linear(self, skip, gate):
        """The same of first order, which is linear in the values: gamma is theirs."""
        query, key, value = (
            (projection.kernel[0, 0], projection.bias)
            for projection in (self.query, self.key, self.value)
        )
        value = [self.gamma * weight for weight in value]
        return first_order_attention(skip, gate, query, key, value)

    def scores(self, skip: Any, gate: Any) -> Any:
        """The attention map A alone, `(batch, height * width, keys)`."""
        return attention_scores(*self._query_and_key(skip, gate), self.score_activation)

    def dot_products(self, skip: Any, gate: Any) -> Any:
        """`Q K^T / sqrt(channels)`, of which f makes the attention map."""
        return scaled_dot_products(*self._query_and_key(skip, gate))

    def _query_and_key(self, skip, gate) -> tuple[Any, Any]:
        return _tokens(self.query(skip)), _tokens(self.key(self._pooled(gate)))

    def _pooled(self, gate):
        if self.key_stride == 1:
            return gate
        # The strides, though the same: Keras 3.15 under JAX fails without.
        return ops.average_pool(
            gate, self.key_stride, self.key_stride, "same", "channels_last"
        )

    def compute_output_shape(self, skip_shape, gate_shape):
        return skip_shape

    def get_config(self):
        return {
            **super().get_config(),
            "score_activation": self.score_activation,
            "attention_regularizer": keras.regularizers.serialize(
                self.attention_regularizer
            ),
            "key_stride": self.key_stride,
        }


def _tokens(features):
    _, height, width, channels = ops.shape(features)
    return ops.reshape(features, (-1, height * width, channels))
