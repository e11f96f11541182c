"""CT series, written by pydicom."""

import nibabel
import numpy as np
import pytest

from keras_pamunet.data import Volume
from keras_pamunet.data.dicom import find_series, is_dicom, read_dicom

pydicom = pytest.importorskip("pydicom")
from pydicom.uid import (  # noqa: E402
    CTImageStorage,
    ExplicitVRLittleEndian,
    MediaStorageDirectoryStorage,
)

SPACING = (0.8, 1.5, 2.5)


def write_series(folder, hu, number=1, uid="1.2.3", modality="CT", tilt=0.0, order=1):
    """Writes HU `(slices, rows, columns)`, the lowest slice first, as DICOM does."""
    folder.mkdir(parents=True, exist_ok=True)
    for z, pixels in enumerate(hu):
        meta = pydicom.dataset.FileMetaDataset()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID = CTImageStorage
        meta.MediaStorageSOPInstanceUID = f"{uid}.{z + 1}"
        scan = pydicom.Dataset()
        scan.file_meta = meta
        scan.SOPClassUID, scan.SOPInstanceUID = CTImageStorage, f"{uid}.{z + 1}"
        scan.SeriesInstanceUID, scan.StudyInstanceUID = uid, "1.2"
        scan.FrameOfReferenceUID = "1.2.7"
        scan.SeriesNumber, scan.SeriesDescription = number, f"portal {number}"
        scan.Modality, scan.Manufacturer = modality, "Some"
        scan.PatientName = "Somebody^Else"
        scan.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        scan.InstanceNumber = z + 1
        scan.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        scan.ImagePositionPatient = [-20, -30 + tilt * z, SPACING[2] * z]
        scan.PixelSpacing = [SPACING[1], SPACING[0]]
        scan.SliceThickness = SPACING[2]
        scan.Rows, scan.Columns = pixels.shape
        scan.SamplesPerPixel, scan.PhotometricInterpretation = 1, "MONOCHROME2"
        scan.BitsAllocated = scan.BitsStored = 16
        scan.HighBit, scan.PixelRepresentation = 15, 0
        scan.RescaleSlope, scan.RescaleIntercept = 1, -1024
        scan.PixelData = (pixels + 1024).astype("uint16").tobytes()
        name = f"{number}-{order * z % 1000:03}.dcm"
        scan.save_as(folder / name, enforce_file_format=True)


@pytest.fixture
def hu(rng):
    return rng.integers(-1024, 400, (6, 10, 8), "int16")


@pytest.mark.parametrize("order", [1, -1])
def test_series(tmp_path, hu, order):
    """As a volume, whatever the files are called; and no name of a patient."""
    write_series(tmp_path / "scan/deep", hu, order=order)
    (tmp_path / "scan/README.txt").write_text("of the hospital")
    directory = pydicom.Dataset()
    directory.file_meta = pydicom.dataset.FileMetaDataset()
    directory.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    directory.file_meta.MediaStorageSOPClassUID = MediaStorageDirectoryStorage
    directory.preamble = bytes(128)
    directory.save_as(tmp_path / "scan/DICOMDIR", implicit_vr=False, little_endian=True)
    assert is_dicom(tmp_path / "scan/DICOMDIR")
    image = read_dicom(tmp_path / "scan")
    volume = Volume(image)
    np.testing.assert_allclose(volume.spacing, SPACING)
    np.testing.assert_array_equal(np.stack([volume.slice(z) for z in range(6)]), hu)
    # DICOM's axes are left, posterior and superior, those of NIfTI right and anterior.
    corner = nibabel.affines.apply_affine(image.affine, [0, 0, 0])
    found = {tuple(np.round(volume.affine[:3, 3], 3)), tuple(np.round(corner, 3))}
    assert (20, 30, 0) in found
    assert b"Somebody" not in image.to_bytes()
    assert is_dicom(next((tmp_path / "scan/deep").iterdir()))
    assert not is_dicom(tmp_path / "scan/README.txt") and not is_dicom(tmp_path)


def test_several_series(tmp_path, hu):
    write_series(tmp_path, hu, 3, "1.2.3")
    write_series(tmp_path, hu[::-1], 4, "1.2.4")
    write_series(tmp_path, hu, 9, "1.2.9", "SR")
    with pytest.raises(
        ValueError, match=r"one series of CT .*series 3 \(portal 3\), 6"
    ):
        read_dicom(tmp_path)
    for number, expected in ((3, hu[0]), (4, hu[-1])):
        image = read_dicom(tmp_path, number)
        np.testing.assert_array_equal(Volume(image).slice(0), expected)
    with pytest.raises(ValueError, match="with the number 5 in .*Found: series 3"):
        read_dicom(tmp_path, 5)
    numbers = [x.number for x in find_series(sorted(tmp_path.iterdir()))]
    assert numbers == [3, 4, 9]


@pytest.mark.parametrize("form", ["no preamble", "explicit", "implicit"])
def test_without_preamble(tmp_path, hu, form):
    """With its meta information, or the data set alone, as old programs write it."""
    write_series(tmp_path, hu)
    whole = read_dicom(tmp_path)
    for path in tmp_path.iterdir():
        if form == "no preamble":
            path.write_bytes(path.read_bytes()[132:])
            continue
        scan = pydicom.dcmread(path)
        with pydicom.filebase.DicomBytesIO() as file:
            file.is_little_endian, file.is_implicit_VR = True, form == "implicit"
            pydicom.filewriter.write_dataset(file, scan)
            path.write_bytes(file.getvalue())
    assert b"DICM" not in path.read_bytes() and is_dicom(path)
    image = read_dicom(tmp_path)
    np.testing.assert_array_equal(image.dataobj, whole.dataobj)
    np.testing.assert_array_equal(image.affine, whole.affine)
    # Numbers that begin alike are none.
    numbers = np.arange(8, 500, dtype="<u2").tobytes()
    (tmp_path / "numbers.raw").write_bytes(numbers)
    assert not is_dicom(tmp_path / "numbers.raw")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("missing", "Cannot use series 1 .*some are missing"),
        ("tilt", "Cannot use series 1 .*gantry tilt"),
        ("few", "fewer than 4 slices"),
        ("modality", "one series of CT.*6 MR file"),
        ("pixels", "Cannot read series 1"),
        ("header", "Cannot read .*1-005.dcm: it tells no series"),
        ("none", "Expected DICOM files"),
    ],
)
def test_unfit_series(tmp_path, hu, change, message):
    if change != "none":
        count = 3 if change == "few" else 6
        tilt = 0.7 if change == "tilt" else 0
        modality = "MR" if change == "modality" else "CT"
        write_series(tmp_path, hu[:count], modality=modality, tilt=tilt)
    path = tmp_path / "1-002.dcm"
    if change == "missing":
        path.unlink()
    elif change == "pixels":
        path.write_bytes(path.read_bytes()[:-20])
    elif change == "header":
        path = tmp_path / "1-005.dcm"  # The last one, without which none is missing.
        path.write_bytes(path.read_bytes()[:150])
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        read_dicom(tmp_path)
