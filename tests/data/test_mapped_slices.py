"""Slices in a temporary file, and not in memory."""

import re
from pathlib import Path

import nibabel
import numpy as np
import pytest

from keras_pamunet.data.mapped_slices import MappedSlices
from keras_pamunet.inference.volumes import write_nifti

STATUS = Path("/proc/self/status")
SHAPE = (64, 1024, 1024)


def test_slices(rng):
    pixels = rng.integers(0, 2**16, (3, 4, 5), "uint16")
    slices = MappedSlices((3, 4, 5), "uint16")
    assert len(slices) == 3 and not any(x.any() for x in slices)
    for z in (2, 0, 1):
        slices[z] = pixels[z]
    np.testing.assert_array_equal(slices.array, pixels)
    np.testing.assert_array_equal(list(slices), pixels)
    np.testing.assert_array_equal(slices[-1], pixels[2])
    with pytest.raises(IndexError):
        slices[3]


def mapped_megabytes():
    """What of files, or of TMPDIR in memory, this process has mapped."""
    sizes = re.findall(r"Rss(?:File|Shmem):\s+(\d+) kB", STATUS.read_text())
    return sum(map(int, sizes)) / 1024


@pytest.mark.skipif(not STATUS.exists(), reason="needs Linux")
def test_memory(tmp_path):
    """Holds few of the 64 MB, whether slices are filled, read or written to a file."""
    before = mapped_megabytes()
    slices = MappedSlices(SHAPE, "uint8")
    for z in range(len(slices)):
        slices[z] = z
    assert sum(int(x[0, 0]) for x in slices) == 63 * 32
    assert mapped_megabytes() < before + 8
    image = nibabel.Nifti1Image(slices.array.T, np.eye(4))
    write_nifti(image, tmp_path / "mask.nii", slices.let_go)
    assert mapped_megabytes() < before + 24
    assert nibabel.load(tmp_path / "mask.nii").dataobj[0, 0, 63] == 63
    assert slices.array.any() and mapped_megabytes() > before + 40
    slices.let_go()
    assert mapped_megabytes() < before + 8
