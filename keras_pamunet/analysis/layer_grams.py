from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import Any

import keras
from keras import layers, ops, tree

from keras_pamunet.layers import CropLike, InvertedResidual

# They scale, shift or cut what the layer before has made.
LEFT_OUT = (
    CropLike,
    layers.BatchNormalization,
    layers.GroupNormalization,
    layers.LayerNormalization,
)


class LayerGrams(keras.Model):
    """Gram matrices of a network's layers, of a batch of images in one pass.

    A layer's features are flattened to a row for each image, and centred over the
    batch in float32. Only the products of the rows leave the back end, so that the
    features of a layer can be freed once the next layers have been computed.

    Layers inside others, as the convolutions of an inverted residual block, have names
    as `encoder_1/block_0/expand`. A layer that is called again is listed again.

    Args:
        network: any network that takes one tensor of images.
        patterns: names of layers, in which `*` stands for any letters and `?` for one.
            Of them those with an output of four axes are taken. By default the layers
            with weights of their own, but normalisations, and those that join several
            tensors, but what is inside of these.

    Attributes:
        names: of the layers in the order of their calls, once built.

    Input shape:
        `(batch, height, width, channels)`.

    Output shape:
        `(batch, batch)` for each layer.

    Raises:
        ValueError: when it is built, if no layer is chosen.
    """

    def __init__(self, network: keras.Model, patterns: Sequence[str] = ()):
        super().__init__()
        self.network = network
        self.patterns = tuple(patterns)
        self.names: list[str] = []

    def build(self, input_shape):
        # Finds the names, and computes nothing.
        self.compute_output_spec(keras.KerasTensor(input_shape))
        if not self.names:
            wanted = "with weights, or that join tensors"
            if self.patterns:
                wanted = f"like {', '.join(self.patterns)}"
            there = ", ".join(layer.name for layer in self.network.layers)
            raise ValueError(
                f"Expected layers {wanted}, with an output of four axes. "
                f"{self.network.name} has none. Its layers are {there}; those inside "
                "of others are named like outer/inner."
            )

    def call(self, images):
        names, grams = [], []

        def hear(layer, callers, joins, outputs):
            name = "/".join(caller.name for caller in (*callers, layer))
            if len(getattr(outputs, "shape", ())) == 4 and self._is_chosen(
                layer, name, joins
            ):
                names.append(name)
                grams.append(_gram(outputs))

        with _calls_heard(self.network, hear):
            self.network(images, training=False)
        self.names = names
        return grams

    def _is_chosen(self, layer, name, joins):
        if self.patterns:
            return any(fnmatchcase(name, pattern) for pattern in self.patterns)
        *outer, joins_itself = joins
        is_leaf = layer.weights and not layer._flatten_layers(include_self=False)
        return (joins_itself or is_leaf) and not (
            any(outer) or isinstance(layer, LEFT_OUT)
        )


def _gram(features):
    rows = ops.cast(ops.reshape(features, (ops.shape(features)[0], -1)), "float32")
    # The unbiased HSIC is the same, and float32 has digits enough for the rest.
    rows = rows - ops.mean(rows, axis=0)
    return ops.matmul(rows, ops.transpose(rows))


@contextmanager
def _calls_heard(network: keras.Model, hear: Callable[..., Any]) -> Iterator[None]:
    """Within it, what the layers of a network return is told to a function.

    It is called with the layer, the layers that called it, the outermost first, for
    each of these and the layer itself whether it takes several tensors, and with what
    the layer returned.
    """
    running: list[tuple[keras.Layer, bool]] = []

    def heard(layer, call):
        def call_and_tell(*args, **kwargs):
            tensors = filter(ops.is_tensor, tree.flatten((args, kwargs)))
            running.append((layer, len(list(tensors)) > 1))
            try:
                outputs = call(*args, **kwargs)
                *callers, _ = (caller for caller, _ in running)
                hear(layer, callers, [joins for _, joins in running], outputs)
            finally:
                running.pop()
            return outputs

        return call_and_tell

    inner = network._flatten_layers(include_self=False)
    blocks = [layer for layer in inner if isinstance(layer, InvertedResidual)]
    for block in blocks:
        block.folds = False
    for layer in inner:
        # Past the attributes that Keras tracks.
        layer.__dict__["call"] = heard(layer, layer.call)
    try:
        yield
    finally:
        for block in blocks:
            block.folds = True
        for layer in inner:
            del layer.__dict__["call"]
