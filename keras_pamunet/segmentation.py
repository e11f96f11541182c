import dataclasses
import io

import numpy as np
from PIL import Image

from keras_pamunet.drawing import outline, to_rgb
from keras_pamunet.segmented_object import SegmentedObject


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Segmentation:
    """What a model has found in an image. Shows itself in a notebook.

    Args:
        image: raw values, `(height, width, channels)`.
        mask: labels, `(height, width)` uint8: 0 the background, 1 an object, or the
            classes.
        probabilities: `(height, width, num_classes)` float32.
        objects: the connected objects, the largest first.
        input_range: `(lowest, highest)` value that the model takes, to show the image.

    Example:

    >>> found = model.segment("photo.jpg")
    >>> found.mask.shape, len(found.objects)
    >>> found.overlay()  # (height, width, 3) uint8
    """

    image: np.ndarray
    mask: np.ndarray
    probabilities: np.ndarray
    objects: list[SegmentedObject]
    input_range: tuple[float, float]

    def overlay(self) -> np.ndarray:
        """The image with the objects' outlines, `(height, width, 3)` uint8."""
        return outline(to_rgb(self.image, self.input_range), self.mask)

    def __repr__(self) -> str:
        height, width = self.mask.shape
        share = np.count_nonzero(self.mask) / self.mask.size
        return (
            f"Segmentation of an image of {width} x {height} pixels: "
            f"{len(self.objects)} object(s), {share:.1%} of the image"
        )

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        Image.fromarray(self.overlay()).save(file, "png")
        return file.getvalue()
