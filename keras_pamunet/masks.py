"""What masks must be."""

from typing import Any

import numpy as np


def check_masks(masks: Any) -> None:
    """Makes sure that masks are of 0 and 1, or in between.

    Args:
        masks: an array of any shape. Tensors are passed: they may have no values yet.

    Raises:
        ValueError: for other values.
    """
    if not isinstance(masks, np.ndarray) or masks.dtype == bool or not masks.size:
        return
    low, high = masks.min(), masks.max()
    if not (low >= 0 and high <= 1):  # NaN is neither.
        raise ValueError(
            f"Expected masks of 0 and 1. Received: values from {low} to {high}. Divide "
            "masks of 0 and 255 by 255, and make labels one channel a class: "
            "keras.utils.to_categorical(labels, num_classes)."
        )
