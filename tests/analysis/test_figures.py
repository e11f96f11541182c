"""Compositions of pictures."""

import numpy as np
import pytest

from keras_pamunet.analysis.figures import contact_sheet


@pytest.mark.parametrize("name", ["f\udcfc", "a\nb\0c", "腸 ü", "\x1b[31m"])
def test_names_of_any_letters(name):
    """OpenCV ends the process at a name that is no UTF-8."""
    pair = np.zeros((8, 8, 3), "uint8"), np.zeros((8, 8), "uint8")
    sheet = contact_sheet([[(name, *pair)]])
    safe = "".join(letter if " " <= letter <= "~" else "?" for letter in name)
    np.testing.assert_array_equal(sheet, contact_sheet([[(safe, *pair)]]))


def test_long_images():
    pair = np.zeros((1, 60_000, 3), "uint8"), np.zeros((1, 60_000), "uint8")
    assert contact_sheet([[("long", *pair)]]).nbytes < 10**7
