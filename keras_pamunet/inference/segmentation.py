import dataclasses
import io

import numpy as np
from PIL import Image

from keras_pamunet.drawing import outline, to_rgb
from keras_pamunet.inference.segmented_object import SegmentedObject
from keras_pamunet.targets import is_class


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Segmentation:
    """What a model has found in an image. Shows itself in a notebook.

    Args:
        image: raw values, `(height, width, channels)`.
        mask: labels, `(height, width)` uint8: 0 the background, 1 an object, or the
            classes. Of classes that overlap it has the last.
        layers: labels of the same shape, one array for all classes, or one for each
            that may overlap others.
        probabilities: `(height, width, num_classes)` float32.
        objects: the connected objects, of each layer the largest first.
        input_range: `(lowest, highest)` value that the model takes, to show the image.
        class_names: names of the labels 1, 2, ...

    Example:

    >>> found = model.segment("photo.jpg")
    >>> found.mask.shape, found.overlay().shape
    ((300, 300), (300, 300, 3))
    """

    image: np.ndarray
    mask: np.ndarray
    layers: list[np.ndarray]
    probabilities: np.ndarray
    objects: list[SegmentedObject]
    input_range: tuple[float, float]
    class_names: tuple[str, ...]

    def overlay(self) -> np.ndarray:
        """The image with the objects' outlines, `(height, width, 3)` uint8."""
        return outline(to_rgb(self.image, self.input_range), self.mask)

    def class_masks(self) -> dict[str, np.ndarray]:
        """For each class where it is, `(height, width)` boolean."""
        return {
            name: is_class(self.layers, label)
            for label, name in enumerate(self.class_names, 1)
        }

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
