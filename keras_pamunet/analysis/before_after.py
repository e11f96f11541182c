"""The picture of what training has changed."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from keras_pamunet.data.resized import Resized
from keras_pamunet.drawing import to_rgb, write_picture
from keras_pamunet.figures import before_after
from keras_pamunet.inference.predictor import Predictor, predict_batch, resize_labels
from keras_pamunet.scores import Scores
from keras_pamunet.targets import to_labels

IMAGES = 4


def write_before_after(
    models: Mapping[str, Predictor],
    results: Mapping[str, Scores],
    source: Resized,
    path: str | Path,
    flips: bool = True,
) -> None:
    """Draws what models find in images, from the last one's worst Dice to its best.

    Args:
        models: the models by name.
        results: what `keras_pamunet.evaluation.evaluate` returned of each on `source`.
        source: a `Resized` of pairs in the models' size.
        path: of the picture.
        flips: see `keras_pamunet.inference.segment`.

    Raises:
        OSError: if the picture cannot be written.
    """
    dice = [[row["dice"] for row in result.images] for result in results.values()]
    count = min(IMAGES, len(dice[-1]))
    picks = np.linspace(0, len(dice[-1]) - 1, count).astype(int)
    rows = []
    for index in np.argsort(dice[-1], kind="stable")[picks]:
        image, truth = source.source[index]
        found = {}
        for scores, (name, model) in zip(dice, models.items()):
            seen = source[index][0][np.newaxis]
            labels = to_labels(predict_batch(model, seen, flips)[0], model.masks)
            title = f"{name}: Dice {scores[index]:.3f}"
            found[title] = resize_labels(labels, truth.shape)
        picture = to_rgb(image, next(iter(models.values())).input_range)
        rows.append((source.names[index], picture, truth, found))
    write_picture(before_after(rows), path)
