import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from keras import ops

from keras_pamunet.ops import (
    attention_scores,
    first_order_attention,
    luong_attention,
    portable_attention,
)
from keras_pamunet.ops.luong_attention import SCORE_ACTIVATIONS
from tests.helpers import gradients


def formula(query, key, value, score_activation, scale=None):
    """The paper's equations in NumPy, float64."""
    query, key, value = (x.astype("float64") for x in (query, key, value))
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    logits = scale * query @ key.transpose(0, 2, 1)

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    scores = {
        "sigmoid": lambda: sigmoid(logits),
        "double_sigmoid": lambda: sigmoid(sigmoid(logits)),
        "sigmoid_log_n": lambda: sigmoid(logits - np.log(key.shape[1])),
        "first_order": lambda: 0.5 + logits / 4,
        "softmax": lambda: np.exp(logits) / np.exp(logits).sum(-1, keepdims=True),
    }[score_activation]()
    return scores, scores @ value, scores.var(axis=(1, 2))


def tokens(rng, batch, queries, keys, depth, channels):
    shapes = (batch, queries, depth), (batch, keys, depth), (batch, keys, channels)
    return [rng.normal(size=shape).astype("float32") for shape in shapes]


@settings(
    max_examples=16,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    batch=st.integers(1, 3),
    queries=st.integers(1, 40),
    keys=st.integers(2, 40),
    depth=st.integers(1, 64),
    block_size=st.integers(1, 50),
    score_activation=st.sampled_from(SCORE_ACTIVATIONS),
    dtype=st.sampled_from(["float32", "float16"]),
    xla=st.booleans(),
)
def test_formula(
    rng, batch, queries, keys, depth, block_size, score_activation, dtype, xla
):
    inputs = tokens(rng, batch, queries, keys, depth, depth + 1)
    inputs = [x.astype(dtype) for x in inputs]
    _, context, variance = formula(*inputs, score_activation)

    def attend(*inputs):
        return luong_attention(*inputs, score_activation, None, block_size)

    ours = (by_xla(attend) if xla else attend)(*inputs_as_tensors(inputs))
    assert keras.backend.standardize_dtype(ours[0].dtype) == dtype
    tolerance = 1e-4 if dtype == "float32" else 2e-3
    np.testing.assert_allclose(ours[0], context, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(ours[1], variance, rtol=1e-4, atol=1e-9)


def by_xla(function):
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(function)
    if keras.backend.backend() == "torch":
        return function
    import tensorflow as tf

    return tf.function(function, jit_compile=True)


def inputs_as_tensors(inputs):
    return [ops.convert_to_tensor(x) for x in inputs]


@pytest.mark.parametrize("block_size", [None, 7, 1])  # One block, some, a loop.
@pytest.mark.parametrize("score_activation", SCORE_ACTIVATIONS)
def test_portable_form(rng, score_activation, block_size):
    inputs = tokens(rng, batch=3, queries=40, keys=7, depth=4, channels=6)
    _, expected, _ = formula(*inputs, score_activation)
    with portable_attention():
        context, _ = luong_attention(*inputs, score_activation, None, block_size)
    np.testing.assert_allclose(context, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("score_activation", SCORE_ACTIVATIONS)
def test_gradients(rng, score_activation):
    inputs = tokens(rng, 2, 30, 19, 8, 5)
    weight = rng.normal(size=(2, 30, 5)).astype("float32")

    def total(context, variance):
        weighted = ops.multiply(variance, np.float32([50, -80]))
        return ops.sum(ops.multiply(context, weight)) + ops.sum(weighted)

    def ours(query, key, value):
        return total(*luong_attention(query, key, value, score_activation, None, 7))

    def plain(query, key, value):
        scores = attention_scores(query, key, score_activation)
        return total(ops.matmul(scores, value), ops.var(scores, axis=(1, 2)))

    value, slopes = gradients(ours, *inputs)
    expected_value, expected = gradients(plain, *inputs)
    np.testing.assert_allclose(value, expected_value, rtol=1e-5)
    for slope, other in zip(slopes, expected):
        np.testing.assert_allclose(slope, other, atol=1e-5 * np.abs(other).max())


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow",
    reason="JAX compiles anew for each size: it has no graphs of unknown sizes",
)
@pytest.mark.parametrize("score_activation", ["sigmoid", "first_order"])
@pytest.mark.parametrize("xla", [False, True])
def test_unknown_sizes_in_a_graph(rng, xla, score_activation):
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec([None, None, 8])] * 3, jit_compile=xla)
    def slopes(query, key, value):
        with tf.GradientTape() as tape:
            tape.watch([query, key, value])
            context, variance = luong_attention(query, key, value, score_activation)
            total = ops.sum(context * context) + ops.sum(variance)
        return tape.gradient(total, [query, key, value])

    def plain(query, key, value):
        scores = attention_scores(query, key, score_activation)
        context = ops.matmul(scores, value)
        return ops.sum(context * context) + ops.sum(ops.var(scores, axis=(1, 2)))

    for queries, keys in ((70, 65), (130, 30)):
        inputs = tokens(rng, 2, queries, keys, 8, 8)
        for slope, other in zip(slopes(*inputs), gradients(plain, *inputs)[1]):
            np.testing.assert_allclose(slope, other, atol=1e-5 * np.abs(other).max())


@settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    queries=st.integers(2, 40),
    keys=st.integers(2, 40),
    depth=st.integers(1, 64),
    offset=st.floats(-8, 8),
    noise=st.floats(1e-3, 1),
    scale=st.none() | st.floats(0.1, 2),
)
def test_first_order_of_offset_tokens(rng, queries, keys, depth, offset, noise, scale):
    """Scores of a large mean that hardly differ, whose squares alone would cancel."""
    query, key, value = tokens(rng, 2, queries, keys, depth, 3)
    query, key = offset + noise * query, offset + noise * key
    inputs = query.astype("float32"), key.astype("float32"), value
    _, context, variance = formula(*inputs, "first_order", scale)
    ours = luong_attention(*inputs_as_tensors(inputs), "first_order", scale)
    np.testing.assert_allclose(ours[0], context, rtol=1e-5, atol=2e-3)
    np.testing.assert_allclose(ours[1], variance, rtol=1e-5)


def linear_formula(query, key, value):
    """Context and variance of first order of one image's tokens, in float64."""
    query, key, value = (x.astype("float64") for x in (query, key, value))
    slope = query.shape[-1] ** -0.5 / 4
    context = value.sum(axis=0) / 2 + slope * query @ (key.T @ value)
    centred, other = query - query.mean(axis=0), key - key.mean(axis=0)
    # The variance of sums and products of independent numbers, one term each.
    variance = (
        ((centred @ key.mean(axis=0)) ** 2).mean()
        + ((other @ query.mean(axis=0)) ** 2).mean()
        + np.sum((centred.T @ centred) * (other.T @ other)) / len(query) / len(key)
    )
    return context, slope**2 * variance


@pytest.mark.parametrize("xla", [False, True])
def test_first_order_of_many_tokens(rng, xla):
    """Of 65,536, whose map would take 16 GiB. Sums of as many numbers lose digits."""
    inputs = [
        (7.3 + spread * rng.normal(size=(1, 2**16, 8))).astype("float32")
        for spread in (1e-3, 1e-3, 1)
    ]
    context, variance = linear_formula(*(x[0] for x in inputs))

    def attend(*inputs):
        return luong_attention(*inputs, "first_order")

    ours = (by_xla(attend) if xla else attend)(*inputs_as_tensors(inputs))
    np.testing.assert_allclose(ours[0][0], context, rtol=1e-5)
    np.testing.assert_allclose(ours[1], [variance], rtol=1e-5)


def pixels_and_weights(rng, skip, gate, depth, values, offset=0.0, noise=1.0):
    """Skip, gate, and kernel and bias of the projections Q, K and V."""
    skip, gate = (offset + noise * rng.normal(size=shape) for shape in (skip, gate))
    weights = [
        rng.normal(size=shape)
        for source, size in ((skip, depth), (gate, depth), (gate, values))
        for shape in ((source.shape[-1], size), (size,))
    ]
    return [x.astype("float32") for x in (skip, gate, *weights)]


def of_pixels(skip, gate, *weights):
    return first_order_attention(skip, gate, weights[:2], weights[2:4], weights[4:])


