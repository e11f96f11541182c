"""This package's convolutions against Keras' own, at shapes of the network.

Run it with `python benchmarks/convolutions.py [--short]`. Under TensorFlow the package
leaves them to Keras; "rewritten" is what it does under JAX.
"""

from sides import main

# Class, kernel size, strides, filters, input size and channels.
SHAPES = [
    ("DepthwiseConv2D", 3, 1, None, 64, 192),
    ("DepthwiseConv2D", 3, 2, None, 64, 96),
    ("DepthwiseConv2D", 3, 1, None, 16, 192),
    ("DepthwiseConv2D", 3, 1, None, 4, 960),
    ("DepthwiseConv2D", 5, 1, None, 32, 144),
    ("DepthwiseConv2D", 5, 2, None, 32, 144),
    ("Conv2D", 1, 1, 192, 64, 32),
    ("Conv2D", 1, 1, 32, 16, 192),
    ("Conv2DTranspose", 3, 2, 16, 64, 16),
    ("Conv2DTranspose", 3, 2, 96, 4, 1280),
]
BACKENDS = [("tensorflow", False), ("tensorflow", True), ("jax", True)]
BATCH = 8


def make(form, layer, kernel, strides, filters, size, channels, backward, xla):
    import sys
    from unittest.mock import patch

    import keras
    import numpy as np
    from compiled import compiled

    from keras_pamunet import layers

    if form == "rewritten":
        module = sys.modules[getattr(layers, layer).__module__]
        patch.object(module, "jax_on_cpu", lambda: True).start()
    home = keras.layers if form == "Keras" else layers
    first = [] if filters is None else [filters]
    layer = getattr(home, layer)(
        *first, kernel, strides, padding="same", use_bias=False
    )
    layer.build((BATCH, size, size, channels))
    rng = np.random.default_rng(0)
    images = rng.normal(size=(BATCH, size, size, channels)).astype("float32")
    kernel = layer.trainable_variables[0]

    def loss(images, kernel):
        outputs, _ = layer.stateless_call([kernel], [], images)
        return keras.ops.mean(keras.ops.square(outputs))

    return compiled(loss, [images, kernel], backward, xla)


def comparisons(short):
    lists = []
    for layer, kernel, strides, filters, size, channels in (
        SHAPES[::3] if short else SHAPES
    ):
        positions = size**2 if layer == "Conv2DTranspose" else (size / strides) ** 2
        products = positions * kernel**2 * channels * (filters or 1)
        for backend, xla in BACKENDS:
            for backward in (True,) if short else (False, True):
                case = {
                    "layer": layer,
                    "kernel": kernel,
                    "strides": strides,
                    "filters": filters,
                    "size": size,
                    "channels": channels,
                    "xla": xla,
                    "backward": backward,
                    "gflop": 2 * BATCH * products * (3 if backward else 1) / 1e9,
                }
                lists.append(
                    [
                        {"backend": backend, "form": form, **case}
                        for form in ("rewritten", "Keras")
                    ]
                )
    return lists


if __name__ == "__main__":
    main("convolutions", make, comparisons)
