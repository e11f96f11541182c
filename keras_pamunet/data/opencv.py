"""OpenCV's functions for images of any dtype and number of channels."""

from collections.abc import Callable

import cv2
import numpy as np

# What all of its functions take. Anything else becomes float32.
DTYPES = ("uint8", "int16", "uint16", "float32", "float64")


def apply_opencv(function: Callable, image: np.ndarray) -> np.ndarray:
    """Result of a function of OpenCV, which gets up to four channels at a time.

    Args:
        function: takes and returns `(height, width, channels)`.
        image: `(height, width, channels)`.

    Returns:
        The same of all channels, in the dtype of the image if OpenCV takes it,
        otherwise float32.

    Raises:
        ValueError: if OpenCV cannot do it, such as for an image without pixels.
    """
    if image.ndim != 3:
        raise ValueError(
            "Expected an image of shape (height, width, channels). Received: shape "
            f"{image.shape}"
        )
    if image.dtype not in DTYPES:
        image = image.astype("float32")
    try:
        parts = [
            function(np.ascontiguousarray(image[..., first : first + 4]))
            for first in range(0, image.shape[2], 4)
        ]
        parts = [part.reshape(*part.shape[:2], -1) for part in parts]
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=2)
    except (cv2.error, ValueError) as error:
        raise ValueError(
            f"Expected an image that OpenCV takes. Received: {image.dtype} of shape "
            f"{image.shape} ({str(error).strip()})"
        ) from error
