"""Parameters and multiply-adds of a model, counted and not run."""

import functools
import math
from typing import Any

import keras
from keras import layers

from keras_pamunet.layers import (
    AdditiveAttention,
    InvertedResidual,
    MBConv,
    ProgressiveLuongAttention,
)


def count(model: keras.Model, input_shape: tuple | None = None) -> dict[str, Any]:
    """Counts parameters, multiply-adds (MACs) and FLOPs of a model for one image.

    Nothing is computed: the shapes alone go through the model. MACs are those of
    convolutions (transposed ones: input pixels times kernel), dense layers and
    attention's two products; FLOPs are twice as many. Biases, activations,
    normalisations, sums, resizing and bare operations (`keras.ops`) are not counted.

    Args:
        model: any functional or sequential model, others nested in it or not.
        input_shape: shape of an image without the batch, for a model of one input
            that takes images of any size.

    Returns:
        `{"layers": [...], "parameters": ..., "macs": ..., "flops": ...}`. Each
        layer has `name`, `kind` (its class) and the same three numbers; layers in a
        layer or nested model count in it, one that is called twice has the MACs of
        both calls.

    Raises:
        ValueError: for a layer with weights that `macs` does not know, sides without
            a size, and an `input_shape` that does not fit.

    Example:

    >>> count(keras_pamunet.PAMUNet(attention=None))["macs"]
    235296768
    """
    if not getattr(model, "inputs", None):
        raise ValueError(
            "Expected a functional or sequential model that is built. Received: "
            f"{model}"
        )
    calls = _calls(model, _specs(model, input_shape))
    rows = [
        {
            "name": layer.name,
            "kind": type(layer).__name__,
            "parameters": layer.count_params(),
            "macs": calls.get(layer, 0),
            "flops": 2 * calls.get(layer, 0),
        }
        for layer in model.layers
    ]
    sums = {x: sum(row[x] for row in rows) for x in ("macs", "flops")}
    # Not the rows' sum: layers may share their weights.
    return {"layers": rows, "parameters": model.count_params(), **sums}


def _specs(model, input_shape):
    expected = [tensor.shape[1:] for tensor in model.inputs]
    shapes = expected if input_shape is None else [tuple(input_shape)]
    fits = [
        len(ours) == len(theirs) and all(x in (y, None) for x, y in zip(theirs, ours))
        for ours, theirs in zip(shapes, expected)
    ]
    if len(shapes) != len(expected) or not all(fits):
        raise ValueError(
            f"Expected an `input_shape` that fits the model's inputs, {expected}. "
            f"Received: input_shape={input_shape}"
        )
    if any(None in shape for shape in shapes):
        raise ValueError(
            "Expected images of a known size. Give `input_shape`, such as "
            f"(128, 128, 3). Received: {shapes}"
        )
    return [
        keras.KerasTensor((tensor.shape[0] or 1, *shape), tensor.dtype)
        for tensor, shape in zip(model.inputs, shapes)
    ]


def _calls(model, inputs):
    """MACs of each layer of a model for inputs of such shapes."""
    counted = {}

    def record(operation):
        def call(*args, **kwargs):
            if isinstance(operation, layers.Layer):
                cost = macs(operation, *args, **kwargs)
                counted[operation] = counted.get(operation, 0) + cost
            return operation.compute_output_spec(*args, **kwargs)

        return call

    # What `keras.Function` computes shapes with. Calling the layers themselves on
    # symbolic tensors would leave traces in the model.
    graph = keras.Function(model.inputs, model.outputs)
    graph._run_through_graph(inputs, operation_fn=record)
    return counted


@functools.singledispatch
def macs(layer: layers.Layer, *args: Any, **kwargs: Any) -> int:
    """Multiply-adds of one call of a layer, for one image.

    Args:
        layer: the layer. For one of your own, register what it takes:
            `@macs.register` above `def _(layer: MyLayer, inputs, **_): ...`
        *args: arguments of the call, `keras.KerasTensor`s for tensors.
        **kwargs: the same.

    Raises:
        ValueError: if nothing is registered for a layer with weights.
    """
    if layer.weights:
        raise ValueError(
            "Expected layers whose multiply-adds are known. Received: "
            f"{layer.name!r}, a {type(layer).__name__} with weights. Register it "
            "with keras_pamunet.analysis.complexity.macs"
        )
    return 0


