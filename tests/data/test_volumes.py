import json
import tempfile
import weakref
from concurrent.futures import ThreadPoolExecutor

import nibabel
import numpy as np
import pytest
from PIL import Image

from keras_pamunet.data import (
    Folder,
    Resized,
    Volume,
    Volumes,
    open_source,
    pipeline,
)
from keras_pamunet.data.volumes import case_files
from tests.helpers import write_lits

AFFINE = np.diag([-0.8, -0.8, 2, 1])


@pytest.fixture
def arrays(tmp_path):
    return write_lits(tmp_path)


def test_pairs(tmp_path, arrays):
    pairs = Volumes(tmp_path, num_classes=3)
    names = [f"volume-{case}/000{z}" for case in (0, 10) for z in range(3)]
    assert pairs.names == names and len(pairs) == 6 and pairs.channels == 1
    assert pairs.groups == ["volume-0"] * 3 + ["volume-10"] * 3
    hu, labels = arrays["volume-10"]
    image, mask = pairs[4]
    assert image.shape == (10, 12, 1) and image.dtype == np.int16
    np.testing.assert_array_equal(image[..., 0], hu[:, :, 1].T)
    assert pairs.in_hu and pairs.class_names == ("liver", "tumour")
    np.testing.assert_array_equal(mask, labels[:, :, 1].T)

    _, mask = Volumes(tmp_path)[4]
    np.testing.assert_array_equal(mask, labels[:, :, 1].T > 0)


def test_subset(tmp_path, arrays):
    pairs = Volumes(tmp_path)
    part = pairs.select(["volume-10/0001", "volume-0/0002"])
    assert len(part) == 2 and part.groups == ["volume-10", "volume-0"]
    np.testing.assert_array_equal(part[0][0], pairs[4][0])
    with pytest.raises(ValueError, match="like volume-0/0000.* Not there: volume-0/9"):
        pairs.select(["volume-0/0001", "volume-0/9"])


def test_batches(tmp_path, arrays):
    source = Resized(Volumes(tmp_path, 3), (8, 8))
    images, masks = next(iter(pipeline(source, 6)))
    assert images.shape == (6, 8, 8, 1) and masks.shape == (6, 8, 8, 3)


def test_each_file_is_read_once(tmp_path, monkeypatch):
    write_lits(tmp_path, "012")
    unpacked = []
    unnamed = tempfile.TemporaryFile

    def count():
        unpacked.append(None)
        return unnamed()

    monkeypatch.setattr(tempfile, "TemporaryFile", count)
    pairs = Volumes(tmp_path)
    assert not unpacked
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(pairs.__getitem__, range(6)))
    assert len(unpacked) == 4
    # The third volume takes the place of the first, which the second outlives.
    for index, expected in ((5, 4), (6, 6), (3, 6), (0, 8)):
        assert pairs[index][0].any() and len(unpacked) == expected


def test_memory_is_given_back(tmp_path, arrays):
    pairs = Volumes(tmp_path)
    assert pairs[0]
    alive = weakref.ref(pairs)
    del pairs  # No cycle of references keeps it until the next collection.
    assert alive() is None


def test_nested_folders_and_plain_files(tmp_path, arrays):
    for batch, case in (("Training Batch 1", "0"), ("Training Batch 2", "10")):
        (tmp_path / batch).mkdir()
        image = tmp_path / f"volume-{case}.nii.gz"
        nibabel.load(image).to_filename(tmp_path / batch / image.name[:-3])
        image.unlink()
        labels = tmp_path / f"segmentation-{case}.nii.gz"
        labels.rename(tmp_path / batch / labels.name)
    pairs = Volumes(tmp_path, 3)
    assert sorted(set(pairs.groups)) == ["volume-0", "volume-10"]
    np.testing.assert_array_equal(pairs[5][1], arrays["volume-10"][1][:, :, 2].T)


def test_decathlon(tmp_path, arrays):
    for folder, kind in (("imagesTr", "volume"), ("labelsTr", "segmentation")):
        (tmp_path / folder).mkdir()
        source = tmp_path / f"{kind}-0.nii.gz"
        source.rename(tmp_path / folder / "liver_0 ä.nii.gz")
        (tmp_path / folder / "._liver_0 ä.nii.gz").write_bytes(b"of a Mac")
    pairs = Volumes(tmp_path, 3)
    assert pairs.names[1] == "liver_0 ä/0001"
    np.testing.assert_array_equal(pairs[1][1], arrays["volume-0"][1][:, :, 1].T)


DECATHLON = {"modality": {"0": "CT"}, "labels": {"0": "background", "1": "spleen"}}
NNUNET = {
    "channel_names": {"0": "CT"},
    "labels": {"background": 0, "kidney": 2, "spleen": 1, "cyst": 3},
}


