"""Luong attention between two sets of tokens (PAM-UNet, eqs. 2-5 and 7)."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, get_args

import keras
from keras import ops

from keras_pamunet.backend import fused, over_batch
from keras_pamunet.choices import ScoreActivation

SCORE_ACTIVATIONS = get_args(ScoreActivation)
# Scores of one block: 4 MB stay in a core's cache, a whole map of scores does not.
BLOCK_SCORES = 2**20
# A small map has at least 4 blocks: XLA unrolls a loop over a single one, which then
# takes twice the time.
MIN_BLOCKS = 4
# Exports unroll up to 32 blocks: loops are slow in ONNX Runtime.
MAX_UNROLLED = 32
_PORTABLE = ContextVar("portable", default=False)


def luong_attention(
    query: Any,
    key: Any,
    value: Any,
    score_activation: str = "sigmoid",
    scale: float | None = None,
    block_size: int | None = None,
) -> tuple[Any, Any]:
    """Attends from every query to every key, exactly and in linear memory.

    The scores are `A = f(scale * query @ key^T)`, the context is `A @ value`. A is
    made block by block of queries, and made again for the gradient; it is never held
    as a whole. With `"first_order"` it is never made at all, and time is linear, too:
    `A @ value = sum(value) / 2 + scale / 4 * query @ (key^T @ value)`, the linear
    attention of Katharopoulos et al. 2020, arXiv 2006.16236.

    Args:
        query: tensor of shape `(batch, queries, depth)`.
        key: tensor of shape `(batch, keys, depth)`.
        value: tensor of shape `(batch, keys, channels)`.
        score_activation: see `attention_scores`.
        scale: factor of the dot products. Defaults to `1 / sqrt(depth)`.
        block_size: queries in a block. By default as many as fit a core's cache.
            Without effect on `"first_order"`, which has no blocks.

    Returns:
        `(context, score_variance)`: the context of shape
        `(batch, queries, channels)` in the dtype of `value`, and the variance of
        each image's scores, float32 of shape `(batch,)`, the R(A) of eq. 7.

    Raises:
        ValueError: if `score_activation` is unknown or `block_size` not positive.
    """
    check_score_activation(score_activation)
    if block_size is not None and block_size < 1:
        raise ValueError(
            "Invalid value for argument `block_size`. Expected a positive integer. "
            f"Received: block_size={block_size!r}"
        )
    dtype = value.dtype
    # Float32 from here on: float16 sums over thousands of keys overflow.
    query, key, value = (ops.cast(x, "float32") for x in (query, key, value))
    scale = 1.0 / math.sqrt(query.shape[-1]) if scale is None else scale
    if score_activation == "first_order":
        context, variance = _first_order(query, key, value, scale / 4)
        return ops.cast(context, dtype), variance
    query = query * scale
    queries, keys = ops.shape(query)[1], ops.shape(key)[1]
    if block_size is None:
        known = isinstance(queries, int) and isinstance(keys, int)
        block_size = 64
        if known:
            least = 1 if _PORTABLE.get() else MIN_BLOCKS
            block_size = min(max(BLOCK_SCORES // keys, 1), -(-queries // least))
    # Not -(-queries // block_size): ONNX division truncates towards zero, Python's
    # floors.
    blocks = (queries + block_size - 1) // block_size
    # Queries of zeros fill the last block. They need no mask: their rows are cut
    # off, and add nothing to the gradient of the keys and values.
    padding = [(0, 0), (0, blocks * block_size - queries), (0, 0)]
    if _PORTABLE.get():
        query = ops.pad(query, padding)
        context = _portable_context(query, key, value, score_activation, block_size)
        return ops.cast(context[:, :queries], dtype), ops.zeros_like(context[:, 0, 0])
    if keras.backend.backend() == "torch":
        # Keras' custom gradients have one output there. PyTorch finds its own.
        logits = ops.matmul(query, ops.swapaxes(key, 1, 2))
        scores, _ = _activate(logits, score_activation)
        context = ops.cast(ops.matmul(scores, value), dtype)
        return context, ops.var(scores, axis=(1, 2))
    tokens = ops.cast(queries, "float32"), ops.cast(keys, "float32")

    def rows(x, block):
        return ops.slice(x, (block * block_size, 0), (block_size, x.shape[-1]))

    def put_rows(x, block, update):
        return ops.slice_update(x, (block * block_size, 0), update)

    def forward(image):
        query, key, value = image
        key = ops.transpose(key)

        def step(block, carry):
            context, mean, deviation = carry
            scores, _ = _activate(ops.matmul(rows(query, block), key), score_activation)
            row_mean = ops.mean(scores, axis=1, keepdims=True)
            row_deviation = ops.mean(
                ops.square(scores - row_mean), axis=1, keepdims=True
            )
            return (
                put_rows(context, block, ops.matmul(scores, value)),
                put_rows(mean, block, row_mean),
                put_rows(deviation, block, row_deviation),
            )

        column = ops.zeros_like(query[:, :1])
        start = (ops.matmul(column, ops.zeros_like(value[:1])), column, column)
        carry = ops.fori_loop(0, blocks, step, start)
        context, mean, deviation = (x[:queries] for x in carry)
        variance = ops.mean(deviation) + ops.var(mean)
        return context, variance, ops.mean(mean)

    def backward(image):
        query, key, value, mean, context_gradient, variance_gradient = image
        slope = 2 * variance_gradient / (tokens[0] * tokens[1])
        # Transposed once, so that each product below runs over contiguous rows:
        # transposing each block of scores takes twice the time.
        key_rows, value_rows = ops.transpose(key), ops.transpose(value)

        def step(block, carry):
            query_gradient, key_gradient, value_gradient = carry
            block_query = rows(query, block)
            upstream = rows(context_gradient, block)
            scores, pull_back = _activate(
                ops.matmul(block_query, key_rows), score_activation
            )
            gradient = pull_back(
                ops.matmul(upstream, value_rows) + slope * (scores - mean)
            )
            return (
                put_rows(query_gradient, block, ops.matmul(gradient, key)),
                key_gradient + ops.matmul(ops.transpose(block_query), gradient),
                value_gradient + ops.matmul(ops.transpose(upstream), scores),
            )

        start = tuple(ops.zeros_like(x) for x in (query, key_rows, value_rows))
        gradients = ops.fori_loop(0, blocks, step, start)
        return gradients[0], *(ops.transpose(x) for x in gradients[1:])

    def over_images(function):
        return fused(lambda *images: over_batch(function, images))

    @ops.custom_gradient
    def attend(query, key, value):
        query = ops.pad(query, padding)
        context, variance, mean = over_images(forward)(query, key, value)

        def gradient(*upstream):
            # One tuple under JAX, two arguments under TensorFlow.
            context_gradient, variance_gradient = (
                upstream[0] if len(upstream) == 1 else upstream
            )
            context_gradient = ops.pad(context_gradient, padding)
            query_gradient, key_gradient, value_gradient = over_images(backward)(
                query, key, value, mean, context_gradient, variance_gradient
            )
            return query_gradient[:, :queries], key_gradient, value_gradient

        return (context, variance), gradient

    context, variance = attend(query, key, value)
    return ops.cast(context, dtype), variance


def first_order_attention(
    skip: Any,
    gate: Any,
    query: tuple[Any, Any],
    key: tuple[Any, Any],
    value: tuple[Any, Any],
) -> tuple[Any, Any]:
    """`luong_attention` of first order, of pixels that are yet to be projected.

    Queries, keys and values are never made. With the mean m and the covariance C of
    the gate's pixels and `K = gate @ W_K + b_K`,

        K^T V / N = W_K^T C W_V + (m W_K + b_K)^T (m W_V + b_V)

    is a matrix of depth x channels, and so is that which makes the context of the
    skip's pixels.

    Args:
        skip: tensor of shape `(batch, height, width, channels)`.
        gate: tensor of shape `(batch, gate_height, gate_width, gate_channels)`.
        query: kernel and bias of the projection Q of the skip, of the shapes
            `(channels, depth)` and `(depth,)`.
        key: those of K of the gate, `(gate_channels, depth)` and `(depth,)`.
        value: those of V of the gate, `(gate_channels, values)` and `(values,)`.

    Returns:
        `(context, score_variance)`: `A V / N` with N the number of keys, float32 of
        shape `(batch, height, width, values)`, and the variance of each image's
        scores, float32 of shape `(batch,)`.
    """
    skip, gate = ops.cast(skip, "float32"), ops.cast(gate, "float32")
    # With an axis for the images: Keras multiplies three axes by two in more steps.
    (of_query, query_bias), (of_key, key_bias), (of_value, value_bias) = (
        [ops.cast(x, "float32")[None] for x in weights]
        for weights in (query, key, value)
    )
    slope = 0.25 / math.sqrt(of_query.shape[-1])
    of_query, query_bias = slope * of_query, slope * query_bias
    mean, covariance = _pixel_moments(gate)
    by_key = ops.matmul(ops.swapaxes(of_key, 1, 2), covariance)
    key_mean = ops.matmul(mean, of_key) + key_bias
    value_mean = ops.matmul(mean, of_value) + value_bias
    products = ops.matmul(by_key, of_value)
    products = products + ops.swapaxes(key_mean, 1, 2) * value_mean
    context = ops.matmul(_pixels(skip), ops.matmul(of_query, products))
    context = context + (ops.matmul(query_bias, products) + value_mean / 2)
    context = ops.reshape(context, (-1, *ops.shape(skip)[1:3], of_value.shape[-1]))
    mean, covariance = _pixel_moments(skip)
    by_query = ops.matmul(ops.swapaxes(of_query, 1, 2), covariance)
    variance = _product_variance(
        ops.matmul(mean, of_query) + query_bias,
        ops.matmul(by_query, of_query),
        key_mean,
        ops.matmul(by_key, of_key),
    )
    return context, variance


def _pixels(features):
    _, height, width, channels = ops.shape(features)
    return ops.reshape(features, (-1, height * width, channels))


def _pixel_moments(features):
    """Mean and covariance over an image's pixels."""
    # In two steps: TensorFlow's mean of 65,536 numbers at once is only true to 1e-4.
    mean = ops.mean(ops.mean(features, axis=2), axis=1, keepdims=True)
    return mean, _covariance(_pixels(features) - mean)


