import math

import cv2
import numpy as np


class Augment:
    """Random changes of an image and its mask, all geometry in one warp.

    Flips, turns, rotation, zoom and shift are composed to one affine warp of image and
    mask, with the border mirrored; contrast, brightness and tint change the image
    only. Same random state, same result.

    Args:
        flip: mirror left-right and top-bottom, each in half of the cases.
        turn: turn by 0, 90, 180 or 270 degrees.
        rotation: largest rotation in degrees, on top of the turn.
        zoom: `(smallest, largest)` factor.
        shift: largest shift as a share of height and width.
        contrast: largest relative change of contrast.
        brightness: largest change of brightness as a share of the value range.
        tint: largest relative change of a single channel.
        value_range: `(lowest, highest)` value of the images.
        size: `(height, width)` of the results, which the same warp resizes to.
            Defaults to the given pair's. A pair of 1.5 times the size, once warped,
            is about as sharp as one that was resized and not warped.

    Example:

    >>> from keras_pamunet.data import Augment, Cache, Folder
    >>> image, mask = Cache(Folder("kvasir-seg"), (192, 192))[0]
    >>> augment = Augment(rotation=90, size=(128, 128))
    >>> image, mask = augment(image, mask, np.random.default_rng(0))
    """

    def __init__(
        self,
        flip: bool = True,
        turn: bool = True,
        rotation: float = 15.0,
        zoom: tuple[float, float] = (0.8, 1.25),
        shift: float = 0.05,
        contrast: float = 0.2,
        brightness: float = 0.1,
        tint: float = 0.1,
        value_range: tuple[float, float] = (0, 255),
        size: tuple[int, int] | None = None,
    ):
        self.flip = flip
        self.turn = turn
        self.rotation = rotation
        self.zoom = zoom
        self.shift = shift
        self.contrast = contrast
        self.brightness = brightness
        self.tint = tint
        self.value_range = value_range
        self.size = size

    def __call__(
        self, image: np.ndarray, mask: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns the changed pair, in the dtypes of the given one.

        Args:
            image: `(height, width, channels)`.
            mask: `(height, width)` labels.
            rng: where the changes are drawn from.
        """
        size = self.size or mask.shape
        warp = self._warp(mask.shape, size, rng)
        shape, dtype = (*size, image.shape[2]), image.dtype
        image = _apply(image, warp, size, cv2.INTER_LINEAR).reshape(shape)
        mask = _apply(mask, warp, size, cv2.INTER_NEAREST)
        if not (self.contrast or self.brightness or self.tint):
            return image, mask
        low, high = self.value_range
        gain = 1 + rng.uniform(-self.contrast, self.contrast)
        gain = gain * (1 + rng.uniform(-self.tint, self.tint, shape[2]))
        middle = (low + high) / 2
        offset = middle - gain * middle
        offset = offset + rng.uniform(-1, 1) * self.brightness * (high - low)
        if dtype == np.uint8:
            # 256 sums instead of one a pixel.
            table = np.arange(256)[:, np.newaxis] * gain + offset
            table = np.clip(np.rint(table), 0, 255).astype("uint8")
            return cv2.LUT(image, table[np.newaxis]).reshape(shape), mask
        image = np.clip(image * gain + offset, low, high)
        return image.astype(dtype), mask

    def _warp(self, given, size, rng):
        angle = math.radians(rng.uniform(-self.rotation, self.rotation))
        if self.turn:
            angle += math.pi / 2 * rng.integers(4)
        factor = math.exp(rng.uniform(math.log(self.zoom[0]), math.log(self.zoom[1])))
        flips = rng.choice([-1, 1], 2) if self.flip else (1, 1)
        cos, sin = factor * math.cos(angle), factor * math.sin(angle)
        given, size = np.array(given[::-1]), np.array(size[::-1])  # x, y
        matrix = np.array([[cos, -sin], [sin, cos]]) * flips * (size / given)
        # The centre stays where it is, but for the shift.
        move = (size - 1) / 2 - matrix @ ((given - 1) / 2)
        move += rng.uniform(-self.shift, self.shift, 2) * size
        return np.column_stack([matrix, move])


def _apply(pixels, warp, size, interpolation):
    return cv2.warpAffine(
        pixels,
        warp,
        size[::-1],
        flags=interpolation,
        borderMode=cv2.BORDER_REFLECT_101,
    )