def projected(skip, gate, *weights):
    """Queries, keys and values."""
    return [
        (x @ kernel + bias).reshape(len(x), -1, kernel.shape[-1])
        for x, kernel, bias in zip((skip, gate, gate), weights[::2], weights[1::2])
    ]


@settings(
    max_examples=16,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    sides=st.tuples(*4 * [st.integers(1, 7)]).filter(lambda x: x[2] * x[3] > 1),
    channels=st.tuples(*2 * [st.integers(1, 64)]),
    depth=st.integers(1, 64),
    values=st.integers(1, 64),
    offset=st.floats(-8, 8),
    noise=st.floats(1e-3, 1),
    xla=st.booleans(),
)
def test_first_order_of_pixels(rng, sides, channels, depth, values, offset, noise, xla):
    """Also of those of a large mean that hardly differ."""
    skip, gate = (2, *sides[:2], channels[0]), (2, *sides[2:], channels[1])
    inputs = pixels_and_weights(rng, skip, gate, depth, values, offset, noise)
    double = [x.astype("float64") for x in inputs]
    _, context, variance = formula(*projected(*double), "first_order")
    # The same of absolute values: where those cancel, float32 has fewer digits.
    _, size, _ = formula(*projected(*map(abs, double)), "first_order")
    found = (by_xla(of_pixels) if xla else of_pixels)(*inputs_as_tensors(inputs))
    keys = sides[2] * sides[3]
    ours = np.reshape(found[0], context.shape)
    assert (abs(ours - context / keys) <= 1e-6 * size / keys).all()
    np.testing.assert_allclose(found[1], variance, rtol=1e-5)


@pytest.mark.parametrize("xla", [False, True])
def test_first_order_of_many_pixels(rng, xla):
    inputs = pixels_and_weights(
        rng, (1, 256, 256, 8), (1, 200, 256, 8), 8, 8, offset=7.3, noise=1e-3
    )
    double = [x.astype("float64") for x in inputs]
    context, variance = linear_formula(*(x[0] for x in projected(*double)))
    ours = (by_xla(of_pixels) if xla else of_pixels)(*inputs_as_tensors(inputs))
    context = context.reshape(256, 256, 8) / (200 * 256)
    np.testing.assert_allclose(ours[0][0], context, rtol=1e-5)
    np.testing.assert_allclose(ours[1], [variance], rtol=1e-5)


def test_gradients_of_pixels(rng):
    inputs = pixels_and_weights(rng, (2, 5, 6, 4), (2, 3, 7, 5), 8, 3)
    weight = rng.normal(size=(2, 30, 3)).astype("float32")

    def total(context, variance):
        weighted = ops.multiply(variance, np.float32([5, -8]))
        weighted_context = ops.multiply(ops.reshape(context, weight.shape), weight)
        return ops.sum(weighted_context) + ops.sum(weighted)

    def plain(*inputs):
        query, key, value = (
            ops.reshape(ops.matmul(x, kernel) + bias, (2, -1, kernel.shape[-1]))
            for x, kernel, bias in zip(
                (inputs[0], inputs[1], inputs[1]), inputs[2::2], inputs[3::2]
            )
        )
        scores = attention_scores(query, key, "first_order")
        return total(ops.matmul(scores, value) / 21, ops.var(scores, axis=(1, 2)))

    value, slopes = gradients(lambda *inputs: total(*of_pixels(*inputs)), *inputs)
    expected_value, expected = gradients(plain, *inputs)
    np.testing.assert_allclose(value, expected_value, rtol=1e-5)
    for slope, other in zip(slopes, expected):
        np.testing.assert_allclose(slope, other, atol=1e-5 * np.abs(other).max())


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow",
    reason="JAX compiles anew for each size: it has no graphs of unknown sizes",
)
def test_pixels_of_unknown_sizes(rng):
    import tensorflow as tf

    first, *_ = inputs = pixels_and_weights(rng, (2, 5, 6, 4), (2, 3, 7, 4), 4, 4)
    unknown = [tf.TensorSpec([None, None, None, 4])] * 2
    known = [tf.TensorSpec(x.shape) for x in inputs[2:]]
    traced = tf.function(of_pixels, input_signature=[*unknown, *known])
    for skip in (first, first[:, :1, :5]):
        for found, expected in zip(
            traced(skip, *inputs[1:]), of_pixels(skip, *inputs[1:])
        ):
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_first_order_is_the_tangent_of_the_sigmoid(rng):
    query, key, _ = tokens(rng, 2, 20, 30, 8, 1)
    query = query / 4
    logits, *_ = formula(query, key, key, "first_order")
    logits = 4 * logits - 2
    sigmoid, tangent = (
        np.asarray(attention_scores(*inputs_as_tensors((query, key)), name))
        for name in ("sigmoid", "first_order")
    )
    assert (abs(sigmoid - tangent) <= abs(logits) ** 3 / 48 + 1e-6).all()