def write_set(root, content, image="imagesTr", mask="labelsTr", ending=""):
    """A set of one case, whose labels are 0, 1 and 2."""
    arrays = write_lits(root / "lits", "0")
    for folder, kind, name in (
        (image, "volume", f"case{ending}"),
        (mask, "segmentation", "case"),
    ):
        (root / folder).mkdir()
        path = root / "lits" / f"{kind}-0.nii.gz"
        path.rename(root / folder / f"{name}.nii.gz")
    (root / "lits").rmdir()
    if content is not None:
        (root / "dataset.json").write_text(json.dumps(content))
    return arrays["volume-0"][1]


def test_named_labels(tmp_path):
    """The names of nnU-Net's, whose images end with the number of their channel."""
    labels = write_set(tmp_path, NNUNET, ending="_0000")
    names = ("spleen", "kidney", "cyst")
    pairs = open_source(tmp_path, 4)
    assert pairs.groups == ["case"] * 3 and pairs.class_names == names
    np.testing.assert_array_equal(pairs[1][1], labels[:, :, 1].T)
    together = open_source(tmp_path)
    assert together.class_names == ("object",) and together.label_names == names
    np.testing.assert_array_equal(together[1][1], labels[:, :, 1].T > 0)
    with pytest.raises(ValueError, match="1 or 4, for the labels spleen, kidney, cyst"):
        open_source(tmp_path, 3)


def test_labels_without_a_name(tmp_path):
    write_set(tmp_path, DECATHLON)
    pairs = open_source(tmp_path, 2)
    assert pairs.class_names == open_source(tmp_path).class_names == ("spleen",)
    with pytest.raises(ValueError, match=r"0 \(background\), 1 \(spleen\). .*: 2 in"):
        pairs[1]


def test_images_and_masks(tmp_path):
    """Of NIfTI files; of pictures they are no volumes, whatever lies beside them."""
    labels = write_set(tmp_path, None, "images", "masks")
    pairs = open_source(tmp_path, 3)
    assert pairs.groups == ["case"] * 3 and pairs.class_names == ("liver", "tumour")
    np.testing.assert_array_equal(pairs[2][1], labels[:, :, 2].T)
    for path in tmp_path.glob("*/case.nii.gz"):
        path.unlink()
        Image.fromarray(np.zeros((8, 8), "uint8")).save(path.with_name("a.png"))
    write_lits(tmp_path, "0")
    assert isinstance(open_source(tmp_path), Folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"modality": {"0": "MRI"}}, "set of CT volumes. .*json says: MRI"),
        ({"modality": {"0": "CT", "1": "PET"}}, "says: CT, PET"),
        ({"labels": {"0": "background", "2": "spleen"}}, "names of 0 .background., 1"),
        ({"labels": {"background": 0, "whole": [1, 2]}}, "names of 0"),
        ({"labels": {"0": "background"}}, "names of 0"),
        ({"labels": ["spleen"]}, "names of 0"),
        ({"labels": None}, "names of 0.*Received: None"),
    ],
)
def test_unfit_descriptions(tmp_path, change, message):
    write_set(tmp_path, {**DECATHLON, **change})
    with pytest.raises(ValueError, match=message):
        open_source(tmp_path)


def test_files(tmp_path, arrays):
    (tmp_path / "segmentation-10.nii.gz").rename(tmp_path / "segmentation-7.nii.gz")
    with pytest.raises(FileNotFoundError, match="labels of .*volume-10.nii.gz"):
        Volumes(tmp_path)
    (tmp_path / "volume-10.nii.gz").unlink()
    with pytest.raises(FileNotFoundError, match="image of .*segmentation-7.nii.gz"):
        Volumes(tmp_path)
    (tmp_path / "again").mkdir()
    (tmp_path / "again/volume-0.nii").write_bytes(b"")
    with pytest.raises(ValueError, match="volume-0.nii.gz and .*again/volume-0.nii"):
        Volumes(tmp_path)
    with pytest.raises(FileNotFoundError, match="imagesTr .*Found none"):
        case_files(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="num_classes 1 or 3, for the .*: 2"):
        Volumes(tmp_path, num_classes=2)


@pytest.mark.parametrize(
    ("labels", "affine", "message"),
    [
        (np.zeros((12, 10, 4), "uint8"), AFFINE, r"\(12, 10, 3\). .*\(12, 10, 4\)"),
        (np.full((12, 10, 3), 3, "uint8"), AFFINE, "Received: 3 in slice 1 of"),
        (np.full((12, 10, 3), -1, "int16"), AFFINE, "Received: -1 in slice 1 of"),
        (np.full((12, 10, 3), 0.5, "float32"), AFFINE, "Received: 0.5 in slice 1 of"),
        (np.full((12, 10, 3), np.nan, "float32"), AFFINE, "NaN .* in slice 1 of"),
    ],
)
def test_unfit_labels(tmp_path, arrays, labels, affine, message):
    path = tmp_path / "segmentation-0.nii.gz"
    nibabel.Nifti1Image(labels, affine).to_filename(path)
    with pytest.raises(ValueError, match=message) as error:
        Volumes(tmp_path)[1]
    assert "segmentation-0.nii.gz" in str(error.value)


