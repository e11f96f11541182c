from collections.abc import Iterable

import cv2
import numpy as np

from keras_pamunet.data.opencv import DTYPES, apply_opencv
from keras_pamunet.data.pairs import Pairs
from keras_pamunet.targets import check_labels

CACHE_BYTES = 2**32


class Resized(Pairs):
    """A source's pairs in another size, kept in memory once read.

    Args:
        source: a `Folder`, `Phantom` or other source of pairs.
        size: `(height, width)` to resize to: images by area averages where they
            shrink, masks to the nearest pixel.
        cache_bytes: pairs beyond this many bytes are read anew each time.

    Example:

    >>> from keras_pamunet.data import Resized, Folder
    >>> pairs = Resized(Folder("kvasir-seg"), (128, 128))
    >>> image, mask = pairs[0]  # (128, 128, 3), (128, 128)
    """

    def __init__(
        self, source: Pairs, size: tuple[int, int], cache_bytes: int = CACHE_BYTES
    ):
        self.source = source
        height, width = size
        self.size = height, width
        self.names = source.names
        self.groups = source.groups
        self.in_hu = source.in_hu
        self.class_names = source.class_names
        self.channels = source.channels
        self.num_classes = source.num_classes
        self.cache_bytes = cache_bytes
        self._pairs = {}
        self._bytes = 0

    def spacing(self, group: str) -> None:
        """None: what is resized has lost its own."""

    def select(self, names: Iterable[str]) -> "Resized":
        return Resized(self.source.select(names), self.size, self.cache_bytes)

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        pair = self._pairs.get(index)
        if pair is None:
            image, mask = self.source[index]
            pair = resize_image(image, self.size), resize_mask(mask, self.size)
            if self._bytes < self.cache_bytes:
                self._bytes += sum(part.nbytes for part in pair)
                self._pairs[index] = pair
        return pair


def resize_image(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resizes `(height, width, channels)` of any number of channels.

    Args:
        image: of any dtype; those that OpenCV does not take become float32.
        size: `(height, width)`.

    Raises:
        ValueError: for an image of another shape or without pixels.
    """
    if image.dtype not in DTYPES:
        image = image.astype("float32")
    if image.shape[:2] == tuple(size):
        return image
    shrinks = image.shape[0] > size[0] and image.shape[1] > size[1]
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return apply_opencv(
        lambda part: cv2.resize(part, size[::-1], interpolation=interpolation), image
    )


def resize_mask(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resizes labels `(height, width)`, 0 to 255, to the nearest pixel.

    Raises:
        ValueError: for other values.
    """
    if mask.dtype != np.uint8:
        check_labels(mask, 256)
        mask = mask.astype("uint8")
    return apply_opencv(
        lambda part: cv2.resize(
            part, tuple(size)[::-1], interpolation=cv2.INTER_NEAREST_EXACT
        ),
        mask[..., np.newaxis],
    )[..., 0]
