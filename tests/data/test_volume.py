import bz2
import gzip
import lzma
import os
import shutil
import tempfile
import tracemalloc
import warnings
from contextlib import contextmanager
from pathlib import Path

import nibabel
import numpy as np
import pytest
from nibabel import orientations
from nibabel.affines import apply_affine

from keras_pamunet.data import Volume
from keras_pamunet.data.windows import check_hu, to_int16, window_limits
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


def test_cut_files(tmp_path, hu):
    """A plain one is too short as it is opened, of a packed one the end tells."""
    data = nibabel.Nifti1Image(hu, AFFINE).to_bytes()
    (tmp_path / "ct.nii").write_bytes(data[:-1])
    path = tmp_path / "ct.nii"
    for source in (path, nibabel.Nifti1Image.from_filename(path)):
        with pytest.raises(ValueError, match="ct.nii: .*claims 772 bytes, it has 771"):
            Volume(source)
    with pytest.raises(ValueError, match="Cannot read volume 3: "):
        Volume(data[:400], "volume 3")
    packed = gzip.compress(data)
    wrong_sum = packed[:-8] + bytes(4) + packed[-4:]
    path = tmp_path / "ct.nii.gz"
    for content in (packed[:-100], packed[:-1], wrong_sum, gzip.compress(data[:-1])):
        path.write_bytes(content)
        for source in (path, content, nibabel.Nifti1Image.from_filename(path)):
            volume = Volume(source, "ct.nii.gz")
            assert volume.shape == SHAPE
            with pytest.raises(ValueError, match="Cannot read ct.nii.gz: "):
                volume.slice(0)


def test_scaled_big_endian_file(hu):
    header = nibabel.Nifti1Header(endianness=">")
    header.set_data_dtype(">i2")
    header.set_data_shape(SHAPE)
    header.set_sform(AFFINE, 1)
    header.set_zooms(SPACING)
    data = hu.astype(">i2").tobytes("F")
    header["vox_offset"] = 352
    plain = Volume(header.binaryblock + bytes(4) + data).slice(3)
    assert plain.dtype == np.int16 and plain.dtype.isnative
    header["scl_slope"], header["scl_inter"] = 0.5, -1024
    scaled = Volume(header.binaryblock + bytes(4) + data).slice(3)
    assert scaled.dtype == np.float32
    np.testing.assert_array_equal(plain, hu[:, :, 3].T)
    np.testing.assert_array_equal(scaled, hu[:, :, 3].T * 0.5 - 1024)


def with_header(image, fields, extra=b""):
    """The image's file with fields of its header changed by hand."""
    data = image.to_bytes()
    kind = type(image.header)
    header = kind(data[: kind.sizeof_hdr], check=False)
    for field, value in fields.items():
        header[field] = value
    return header.binaryblock + extra + data[kind.sizeof_hdr + len(extra) :]


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("endian", "<>")
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"scl_slope": 0, "scl_inter": 7},
        {"scl_slope": np.nan, "scl_inter": np.nan},
        {"scl_slope": 1, "scl_inter": -1024},
        {"scl_slope": 0.123, "scl_inter": 45.6},
        {"pixdim": [0, 0.7, 0.8, 2.5, 1, 1, 1, 1]},
    ],
)
def test_values_are_those_of_nibabel(tmp_path, hu, kind, endian, fields):
    header = kind.header_class(endianness=endian)
    header.set_data_dtype("int16")
    image = kind(hu, AFFINE, header)
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"x" * 99))
    content = with_header(image, fields)
    assert content.endswith(hu.astype(endian + "i2").tobytes("F"))
    for name in ("ct.nii", "ct.nii.gz"):
        path = tmp_path / name
        path.write_bytes(gzip.compress(content) if "gz" in name else content)
        expected = nibabel.load(path).get_fdata()
        # Its own axes are those of the slices.
        for source in (path, path.read_bytes(), nibabel.load(path)):
            volume = Volume(source)
            found = np.stack([volume.slice(z) for z in range(len(volume))]).T
            np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert fields.get("scl_slope") or np.array_equal(expected, hu)


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
def test_offset_of_zero(tmp_path, hu, kind):
    """In a single file nothing but the end of the header can be meant."""
    content = with_header(kind(hu, AFFINE), {"vox_offset": 0})
    path = tmp_path / "ct.nii"
    path.write_bytes(content)
    sources = [path, content, gzip.compress(content)]
    for source in [*sources, nibabel.load(path), kind.from_bytes(content)]:
        np.testing.assert_array_equal(Volume(source).slice(4), hu[:, :, 4].T)
    size = kind.header_class.sizeof_hdr
    extended = content[:size] + b"\1" + content[size + 1 :]
    with pytest.raises(ValueError, match="begin at byte .*vox_offset 0"):
        Volume(extended)