@pytest.mark.parametrize(
    ("affine", "apart"),
    [
        (AFFINE + [[0.02, 0, 0, 0], [0] * 4, [0] * 4, [0] * 4], "0.22 mm apart"),
        (np.eye(4), "14.4 mm apart"),  # Other directions of the axes, too.
        (np.eye(4)[[1, 2, 0, 3]], "other axes"),
    ],
)
def test_labels_of_a_wrong_affine(tmp_path, arrays, affine, apart):
    """As of case 53 of LiTS: they go by voxels, and one warning names them."""
    for case in ("0", "10"):
        path = tmp_path / f"segmentation-{case}.nii.gz"
        labels = np.asarray(nibabel.load(path).dataobj)
        nibabel.Nifti1Image(labels, affine).to_filename(path)
    write_lits(tmp_path, "5")
    if affine[0, 0] == 0:  # The axes of the same voxels have other names.
        assert Volume(path).shape != (12, 10, 3)
    message = f"2 labels have .*segmentation-0.*{apart}.*segmentation-10"
    with pytest.warns(UserWarning, match=message) as warned:
        pairs = Volumes(tmp_path, 3)
    assert len(warned) == 1
    for index, (case, z) in enumerate([("0", 0), ("0", 1), ("0", 2), ("10", 0)]):
        expected = arrays[f"volume-{case}"][1][:, :, z].T
        np.testing.assert_array_equal(pairs[index][1], expected)
    assert len(pairs) == 9


def test_all_bad_cases_are_named(tmp_path):
    write_lits(tmp_path, "01234")
    for case, shape in (("1", (12, 10, 4)), ("3", (10, 12, 3))):
        labels = nibabel.Nifti1Image(np.zeros(shape, "uint8"), AFFINE)
        labels.to_filename(tmp_path / f"segmentation-{case}.nii.gz")
    (tmp_path / "volume-2.nii.gz").write_bytes(b"no volume")
    (tmp_path / "segmentation-4.nii.gz").unlink()
    (tmp_path / "segmentation-4.nii.gz").symlink_to("nowhere")
    with pytest.raises(ValueError, match="4 of 5 cases cannot be used:") as error:
        Volumes(tmp_path)
    lines = str(error.value).splitlines()[1:]
    names = ("segmentation-1", "volume-2", "segmentation-3", "segmentation-4")
    assert all(f"{name}.nii.gz" in line for name, line in zip(names, lines))
    for case in "014":
        (tmp_path / f"segmentation-{case}.nii.gz").unlink()
    message = "3 of 5: labels of .*volume-0.nii.gz, labels of .*volume-1.nii.gz, labels"
    with pytest.raises(FileNotFoundError, match=message):
        Volumes(tmp_path)


def test_images_that_are_not_in_hu(tmp_path, arrays):
    hu, _ = arrays["volume-10"]
    image = nibabel.Nifti1Image(hu + np.int16(1024), AFFINE)
    image.to_filename(tmp_path / "volume-10.nii.gz")
    pairs = Volumes(tmp_path)
    assert pairs[0]
    for _ in range(2):
        with pytest.raises(ValueError, match="in HU.* in .*volume-10.*subtract 1024"):
            pairs[3]


def test_labels_in_another_order_of_axes(tmp_path, arrays):
    """Files that lie on each other may be stored differently."""
    path = tmp_path / "segmentation-0.nii.gz"
    image = nibabel.as_closest_canonical(nibabel.load(path))
    assert (image.affine != AFFINE).any()
    affine = image.affine
    affine[:3, 3] += 0.05
    nibabel.Nifti1Image(np.asarray(image.dataobj), affine).to_filename(path)
    assert Volume(path).shape == (12, 10, 3)
    _, mask = Volumes(tmp_path, 3)[1]
    np.testing.assert_array_equal(mask, arrays["volume-0"][1][:, :, 1].T)


@pytest.mark.parametrize("layout", ["LiTS", "batches", "Decathlon"])
def test_opened_as_any_data(tmp_path, arrays, layout):
    """Of a folder it is the files that tell what is in it."""
    if layout != "LiTS":
        for kind, name in (("volume", "imagesTr"), ("segmentation", "labelsTr")):
            folder = tmp_path / ("Training Batch 1" if layout == "batches" else name)
            folder.mkdir(exist_ok=True)
            for path in tmp_path.glob(f"{kind}-*"):
                new = path.name
                if layout == "Decathlon":
                    new = path.name.replace(kind, "liver")
                path.rename(folder / new)
        if layout == "batches":
            for path in list(folder.iterdir()):
                path.rename(folder / path.name.replace(".nii.gz", ".NII.GZ"))
    source = open_source(tmp_path, 3)
    assert isinstance(source, Volumes) and source.num_classes == 3
    assert source.in_hu and Resized(source.select(source.names[:1]), (8, 8)).in_hu
    assert len(source) == 3 * len(arrays)
