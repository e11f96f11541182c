"""The colours of classes."""

import numpy as np
import pytest
from PIL import Image

from keras_pamunet.data.image_file import read_mask
from keras_pamunet.drawing import write_labels
from keras_pamunet.palette import COLOURS


def test_colours_differ():
    assert COLOURS.shape == (256, 3) and not COLOURS[0].any()
    assert len(np.unique(COLOURS, axis=0)) == 256


def test_labels_come_back(tmp_path):
    """As numbers to programs, as colours to people."""
    labels = np.arange(256, dtype="uint8").reshape(16, 16)
    write_labels(labels, tmp_path / "new/labels.png")
    with Image.open(tmp_path / "new/labels.png") as picture:
        np.testing.assert_array_equal(np.asarray(picture), labels)
        colours = np.asarray(picture.convert("RGB"))
    np.testing.assert_array_equal(colours, COLOURS[labels])
    np.testing.assert_array_equal(read_mask(tmp_path / "new/labels.png", 256), labels)
    with pytest.raises(ValueError, match=r"ends in \.png"):
        write_labels(labels, tmp_path / "labels.jpg")
