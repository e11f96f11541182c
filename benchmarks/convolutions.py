"""This package's convolutions against Keras' own, at shapes of the network.

Run it with `python benchmarks/convolutions.py [--short]`.
"""

import math

from sides import main

# Class, its arguments, input size and channels; the batch is 8.
SHAPES = [
    ("DepthwiseConv2D", {"kernel_size": 3}, 64, 192),
    ("DepthwiseConv2D", {"kernel_size": 3, "strides": 2}, 64, 96),
    ("DepthwiseConv2D", {"kernel_size": 3}, 16, 192),
    ("DepthwiseConv2D", {"kernel_size": 3}, 4, 960),
    ("DepthwiseConv2D", {"kernel_size": 5}, 32, 144),
    ("DepthwiseConv2D", {"kernel_size": 5, "strides": 2}, 32, 144),
    ("Conv2D", {"filters": 192, "kernel_size": 1}, 64, 32),
    ("Conv2D", {"filters": 32, "kernel_size": 1}, 16, 192),
    ("Conv2DTranspose", {"filters": 16, "kernel_size": 3, "strides": 2}, 64, 16),
    ("Conv2DTranspose", {"filters": 96, "kernel_size": 3, "strides": 2}, 4, 1280),
]
BACKENDS = [("tensorflow", False), ("tensorflow", True), ("jax", True)]
BATCH = 8


def make(form, layer, arguments, size, channels, backward, xla):
    import keras
    import numpy as np
    from compiled import compiled

    from keras_pamunet import layers

    home = keras.layers if form == "Keras" else layers
    layer = getattr(home, layer)(**arguments, padding="same", use_bias=False)
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
    for layer, arguments, size, channels in SHAPES[::3] if short else SHAPES:
        strides, taps = arguments.get("strides", 1), arguments["kernel_size"] ** 2
        positions = size**2 if layer == "Conv2DTranspose" else (size / strides) ** 2
        products = math.prod((positions, taps, channels, arguments.get("filters", 1)))
        for backend, xla in BACKENDS:
            for backward in (True,) if short else (False, True):
                case = {
                    "layer": layer,
                    "arguments": arguments,
                    "size": size,
                    "channels": channels,
                    "xla": xla,
                    "backward": backward,
                    "gflop": 2 * BATCH * products * (3 if backward else 1) / 1e9,
                }
                lists.append(
                    [
                        {"backend": backend, "form": form, **case}
                        for form in ("ours", "Keras")
                    ]
                )
    return lists


if __name__ == "__main__":
    main("convolutions", make, comparisons)