def test_large_integers_with_scaling():
    """Slope and intercept may cancel what float32 cannot hold."""
    values = 2**30 + np.arange(60, dtype="int32").reshape(5, 4, 3)
    image = nibabel.Nifti1Image(values, np.diag([-1, -1, 1, 1]))
    content = with_header(image, {"scl_slope": 1, "scl_inter": -(2.0**30)})
    np.testing.assert_array_equal(
        Volume(content).slice(1), np.arange(60).reshape(5, 4, 3)[:, :, 1].T
    )


@pytest.mark.parametrize(
    ("code", "millimetres"), [(0, 1), (1, 1000), (2, 1), (3, 0.001), (10, 1)]
)
def test_units(hu, code, millimetres):
    """`spacing` and `affine` are in mm; a mask has what its image has."""
    affine = AFFINE.copy()
    affine[:3] /= millimetres
    image = nibabel.Nifti1Image(hu, affine)
    image.header["xyzt_units"] = code
    for source in (image, image.to_bytes()):
        volume = Volume(source)
        np.testing.assert_allclose(volume.spacing, SPACING, rtol=1e-6)
        np.testing.assert_allclose(volume.affine, AFFINE, rtol=1e-6)
        mask = volume.to_nifti(np.zeros(SHAPE[::-1], bool))
        assert mask.header["xyzt_units"] == code
        np.testing.assert_array_equal(
            mask.header["pixdim"], nibabel.Nifti1Image(hu, affine).header["pixdim"]
        )
        fine = volume.resample(0.5)
        np.testing.assert_allclose(fine.spacing, 0.5)
        np.testing.assert_allclose(fine.shape, np.array(SHAPE) * SPACING / 0.5, atol=1)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"bitpix": 8}, "bitpix 8 is not that of its datatype int16"),
        ({"sform_code": 0, "qform_code": 0}, "left and right are not known"),
        ({"qform_code": 1, "qoffset_x": 95.5}, "its qform lie 5 mm apart. The sform"),
        ({"qform_code": 1, "quatern_b": 2}, "its qform is no rotation. The sform"),
        ({"pixdim": [1, 1, 1, 1, 1, 1, 1, 1]}, "pixdim 1 x 1 x 1 is not the spacing"),
        ({"xyzt_units": 3}, r"would be 0.0007 x 0.0008.*units right \(xyzt_units 3\)"),
        ({"xyzt_units": 1}, r"would be 700 x .*units right \(xyzt_units 1\)"),
    ],
)
def test_contradictory_headers(hu, fields, message):
    """What nibabel takes of it is said."""
    content = with_header(nibabel.Nifti1Image(hu, AFFINE), fields)
    image = nibabel.Nifti1Image.from_bytes(content)
    with pytest.warns(UserWarning, match="case 5: .*" + message):
        volume = Volume(content, "case 5")
    mask = volume.to_nifti(np.ones(SHAPE[::-1], bool))
    np.testing.assert_array_equal(mask.affine, image.affine)
    if "quatern_b" not in fields:
        assert_lies_on(mask, image)


def test_mask_holds_no_text(tmp_path, hu):
    """Patient names stand in free text and extensions."""
    header = nibabel.Nifti1Header()
    for field in ("descrip", "aux_file", "intent_name", "db_name"):
        header[field] = b"Jane Doe"
    header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"Jane Doe"))
    image = nibabel.Nifti1Image(hu, AFFINE, header)
    content = image.to_bytes()
    assert content.count(b"Jane Doe") == 5
    for source in (image, content):
        mask = Volume(source).to_nifti(np.ones(SHAPE[::-1], bool))
        assert b"Jane" not in mask.to_bytes()


