"""Multiply-adds against what the back ends count themselves."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_pamunet import PAMUNet
from keras_pamunet.analysis.complexity import count, macs
from keras_pamunet.layers import InvertedResidual, ProgressiveLuongAttention


def counted_by_back_end(model):
    """FLOPs of a prediction, by XLA's cost analysis or TensorFlow's profiler.

    Neither sees how often a loop turns, so not that of block-wise attention.
    """
    shape = (1, *model.input_shape[1:])
    if keras.backend.backend() == "jax":
        import jax

        predict = jax.jit(lambda x: model(x, training=False))
        return predict.lower(np.zeros(shape, "float32")).cost_analysis()["flops"]
    import tensorflow as tf

    predict = tf.function(lambda x: model(x, training=False))
    graph = predict.get_concrete_function(tf.TensorSpec(shape)).graph
    builder = tf.compat.v1.profiler.ProfileOptionBuilder
    options = builder(builder.float_operation()).with_empty_output().build()
    return tf.compat.v1.profiler.profile(graph, options=options).total_float_ops


def every_kind():
    """Without padding and biases, of which the back ends have their own views."""
    plain = {"use_bias": False}
    return keras.Sequential(
        [
            keras.Input((30, 28, 8)),
            layers.Conv2D(32, 3, **plain),
            layers.Conv2D(64, (3, 2), 2, **plain),
            layers.SeparableConv2D(64, 3, depth_multiplier=2, **plain),
            layers.DepthwiseConv2D(3, **plain),
            layers.Dense(16, **plain),
            layers.Flatten(),
            layers.Dense(8, **plain),
        ]
    )


def transposed():
    return keras.Sequential(
        [
            keras.Input((6, 7, 8)),
            layers.Conv2DTranspose(16, 2, 2, use_bias=False),
            layers.Conv2DTranspose(8, 4, 4, use_bias=False),
        ]
    )


def vgg():
    if keras.backend.backend() == "jax":
        pytest.skip("XLA leaves out the products with padding")
    return keras.applications.VGG16(
        include_top=False, weights=None, input_shape=(32, 32, 3)
    )


@pytest.mark.parametrize("network", [every_kind, transposed, vgg])
def test_as_the_back_end_counts(network):
    model = network()
    np.testing.assert_allclose(
        count(model)["flops"], counted_by_back_end(model), rtol=0.01
    )


@pytest.mark.parametrize(
    ("layer", "shape", "expected"),
    [
        (layers.Conv1D(5, 3, padding="same"), (8, 4), 8 * 3 * 4 * 5),
        (layers.Conv2D(6, 3, groups=2), (5, 6, 4), 3 * 4 * 9 * 2 * 6),
        (layers.Conv2D(6, 3, dilation_rate=2), (5, 6, 4), 1 * 2 * 9 * 4 * 6),
        (layers.Conv3D(5, 3), (5, 6, 7, 2), 3 * 4 * 5 * 27 * 2 * 5),
        (layers.DepthwiseConv1D(3, depth_multiplier=2), (8, 4), 6 * 3 * 8),
        (layers.SeparableConv1D(5, 3), (8, 4), 6 * (3 * 4 + 4 * 5)),
        (layers.Conv1DTranspose(5, 3, 2), (8, 4), 8 * 3 * 4 * 5),
        (layers.Conv3DTranspose(5, 2, 2), (2, 3, 4, 6), 24 * 8 * 6 * 5),
        (layers.Dense(5), (8, 4), 8 * 4 * 5),
        (layers.LayerNormalization(), (8, 4), 0),
        (layers.Embedding(10, 4), (8,), 0),
        (InvertedResidual(6, 2), (8, 8, 4), 64 * 4 * 24 + 16 * 24 * (9 + 6)),
    ],
    ids=lambda x: type(x).__name__ if isinstance(x, layers.Layer) else None,
)
def test_layers(layer, shape, expected):
    counts = count(keras.Sequential([keras.Input(shape), layer]))
    assert counts["macs"] == expected
    assert counts["flops"] == 2 * expected
    assert counts["parameters"] == sum(np.prod(w.shape) for w in layer.weights)


@pytest.mark.parametrize(
    ("layer", "shapes", "expected"),
    [
        (layers.Attention(), [(6, 4), (8, 4)], 6 * 8 * 4 * 2),
        (layers.Attention(True), [(6, 4), (8, 5), (8, 4)], 6 * 8 * (4 + 5)),
        (layers.AdditiveAttention(), [(6, 4), (8, 4)], 6 * 8 * 4 * 2),
        (layers.Dot((2, 1)), [(6, 4), (4, 8)], 6 * 4 * 8),
        (layers.Dot(1), [(6,), (6,)], 6),
    ],
    ids=lambda x: type(x).__name__ if isinstance(x, layers.Layer) else None,
)
def test_products(layer, shapes, expected):
    inputs = [keras.Input(shape) for shape in shapes]
    assert count(keras.Model(inputs, layer(inputs)))["macs"] == expected


def test_images_of_any_size():
    counts = count(PAMUNet((None, None, 3)), (128, 128, 3))
    assert counts["macs"] == 243_083_776
    assert sum(row["macs"] for row in counts["layers"]) == counts["macs"]


def test_key_stride():
    total = 235_296_768
    for pixels, channels in (64**2, 16), (32**2, 24), (16**2, 32), (8**2, 96):
        keys = pixels // 4
        total += 2 * pixels * keys * channels + (pixels + 2 * keys) * channels**2
    model = PAMUNet(score_activation="sigmoid", key_stride=2)
    assert count(model)["macs"] == total


def gate(score_activation, key_stride=1):
    """A gate of 128 channels, beside whose products all else is little."""
    inputs = keras.Input((16, 24, 128))
    layer = ProgressiveLuongAttention(score_activation, key_stride=key_stride)
    return keras.Model(inputs, layer(inputs, inputs))


@pytest.mark.parametrize("key_stride", [1, 2])
def test_first_order_attention(key_stride):
    pixels, keys = 16 * 24, 16 * 24 // key_stride**2
    counts = count(gate("first_order", key_stride))
    assert counts["macs"] == (pixels + keys) * 128**2 + 3 * 128**3


@pytest.mark.skipif(
    keras.backend.backend() != "jax",
    reason="TensorFlow counts the variance, too, which prediction does not compute",
)
def test_first_order_attention_as_the_back_end_counts():
    model = gate("first_order")
    np.testing.assert_allclose(
        count(model)["flops"], counted_by_back_end(model), rtol=0.02
    )


def test_nested_and_shared():
    inner = keras.Sequential([keras.Input((None, None, 4)), layers.Conv2D(4, 1)])
    shared = layers.Conv2D(4, 1)
    inputs = keras.Input((6, 6, 4))
    x = inner(shared(inner(inputs)))
    x = layers.Concatenate()([shared(x), keras.ops.square(inputs)])
    model = keras.Model(inputs, x)
    one = 36 * 16
    counts = count(model)
    rows = {row["name"]: row for row in counts["layers"]}
    assert rows[inner.name]["macs"] == rows[shared.name]["macs"] == 2 * one
    assert counts["macs"] == 4 * one
    assert counts["parameters"] == model.count_params() == 40
    assert len(shared._inbound_nodes) == 2  # The model is as it was.


class Scale(layers.Layer):
    def build(self, shape):
        self.scale = self.add_weight(shape=shape[-1:])

    def call(self, inputs):
        return inputs * self.scale


class Registered(Scale):
    pass


@macs.register
def _(layer: Registered, inputs):
    return int(np.prod(inputs.shape[1:]))


def test_own_layers():
    model = keras.Sequential([keras.Input((5, 4)), Registered()])
    assert count(model)["macs"] == 20
    model = keras.Sequential([keras.Input((5, 4)), Scale(name="mine")])
    with pytest.raises(ValueError, match="'mine', a Scale with weights"):
        count(model)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (None, r"`input_shape`, such as .*Received: \[\(None, None, 3\)\]"),
        ((32, 32, 1), r"fits .*\(None, None, 3\).*Received: .*\(32, 32, 1\)"),
        ((32, 32), "fits"),
    ],
)
def test_sizes(shape, message):
    model = keras.Sequential([keras.Input((None, None, 3)), layers.Conv2D(2, 3)])
    with pytest.raises(ValueError, match=message):
        count(model, shape)


def test_needs_a_graph():
    with pytest.raises(ValueError, match="functional or sequential"):
        count(keras.Sequential([layers.Dense(2)]))
