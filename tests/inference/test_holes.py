"""Holes are the background that no way leads out of."""

import numpy as np
import pytest
from scipy import ndimage

from keras_pamunet.inference.holes import fill_holes


@pytest.mark.parametrize("density", [0.5, 0.7, 0.9])
def test_random_masks(rng, density):
    mask = (rng.random((20, 25)) < density).astype("uint8")
    parts, count = ndimage.label(mask == 0)  # By sides.
    outside = {0, *parts[0], *parts[-1], *parts[:, 0], *parts[:, -1]}
    assert len(outside) - 1 < count
    expected = mask | ~np.isin(parts, list(outside))
    found = fill_holes(mask)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, expected)


def test_classes():
    """What a class encloses is its own, but for what is another's."""
    rows = """
    11111.2222
    1...1.2..2
    1.3.1.2..1
    1...1.2222
    11111.....
    """
    closed = rows.replace("1...1", "11111").replace("1.3.1", "11311")
    labels, expected = (
        np.array([list(row) for row in text.replace(".", "0").split()]).astype("uint8")
        for text in (rows, closed)
    )
    np.testing.assert_array_equal(fill_holes(labels), expected)


def test_nested_classes():
    labels = np.ones((7, 7), "uint8")
    labels[1:6, 1:6] = 2
    labels[3, 3] = 0
    assert fill_holes(labels)[3, 3] == 2
    assert not fill_holes(np.zeros((3, 3), "uint8")).any()
