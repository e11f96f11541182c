"""Numbers of drawn volumes, beside those of a formula or of NumPy."""

import csv

import nibabel
import numpy as np
import pytest
from scipy.spatial.distance import pdist

from keras_pamunet.data import Volume
from keras_pamunet.inference.statistics import measure, write_statistics

SPACING = (0.8, 1.1, 1.5)


def as_volume(hu, spacing=SPACING):
    """Of HU in the order `(slices, rows, columns)`."""
    affine = np.diag([-spacing[0], -spacing[1], spacing[2], 1])
    return Volume(nibabel.Nifti1Image(hu.T.astype("int16"), affine))


def test_ball(rng):
    radius = 20
    z, y, x = np.indices((36, 48, 64))
    places = (x - 31) * SPACING[0], (y - 23) * SPACING[1], (z - 17) * SPACING[2]
    ball = np.sqrt(sum(np.square(x) for x in places)) <= radius
    hu = rng.integers(-100, 200, ball.shape)
    (row,) = measure(as_volume(hu), [ball.astype("uint8")], ("liver",))["classes"]
    assert row["class"] == "liver"
    voxel_ml = np.prod(SPACING) / 1000
    assert row["volume_ml"] == pytest.approx(ball.sum() * voxel_ml, abs=1e-4)
    assert row["surface_cm2"] == pytest.approx(4 * np.pi * radius**2 / 100, rel=0.03)
    assert row["hu_mean"] == pytest.approx(hu[ball].mean(), abs=0.01)
    assert row["hu_sd"] == pytest.approx(hu[ball].std(), abs=0.01)
    (ball,) = row["objects"]
    assert ball["diameter_mm"] == pytest.approx(2 * radius, abs=max(SPACING))
    assert ball["volume_ml"] == row["volume_ml"] and ball["slices"] == [5, 31]


def test_objects(rng):
    """A line, a single voxel and a slab: the largest first, each with its own HU."""
    mask = np.zeros((6, 20, 20), "uint8")
    mask[1, 2, 3:9] = 1
    mask[4, 15, 15] = 1
    mask[2:5, 8:13, 4:12] = 1
    hu = rng.integers(-100, 200, mask.shape)
    (row,) = measure(as_volume(hu), [mask], ("lesion",))["classes"]
    parts = np.s_[2:5, 8:13, 4:12], np.s_[1:2, 2:3, 3:9], np.s_[4:5, 15:16, 15:16]
    for found, part in zip(row["objects"], parts, strict=True):
        places = np.argwhere(np.ones_like(hu[part])) * SPACING[::-1]
        longest = pdist(places).max() if len(places) > 1 else 0
        assert found["diameter_mm"] == pytest.approx(longest, abs=0.01)
        assert found["hu_mean"] == pytest.approx(hu[part].mean(), abs=0.01)
        assert found["hu_sd"] == pytest.approx(hu[part].std(), abs=0.01)


def test_surface_counts_each_face_once(rng):
    """Also those at the edge of the image."""
    mask = (rng.random((4, 5, 6)) < 0.5).astype("uint8")
    areas = SPACING[0] * SPACING[1], SPACING[0] * SPACING[2], SPACING[1] * SPACING[2]
    padded = np.pad(mask, 1).astype(int)
    faces = sum(
        area * np.abs(np.diff(padded, axis=axis)).sum()
        for axis, area in enumerate(areas)
    )
    (row,) = measure(as_volume(mask), [mask], ("a",))["classes"]
    assert row["surface_cm2"] == pytest.approx(faces * 2 / 3 / 100, abs=1e-3)


def test_classes(rng):
    """Of one array of labels, or of one for each class that overlaps others."""
    labels = rng.integers(0, 3, (3, 8, 8), "uint8")
    volume = as_volume(np.zeros(labels.shape))
    names = ("liver", "tumour", "cyst")
    voxel_ml = np.prod(SPACING) / 1000
    layers = [(labels > 0).astype("uint8"), 2 * (labels == 2).astype("uint8")]
    counts = [(labels == 1).sum(), (labels == 2).sum(), 0]
    for given, expected in (
        ([labels], counts),
        (layers, [(labels > 0).sum(), *counts[1:]]),
    ):
        rows = measure(volume, given, names)["classes"]
        found = [row["volume_ml"] / voxel_ml for row in rows]
        np.testing.assert_allclose(found, expected, atol=0.1)
    assert rows[2] == {
        "class": "cyst",
        "volume_ml": 0,
        "hu_mean": None,
        "hu_sd": None,
        "surface_cm2": 0,
        "objects": [],
    }


def test_table(tmp_path):
    mask = np.zeros((3, 8, 8), "uint8")
    mask[1, 2, 2:6], mask[1, 6, 6] = 1, 1
    record = measure(as_volume(100 * mask), [mask], ("liver", "tumour"))
    for name in ("a.nii", "b.nii"):
        (tmp_path / name).touch()
    names = ("a.nii", "b.nii", "deleted.nii")
    write_statistics(tmp_path, [{"mask": name, **record} for name in names])
    with (tmp_path / "statistics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["mask"] for row in rows] == ["a.nii", "a.nii", "b.nii", "b.nii"]
    liver, tumour = rows[:2]
    assert liver["objects"] == "2" and float(liver["diameter_mm"]) == 2.4
    assert float(liver["hu_mean"]) == 100 and float(liver["hu_sd"]) == 0
    assert tumour["objects"] == "0" and tumour["diameter_mm"] == ""
