import gzip

import nibabel
import numpy as np
import pytest
from nibabel import orientations
from nibabel.affines import apply_affine

from keras_pamunet.data import WINDOWS, Volume, apply_window
from tests.conftest import DATA

SHAPE = (7, 6, 5)
SPACING = (0.7, 0.8, 2.5)
# From "LPS" indices to the world of NIfTI, whose axes point right, front and up.
AFFINE = np.array(
    [[-0.7, 0, 0, 90.5], [0, -0.8, 0, 60.25], [0, 0, 2.5, -300], [0, 0, 0, 1]]
)
# The same, turned by 20 degrees about two axes.
COS, SIN = np.cos(np.pi / 9), np.sin(np.pi / 9)
TURN = np.array([[COS, -SIN, 0], [SIN, COS, 0], [0, 0, 1]])
TURN = TURN @ np.array([[1, 0, 0], [0, COS, -SIN], [0, SIN, COS]])
OBLIQUE = np.block([[TURN @ AFFINE[:3, :3], AFFINE[:3, 3:]], [AFFINE[3]]])


@pytest.fixture
def hu(rng):
    """HU in the order "LPS": columns, rows, slices."""
    return rng.integers(-1024, 1500, SHAPE, "int16")


def restore(image, axes, affine=None):
    """The image with its axes stored in another order, and its header's details set."""
    own = orientations.io_orientation(image.affine)
    image = image.as_reoriented(
        orientations.ornt_transform(own, orientations.axcodes2ornt(axes))
    )
    affine = image.affine if affine is None else affine
    image = nibabel.Nifti1Image(np.asarray(image.dataobj), affine)
    image.set_sform(affine, 2)
    image.set_qform(affine, 1)
    image.header.set_xyzt_units("mm", "sec")
    image.header["cal_max"] = 400
    return image


def assert_lies_on(mask, image):
    """All that a viewer lays a mask over an image by, bit for bit."""
    assert mask.shape == image.shape and mask.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(mask.affine, image.affine)
    for field in ("pixdim", "xyzt_units", "sform_code", "qform_code"):
        np.testing.assert_array_equal(mask.header[field], image.header[field])
    np.testing.assert_array_equal(mask.get_sform(), image.get_sform())
    np.testing.assert_array_equal(mask.get_qform(), image.get_qform())
    assert nibabel.aff2axcodes(mask.affine) == nibabel.aff2axcodes(image.affine)


@pytest.mark.parametrize("affine", [AFFINE, OBLIQUE], ids=["straight", "oblique"])
@pytest.mark.parametrize("axes", ["RAS", "LPS", "LAS", "PIR", "SAR"])
def test_there_and_back(tmp_path, hu, axes, affine):
    path = tmp_path / "ct.nii.gz"
    restore(nibabel.Nifti1Image(hu, affine), axes).to_filename(path)
    volume = Volume(path)
    assert volume.shape == SHAPE and len(volume) == 5
    np.testing.assert_allclose(volume.spacing, SPACING, rtol=1e-5)
    np.testing.assert_allclose(volume.affine, affine, atol=1e-4)
    slices = np.stack([volume.slice(z) for z in range(5)])
    assert slices.dtype == np.int16 and slices.dtype.isnative
    np.testing.assert_array_equal(slices, hu.T)

    image = nibabel.load(path)
    volume.to_nifti(slices > 100).to_filename(tmp_path / "mask.nii")
    mask = nibabel.load(tmp_path / "mask.nii")
    assert_lies_on(mask, image)
    assert mask.header["cal_max"] == 0
    expected = np.asarray(image.dataobj) > 100
    np.testing.assert_array_equal(np.asarray(mask.dataobj), expected)


@pytest.mark.parametrize("axes", ["LPS", "LAS", "PIR", "oblique", "as it is"])
def test_real_volume_there_and_back(tmp_path, axes):
    path = DATA / "liver-ct/ircad-volume-17/ct_17.nii.gz"
    if not path.exists():
        pytest.skip(f"needs {path}; set KERAS_PAMUNET_DATA")
    image = nibabel.load(path)
    if axes != "as it is":
        oblique = axes == "oblique"
        # Every other slice and a part of the rows: less to compress, as good a test.
        image = image.slicer[::2, 3:300, 5::4]
        image = restore(image, "RAS" if oblique else axes, OBLIQUE if oblique else None)
        path = tmp_path / "ct.nii"
        image.to_filename(path)
        image = nibabel.load(path)
    volume = Volume(path)
    labels = np.stack([volume.slice(z) > 150 for z in range(len(volume))])
    assert labels.any() and nibabel.aff2axcodes(volume.affine) == tuple("LPS")
    mask = volume.to_nifti(labels)
    assert_lies_on(mask, image)
    np.testing.assert_array_equal(
        np.asarray(mask.dataobj), np.asarray(image.dataobj) > 150
    )


