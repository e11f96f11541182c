"""Drawing masks on images, and writing pictures."""

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from keras_pamunet.files import unwritable, written_aside
from keras_pamunet.palette import COLOURS

# Of a class whose truth and prediction stand in one picture.
TRUTH_COLOUR = (255, 255, 255)
PREDICTION_COLOUR = tuple(map(int, COLOURS[1]))
MISSED_COLOUR, EXTRA_COLOUR = (0, 114, 255), (255, 60, 0)
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")


def outline(
    image: np.ndarray, mask: np.ndarray, colour: tuple[int, int, int] | None = None
) -> np.ndarray:
    """Draws the border of each label of a mask on an image.

    Args:
        image: `(height, width, 3)` uint8.
        mask: labels `(height, width)`, 0 outside.
        colour: red, green and blue. Defaults to each label's own, see
            `keras_pamunet.palette.COLOURS`.

    Returns:
        The picture, `(height, width, 3)` uint8.
    """
    picture = image.copy()
    thickness = max(round(max(image.shape) / 256), 1)
    mask = np.asarray(mask)
    for label in np.unique(mask[mask > 0]):
        contours, _ = cv2.findContours(
            (mask == label).astype("uint8"), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE
        )
        own = colour or tuple(map(int, COLOURS[int(label)]))
        cv2.drawContours(picture, contours, -1, own, thickness)
    return picture


def to_rgb(image: np.ndarray, value_range: tuple[float, float]) -> np.ndarray:
    """Maps values in `value_range` to an 8-bit RGB picture.

    Args:
        image: `(height, width, channels)`; one or two channels are shown in grey,
            of more the first three.
        value_range: `(lowest, highest)` value; see `own_range`.

    Returns:
        The picture, `(height, width, 3)` uint8.
    """
    low, high = map(float, value_range)
    image = np.clip(image.astype("float32"), low, high)
    image = (image - np.float32(low)) / np.float32(max(high - low, 1e-30))
    image = image[..., :3] if image.shape[-1] >= 3 else image[..., :1].repeat(3, -1)
    return np.rint(255 * image).astype("uint8")


def own_range(image: np.ndarray) -> tuple[float, float]:
    """Range to show an image in: 0 to 255 of 8 bits, else of its own values."""
    if image.dtype == np.uint8:
        return 0.0, 255.0
    low, high = float(image.min()), float(image.max())
    return low, high if high > low else low + 1


def write_picture(picture: np.ndarray, path: str | Path) -> None:
    """Writes a picture or mask, whole or not at all.

    Args:
        picture: `(height, width, 3)` or `(height, width)` uint8.
        path: where to. Folders on the way are made.

    Raises:
        ValueError: if the ending of `path` is none of `SUFFIXES`, or the picture has
            more rows or columns than such a file can hold.
        OSError: names the file, if it cannot be written.
    """
    _save(Image.fromarray(picture), Path(path))


def write_labels(labels: np.ndarray, path: str | Path) -> None:
    """Writes labels as a picture with a palette: numbers for programs, colours for us.

    Args:
        labels: `(height, width)` uint8.
        path: where to, ending in `.png`. Folders on the way are made.

    Raises:
        ValueError: for another ending.
        OSError: names the file, if it cannot be written.
    """
    if Path(path).suffix.lower() != ".png":
        raise ValueError(f"Expected a path that ends in .png. Received: {path}")
    picture = Image.fromarray(labels)
    picture.putpalette(COLOURS.tobytes())
    _save(picture, Path(path))


def _save(picture, path):
    check_suffix(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_aside(path) as new:
            # A picture is 15 % larger at zlib's level 1, and written 4 times as fast.
            picture.save(new, compress_level=1)
    except OSError as error:
        raise unwritable(path, error) from error


def check_suffix(path: str | Path) -> None:
    """Makes sure that a picture can be written to a path.

    Raises:
        ValueError: if its ending is none of `SUFFIXES`.
    """
    if Path(path).suffix.lower() not in SUFFIXES:
        raise ValueError(f"Expected a picture, {', '.join(SUFFIXES)}. Received: {path}")