def _covariance(centred):
    count = ops.cast(ops.shape(centred)[1], "float32")
    return ops.matmul(ops.swapaxes(centred, 1, 2), centred) / count


def _first_order(query, key, value, slope):
    """Context and variance of the scores `1/2 + slope * query @ key^T`.

    In linear time: (Q K^T) V = Q (K^T V), and K^T V has depth x channels numbers.
    """
    products = slope * ops.matmul(ops.swapaxes(key, 1, 2), value)
    context = ops.sum(value, axis=1, keepdims=True) / 2 + ops.matmul(query, products)
    variance = _product_variance(*_moments(query), *_moments(key))
    return context, slope**2 * variance


def _moments(tokens):
    """Mean and covariance over an image's tokens."""
    mean = ops.mean(tokens, axis=1, keepdims=True)
    # Again of what is left: TensorFlow's mean of 65,536 numbers is only true to 1e-4.
    rest = ops.mean(tokens - mean, axis=1, keepdims=True)
    return mean + rest, _covariance(tokens - mean - rest)


def _product_variance(query_mean, query_covariance, key_mean, key_covariance):
    """Variance of the products of all queries with all keys.

    That of the centred ones and of each side's mean with the other's deviations: sums
    of what is not negative, so that nothing cancels.
    """
    return (
        ops.sum(query_covariance * key_covariance, axis=(1, 2))
        + _quadratic(query_covariance, key_mean)
        + _quadratic(key_covariance, query_mean)
    )