@macs.register
def _(model: keras.Model, inputs, **_) -> int:
    if not model.inputs:
        raise ValueError(
            "Expected functional and sequential models alone to be nested. Received: "
            f"{model.name!r}, a {type(model).__name__}"
        )
    return sum(_calls(model, inputs).values())


@macs.register
def _(
    layer: layers.BatchNormalization
    | layers.Embedding
    | layers.GroupNormalization
    | layers.LayerNormalization
    | layers.Normalization
    | layers.PReLU
    | layers.RMSNormalization,
    *args,
    **kwargs,
) -> int:
    return 0


@macs.register
def _(
    layer: layers.Dense | layers.Conv1D | layers.Conv2D | layers.Conv3D, inputs
) -> int:
    return _size(layer, inputs) * math.prod(layer.kernel.shape[:-1])


@macs.register
def _(layer: layers.DepthwiseConv1D | layers.DepthwiseConv2D, inputs) -> int:
    return _size(layer, inputs) * math.prod(layer.kernel.shape[:-2])


@macs.register
def _(layer: layers.SeparableConv1D | layers.SeparableConv2D, inputs) -> int:
    kernels = layer.depthwise_kernel.shape, layer.pointwise_kernel.shape
    pixels = _size(layer, inputs) // layer.filters
    return pixels * sum(math.prod(kernel) for kernel in kernels)


@macs.register
def _(
    layer: layers.Conv1DTranspose | layers.Conv2DTranspose | layers.Conv3DTranspose,
    inputs,
) -> int:
    return math.prod(inputs.shape[1:]) * math.prod(layer.kernel.shape[:-1])


@macs.register
def _(layer: layers.Attention, inputs, **_) -> int:  # And its additive kind.
    query, value = (tensor.shape[1:] for tensor in inputs[:2])
    return query[0] * value[0] * (query[1] + value[1])


@macs.register
def _(layer: layers.Dot, inputs) -> int:
    axis = layer.axes if isinstance(layer.axes, int) else layer.axes[0]
    return _size(layer, inputs) * inputs[0].shape[axis]


@macs.register
def _(layer: InvertedResidual, inputs, **_) -> int:
    return _in_sequence(layer.steps, inputs)


@macs.register
def _(layer: MBConv, inputs, **_) -> int:
    return _in_sequence(layer.blocks, inputs)


@macs.register
def _(layer: ProgressiveLuongAttention, skip, gate, **_) -> int:
    batch, *sides, channels = gate.shape
    sides = [-(-side // layer.key_stride) for side in sides]
    gate = keras.KerasTensor((batch, *sides, channels))
    *pixels, depth = skip.shape[1:]
    queries, keys = math.prod(pixels), math.prod(sides)
    if layer.score_activation == "first_order":
        # A covariance, the skip by a matrix, and what makes the one of the other.
        matrices = depth * channels * (channels + depth) + depth**3
        return keys * channels**2 + queries * depth**2 + matrices
    return (
        2 * queries * keys * depth
        + macs(layer.query, skip)
        + macs(layer.key, gate)
        + macs(layer.value, gate)
    )


@macs.register
def _(layer: AdditiveAttention, skip, gate, **_) -> int:
    hidden = layer.skip_projection.compute_output_spec(skip)
    return (
        macs(layer.skip_projection, skip)
        + macs(layer.gate_projection, gate)
        + macs(layer.psi, hidden)
    )


def _size(layer, inputs):
    """Numbers in a layer's output for one image."""
    return math.prod(layer.compute_output_spec(inputs).shape[1:])


def _in_sequence(steps, inputs):
    total = 0
    for step in steps:
        total += macs(step, inputs)
        inputs = step.compute_output_spec(inputs)
    return total
