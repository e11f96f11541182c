from xml.etree import ElementTree

import nibabel
import numpy as np
import pytest

from keras_pamunet.data import Volume
from keras_pamunet.palette import COLOURS


def test_names_and_colours_in_the_file(tmp_path):
    source = nibabel.Nifti1Image(np.zeros((4, 3, 2), "int16"), np.eye(4))
    labels = np.arange(24, dtype="uint8").reshape(2, 3, 4) % 3
    names = ("liver", "tumour <5 mm & \u00f6")
    path = tmp_path / "mask.nii.gz"
    Volume(source).to_nifti(labels, names).to_filename(path)
    image = nibabel.load(path)
    (extension,) = image.header.extensions
    assert extension.get_code() == 30
    table = ElementTree.fromstring(extension.content).iter("Label")
    for label, row in enumerate(table, 1):
        assert row.get("Key") == str(label) and row.text == names[label - 1]
        colour = [float(row.get(part)) for part in ("Red", "Green", "Blue")]
        assert colour == pytest.approx(COLOURS[label] / 255, abs=1e-5)
    assert label == 2
    # What a reader without names gets is the same.
    plain = Volume(source).to_nifti(labels)
    np.testing.assert_array_equal(image.dataobj, plain.dataobj)
    assert not plain.header.extensions