def _quadratic(covariance, mean):
    return ops.sum(ops.matmul(mean, covariance) * mean, axis=(1, 2))


@contextmanager
def portable_attention() -> Iterator[None]:
    """Within it, attention is traced in operations that other formats know, too.

    For export: there is no gradient, and the variance is 0. `"first_order"`, plain
    matrix products, is as ever.
    """
    token = _PORTABLE.set(True)
    try:
        yield
    finally:
        _PORTABLE.reset(token)


def _portable_context(query, key, value, score_activation, block_size):
    """The context, image by image and one block of queries after the other."""
    queries, depth = query.shape[1:]

    def attend_image(image):
        query, key, value = image

        def attend(block):
            scores, _ = _activate(ops.matmul(block, key), score_activation)
            return ops.matmul(scores, value)

        blocks = ops.reshape(query, (-1, block_size, depth))
        if queries is not None and queries <= MAX_UNROLLED * block_size:
            context = ops.concatenate([attend(block) for block in ops.unstack(blocks)])
        else:
            context = ops.map(attend, blocks)
        return ops.reshape(context, (-1, value.shape[-1]))

    return ops.map(attend_image, (query, ops.swapaxes(key, 1, 2), value))


def scaled_dot_products(query: Any, key: Any, scale: float | None = None) -> Any:
    """What the attention map is made of: `scale * query @ key^T`.

    Args:
        query: tensor of shape `(batch, queries, depth)`.
        key: tensor of shape `(batch, keys, depth)`.
        scale: factor of the dot products. Defaults to `1 / sqrt(depth)`.

    Returns:
        Float32 tensor of shape `(batch, queries, keys)`.
    """
    query, key = ops.cast(query, "float32"), ops.cast(key, "float32")
    query = query * (1.0 / math.sqrt(query.shape[-1]) if scale is None else scale)
    return ops.matmul(query, ops.swapaxes(key, 1, 2))


