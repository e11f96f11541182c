"""Dice, IoU, recall and precision of masks in NumPy. Needs no Keras.

They are those of `keras_pamunet.metrics`, of networks in files.
"""

import numpy as np


def image_scores(
    truth: np.ndarray, probabilities: np.ndarray, activation: str
) -> dict[str, np.ndarray]:
    """Scores of each image and class.

    Args:
        truth: masks of 0 and 1, `(batch, height, width, channels)`.
        probabilities: of the same shape.
        activation: `"sigmoid"` for a threshold of 0.5, `"softmax"` for the likeliest
            channel; of that the first, the background, is left out.

    Returns:
        Arrays `(batch, classes)` as `"dice"`, `"iou"`, `"recall"` and `"precision"`. 1
        where truth and prediction are both empty, 0 where one of them is.
    """
    return ratios(pixel_counts(truth, probabilities, activation))


def pixel_counts(
    truth: np.ndarray, probabilities: np.ndarray, activation: str
) -> np.ndarray:
    """Pixels in both masks, in the truth alone and in the prediction alone.

    Args:
        truth, probabilities, activation: see `image_scores`.

    Returns:
        `(3, batch, classes)`.
    """
    truth, probabilities = np.asarray(truth) > 0, np.asarray(probabilities)
    if activation == "softmax":
        likeliest = np.argmax(probabilities, axis=-1)[..., np.newaxis]
        found = likeliest == np.arange(probabilities.shape[-1])
        truth, found = truth[..., 1:], found[..., 1:]
    else:
        found = probabilities > 0.5
    parts = truth & found, truth & ~found, ~truth & found
    return np.stack([np.count_nonzero(part, axis=(1, 2)) for part in parts])


def ratios(counts: np.ndarray) -> dict[str, np.ndarray]:
    """Scores by name of what `pixel_counts` returns, or of sums of it."""
    both, only_truth, only_found = counts
    sides = {
        "dice": (2 * both, 2 * both + only_truth + only_found),
        "iou": (both, both + only_truth + only_found),
        "recall": (both, both + only_truth),
        "precision": (both, both + only_found),
    }
    empty = counts.sum(axis=0) == 0
    return {
        name: np.where(empty, 1.0, numerator / np.maximum(denominator, 1))
        for name, (numerator, denominator) in sides.items()
    }
