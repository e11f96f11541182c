"""Fills the holes of what was found."""

import numpy as np
from scipy.ndimage import binary_fill_holes


def fill_holes(labels: np.ndarray) -> np.ndarray:
    """Gives the background that a class encloses in a slice to that class.

    A hole is closed by sides and corners, as objects are: what leads out of it over a
    corner of its pixels is no way out. Within several classes, one in the other, a hole
    belongs to the innermost, if that has the highest label.

    Args:
        labels: `(rows, columns)` uint8, 0 the background.

    Returns:
        Labels of the same shape. Other classes stay as they are.
    """
    filled = labels.copy()
    for label in np.flatnonzero(np.bincount(labels.ravel())[1:])[::-1] + 1:
        hole = binary_fill_holes(labels == label) & (filled == 0)
        filled[hole] = label
    return filled
