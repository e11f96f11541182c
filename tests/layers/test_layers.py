"""Every layer in Keras' own layer test, and against an independent formula."""

import keras
import numpy as np
import pytest
from keras import ops
from keras.src import testing

from keras_pamunet import layers
from keras_pamunet.regularizers import AttentionVariance
from tests.helpers import gradients
from tests.ops.test_luong_attention import formula


class LayerTest(testing.TestCase):
    def test_inverted_residual(self):
        for arguments, shape, trainable in (
            ({"filters": 4}, (2, 8, 6, 4), 9),
            ({"filters": 6, "strides": 2}, (2, 4, 3, 6), 9),
            ({"filters": 6, "expansion": 1}, (2, 8, 6, 6), 6),
            ({"filters": 6, "strides": 2, "transpose": True}, (2, 16, 12, 6), 9),
        ):
            self.run_layer_test(
                layers.InvertedResidual,
                init_kwargs=arguments,
                input_shape=(2, 8, 6, 4),
                expected_output_shape=shape,
                expected_num_trainable_weights=trainable,
                expected_num_non_trainable_weights=trainable * 2 // 3,
                run_mixed_precision_check=False,
            )

    def test_mbconv(self):
        self.run_layer_test(
            layers.MBConv,
            init_kwargs={"filters": 6, "repeats": 2, "strides": 2, "expansion": 2},
            input_shape=(2, 7, 8, 4),
            expected_output_shape=(2, 4, 4, 6),
            expected_num_trainable_weights=18,
            expected_num_non_trainable_weights=12,
            run_mixed_precision_check=False,
        )

    def test_depthwise_conv(self):
        self.run_layer_test(
            layers.DepthwiseConv2D,
            init_kwargs={"kernel_size": 3, "strides": 2, "padding": "same"},
            input_shape=(2, 7, 8, 4),
            expected_output_shape=(2, 4, 4, 4),
            expected_num_trainable_weights=2,
        )

    def test_conv(self):
        self.run_layer_test(
            layers.Conv2D,
            init_kwargs={"filters": 5, "kernel_size": 1},
            input_shape=(2, 7, 8, 4),
            expected_output_shape=(2, 7, 8, 5),
            expected_num_trainable_weights=2,
        )

    def test_bilinear_up_sampling(self):
        self.run_layer_test(
            layers.BilinearUpSampling2D,
            init_kwargs={"factor": 3},
            input_shape=(2, 4, 5, 3),
            expected_output_shape=(2, 12, 15, 3),
            run_training_check=False,  # It has nothing to train.
        )

    def test_conv_transpose(self):
        self.run_layer_test(
            layers.Conv2DTranspose,
            init_kwargs={
                "filters": 5,
                "kernel_size": 3,
                "strides": 2,
                "padding": "same",
            },
            input_shape=(2, 7, 8, 4),
            expected_output_shape=(2, 14, 16, 5),
            expected_num_trainable_weights=2,
        )

    def test_progressive_luong_attention(self):
        self.run_layer_test(
            layers.ProgressiveLuongAttention,
            init_kwargs={"attention_regularizer": AttentionVariance(0.1)},
            input_shape={"skip_shape": (2, 4, 4, 6), "gate_shape": (2, 4, 4, 3)},
            expected_output_shape=(2, 4, 4, 6),
            expected_num_trainable_weights=7,
            expected_num_losses=1,
            run_training_check=False,
        )

    def test_additive_attention(self):
        self.run_layer_test(
            layers.AdditiveAttention,
            init_kwargs={"attention_regularizer": AttentionVariance(0.1)},
            input_shape={"skip_shape": (2, 4, 4, 6), "gate_shape": (2, 4, 4, 3)},
            expected_output_shape=(2, 4, 4, 6),
            expected_num_trainable_weights=5,
            expected_num_losses=1,
            run_training_check=False,
        )

    def test_pad_to_multiple(self):
        self.run_layer_test(
            layers.PadToMultiple,
            init_kwargs={"multiple": 8},
            input_shape=(2, 9, 16, 3),
            expected_output_shape=(2, 16, 16, 3),
            run_training_check=False,  # It has nothing to train.
        )

    def test_crop_like(self):
        self.run_layer_test(
            layers.CropLike,
            init_kwargs={},
            input_shape={"inputs_shape": (2, 8, 8, 3), "reference_shape": (2, 5, 7, 1)},
            expected_output_shape=(2, 5, 7, 3),
            run_training_check=False,
        )