MEMORY = """
import resource, sys
import numpy as np
from keras_pamunet.ops import luong_attention
from keras import ops
from tests.helpers import gradients

def total(*inputs):
    context, variance = luong_attention(*inputs)
    return ops.sum(context) + ops.sum(variance)

def peak(tokens):
    gradients(total, *np.ones((3, 1, tokens, 16), "float32"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10

print(-peak(1024) + peak(16_384))
"""


@pytest.mark.skipif(
    keras.backend.backend() == "torch", reason="PyTorch holds all the scores"
)
def test_memory_is_linear():
    """The map of 16,384 tokens takes 1024 MiB, and its gradient again as much."""
    done = subprocess.run(
        [sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True
    )
    assert float(done.stdout) < 256


SHARDED = """
import sys, jax, numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from keras import ops
from keras_pamunet.ops import attention_scores, luong_attention

def ours(inputs):
    context, variance = luong_attention(*inputs, sys.argv[1])
    return ops.sum(context * context) + ops.sum(variance)

def plain(inputs):
    query, key, value = inputs
    scores = attention_scores(query, key, sys.argv[1])
    context = ops.matmul(scores, value)
    return ops.sum(context * context) + ops.sum(ops.var(scores, axis=(1, 2)))

inputs = np.random.default_rng(0).normal(size=(3, 8, 256, 16)).astype("float32")
sharding = NamedSharding(Mesh(jax.devices(), "batch"), PartitionSpec("batch"))
sharded = [jax.device_put(x, sharding) for x in inputs]
gradient = jax.jit(jax.grad(ours)).lower(sharded).compile()
print(len(jax.devices()), gradient.as_text().count("all-gather"))
for slope, other in zip(gradient(sharded), jax.grad(plain)(list(inputs))):
    np.testing.assert_allclose(slope, other, atol=1e-5 * np.abs(other).max())
"""


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="JAX shards arrays")
@pytest.mark.parametrize("score_activation", ["sigmoid", "first_order"])
def test_each_device_computes_its_own_images(score_activation):
    environment = {
        **os.environ,
        "XLA_FLAGS": "--xla_force_host_platform_device_count=4",
    }
    done = subprocess.run(
        [sys.executable, "-c", SHARDED, score_activation],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.stdout == "4 0\n", done.stderr


def test_scores(rng):
    query, key, value = tokens(rng, 2, 5, 7, 4, 4)
    scores, _, _ = formula(query, key, value, "softmax", scale=0.3)
    ours = attention_scores(*inputs_as_tensors((query, key)), "softmax", scale=0.3)
    np.testing.assert_allclose(ours, scores, rtol=1e-5)


def test_small_variance_of_large_scores():
    """Scores near 1 that hardly differ: the sums of squares alone would cancel."""
    query = np.full((1, 64, 1), 8, "float32")
    key = np.linspace(0.99, 1.01, 64, dtype="float32").reshape(1, 64, 1)
    _, _, variance = formula(query, key, key, "sigmoid")
    _, ours = luong_attention(*inputs_as_tensors((query, key, key)))
    np.testing.assert_allclose(ours, variance, rtol=1e-3)


def test_arguments(rng):
    inputs = tokens(rng, 1, 2, 2, 2, 2)
    with pytest.raises(ValueError, match="one of.*'first_order'.*Received.*'tanh'"):
        luong_attention(*inputs, "tanh")
    with pytest.raises(ValueError, match="block_size=0"):
        luong_attention(*inputs, block_size=0)
