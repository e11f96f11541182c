"""A segmented volume in numbers: ml, surface and HU of each class and object."""

import contextlib
import csv
import io
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from scipy.spatial import ConvexHull, QhullError
from scipy.spatial.distance import cdist

from keras_pamunet.data.mapped_slices import MappedSlices
from keras_pamunet.data.volume import Volume
from keras_pamunet.files import read_json_object, replace_text
from keras_pamunet.inference.object_finder import ObjectFinder
from keras_pamunet.targets import is_class

COLUMNS = (
    "mask",
    "class",
    "volume_ml",
    "surface_cm2",
    "hu_mean",
    "hu_sd",
    "objects",
    "diameter_mm",
)
# Points whose distances to all others are held at once.
CHUNK = 256


def measure(
    volume: Volume,
    layers: Sequence[np.ndarray | MappedSlices],
    class_names: Sequence[str],
) -> dict[str, Any]:
    """Measures each class of a volume. Memory holds two slices.

    Args:
        volume: the image, in HU.
        layers: labels `(slices, rows, columns)`, one array for all classes, or one for
            each that may overlap others.
        class_names: of the labels 1, 2, ...

    Returns:
        `spacing` in mm from column to column, row to row and slice to slice, and
        `classes`, for each of them `class`, `volume_ml`, `surface_cm2`, `hu_mean`,
        `hu_sd` and the same but the surface of each of its `objects`, the largest
        first, with its `slices`, counted from 1 at the feet, and its longest diameter,
        `diameter_mm`, between centres of voxels. Means of nothing are `None`.

        The surface is 2/3 of the area of all faces of voxels at the edge: Crofton's
        formula with three directions, right for a sphere, and a third too little for
        a box that lies along the axes.
    """
    return {
        "spacing": [round(float(x), 6) for x in volume.spacing],
        "classes": [
            {"class": name} | _measure_class(volume, partial(_mask_of, layers, label))
            for label, name in enumerate(class_names, 1)
        ],
    }


def _mask_of(layers, label, z):
    return is_class([layer[z] for layer in layers], label)


def _measure_class(volume: Volume, mask_of: Callable[[int], np.ndarray]):
    finder = ObjectFinder()
    for z in range(len(volume)):
        mask = mask_of(z)
        finder.add(mask.astype("uint8"), mask)
    found = finder.objects()
    # Of the background and each object: voxels, and sums of HU and of its squares.
    sums = np.zeros((3, len(found) + 1))
    edges: list[list[np.ndarray]] = [[] for _ in found]
    across, down, up = volume.spacing
    below: np.ndarray | None = None
    faces = 0.0
    for z in range(len(volume)):
        mask = mask_of(z)
        faces += (
            _changes(mask, 1) * down * up
            + _changes(mask, 0) * across * up
            + np.count_nonzero(mask if below is None else mask ^ below) * across * down
        )
        below = mask
        if not mask.any():
            continue
        numbers = finder.numbers(z, mask.astype("uint8"))
        hu = volume.slice(z).astype("float64")
        for row, values in zip(sums, (np.ones_like(hu), hu, hu**2)):
            row += np.bincount(numbers.ravel(), values.ravel(), sums.shape[1])
        for number in np.unique(numbers[mask]):
            rows, columns = np.nonzero(numbers == number)
            hull = cv2.convexHull(np.stack([columns, rows], 1).astype("int32"))[:, 0]
            height = np.full((len(hull), 1), z * up)
            edges[number - 1].append(np.hstack([hull * (across, down), height]))
    if below is not None:
        faces += np.count_nonzero(below) * across * down
    voxel_ml = math.prod(volume.spacing) / 1000
    return {
        **_numbers(sums[:, 1:].sum(axis=1), voxel_ml),
        "surface_cm2": round(faces * 2 / 3 / 100, 3),
        "objects": [
            {
                **_numbers(own, voxel_ml),
                "diameter_mm": round(_diameter(np.concatenate(points)), 2),
                "slices": list(x.slices),
            }
            for x, own, points in zip(found, sums.T[1:], edges)
        ],
    }


def _changes(mask, axis):
    """Faces between inside and outside along an axis of a slice."""
    ends = ((1, 1), (0, 0)) if axis == 0 else ((0, 0), (1, 1))
    return np.count_nonzero(np.diff(np.pad(mask, ends), axis=axis))


def _numbers(sums, voxel_ml):
    size, total, squares = sums
    mean = total / size if size else None
    deviation = math.sqrt(max(squares / size - mean**2, 0)) if size else None
    return {
        "volume_ml": round(size * voxel_ml, 4),
        "hu_mean": None if mean is None else round(mean, 2),
        "hu_sd": None if deviation is None else round(deviation, 2),
    }


def _diameter(points):
    """The longest distance between two of the points."""
    with contextlib.suppress(QhullError):  # They lie in a plane, or are few.
        points = points[ConvexHull(points).vertices]
    chunks = range(0, len(points), CHUNK)
    return max(float(cdist(points[i : i + CHUNK], points).max()) for i in chunks)


def read_statistics(path: Path) -> dict[str, Any]:
    """Reads what `measure` has returned for a mask, and which `mask` it is of.

    Raises:
        ValueError: names the file, if it holds something else.
    """
    record = read_json_object(path)
    if not {"mask", "classes"} <= record.keys():
        raise ValueError(
            f"Expected the statistics of a mask in {path}. Delete it, and predict anew."
        )
    return record


def write_statistics(folder: Path, records: Iterable[Mapping[str, Any]]) -> None:
    """Writes `statistics.csv` of `COLUMNS`: a row for each class of each mask.

    Args:
        folder: of the masks.
        records: what `measure` returns, with the path of the `mask` in the folder.
            Those of masks that are not there any more are left out. The diameter in a
            row is that of the largest object.

    Raises:
        OSError: if it cannot be written.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for record in records:
        if not (folder / record["mask"]).exists():
            continue
        for row in record["classes"]:
            objects = row["objects"]
            largest = {"diameter_mm": objects[0]["diameter_mm"]} if objects else {}
            count = {"mask": record["mask"], "objects": len(objects)}
            writer.writerow({**row, **count, **largest})
    replace_text(folder / "statistics.csv", text.getvalue())
