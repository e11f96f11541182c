"""Compositions of pictures."""

import numpy as np
import pytest

from keras_pamunet.drawing import PREDICTION_COLOUR, TRUTH_COLOUR
from keras_pamunet.figures import before_after, comparison, contact_sheet
from keras_pamunet.palette import COLOURS


@pytest.mark.parametrize("name", ["f\udcfc", "a\nb\0c", "腸 ü", "\x1b[31m"])
def test_names_of_any_letters(name):
    """Letters that the font has not are shown as question marks."""
    pair = np.zeros((8, 8, 3), "uint8"), np.zeros((8, 8), "uint8")
    sheet = contact_sheet([[(name, *pair)]])
    safe = "".join(letter if " " <= letter <= "~" else "?" for letter in name)
    np.testing.assert_array_equal(sheet, contact_sheet([[(safe, *pair)]]))


def test_long_images():
    pair = np.zeros((1, 60_000, 3), "uint8"), np.zeros((1, 60_000), "uint8")
    assert contact_sheet([[("long", *pair)]]).nbytes < 10**7


def test_missed_and_extra():
    """What is missed turns blue, what is extra red, the rest stays as it was."""
    grey = np.full((320, 640, 3), 100, "uint8")
    truth, found = np.zeros((2, 320, 640), "uint8")
    truth[100:200, 100:300] = found[100:200, 200:400] = 1
    sheet = comparison(grey, truth, found)
    assert sheet.shape == (320 + 22, 2 * (640 + 4), 3)  # The image's own aspect.
    panel = sheet[:320, 644 : 644 + 640].astype(int)
    missed, both, extra, outside = (panel[150, x] for x in (150, 250, 350, 500))
    assert missed[2] > 110 > 100 > missed[0] and extra[0] > 110 > 100 > extra[2]
    assert (both == 100).all() and (outside == 100).all()
    assert (panel[150, 100] == TRUTH_COLOUR).all()
    assert (panel[150, 399] == PREDICTION_COLOUR).all()


def test_classes_have_their_colours():
    grey = np.full((320, 320, 3), 100, "uint8")
    labels = np.zeros((320, 320), "uint8")
    labels[50:100, 50:100], labels[200:300, 200:300] = 1, 2
    sheet = comparison(grey, labels, labels)
    for panel in (sheet[:320, 324:644], sheet[:320, 648:968]):
        assert (panel[50, 70] == COLOURS[1]).all()
        assert (panel[200, 250] == COLOURS[2]).all()
    rows = [("a", grey, labels, {"before": labels, "after": labels})]
    assert before_after(rows).shape == (320 + 22, 4 * 324, 3)