def same_as_keras(rng, name, *arguments):
    ours = getattr(layers, name)(*arguments, bias_initializer="uniform")
    theirs = getattr(keras.layers, name)(*arguments)
    for layer in (ours, theirs):
        layer.build((None, None, None, 3))
    theirs.set_weights(ours.get_weights())
    images = rng.normal(size=(2, 7, 12, 3)).astype("float32")
    weight = rng.normal(size=theirs(images).shape).astype("float32")

    def slopes(layer):
        def total(images, *weights):
            return ops.sum(layer.stateless_call(weights, [], images)[0] * weight)

        return gradients(total, images, *layer.get_weights())[1]

    np.testing.assert_allclose(ours(images), theirs(images), atol=1e-5)
    for result, expected in zip(slopes(ours), slopes(theirs)):
        np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kernel_size", [3, 5])
@pytest.mark.parametrize("strides", [1, 2])
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_depthwise_conv_equals_keras(rng, kernel_size, strides, padding):
    same_as_keras(rng, "DepthwiseConv2D", kernel_size, strides, padding)


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("dilation_rate", [2, 3, (2, 5), (12, 9)])
def test_dilated_depthwise_conv_equals_keras(rng, padding, dilation_rate):
    """Of the last rate, with images of 7 x 12, the kernel's middle sees all."""
    kernel_size = 3 if padding == "same" else 2
    if padding == "valid" and dilation_rate == (12, 9):
        dilation_rate = (6, 9)  # The image must hold the kernel.
    more = (1, None, dilation_rate)
    same_as_keras(rng, "DepthwiseConv2D", kernel_size, 1, padding, *more)


@pytest.mark.parametrize("arguments", [(1,), (1, 2), (3, 1, "same")])
def test_conv_equals_keras(rng, arguments):
    same_as_keras(rng, "Conv2D", 4, *arguments)


@pytest.mark.parametrize("factor", [2, 4])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_bilinear_up_sampling_equals_keras(rng, factor, dtype):
    images = ops.cast(rng.normal(size=(2, 3, 5, 4)), dtype)
    theirs = keras.layers.UpSampling2D(
        factor, data_format="channels_last", interpolation="bilinear", dtype=dtype
    )
    found = layers.BilinearUpSampling2D(factor, dtype=dtype)(images)
    assert keras.backend.standardize_dtype(found.dtype) == dtype
    np.testing.assert_allclose(
        ops.cast(found, "float32"),
        ops.cast(theirs(images), "float32"),
        atol=1e-5 if dtype == "float32" else 0.02,
    )


@pytest.mark.parametrize("kernel_size", [2, 3, 5])
@pytest.mark.parametrize(
    ("strides", "padding"), [(1, "same"), (2, "same"), (3, "same"), (2, "valid")]
)
def test_conv_transpose_equals_keras(rng, kernel_size, strides, padding):
    same_as_keras(rng, "Conv2DTranspose", 4, kernel_size, strides, padding)


def attention(rng, **arguments):
    layer = layers.ProgressiveLuongAttention(**arguments)
    skip = rng.normal(size=(2, 4, 5, 6)).astype("float32")
    gate = rng.normal(size=(2, 3, 5, 7)).astype("float32")
    layer.build(skip.shape, gate.shape)
    layer.set_weights([rng.normal(size=w.shape) for w in layer.weights])
    return layer, skip, gate


