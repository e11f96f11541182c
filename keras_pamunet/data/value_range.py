"""Whether images have the values that a model was made for."""

import numpy as np


def check_range(image: np.ndarray, input_range: tuple[float, float]) -> None:
    """Makes sure that an image is not all white or all black to a model.

    Args:
        image: raw values of any shape.
        input_range: `(lowest, highest)` value of the model's images.

    Raises:
        ValueError: if the model takes values of 0 to 255 and the image has larger
            ones, negative ones, or floats that are all in 0 to 1; or if the model
            takes values of 0 to 1 and the image has larger or negative ones; or if it
            takes negative values, such as HU, and the image has 8 bits.
    """
    low, high = input_range
    input_range = low, high  # A tuple, to be compared.
    if low < 0 and image.dtype == "uint8":
        raise ValueError(
            f"Expected values such as HU, as the model was made for {input_range=}. "
            "Received: an image of 8 bits. For a model of such images train with "
            "input_range=(0, 255), --input-range 0 255."
        )
    if input_range not in ((0, 255), (0, 1)):
        return  # In other ranges, such as HU, values beyond are clipped.
    if input_range == (0, 255) and image.dtype == "uint8":
        return
    lowest, highest = image.min(), image.max()
    if lowest < 0:
        raise ValueError(
            f"Expected no negative values, as the model was made for {input_range=}. "
            f"Received: {image.dtype} values from {lowest:g} to {highest:g}"
        )
    if input_range == (0, 1) and highest > 1:
        raise ValueError(
            f"Expected values of 0 to 1, as the model was made for {input_range=}. "
            f"Received: {image.dtype} values up to {highest:g}. Divide them by 255."
        )
    if input_range == (0, 255) and highest > 255:
        raise ValueError(
            f"Expected images of 8 bits, as the model was made for {input_range=}. "
            f"Received: {image.dtype} values up to {highest:g}. Train with the range "
            "of the values: input_range=(lowest, highest), --input-range LOW HIGH."
        )
    if input_range == (0, 255) and image.dtype.kind == "f" and 0 < highest <= 1:
        raise ValueError(
            f"Expected values of 0 to 255, as the model was made for {input_range=}. "
            f"Received: {image.dtype} values up to {highest:g}. Multiply them by 255, "
            "or train with input_range=(0, 1)."
        )
