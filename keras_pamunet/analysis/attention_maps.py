"""What a model's attention gates look at."""

import keras
import numpy as np
from keras import ops

from keras_pamunet.layers import ProgressiveLuongAttention

# Scores made at once: 64 MB in float32.
MAX_SCORES = 2**24


def attention_map(model: keras.Model, images: np.ndarray, level: int = 0) -> np.ndarray:
    """How much each place is attended to by the average pixel of the skip.

    Args:
        model: a `PAMUNet` with attention.
        images: raw values, `(batch, height, width, channels)`.
        level: the gate: 0 at 1/2 of the image's size, 1 at 1/4, 2 at 1/8, 3 at 1/16.

    Returns:
        The gate's scores, averaged over the queries,
        `(batch, gate_height, gate_width)` float32. The gate's `key_stride` divides
        height and width.

    Raises:
        ValueError: if the model has no such gate.
    """
    name = f"attention_{level}"
    gates = [x.name for x in model.layers if isinstance(x, ProgressiveLuongAttention)]
    if name not in gates:
        raise ValueError(
            f"Expected a model with the gate {name!r}. Its gates are: "
            f"{', '.join(gates) or 'none'}"
        )
    gate = model.get_layer(name)
    features = keras.Model(model.input, gate.input)
    maps = []
    for image in images:
        skip, up = features(image[np.newaxis], training=False)
        rows = skip.shape[1]
        # A few rows of queries at a time: all the scores would not fit in memory.
        height, width = (-(-side // gate.key_stride) for side in up.shape[1:3])
        step = max(MAX_SCORES // (skip.shape[2] * height * width), 1)
        total = 0.0
        for row in range(0, rows, step):
            part = skip[:, row : row + step]
            _, scores = gate(part, up, return_attention_scores=True)
            total = total + ops.convert_to_numpy(ops.sum(scores, axis=1))
        maps.append(total.reshape(height, width) / (rows * skip.shape[2]))
    return np.stack(maps)
