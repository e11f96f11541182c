"""Compositions of pictures."""

import numpy as np
import pytest

from keras_pamunet.drawing import PREDICTION_COLOUR, TRUTH_COLOUR
from keras_pamunet.figures import (
    before_after,
    comparison,
    contact_sheet,
    gates_sheet,
    masks_sheet,
)
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


def test_masks_sheet():
    image = np.full((160, 240, 3), 100, "uint8")
    truth, found = np.zeros((2, 160, 240), "uint8")
    truth[:80], found[:, :120] = 1, 2
    rows = [("a", image, truth, {"one": found, "another": truth})]
    sheet = masks_sheet(rows)
    assert sheet.shape == (320 + 22, 4 * (480 + 4), 3)
    panels = [sheet[:320, x : x + 480] for x in range(0, 4 * 484, 484)]
    assert (panels[0] == 100).all()
    for panel, (inside, label) in zip(
        panels[1:], [((159, 479), 1), ((319, 239), 2), ((159, 479), 1)]
    ):
        row, column = inside
        assert (panel[row, column] == COLOURS[label]).all()
        # Sharp: no colours between.
        assert (panel[319, 479] == 0).all()
        assert len(np.unique(panel.reshape(-1, 3), axis=0)) == 2


def test_gates_sheet():
    image = np.full((320, 320, 3), 100, "uint8")
    truth = np.zeros((320, 320), "uint8")
    truth[100:200, 100:200] = 1
    maps = np.array([[0, 1], [2, 4]], "float32")
    levels = [{"before": maps, "after": maps / 4}, {"before": maps, "after": maps}]
    sheet = gates_sheet([("a", image, truth, levels)]).astype(int)
    assert sheet.shape[1] == 324 + 2 * (320 + 4 + 14)
    before, after = sheet[:320], sheet[342 : 342 + 320]
    assert (before[:, :320] == 100).all()
    assert (after[100, 100:200] == COLOURS[1]).all()
    first, second = slice(324, 644), slice(662, 982)
    # One scale: what is divided by 4 is darker.
    assert after[:, first].max() < before[:, first].max()
    np.testing.assert_array_equal(before[:, second], after[:, second])
    np.testing.assert_array_equal(before[:, first], before[:, second])
