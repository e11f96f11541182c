"""The part of the Hounsfield scale that becomes the grey values of an image."""

import numpy as np

# Lowest and highest HU. The liver, bright with contrast agent in LiTS, as most work on
# that set shows it; the others from the level and width radiologists use.
WINDOWS = {
    "liver": (-200, 250),
    "soft_tissue": (-160, 240),
    "lung": (-1350, 150),
    "bone": (-500, 1300),
}


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
        ValueError: if there is no such window, or `lowest` is not below `highest`.

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
    if isinstance(window, str) and window in WINDOWS:
        return WINDOWS[window]
    if not isinstance(window, str) and len(window) == 2 and window[0] < window[1]:
        return tuple(window)
    raise ValueError(
        f"Expected a window, {', '.join(WINDOWS)}, or (lowest, highest) HU. "
        f"Received: {window!r}"
    )
