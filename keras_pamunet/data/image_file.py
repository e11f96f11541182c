"""Reads files of images and of masks."""

from pathlib import Path

import numpy as np

from keras_pamunet.data.image_format import decode
from keras_pamunet.data.mask_values import to_labels, to_object

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")


def image_files(folder: str | Path) -> list[Path]:
    """The image files in a folder, sorted, without hidden ones.

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: if it holds no image.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"Expected a folder of images. Not there: {folder}")
    files = sorted(filter(is_image, folder.iterdir()))
    if not files:
        raise ValueError(
            f"Expected images ({', '.join(IMAGE_SUFFIXES)}) in {folder}. Found none."
        )
    return files


def is_image(path: Path) -> bool:
    """Whether this is an image file, by its name. A hidden one is not."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def read_image(path: str | Path) -> np.ndarray:
    """Reads an image file.

    Args:
        path: a JPEG, PNG, BMP, WebP or TIFF file; its content counts, not its ending.

    Returns:
        `(height, width, channels)` in the file's depth, upright as the file's
        orientation says, with opacity as the last channel if the file has it; 0 and
        255 of one bit, RGB of a palette or of CMYK, bright as the largest value of a
        TIFF that stores white as 0.

    Raises:
        ValueError: names the file, if it cannot be read, holds several images, claims
            more than 89 million pixels or has NaN pixels.
    """
    picture = decode(path)
    pixels = picture.pixels
    if picture.palette is not None:
        pixels = picture.palette[pixels, :3]
    if pixels.dtype == bool:
        pixels = np.uint8(255) * pixels
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        raise ValueError(
            f"Expected finite pixels. Received: {np.sum(~np.isfinite(pixels))} NaN or "
            f"infinite pixels in {path}"
        )
    return pixels if pixels.ndim == 3 else pixels[..., np.newaxis]


def count_channels(path: str | Path) -> int:
    """Channels of an image file without that of opacity; errors as `read_image`."""
    return decode(path).channels


def read_mask(path: str | Path, num_classes: int = 1) -> np.ndarray:
    """Reads the file of a mask.

    Args:
        path: see `read_image`.
        num_classes: 1 for a mask of one object: 0 and 1, dark and bright, or opaque
            on transparent; noise and soft edges are removed. Otherwise the file holds
            the labels 0 to `num_classes - 1`, as values or as the numbers of a palette.

    Returns:
        `(height, width)` uint8, 0 and 1 or the labels.

    Raises:
        ValueError: names the file, if it cannot be read or is no such mask.
    """
    picture = decode(path)
    try:
        if num_classes == 1:
            return to_object(picture)
        return to_labels(picture, num_classes)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def fit_channels(image: np.ndarray, channels: int) -> np.ndarray:
    """An image `(height, width, any)` with the channels that are asked for.

    Grey becomes RGB, RGB whose channels are equal becomes grey, and opacity, the last
    of two or four channels, is left out.

    Raises:
        ValueError: for any other number of channels.
    """
    if image.ndim == 3:
        if image.shape[2] == channels:
            return image
        opaque = image[..., :-1] if image.shape[2] in (2, 4) else image
        found = opaque.shape[2]
        if found == channels and channels in (1, 3):
            return opaque
        if found == 1 and channels == 3:
            return np.repeat(opaque, 3, axis=2)
        if found == 3 and channels == 1 and (opaque == opaque[..., :1]).all():
            return opaque[..., :1]
    raise ValueError(
        f"Expected an image of shape (height, width, {channels}). Received: shape "
        f"{image.shape}"
    )
