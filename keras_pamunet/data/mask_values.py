"""Which pixels of a picture are object, or what label they have."""

import cv2
import numpy as np

from keras_pamunet.data.image_format import Picture
from keras_pamunet.data.pairs import some

# Of a mask of one object: the least value of its brightest pixel, where not 0 and 1.
BRIGHT = 192
# Share of the pixels that a soft edge between the two values may take. A third label
# has areas of one value, which neither soft edges nor the noise of JPEG have.
SOFT_EDGE = 0.05
THIRD_LABEL = 0.001
# So few further values may be labels: no area, and fewer pixels unless at an edge.
FEW_VALUES, FEW_PIXELS = 4, 0.01


def to_object(picture: Picture) -> np.ndarray:
    """The mask of one object, `(height, width)` uint8 of 0 and 1.

    Object is what is bright and opaque, be there noise around the two values or a soft
    edge between them; or what is opaque, if the picture is of one colour; or the one
    colour of a palette beside black.

    Raises:
        ValueError: if the picture is no such mask.
    """
    if picture.palette is not None:
        grey, opacity = _of_palette(picture)
    else:
        grey, opacity = _of_channels(picture, noise=32)
    if opacity is not None:
        grey = _where_opaque(grey, opacity)
    return split_in_two(grey, picture.lossy)


def to_labels(picture: Picture, num_classes: int) -> np.ndarray:
    """Labels 0 to `num_classes - 1`, `(height, width)` uint8.

    A palette's numbers are the labels, unless its colours are grey and labels.

    Raises:
        ValueError: if the picture has other values, or its file changes values.
    """
    if picture.palette is not None:
        grey = _labels_of_palette(picture, num_classes)
    else:
        grey, opacity = _of_channels(picture, noise=0)
        if opacity is not None:
            if not np.isin(opacity, (0, _highest(opacity))).all():
                raise ValueError("Expected labels. Received: half-transparent pixels")
            if not grey.any() and np.ptp(opacity):
                raise ValueError("Expected labels. Received: only transparency")
            grey = np.where(opacity > 0, grey, 0)
    if picture.lossy and grey.any():
        raise ValueError(
            "Expected labels in a lossless format, such as PNG. Received: a JPEG or "
            "lossy WebP image, which changes values"
        )
    return as_labels(grey, num_classes)


def as_labels(values: np.ndarray, num_classes: int) -> np.ndarray:
    """Numbers as labels, uint8.

    Raises:
        ValueError: unless all are one of 0 to `num_classes - 1`.
    """
    if values.max() < num_classes and (values >= 0).all():
        labels = values.astype("uint8")
        if (labels == values).all():
            return labels
    raise _unfit(f"labels from 0 to {num_classes - 1}", values)


def split_in_two(grey: np.ndarray, lossy: bool = False) -> np.ndarray:
    """0 and 1 of two values with noise around them or a soft edge between them.

    Args:
        grey: `(height, width)`.
        lossy: whether the values come from a file that does not keep 0 and 1 apart.

    Raises:
        ValueError: if there are not two values, 0 and 1 or 0 and a bright one.
    """
    if not lossy and ((grey == 0) | (grey == 1)).all():
        return grey.astype("uint8")
    if not grey.any():
        return np.zeros(grey.shape, "uint8")
    expected = "two values (0 and 1, or 0 and 255)"
    values, counts = _histogram(grey)
    low, top = float(values[0]), float(values[-1])
    if lossy and low >= 0 and top < BRIGHT:
        raise _unfit(f"{expected}, and 0 and 255 in a lossy format", grey)
    if not (low >= 0 and BRIGHT <= top < np.inf):
        raise _unfit(expected, grey)
    low = low if low <= 3 else 0
    third = (values != low) & (values != top)
    between = (values >= top / 4) & (values < 3 * top / 4)
    if third.sum() <= FEW_VALUES:
        most = SOFT_EDGE if between[third].all() else FEW_PIXELS
        fit = counts[third].sum() <= most * grey.size
        fit = fit and not _flat_pixels(grey, low, top)
    else:
        fit = counts[between].sum() <= SOFT_EDGE * grey.size
        fit = fit and _flat_pixels(grey, 1, top - 1) <= THIRD_LABEL * grey.size
    if not fit:
        raise _unfit(expected, grey)
    return (grey > top / 2).astype("uint8")


