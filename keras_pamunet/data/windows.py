"""The Hounsfield scale, and the part of it that a network looks at."""

import warnings
from contextlib import suppress

import numpy as np

from keras_pamunet.data.nifti import UnfitVolume
from keras_pamunet.data.volume import Volume

# Lowest and highest HU. The liver, bright with contrast agent in LiTS, as most work on
# that set shows it; the others from the level and width radiologists use.
WINDOWS: dict[str, tuple[float, float]] = {
    "liver": (-200, 250),
    "soft_tissue": (-160, 240),
    "lung": (-1350, 150),
    "bone": (-500, 1300),
}
# Values of pictures: 8 bits, shares and 16 bits.
PICTURES = ((0, 255), (0, 1), (0, 2**16 - 1))
# Slices that are enough to tell a CT in HU, and values that none stays within: noise
# alone is more.
SAMPLE = 9
NORMALIZED = 10
# HU that is above all air, and below all soft tissue and fat.
AIR = -500


def window_limits(window: str | tuple[float, float]) -> tuple[float, float]:
    """The `(lowest, highest)` HU of a window.

    Args:
        window: a name in `WINDOWS` or `(lowest, highest)` HU.

    Raises:
        ValueError: if there is no such window, or lowest is not below highest.
    """
    with suppress(KeyError, TypeError, ValueError):
        low, high = WINDOWS[window] if isinstance(window, str) else window
        if -np.inf < float(low) < float(high) < np.inf:
            return low, high
    raise ValueError(
        f"Expected a window, {', '.join(WINDOWS)}, or (lowest, highest) HU. "
        f"Received: {window!r}"
    )


def takes_hu(input_range: tuple[float, float]) -> bool:
    """Whether a network of this `input_range` looks at HU, not at pictures."""
    return tuple(input_range) not in PICTURES


def to_int16(hu: np.ndarray) -> np.ndarray:
    """HU, rounded. What pads an image beyond int16 stays far from any tissue."""
    return np.clip(np.rint(hu), -(2**15), 2**15 - 1).astype("int16")


def check_hu(volume: Volume) -> None:
    """Makes sure that a volume may be a CT in HU.

    Looks at some slices, and at all if none of those has air.

    Args:
        volume: a `Volume`.

    Raises:
        ValueError: if its values are all small, as those scaled to [0, 1] are, or none
            is below 0, as of pictures or HU + 1024. One value only says nothing.

    Warns:
        UserWarning: if no value is as low as that of air, -1000.
    """
    spread = np.unique(np.linspace(0, len(volume) - 1, SAMPLE, dtype=int))
    low, high = _extremes(volume, spread)
    if low > AIR:
        low, high = _extremes(volume, range(len(volume)))
    if low == high:
        return
    if -NORMALIZED <= low <= high <= NORMALIZED:
        hint = "They seem to be scaled: undo that."
    elif low >= 0:
        hint = (
            "Nothing is below 0, as in MR, in pictures and in HU + 1024: from these "
            "subtract 1024, or set the header's intercept (scl_slope 1, scl_inter "
            "-1024)."
        )
    elif low > AIR:
        warnings.warn(
            f"Expected air, -1000, in a CT in HU. Received: values from {low:g} to "
            f"{high:g} in {volume.name}. Is it MR, or cut to a window?",
            stacklevel=2,
        )
        return
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