def test_sources(tmp_path, hu):
    image = nibabel.Nifti1Image(hu, AFFINE)
    path = tmp_path / "ct.nii"
    image.to_filename(path)
    data = path.read_bytes()
    second = nibabel.Nifti2Image(hu, AFFINE)
    sources = [str(path), data, gzip.compress(data), image, second, second.to_bytes()]
    for source in sources:
        np.testing.assert_array_equal(Volume(source).slice(2), hu[:, :, 2].T)
    labels = np.zeros(SHAPE[::-1], bool)
    assert type(Volume(second).to_nifti(labels)) is nibabel.Nifti2Image


def test_opening_reads_the_header_alone(tmp_path, hu):
    image = nibabel.Nifti1Image(hu, AFFINE)
    image.to_filename(tmp_path / "ct.nii")
    data = (tmp_path / "ct.nii").read_bytes()
    (tmp_path / "ct.nii").write_bytes(data[:400])
    (tmp_path / "ct.nii.gz").write_bytes(gzip.compress(data)[:-100])
    for name in ("ct.nii", "ct.nii.gz"):
        path = tmp_path / name
        for source in (path, nibabel.Nifti1Image.from_filename(path)):
            volume = Volume(source)
            assert volume.shape == SHAPE
            with pytest.raises(ValueError, match=f"Cannot read .*{name}"):
                volume.slice(0)
    with pytest.raises(ValueError, match="Cannot read volume 3: "):
        Volume(data[:400], "volume 3").slice(0)


def test_scaled_big_endian_file(hu):
    header = nibabel.Nifti1Header(endianness=">")
    header.set_data_dtype(">i2")
    header.set_data_shape(SHAPE)
    header.set_sform(AFFINE, 1)
    data = hu.astype(">i2").tobytes("F")
    header["vox_offset"] = 352
    plain = Volume(header.binaryblock + bytes(4) + data).slice(3)
    assert plain.dtype == np.int16 and plain.dtype.isnative
    header["scl_slope"], header["scl_inter"] = 0.5, -1024
    scaled = Volume(header.binaryblock + bytes(4) + data).slice(3)
    assert scaled.dtype == np.float32
    np.testing.assert_array_equal(plain, hu[:, :, 3].T)
    np.testing.assert_array_equal(scaled, hu[:, :, 3].T * 0.5 - 1024)


def test_trailing_axis_and_single_slice(hu):
    image = nibabel.Nifti1Image(hu[:, :, :1, np.newaxis], AFFINE)
    volume = Volume(image)
    assert volume.shape == (7, 6, 1)
    np.testing.assert_array_equal(volume.slice(0), hu[:, :, 0].T)
    assert volume.to_nifti(np.ones((1, 6, 7), bool)).shape == (7, 6, 1, 1)


def test_resample(hu):
    # A ramp in all directions, which linear interpolation must hit.
    ramp = 10 * np.indices(SHAPE).sum(0).astype("float32")
    for values, order in ((ramp, 1), (ramp.astype("int16"), 1), (hu, 0)):
        volume = Volume(restore(nibabel.Nifti1Image(values, OBLIQUE), "PIR"))
        fine = volume.resample((0.35, 0.4, 1.25), order)
        assert fine.shape == (14, 12, 10) and fine.slice(0).dtype == values.dtype
        np.testing.assert_allclose(fine.spacing, (0.35, 0.4, 1.25), rtol=1e-6)
        # Both grids begin and end at the same place of the body.
        for corner in (0, 1):
            np.testing.assert_allclose(
                apply_affine(fine.affine, corner * np.array(fine.shape) - 0.5),
                apply_affine(volume.affine, corner * np.array(SHAPE) - 0.5),
                atol=1e-4,
            )
        slices = np.stack([fine.slice(z) for z in range(10)]).T
        if order == 0:
            np.testing.assert_array_equal(
                slices, hu.repeat(2, 0).repeat(2, 1).repeat(2, 2)
            )
        else:
            centres = np.clip((np.indices(fine.shape) + 0.5) / 2 - 0.5, 0, None)
            centres = np.minimum(centres, np.reshape(SHAPE, (3, 1, 1, 1)) - 1)
            atol = 0.51 if values.dtype == np.int16 else 1e-3
            np.testing.assert_allclose(slices, 10 * centres.sum(0), atol=atol)
    assert fine.to_nifti(slices.T > 9).shape == (14, 12, 10)
    assert Volume(nibabel.Nifti1Image(hu, AFFINE)).resample(100).shape == (1, 1, 1)
    for spacing in (0, np.nan, (1, -1, 1)):
        with pytest.raises(ValueError, match="spacing above 0 mm. Received"):
            fine.resample(spacing)


