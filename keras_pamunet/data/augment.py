import dataclasses
import math

import cv2
import numpy as np

from keras_pamunet.data.opencv import apply_opencv


@dataclasses.dataclass(frozen=True)
class Augment:
    """Random changes of an image and its mask, all geometry in one warp.

    Flips, turns, rotation, zoom and shift are composed to one affine warp of image and
    mask, with the border mirrored; contrast, brightness and tint change the image
    only. Same random state, same result.

    Args:
        mirror_axes: mirror along these in half of the cases each: 1 for top to
            bottom, 2 for left to right.
        turn: turn by 0, 90, 180 or 270 degrees.
        rotation: largest rotation in degrees, on top of the turn.
        zoom: `(smallest, largest)` factor.
        shift: largest shift as a share of height and width.
        contrast: largest relative change of contrast.
        brightness: largest change of brightness as a share of the value range.
        tint: largest relative change of a single channel.
        value_range: `(lowest, highest)` value of the images.

    Example:

    >>> from keras_pamunet.data import Augment, Phantom
    >>> augment, (image, mask) = Augment(rotation=90), Phantom(1)[0]
    >>> image, mask = augment(image, mask, np.random.default_rng(0))
    """

    mirror_axes: tuple[int, ...] = (1, 2)
    turn: bool = True
    rotation: float = 15.0
    zoom: tuple[float, float] = (0.8, 1.25)
    shift: float = 0.05
    contrast: float = 0.2
    brightness: float = 0.1
    tint: float = 0.1
    value_range: tuple[float, float] = (0, 255)

    def __call__(
        self, image: np.ndarray, mask: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns the changed pair, in the shapes and dtypes of the given one.

        Args:
            image: `(height, width, channels)`.
            mask: `(height, width)` labels.
            rng: where the changes are drawn from.

        Raises:
            ValueError: for other shapes, or more than 32,767 pixels in a row.
        """
        height, width = mask.shape
        warp = self._warp(height, width, rng)
        dtype, channels = image.dtype, image.shape[2]
        image = _apply(image, warp, cv2.INTER_LINEAR)
        mask = _apply(mask[..., np.newaxis], warp, cv2.INTER_NEAREST)[..., 0]
        if self.contrast or self.brightness or self.tint:
            image = self._recolour(image, channels, rng)
        if dtype.kind in "iu" and image.dtype != dtype:
            limits = np.iinfo(dtype)
            image = np.clip(np.rint(image, dtype="float64"), limits.min, limits.max)
        return image.astype(dtype, copy=False), mask

    def _recolour(self, image, channels, rng):
        low, high = self.value_range
        gain = 1 + rng.uniform(-self.contrast, self.contrast)
        gain = gain * (1 + rng.uniform(-self.tint, self.tint, channels))
        middle = (low + high) / 2
        offset = middle - gain * middle
        offset = offset + rng.uniform(-1, 1) * self.brightness * (high - low)
        if image.dtype != np.uint8:
            return np.clip(image * gain + offset, low, high)
        # A table of 256 values, instead of a multiplication and a sum for each pixel.
        table = np.arange(256)[:, np.newaxis] * gain + offset
        table = np.clip(np.rint(table), 0, 255).astype("uint8")
        if channels > 4:
            return table[image, np.arange(channels)]
        return cv2.LUT(image, table[np.newaxis]).reshape(image.shape)

    def _warp(self, height, width, rng):
        angle = math.radians(rng.uniform(-self.rotation, self.rotation))
        if self.turn:
            angle += math.pi / 2 * rng.integers(4)
        factor = math.exp(rng.uniform(math.log(self.zoom[0]), math.log(self.zoom[1])))
        flip_x, flip_y = (
            flip if axis in self.mirror_axes else 1
            for axis, flip in zip((2, 1), rng.choice([-1, 1], 2))
        )
        cos, sin = factor * math.cos(angle), factor * math.sin(angle)
        xx, xy, yx, yy = cos * flip_x, -sin * flip_y, sin * flip_x, cos * flip_y
        # The centre stays where it is, but for the shift.
        x, y = (width - 1) / 2, (height - 1) / 2
        move_x, move_y = rng.uniform(-self.shift, self.shift, 2)
        move_x = x - xx * x - xy * y + move_x * width
        move_y = y - yx * x - yy * y + move_y * height
        return np.array([[xx, xy, move_x], [yx, yy, move_y]])


def _apply(pixels, warp, interpolation):
    return apply_opencv(
        lambda part: cv2.warpAffine(
            part,
            warp,
            part.shape[1::-1],
            flags=interpolation,
            borderMode=cv2.BORDER_REFLECT_101,
        ),
        pixels,
    )