def test_content_tells_whether_it_is_packed(tmp_path, hu):
    content = nibabel.Nifti1Image(hu, AFFINE).to_bytes()
    for name in ("a.nii", "a.nii.gz", "b.NII.GZ", "c.Nii.gz", "d [x] ä\n.nii"):
        for data in (content, gzip.compress(content)):
            path = tmp_path / name
            path.write_bytes(data)
            np.testing.assert_array_equal(Volume(path).slice(1), hu[:, :, 1].T)
    # Once nibabel has opened it, all is as it says.
    (tmp_path / "e.nii.bz2").write_bytes(bz2.compress(content))
    image = nibabel.load(tmp_path / "e.nii.bz2")
    np.testing.assert_array_equal(Volume(image).slice(1), hu[:, :, 1].T)
    for pack, what in ((bz2.compress, "bzip2"), (lzma.compress, "xz")):
        path.write_bytes(pack(content))
        with pytest.raises(ValueError, match=f"packed by {what}. Unpack it"):
            Volume(path)


def claiming(shape, packed=True, content=b"", dtype="int16"):
    """A file whose header claims a shape, whatever it holds."""
    header = nibabel.Nifti2Header()
    header.set_data_dtype(dtype)
    header.set_data_shape(shape)
    header.set_sform(AFFINE, 1)
    header.set_zooms(SPACING)
    header["vox_offset"] = 544
    data = header.binaryblock + bytes(4) + content
    return gzip.compress(data) if packed else data


@pytest.mark.parametrize("packed", [True, False])
def test_claims_are_checked_before_work(tmp_path, packed, monkeypatch):
    """No memory and no disk for what cannot be in a file of this size."""
    monkeypatch.setattr(tempfile, "TemporaryFile", None)
    tracemalloc.start()
    try:
        for shape in ((30000, 30000, 3), (512, 512, 30000), (1, 2**40, 2**40)):
            content = claiming(shape, packed)
            (tmp_path / "ct.nii").write_bytes(content)
            for source in (tmp_path / "ct.nii", content):
                with pytest.raises(ValueError, match="claims|at most 32767 voxels"):
                    Volume(source)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1e6


def test_large_slices(tmp_path):
    """Of a file with holes, which takes no disk."""
    path = tmp_path / "ct.nii"
    path.write_bytes(claiming((8192, 4096, 1), False, dtype="uint8"))
    with path.open("r+b") as file:
        file.truncate(544 + 8192 * 4096)
    with pytest.raises(ValueError, match="slices of at most .*8192 x 4096"):
        Volume(path)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_slices_that_were_read_leave_memory(tmp_path):
    """Of a file of 100 MB that is mapped."""
    path = tmp_path / "ct.nii"
    path.write_bytes(claiming((512, 512, 200), False))
    with path.open("r+b") as file:
        file.truncate(544 + 2 * 512 * 512 * 200)
    volume = Volume(path)

    def mapped():
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("RssFile:"):
                return int(line.split()[1]) * 1024

    before = mapped()
    assert not any(volume.slice(z).any() for z in range(200))
    assert mapped() - before < 10e6