@pytest.mark.parametrize("key_stride", [1, 2, 3])
@pytest.mark.parametrize(
    "score_activation", ["sigmoid", "softmax", "sigmoid_log_n", "first_order"]
)
def test_attention_formula(rng, score_activation, key_stride):
    regularizer = AttentionVariance(0.3)
    layer, skip, gate = attention(
        rng,
        score_activation=score_activation,
        attention_regularizer=regularizer,
        key_stride=key_stride,
    )

    def project(projection, features):
        kernel, bias = projection.get_weights()
        return (features @ kernel[0, 0] + bias).reshape(2, -1, 6)

    # Averages of the squares of 3 x 5 pixels, those at the edge cut off by it.
    averages = [
        gate[:, row : row + key_stride, column : column + key_stride].mean((1, 2))
        for row in range(0, 3, key_stride)
        for column in range(0, 5, key_stride)
    ]
    averages = np.stack(averages, axis=1)[:, None]
    scores, context, variance = formula(
        project(layer.query, skip),
        project(layer.key, averages),
        project(layer.value, averages),
        score_activation,
    )
    divided = score_activation in ("sigmoid", "first_order")
    keys = len(averages[0, 0]) if divided else 1
    expected = skip + float(layer.gamma) * context.reshape(skip.shape) / keys
    gated, ours = layer(skip, gate, return_attention_scores=True)
    exact = 1e-6 if score_activation == "first_order" else 1e-5
    np.testing.assert_allclose(gated, expected, atol=exact * abs(expected).max())
    np.testing.assert_allclose(ours, scores, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(layer.losses[0], 0.3 * variance.mean(), rtol=1e-4)


def test_additive_attention_formula(rng):
    layer = layers.AdditiveAttention(AttentionVariance(0.3))
    skip = rng.normal(size=(2, 4, 5, 6)).astype("float32")
    gate = rng.normal(size=(2, 4, 5, 7)).astype("float32")
    layer.build(skip.shape, gate.shape)
    layer.set_weights([rng.normal(size=w.shape) for w in layer.weights])
    of_skip, of_gate, gate_bias, psi, psi_bias = layer.get_weights()
    hidden = skip @ of_skip[0, 0] + gate @ of_gate[0, 0] + gate_bias
    expected = 1 / (1 + np.exp(-np.maximum(hidden, 0) @ psi[0, 0] - psi_bias))
    gated, coefficients = layer(skip, gate, return_attention_scores=True)
    np.testing.assert_allclose(coefficients, expected, rtol=1e-4)
    np.testing.assert_allclose(gated, skip * expected, rtol=1e-4, atol=1e-5)
    variance = expected.var(axis=(1, 2, 3)).mean()
    np.testing.assert_allclose(layer.losses[0], 0.3 * variance, rtol=1e-4)


def test_additive_attention_needs_one_size():
    with pytest.raises(ValueError, match=r"Received: .*\(1, 4, 4, 2\)"):
        layers.AdditiveAttention()(ops.ones((1, 8, 8, 2)), ops.ones((1, 4, 4, 2)))


def test_attention_of_many_keys_in_half_precision():
    layer = layers.ProgressiveLuongAttention(dtype="mixed_float16")
    skip, gate = np.ones((1, 1, 1, 2), "float16"), np.ones((1, 64, 64, 2), "float16")
    layer.build(skip.shape, gate.shape)
    layer.set_weights([np.full(w.shape, 20) for w in layer.weights])
    # The scores are 1, the values 20 + 20 + 20, and gamma 20.
    np.testing.assert_allclose(layer(skip, gate), 1 + 20 * 60, rtol=1e-3)


def test_first_order_attention_in_half_precision():
    layer = layers.ProgressiveLuongAttention("first_order", dtype="mixed_float16")
    skip, gate = np.ones((1, 1, 1, 2), "float16"), np.ones((1, 64, 64, 2), "float16")
    layer.build(skip.shape, gate.shape)
    layer.set_weights([np.full(w.shape, 0.5) for w in layer.weights])
    layer.value.set_weights([np.full(w.shape, 20) for w in layer.value.weights])
    # Queries and keys are 1.5, the scores 1/2 + 2 * 2.25 / sqrt(2) / 4, gamma 1/2.
    expected = 1 + 60 * (0.5 + 2 * 2.25 / 2**0.5 / 4) / 2
    np.testing.assert_allclose(layer(skip, gate), expected, rtol=1e-3)


def test_attention_starts_as_identity(rng):
    layer = layers.ProgressiveLuongAttention()
    skip = rng.normal(size=(1, 4, 4, 3)).astype("float32")
    np.testing.assert_array_equal(layer(skip, skip), skip)


def test_pad_and_crop(rng):
    images = rng.normal(size=(2, 17, 40, 3)).astype("float32")
    padded = layers.PadToMultiple(32)(images)
    expected = np.pad(images, [(0, 0), (0, 15), (0, 24), (0, 0)], mode="reflect")
    np.testing.assert_array_equal(padded, expected)
    np.testing.assert_array_equal(layers.CropLike()(padded, images), images)


def test_pad_needs_enough_pixels():
    with pytest.raises(ValueError, match="at least 17 x 17 pixels. Received: 16 x 40"):
        layers.PadToMultiple(32)(ops.ones((1, 16, 40, 3)))


@pytest.mark.parametrize(
    "arguments",
    [
        {"filters": 4},
        {"filters": 6, "strides": 2},
        {"filters": 6, "strides": 2, "transpose": True},
        {"filters": 6, "expansion": 1},
    ],
)
def test_inverted_residual_equals_its_layers_one_by_one(arguments):
    random = np.random.default_rng(0)
    images = random.normal(size=(2, 8, 6, 4)).astype("float32")
    block = layers.InvertedResidual(**arguments)
    block.build(images.shape)
    for weight in block.weights:
        weight.assign(random.uniform(0.2, 0.9, weight.shape))
    found = ops.convert_to_numpy(block(images, training=False))

    expected = images
    for layer in block.steps:
        expected = layer(expected)
    expected = ops.convert_to_numpy(expected) + (images if block.residual else 0)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("layer", "arguments", "message"),
    [
        (layers.InvertedResidual, {"filters": 0}, "`filters`.*Received: filters=0"),
        (layers.InvertedResidual, {"filters": 4, "strides": 3}, "strides=3"),
        (layers.InvertedResidual, {"filters": 4, "expansion": 0.5}, "expansion=0.5"),
        (layers.MBConv, {"filters": 4, "repeats": 0}, "repeats=0"),
        (layers.ProgressiveLuongAttention, {"key_stride": 0}, "key_stride=0"),
    ],
)
def test_arguments(layer, arguments, message):
    with pytest.raises(ValueError, match=message):
        layer(**arguments)
