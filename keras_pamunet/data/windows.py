"""The Hounsfield scale, and the part of it that becomes the grey values of an image."""

from contextlib import suppress
from typing import Any

import numpy as np

from keras_pamunet.data.nifti import UnfitVolume

# Lowest and highest HU. The liver, bright with contrast agent in LiTS, as most work on
# that set shows it; the others from the level and width radiologists use.
WINDOWS = {
    "liver": (-200, 250),
    "soft_tissue": (-160, 240),
    "lung": (-1350, 150),
    "bone": (-500, 1300),
}


# Slices that are enough to tell a CT in HU, and values that none stays within: noise
# alone is more.
SAMPLE = 9
NORMALIZED = 10


def apply_window(
    hu: np.ndarray, window: str | tuple[float, float] = "liver"
) -> np.ndarray:
    """Maps Hounsfield units to 8-bit grey values.

    Args:
        hu: array of any shape, in HU.
        window: a name in `WINDOWS` or `(lowest, highest)` HU. These become 0 and 255,
            as does all below and above them.

    Returns:
        uint8 array of the same shape, rounded.

    Raises:
        ValueError: if there is no such window, or `lowest` is not below `highest`, both
            finite.

    Example:

    >>> from keras_pamunet.data import apply_window
    >>> apply_window(np.array([-1000, 30, 400]), "liver")
    array([  0, 130, 255], dtype=uint8)
    """
    low, high = window_limits(window)
    grey = hu.astype("float32")
    grey -= low
    grey *= 255 / (high - low)
    np.clip(grey, 0, 255, out=grey)
    return np.rint(grey, out=grey).astype("uint8")


def window_limits(window: str | tuple[float, float]) -> tuple[float, float]:
    """The `(lowest, highest)` HU of a window, see `apply_window`.

    Raises:
        ValueError: if there is no such window, or lowest is not below highest.
    """
    limits = WINDOWS.get(window) if isinstance(window, str) else window
    with suppress(TypeError, ValueError):
        low, high = (float(limit) for limit in limits)
        if -np.inf < low < high < np.inf:
            return tuple(limits)
    raise ValueError(
        f"Expected a window, {', '.join(WINDOWS)}, or (lowest, highest) HU. "
        f"Received: {window!r}"
    )


def check_hu(volume: Any) -> None:
    """Makes sure that a volume may be a CT in HU.

    Looks at some slices, and at all if nothing in those lies below 0.

    Args:
        volume: a `Volume`.

    Raises:
        ValueError: if its values are all small, as those scaled to [0, 1] are, or none
            is below 0, as of pictures or HU + 1024. One value only says nothing.
    """
    spread = np.unique(np.linspace(0, len(volume) - 1, SAMPLE, dtype=int))
    low, high = _extremes(volume, spread)
    if low >= 0 or -NORMALIZED <= low <= high <= NORMALIZED:
        low, high = _extremes(volume, range(len(volume)))
    if low == high:
        return
    if -NORMALIZED <= low <= high <= NORMALIZED:
        hint = "They seem to be scaled: undo that."
    elif low >= 0:
        hint = (
            "Nothing is below 0, as in pictures and in HU + 1024: for those subtract "
            "1024, or set the header's intercept (scl_slope 1, scl_inter -1024)."
        )
    else:
        return
    raise UnfitVolume(
        "Expected a CT in HU, where air is -1000 and water 0. Received: values from "
        f"{low:g} to {high:g} in {volume.name}. {hint}"
    )


def _extremes(volume, numbers):
    """The smallest and the largest value in slices of these numbers."""
    pairs = [(pixels.min(), pixels.max()) for pixels in map(volume.slice, numbers)]
    return min(low for low, _ in pairs), max(high for _, high in pairs)
