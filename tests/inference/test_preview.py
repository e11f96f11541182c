"""Planes and projections lie as patients are looked at, in true proportions."""

import nibabel
import numpy as np
import pytest

from keras_pamunet.data import Volume
from keras_pamunet.inference.preview import draw
from keras_pamunet.palette import COLOURS
from tests.data.test_volume import restore

# mm from column to column, row to row and slice to slice.
SPACING = 1, 2, 5
GAP, TITLE, PANEL = 4, 22, 320


@pytest.mark.parametrize("axes", ["LPS", "RAS", "PIR"])
def test_planes(axes):
    hu = np.full((40, 20, 12), 25, "int16")  # LPS: 40 mm x 40 mm x 60 mm.
    hu[30:] = 100  # The patient's left.
    labels = np.zeros((12, 20, 40), "uint8")
    labels[8:, 4:12, :10] = 1  # At the head, in front, at the right.
    labels[:3, 16:, 20:30] = 2
    affine = np.diag([-SPACING[0], -SPACING[1], SPACING[2], 1])
    volume = Volume(restore(nibabel.Nifti1Image(hu, affine), axes))
    picture = draw(volume, labels, (-100, 200)).astype(int)

    scale = 2 * PANEL / 60  # The tallest plane is two panels high.
    widths = [round(scale * mm) for mm in (40, 40, 40, 40)]
    ends = np.cumsum([width + GAP for width in widths])
    top = picture[: 2 * PANEL]
    axial, coronal, sagittal, mean = (
        top[:, end - width - GAP : end - GAP] for end, width in zip(ends, widths)
    )
    assert picture.shape[0] == 2 * PANEL + TITLE + 4 * (PANEL + TITLE)

    def at(panel, right, down):
        return panel[round(scale * down), round(scale * right)]

    # The axial plane is 40 mm high, in the middle of 60.
    assert (axial[: round(scale * 9)] == 0).all()
    assert at(axial, 20, 15)[0] == pytest.approx(255 * 125 / 300, abs=2)
    assert at(axial, 38, 15)[0] == pytest.approx(255 * 200 / 300, abs=2)
    assert at(coronal, 38, 30)[0] == pytest.approx(255 * 200 / 300, abs=2)
    for panel, box in (
        (axial, (0, 10 + 8, 10, 10 + 24)),
        (coronal, (0, 0, 10, 20)),
        (sagittal, (8, 0, 24, 20)),
    ):
        yellow = (panel == COLOURS[1]).all(axis=-1)
        rows, columns = np.flatnonzero(yellow.any(1)), np.flatnonzero(yellow.any(0))
        found = (columns[0], rows[0], columns[-1], rows[-1])
        np.testing.assert_allclose(np.array(found) / scale, box, atol=0.5)
    # 8 of 20 rows are the most of class 1, and 4 rows the most of class 2.
    grey = 255 * 125 / 200
    for label, (right, down) in {1: (5, 10), 2: (25, 52)}.items():
        expected = grey + 0.8 * (COLOURS[label] - grey)
        np.testing.assert_allclose(at(mean, right, down), expected, atol=2)
    np.testing.assert_allclose(at(mean, 15, 30), grey, atol=2)


def test_nothing_found():
    """The planes in the middle, and slices from end to end."""
    hu = np.zeros((6, 6, 3), "int16")
    hu[3, 3, 1] = 100
    volume = Volume(nibabel.Nifti1Image(hu, np.diag([-1, -1, 1, 1])))
    picture = draw(volume, np.zeros((3, 6, 6), "uint8"), (0, 100))
    assert picture.shape[0] == 480 + TITLE + 2 * (PANEL + TITLE)
    # 80 pixels a mm; the coronal and the sagittal plane are half as high.
    for left in (0, 480 + GAP, 2 * (480 + GAP)):
        panel = picture[:480, left : left + 480]
        down = 280 if left == 0 else 240
        assert (panel[down, 280] > 200).all() and (panel[down, 120] < 50).all()
