"""What a model's attention gates look at."""

import math
from collections.abc import Iterable, Iterator

import keras
import numpy as np
from keras import ops

from keras_pamunet.backend import run_once
from keras_pamunet.layers import AdditiveAttention, ProgressiveLuongAttention

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
        height and width. Of additive attention, its coefficients.

    Raises:
        ValueError: if the model has no such gate.
    """
    return np.stack(list(attention_maps(model, images, level)))


def attention_maps(
    model: keras.Model, images: Iterable[np.ndarray], level: int = 0
) -> Iterator[np.ndarray]:
    """`attention_map` of one image `(height, width, channels)` after the other."""
    name = f"attention_{level}"
    gates = [gate.name for gate in _gates(model)]
    if name not in gates:
        raise ValueError(
            f"Expected a model with the gate {name!r}. Its gates are: "
            f"{', '.join(gates) or 'none'}"
        )
    gate = model.get_layer(name)
    features = keras.Model(model.input, gate.input)
    for image in images:
        yield _mean_scores(gate, *run_once(features, image[np.newaxis]))


def gate_maps(
    model: keras.Model, image: np.ndarray, pixel: tuple[int, int]
) -> list[dict[str, np.ndarray]]:
    """What each gate of a model does to one image (Fig. 2c), as maps.

    Args:
        model: a `PAMUNet` with attention.
        image: raw values, `(height, width, channels)`, of a size the model takes.
        pixel: `(row, column)` in the image.

    Returns:
        For each gate, from 1/2 of the image's size down to 1/16, maps of the part that
        the image covers, `(height, width)` float32: `"before"` and `"after"`, the
        skip's features without and with the gate, means over the channels;
        `"attention"`, see `attention_map`; and `"pixel"`, the scores of the given
        pixel alone, which additive attention does not have.

    Raises:
        ValueError: if the model has no gates.
    """
    levels = []
    for level, (gate, skip, source, maps) in enumerate(_before_and_after(model, image)):
        maps["attention"] = _mean_scores(gate, skip, source)
        if isinstance(gate, ProgressiveLuongAttention):
            row, column = (at // 2 ** (level + 1) for at in pixel)
            query = skip[:, row : row + 1, column : column + 1]
            scores = _scores(gate, query, source)
            maps["pixel"] = scores.reshape(maps["attention"].shape)
        levels.append(_covered(maps, image, level))
    return levels


def gate_features(model: keras.Model, image: np.ndarray) -> list[dict[str, np.ndarray]]:
    """`"before"` and `"after"` of `gate_maps` alone."""
    return [
        _covered(maps, image, level)
        for level, (*_, maps) in enumerate(_before_and_after(model, image))
    ]


def _before_and_after(model, image):
    """Of each gate itself, its skip, its source, and the first two maps."""
    gates = _all_gates(model)
    tensors = keras.Model(model.input, [(*gate.input, gate.output) for gate in gates])
    found = run_once(tensors, image[np.newaxis])
    for gate, (skip, source, gated) in zip(gates, found):
        maps = {
            name: ops.convert_to_numpy(features)[0].astype("float32").mean(axis=-1)
            for name, features in (("before", skip), ("after", gated))
        }
        yield gate, skip, source, maps


def _covered(maps, image, level):
    """The part of maps that the image covers: it was padded below and at the right."""
    padded = [side * 2 ** (level + 1) for side in maps["before"].shape]
    return {name: _crop(x, image.shape, padded) for name, x in maps.items()}


def gate_effects(model: keras.Model, images: np.ndarray) -> list[dict[str, float]]:
    """How much each gate of a model changes its skip, and whether by place.

    Args:
        model: a `PAMUNet` with attention.
        images: raw values, `(batch, height, width, channels)`.

    Returns:
        For each gate, from 1/2 of the image's size down to 1/16: `"change"`, the norm
        of what it adds to the skip relative to the skip's; and `"uniform"`, the share
        of that, in squares, which is the same at all places of an image: 1 for a gate
        that prefers no region to another, and NaN for one that adds nothing. For all
        but additive attention also `"largest_score"`, the largest of the scores
        `|Q K^T / sqrt(channels)|`, and `"beyond_1"`, the share of those above 1: if
        both are small, `score_activation="first_order"` finds what `"sigmoid"` does.

    Raises:
        ValueError: if the model has no gates.
    """
    gates = _all_gates(model)
    tensors = keras.Model(model.input, [(*gate.input, gate.output) for gate in gates])
    effects = []
    found = tensors.predict(images, batch_size=8, verbose=0)
    for gate, (skip, source, gated) in zip(gates, found):
        scores = {}
        if isinstance(gate, ProgressiveLuongAttention):
            scores = _score_range(gate, skip, source)
        skip = skip.astype("float64")
        added = gated - skip
        square, mean_square = (added**2).mean(), (added.mean(axis=(1, 2)) ** 2).mean()
        change = float(np.sqrt(square / (skip**2).mean()))
        uniform = float(mean_square / square) if square else math.nan
        effects.append({"change": change, "uniform": uniform, **scores})
    return effects


def close_gates(model: keras.Model) -> keras.Model:
    """A copy of a model that takes its skips as they are, with gamma = 0.

    Args:
        model: a `PAMUNet` whose attention is neither `"additive"` nor `None`.

    Raises:
        ValueError: if the model has no such gates.
    """
    copy = model.clone()
    gates = [x for x in copy.layers if isinstance(x, ProgressiveLuongAttention)]
    if not gates:
        raise ValueError(
            "Expected a model with gates that have a gamma. Received: one with "
            f"attention={model.attention!r}"
        )
    for gate in gates:
        gate.gamma.assign(0.0)
    return copy


def _gates(model):
    kinds = AdditiveAttention | ProgressiveLuongAttention
    return [layer for layer in model.layers if isinstance(layer, kinds)]


def _all_gates(model):
    gates = sorted(_gates(model), key=lambda gate: gate.name)
    if not gates:
        raise ValueError(
            "Expected a model with attention. Received: a model without "
            f"({model.name!r})"
        )
    return gates


def _mean_scores(gate, skip, source):
    if isinstance(gate, AdditiveAttention):
        return _scores(gate, skip, source)[0, ..., 0]
    height, width = _key_sides(gate, source)
    parts = _in_parts(gate, skip, source)
    total = sum(_scores(gate, part, source).sum(axis=1) for part in parts)
    return total.reshape(height, width) / math.prod(skip.shape[1:3])


def _key_sides(gate, source):
    return [-(-side // gate.key_stride) for side in source.shape[1:3]]


def _in_parts(gate, skip, source):
    """A few queries at a time: all the scores would not fit in memory."""
    queries = ops.reshape(skip, (1, -1, 1, skip.shape[-1]))
    step = max(MAX_SCORES // math.prod(_key_sides(gate, source)), 1)
    for first in range(0, queries.shape[1], step):
        yield queries[:, first : first + step]


def _score_range(gate, skips, sources):
    """How far the scores of some images are from 0, before f."""
    largest, beyond, count = 0.0, 0, 0
    for index in range(len(skips)):
        skip, source = skips[index : index + 1], sources[index : index + 1]
        for part in _in_parts(gate, skip, source):
            scores = np.abs(ops.convert_to_numpy(gate.dot_products(part, source)))
            largest = max(largest, float(scores.max()))
            beyond += int(np.count_nonzero(scores > 1))
            count += scores.size
    return {"largest_score": largest, "beyond_1": beyond / count}


def _scores(gate, skip, source):
    if isinstance(gate, AdditiveAttention):
        _, scores = gate(skip, source, return_attention_scores=True)
    else:
        scores = gate.scores(skip, source)
    return ops.convert_to_numpy(scores).astype("float32")


def _crop(values, size, padded):
    height, width = (
        -(-side * count // whole)
        for side, count, whole in zip(size, values.shape, padded)
    )
    return values[:height, :width]