def _histogram(grey):
    """The values, sorted, and how often each is there."""
    if grey.dtype != np.uint8:
        return np.unique(grey, return_counts=True)
    counts = cv2.calcHist([grey], [0], None, [256], [0, 256]).ravel()
    values = np.flatnonzero(counts)
    return values, counts[values]


def _flat_pixels(grey, low, high):
    """Number of pixels above `low` and below `high` amid eight of their own value."""
    if grey.dtype not in ("uint8", "uint16", "float32"):
        grey = grey.astype("float32")
    square = np.ones((3, 3), "uint8")
    flat = cv2.erode(grey, square) == cv2.dilate(grey, square)
    return np.count_nonzero(flat & (grey > low) & (grey < high))


def _unfit(expected, values):
    found = np.unique(values)
    hint = ""
    if expected.startswith("two") and np.isin(found, np.arange(256)).all():
        top = int(found[-1])
        hint = (
            ". If they are labels of several classes, give num_classes "
            f"(--num-classes {max(top + 1, 2)})"
        )
        if len(found) == 2 and top > 1:
            hint += f"; if {top} is the object, write 255 in its place"
    return ValueError(
        f"Expected a mask of {expected}. Received: {len(found)} values "
        f"({some(found.tolist())}){hint}"
    )


def _of_channels(picture, noise):
    """Grey values and opacity, or `None`, of a picture without palette.

    Args:
        picture: a `Picture`.
        noise: by how much the channels of 8 bits may differ.
    """
    pixels, opacity = picture.pixels, None
    if picture.alpha:
        pixels, opacity = pixels[..., :-1], pixels[..., -1]
    if pixels.ndim == 2:
        return pixels, opacity
    if pixels.shape[2] == 1:
        return np.ascontiguousarray(pixels[..., 0]), opacity
    first = np.ascontiguousarray(pixels[..., 0])
    # Channel by channel, which is ten times as fast as all at once.
    if all(np.array_equal(first, pixels[..., at]) for at in range(pixels.shape[2])):
        return first, opacity
    wide = pixels.astype("float64")
    unlike = np.ptp(wide, axis=2) > noise * _highest(pixels) / 255
    if opacity is not None:
        unlike &= opacity > 0
    if unlike.any() or not noise:
        raise _coloured()
    return np.rint(wide.mean(axis=2)).astype(pixels.dtype), opacity


def _of_palette(picture):
    """Grey values and opacity of a picture with palette."""
    used = np.unique(picture.pixels)
    colours, opacity = picture.palette[used, :3], picture.palette[used, 3]
    grey = (colours == colours[:, :1]).all(axis=1) | (opacity == 0)
    if len(used) > 1 and len(np.unique(picture.palette[used], axis=0)) == 1:
        return picture.pixels, None  # The palette has nothing to say.
    if grey.all():
        return picture.palette[picture.pixels, 0], picture.palette[picture.pixels, 3]
    background = (opacity == 0) | ~colours.any(axis=1)
    if np.sum(~background) != 1:
        raise _coloured()
    return (picture.pixels == used[~background]).astype("uint8"), None


def _labels_of_palette(picture, num_classes):
    used = np.unique(picture.pixels)
    colours = picture.palette[used, :3]
    grey = (colours == colours[:, :1]).all()
    distinct = len(np.unique(colours, axis=0)) == len(used)
    if grey and distinct and colours.max() < num_classes:
        return picture.palette[picture.pixels, 0]
    black = used[~colours.any(axis=1)]
    if distinct and len(black) and black[0] != 0:
        raise ValueError(
            "Expected a palette with black, the background, as its colour number 0. "
            f"Received: black as number {black[0]}"
        )
    return picture.pixels


def _where_opaque(grey, opacity):
    """Grey values, dark where they are transparent."""
    highest = _highest(opacity)
    if (opacity == highest).all():
        return grey
    if not opacity.any():
        if grey.any():
            raise ValueError("Expected a mask. Received: only transparent pixels")
        return grey
    seen = grey[opacity > 0]
    if (seen == seen[0]).all():  # A mask that is all in its transparency.
        if grey.any() and not seen[0]:
            raise ValueError(
                "Expected a bright or an opaque object. Received: black pixels and "
                "bright transparent ones, of which either may be the object"
            )
        return opacity
    return np.rint(grey.astype("float64") * opacity / highest).astype(grey.dtype)


def _highest(pixels):
    """The largest value of pixels of this dtype; 1 of floats."""
    return np.iinfo(pixels.dtype).max if pixels.dtype.kind in "iu" else 1


def _coloured():
    return ValueError("Expected a grey mask. Received: a mask of several colours")
