"""DICOM segmentations, as highdicom and pydicom read them."""

import shutil

import numpy as np
import pytest

from keras_pamunet.data import Volume
from keras_pamunet.data.dicom import read_dicom
from keras_pamunet.inference.dicom_seg import write_dicom_seg
from tests.data.test_dicom import write_series

highdicom = pytest.importorskip("highdicom")
pydicom = pytest.importorskip("pydicom")

SHAPE = (6, 10, 8)
# Supine, prone, and feet first with slices that lie aslant.
COS, SIN = np.cos(0.3), np.sin(0.3)
ORIENTATIONS = {
    "supine": [1, 0, 0, 0, 1, 0],
    "prone": [-1, 0, 0, 0, -1, 0],
    "oblique": [1, 0, 0, 0, COS, SIN],
}


@pytest.fixture(params=ORIENTATIONS)
def scan(request, rng, tmp_path):
    """A series whose slices lie in one of several ways."""
    hu = rng.integers(-1024, 400, SHAPE, "int16")
    folder = tmp_path / "scan"
    write_series(folder, hu)
    orientation = np.array(ORIENTATIONS[request.param])
    normal = np.cross(orientation[:3], orientation[3:])
    for path in folder.iterdir():
        scan = pydicom.dcmread(path)
        scan.ImageOrientationPatient = orientation.tolist()
        place = np.array([-20, -30, 5]) + 2.5 * (scan.InstanceNumber - 1) * normal
        scan.ImagePositionPatient = np.round(place, 6).tolist()
        scan.save_as(path)
    return folder


def write(scan, volume, layers, names, target):
    write_dicom_seg(scan, None, volume, layers, names, target)
    return highdicom.seg.segread(target)


def at_places(scan):
    """HU by the place of each voxel's centre in mm, as DICOM's standard has it."""
    found = {}
    for path in scan.iterdir():
        image = pydicom.dcmread(path)
        corner = np.array(image.ImagePositionPatient, float)
        along, down = np.array(image.ImageOrientationPatient, float).reshape(2, 3)
        between_rows, between_columns = image.PixelSpacing
        for (row, column), value in np.ndenumerate(image.pixel_array):
            place = (
                corner + column * between_columns * along + row * between_rows * down
            )
            found[tuple(np.round(place, 2) + 0.0)] = int(value) - 1024
    return found


def test_voxels_and_geometry(scan, tmp_path):
    """What is bright is found bright, frame by frame and in its place in mm."""
    volume = Volume(read_dicom(scan))
    labels = np.stack([volume.slice(z) > 0 for z in range(len(volume))]).astype("uint8")
    segmentation = write(scan, volume, [labels], ["liver"], tmp_path / "mask.dcm")
    bright = {place for place, value in at_places(scan).items() if value > 0}
    mask = segmentation.get_volume(combine_segments=True)
    indices = np.argwhere(mask.array > 0)
    places = mask.map_indices_to_reference(indices.astype(float))
    assert {tuple(np.round(place, 2) + 0.0) for place in places} == bright
    # Frame by frame, pixel on pixel of the image it refers to.
    uids = [x.SOPInstanceUID for x in map(pydicom.dcmread, sorted(scan.iterdir()))]
    frames = segmentation.get_pixels_by_source_instance(uids, combine_segments=True)
    for path, frame in zip(sorted(scan.iterdir()), frames):
        expected = pydicom.dcmread(path).pixel_array > 1024
        np.testing.assert_array_equal(frame, expected)
    assert segmentation.PatientName == "Somebody^Else"
    assert segmentation.FrameOfReferenceUID == "1.2.7"
    (segment,) = segmentation.SegmentSequence
    assert segment.SegmentLabel == "liver"
    assert segment.SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Liver"


def test_classes_that_overlap(scan, tmp_path):
    volume = Volume(read_dicom(scan))
    liver = np.ones(SHAPE, "uint8")
    tumour = np.zeros(SHAPE, "uint8")
    tumour[2:4, 3:5, 3:6] = 2
    shutil.make_archive(tmp_path / "scan", "zip", scan)
    target = tmp_path / "mask.dcm"
    names = ["liver", "tumour", "Kohlrabi"]
    layers = [liver, tumour, 0 * liver]
    segmentation = write(tmp_path / "scan.zip", volume, layers, names, target)
    assert segmentation.number_of_segments == 3
    whole = segmentation.get_volume()
    assert [int(x) for x in whole.array.sum(axis=(0, 1, 2))] == [480, 12, 0]


def test_unfit_series(scan, tmp_path):
    volume = Volume(read_dicom(scan))
    for path in scan.iterdir():
        image = pydicom.dcmread(path)
        del image.FrameOfReferenceUID
        image.save_as(path)
    with pytest.raises(ValueError, match="series 1 .*FrameOfReferenceUID"):
        write(scan, volume, [np.ones(SHAPE)], ["a"], tmp_path / "mask.dcm")
    assert not (tmp_path / "mask.dcm").exists()