def test_windows():
    values = np.array([-2000, -200, -199, 30, 249.8, 250, 3000])
    for hu in (values, values.astype("int16")):
        expected = np.rint(np.clip((hu + 200) / 450, 0, 1) * 255)
        grey = apply_window(hu, "liver")
        assert grey.dtype == np.uint8
        np.testing.assert_array_equal(grey, expected)
        np.testing.assert_array_equal(apply_window(hu, (-200, 250)), expected)
    levels = {"liver": (25, 450), "soft_tissue": (40, 400)}
    levels.update({"lung": (-600, 1500), "bone": (400, 1800)})
    for name, (level, width) in levels.items():
        assert WINDOWS[name] == (level - width / 2, level + width / 2)
    for window in ("brain", (5, 5), (np.nan, 5), (1, 2, 3)):
        with pytest.raises(ValueError, match="liver, soft_tissue, lung, bone"):
            apply_window(values, window)


def edited(field, value):
    """A file with a field of the header changed by hand."""

    def write(path, image):
        data = bytearray(image.to_bytes())
        header = nibabel.Nifti1Header(bytes(data[:348]), check=False)
        header[field] = value
        data[:348] = header.binaryblock
        path.write_bytes(data)

    return write


def with_affine(affine):
    def write(path, image):
        image.header.set_sform(affine, 1)
        nibabel.Nifti1Image(image.dataobj, None, image.header).to_filename(path)

    return write


def of_voxels(shape, dtype="int16", value=1):
    def write(path, image):
        voxels = np.full(shape, value, dtype)
        nibabel.Nifti1Image(voxels, AFFINE).to_filename(path)

    return write


RGB = [("R", "u1"), ("G", "u1"), ("B", "u1")]


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path, image: None, "Not there: "),
        (lambda path, image: path.mkdir(), "the folder .*dcm2niix"),
        (lambda path, image: path.write_bytes(b"DICM" * 999), "Received: .*dcm2niix"),
        (lambda path, image: path.write_bytes(b""), "Expected a NIfTI file"),
        (edited("magic", b""), "Expected a NIfTI file"),
        (edited("dim", [3, 7, -6, 5, 1, 1, 1, 1]), r"three axes.*\(7, -6, 5\)"),
        (edited("datatype", 77), "Cannot read .*not recognized"),
        (edited("pixdim", [1, 1, 0, 1, 1, 1, 1, 1]), "spacing above 0 mm in"),
        (edited("pixdim", [1, 1, 1, -2, 1, 1, 1, 1]), "spacing above 0 mm in"),
        (edited("pixdim", [1, 1, np.nan, 1, 1, 1, 1, 1]), "spacing above 0 mm in"),
        (with_affine(np.diag([1, 0, 1, 1])), "spacing above 0 mm in"),
        (with_affine(np.diag([1, np.nan, 1, 1])), "a finite affine in"),
        (with_affine(np.diag([1, 1, 0, 1]) + np.eye(4, k=2)), "with an inverse in"),
        (of_voxels((7, 6, 5, 2)), r"three axes.*\(7, 6, 5, 2\).*slicer\[..., 0\]"),
        (of_voxels((7, 6)), r"three axes.*\(7, 6\)"),
        (of_voxels(SHAPE, "complex64"), "grey values. Received: complex64"),
        (of_voxels(SHAPE, RGB), "grey values. Received: "),
        (of_voxels(SHAPE, "float32", np.nan), "Received: 42 NaN .* in slice 4"),
        (of_voxels(SHAPE, "float64", np.inf), "Received: 42 NaN .* in slice 4"),
    ],
)
def test_unfit_files(tmp_path, hu, write, message):
    path = tmp_path / "some ct.nii"
    write(path, nibabel.Nifti1Image(hu, AFFINE))
    with pytest.raises((ValueError, FileNotFoundError), match=message) as error:
        Volume(path).slice(4)
    assert str(path) in str(error.value)


def test_analyze_pair(tmp_path, hu):
    pair = nibabel.Nifti1Pair(hu, AFFINE)
    pair.to_filename(tmp_path / "ct.hdr")
    for name in ("ct.hdr", "ct.img"):
        with pytest.raises(ValueError, match=f"{name}"):
            Volume(tmp_path / name)


def test_unfit_labels(hu):
    volume = Volume(nibabel.Nifti1Image(hu, AFFINE))
    with pytest.raises(ValueError, match=r"= \(5, 6, 7\) .*Received: \(7, 6, 5\)"):
        volume.to_nifti(np.zeros(SHAPE, "uint8"))
    for value in (0.5, 256, -1):
        with pytest.raises(ValueError, match="integers from 0 to 255.*Received"):
            volume.to_nifti(np.full((5, 6, 7), value))