def test_bomb(tmp_path, monkeypatch):
    """What is packed beyond the header's claim is not unpacked."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    sizes = []
    unnamed = tempfile.TemporaryFile

    @contextmanager
    def measured():
        with unnamed() as file:
            try:
                yield file
            finally:
                sizes.append(file.tell())

    monkeypatch.setattr(tempfile, "TemporaryFile", measured)
    volume = Volume(claiming((100, 100, 10), content=bytes(2**26)), "bomb")
    with pytest.raises(ValueError, match="bomb: it holds more voxels than .*claims"):
        volume.slice(0)
    assert sizes == [544 + 2 * 100_000]


def test_full_folder_of_temporary_files(hu, monkeypatch):
    """Is known before anything is unpacked."""
    volume = Volume(gzip.compress(nibabel.Nifti1Image(hu, AFFINE).to_bytes()), "ct")
    usage = shutil.disk_usage("/")._replace(free=771)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    monkeypatch.setattr(tempfile, "TemporaryFile", None)
    with pytest.raises(ValueError, match="read ct: .*full: .* no 772 bytes.*TMPDIR"):
        volume.slice(0)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_pipe(tmp_path):
    os.mkfifo(tmp_path / "ct.nii")
    with pytest.raises(ValueError, match="ct.nii, a folder, a pipe or a device"):
        Volume(tmp_path / "ct.nii")


def test_damaged_bytes(rng, hu):
    """Any damage to a header is read, or a ValueError with the name."""
    content = nibabel.Nifti1Image(hu, AFFINE).to_bytes()
    for data in (content, gzip.compress(content)):
        for _ in range(200):
            damaged = bytearray(data)
            for place in rng.integers(0, min(len(data), 400), 4):
                damaged[place] = rng.integers(256)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                try:
                    Volume(bytes(damaged), "case 5").slice(0)
                except ValueError as error:
                    assert "case 5" in str(error)


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
    levels = {"liver": (25, 450), "soft_tissue": (40, 400)}
    levels.update({"lung": (-600, 1500), "bone": (400, 1800)})
    for name, (level, width) in levels.items():
        assert window_limits(name) == (level - width / 2, level + width / 2)
    assert window_limits((-200, 250)) == (-200, 250)
    for window in ("brain", (5, 5), (np.nan, 5), (1, 2, 3), (-np.inf, 5), 5, "ab"):
        with pytest.raises(ValueError, match="liver, soft_tissue, lung, bone"):
            window_limits(window)


def test_rounded_hu():
    values = np.array([-(2.0**31), -200.6, 30.6, 2.0**20])
    np.testing.assert_array_equal(to_int16(values), [-(2**15), -201, 31, 2**15 - 1])


def test_hu():
    """A CT, an air phantom and a constant pass; what is not in HU does not."""
    ct = np.linspace(-1000, 400, 7 * 6 * 40).reshape(7, 6, 40)
    few = np.full((7, 6, 40), 60.0)
    few[0, 0, 21] = -3  # In a slice that the sample may leave out.
    cut = few.copy()
    few[6, 5, 21] = -600
    for hu in (ct, few, 0 * ct, 0 * ct + 1, 0 * ct - 1000):
        check_hu(Volume(nibabel.Nifti1Image(hu, AFFINE)))
    with pytest.warns(UserWarning, match="from -3 to 60 in .*Is it MR"):
        check_hu(Volume(nibabel.Nifti1Image(cut, AFFINE)))
    scaled = (ct + 1000) / 1400
    for wrong, message in (
        (scaled, "from 0 to 1 in .*undo that"),
        (2 * scaled - 1, "from -1 to 1 in .*undo that"),
        ((ct - ct.mean()) / ct.std(), "from -1.7.* undo that"),
        (ct + 1024, "from 24 to 1424 .*subtract 1024"),
        (np.rint(255 * scaled).astype("uint8"), "from 0 to 255 .*Nothing is below 0"),
        (cut + 10, "from 7 to 70 .*Nothing is below 0"),
    ):
        with pytest.raises(ValueError, match="in HU, where air is -1000.*" + message):
            check_hu(Volume(nibabel.Nifti1Image(wrong, AFFINE)))


@pytest.mark.parametrize(
    "path", ["small-ct/ct.nii.gz", "liver-ct/ircad-volume-17/ct_17.nii.gz"]
)
def test_hu_of_real_volumes(path):
    if not (DATA / path).exists():
        pytest.skip(f"needs {path} in {DATA}; set KERAS_PAMUNET_DATA")
    check_hu(Volume(DATA / path))


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
        (edited("magic", b"ni1"), "Received: the header of a pair"),
        (edited("vox_offset", 16), "begin at byte 352 or later. Received: .* 16"),
        (edited("vox_offset", np.nan), "begin at byte 352 .* nan"),
        (edited("vox_offset", np.inf), "begin at byte 352 .* inf"),
        (edited("vox_offset", 1e9), "claims 1,000,000,420 bytes, it has 772"),
        (edited("dim", [0, 7, 6, 5, 1, 1, 1, 1]), r"1 to 7 axes.*dim\[0\] 0"),
        (edited("dim", [8, 7, 6, 5, 1, 1, 1, 1]), "1 to 7 axes"),
        (edited("scl_slope", np.inf), "a finite scl_slope"),
        (edited("xyzt_units", 7), "a unit of length.* Received: 7"),
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