def attention_scores(
    query: Any,
    key: Any,
    score_activation: str = "sigmoid",
    scale: float | None = None,
) -> Any:
    """The attention map A itself: one weight for each pair of query and key.

    Args:
        query: tensor of shape `(batch, queries, depth)`.
        key: tensor of shape `(batch, keys, depth)`.
        score_activation: `"sigmoid"` (Fig. 2b), `"softmax"` over the keys (eq. 3),
            `"double_sigmoid"` (eqs. 4-5 to the letter), `"sigmoid_log_n"`
            (sigmoid with bias `-log(keys)`, Ramapuram et al. 2024) or
            `"first_order"`, `1/2 + s/4` with s the scaled dot products: the
            first-order Taylor polynomial of the sigmoid at 0. Less than `|s|^3 / 48`
            away from the sigmoid, 0.02 at `|s| = 1`; beyond `|s| = 2` it leaves
            [0, 1].
        scale: factor of the dot products. Defaults to `1 / sqrt(depth)`.

    Returns:
        Float32 tensor of shape `(batch, queries, keys)`.

    Raises:
        ValueError: if `score_activation` is unknown.
    """
    check_score_activation(score_activation)
    return _activate(scaled_dot_products(query, key, scale), score_activation)[0]


def _activate(logits, score_activation):
    """Scores, and the function from a gradient by them to one by the logits."""
    if score_activation == "softmax":
        scores = ops.softmax(logits, axis=-1)
        return (
            scores,
            lambda upstream: (
                scores * (upstream - ops.sum(scores * upstream, axis=-1, keepdims=True))
            ),
        )
    if score_activation == "first_order":
        return 0.5 + logits / 4, lambda upstream: upstream / 4
    if score_activation == "sigmoid_log_n":
        logits = logits - ops.log(ops.cast(ops.shape(logits)[-1], "float32"))
    inner = ops.sigmoid(logits)
    if score_activation == "double_sigmoid":
        scores = ops.sigmoid(inner)
        return (
            scores,
            lambda upstream: upstream * scores * (1 - scores) * inner * (1 - inner),
        )
    return inner, lambda upstream: upstream * inner * (1 - inner)


def check_score_activation(score_activation: str) -> None:
    """Raises a `ValueError` if there is no such score activation."""
    if score_activation not in SCORE_ACTIVATIONS:
        raise ValueError(
            "Invalid value for argument `score_activation`. Expected one of "
            f"{SCORE_ACTIVATIONS}. Received: score_activation={score_activation!r}"
        )
