"""Test-time augmentation: one prediction out of four."""

from typing import Any

import numpy as np


def predict_flips(model: Any, images: np.ndarray) -> np.ndarray:
    """Mean of the predictions for the images and their three mirror images.

    Args:
        model: whatever has `predict_on_batch`.
        images: raw values, `(batch, height, width, channels)`.

    Returns:
        Probabilities, `(batch, height, width, num_classes)`, flipped back.
    """
    images = np.asarray(images)
    return np.mean(
        [
            np.flip(model.predict_on_batch(np.flip(images, axes)), axes)
            for axes in ((), 1, 2, (1, 2))
        ],
        axis=0,
    )
