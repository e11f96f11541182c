import csv

import nibabel
import numpy as np
import pytest
from nibabel import orientations
from PIL import Image

from keras_pamunet.data import Volumes
from keras_pamunet.scoring import score
from tests.helpers import write_lits

CASES = ("volume-0", "volume-10")


@pytest.fixture
def found(tmp_path, rng):
    """Masks of two volumes, their axes in another order than those of the images."""
    root = tmp_path / "data"
    root.mkdir()
    write_lits(root)
    masks = tmp_path / "found"
    masks.mkdir()
    for case in CASES:
        truth = nibabel.load(root / f"{case.replace('volume', 'segmentation')}.nii.gz")
        labels = np.asarray(truth.dataobj).astype("uint8")
        labels[rng.random(labels.shape) < 0.2] = 1
        image = nibabel.Nifti1Image(labels, truth.affine)
        image = image.as_reoriented(orientations.axcodes2ornt("ASL"))
        image.to_filename(masks / f"{case}.nii.gz")
    return root, masks


def labels_of(path):
    """In the order of the patient's axes."""
    return np.asarray(nibabel.as_closest_canonical(nibabel.load(path)).dataobj)


@pytest.mark.parametrize("num_classes", [1, 3])
def test_scores(found, tmp_path, num_classes):
    root, masks = found
    results, _ = score(
        data=root,
        masks=[masks],
        num_classes=num_classes,
        output=tmp_path / "out",
        progress=False,
    )
    (result,) = results.values()
    with (tmp_path / "out/cases.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    rows = [row for case in result.cases for row in case["classes"]]
    assert [row["group"] for row in table[:: len(rows) // 2]] == [*CASES]
    for read, row in zip(table, rows, strict=True):
        assert float(read["dice"]) == row["dice"] and read["name"] == row["name"]
        assert float(read["found_ml"]) == row["found_ml"]
        assert int(read["objects_n_hit"]) == row["objects"]["n_hit"]
    with Image.open(tmp_path / "out/volumes.png") as picture:
        assert picture.width > picture.height
    for case, row in zip(CASES, result.cases, strict=True):
        truth = labels_of(root / f"{case.replace('volume', 'segmentation')}.nii.gz")
        mask = labels_of(masks / f"{case}.nii.gz")
        for label, scores in enumerate(row["classes"], 1):
            t, f = (x == label if num_classes == 3 else x > 0 for x in (truth, mask))
            assert scores["name"] == ("liver", "tumour")[label - 1]
            expected = 2 * (t & f).sum() / (t.sum() + f.sum())
            assert scores["dice"] == pytest.approx(expected)
            assert 0 < expected < 1 or label == 2
            mm3 = abs(np.linalg.det(nibabel.load(root / f"{case}.nii.gz").affine))
            assert scores["found_ml"] == pytest.approx(f.sum() * mm3 / 1000)


def test_some_of_the_cases(found, tmp_path):
    root, masks = found
    (masks / "volume-10.nii.gz").unlink()
    with pytest.raises(ValueError, match="1 missing: volume-10"):
        score(data=root, masks=[masks], progress=False)


@pytest.mark.parametrize("shape", [(4, 4, 4), None])
def test_elsewhere(found, shape):
    """A mask of another shape, or a place of its own."""
    root, masks = found
    path = masks / "volume-0.nii.gz"
    image = nibabel.load(path)
    labels, affine = np.asarray(image.dataobj), image.affine.copy()
    affine[0, 3] += 5
    nibabel.Nifti1Image(
        labels if shape is None else np.zeros(shape, "uint8"), affine
    ).to_filename(path)
    with pytest.raises(ValueError, match="volume-0.*Received|Received.*volume-0"):
        score(data=root, masks=[masks], progress=False)


def test_pictures_for_volumes(found):
    root, masks = found
    for path in masks.iterdir():
        path.unlink()
    with pytest.raises(ValueError, match="2 missing: volume-0, volume-10"):
        score(data=root, masks=[masks], progress=False)
    assert Volumes(root).image("volume-0").shape[2] == 3
