"""What was found in images and volumes, in numbers: `results.csv`."""

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from keras_pamunet.data.mapped_slices import MappedSlices
from keras_pamunet.files import replace_text
from keras_pamunet.inference.segmented_object import SegmentedObject

COLUMNS = (
    "mask",
    "kind",
    "object",
    "label",
    "class",
    "size",
    "percent",
    "x",
    "y",
    "width",
    "height",
    "mean_probability",
    "volume_ml",
    "first_slice",
    "last_slice",
)


def to_record(
    mask: np.ndarray | MappedSlices,
    objects: Iterable[SegmentedObject],
    class_names: Sequence[str],
    voxel_ml: float | None = None,
) -> dict[str, Any]:
    """What was found in an image or a volume, for a JSON file.

    Args:
        mask: labels, `(rows, columns)` or `(slices, rows, columns)`.
        objects: what was found.
        class_names: of the labels 1, 2, ...
        voxel_ml: volume of a voxel in ml.
    """
    return {
        "shape": [*mask.shape[-2:], *mask.shape[:-2]],
        "size": int(sum(map(np.count_nonzero, mask))),
        "voxel_ml": voxel_ml,
        "class_names": list(class_names),
        "objects": [
            [x.label, x.size, *x.box, *x.slices, round(x.mean_probability, 6)]
            for x in objects
        ],
    }


def is_record(record: Any) -> bool:
    """Whether this is what `to_record` returns, read from a file."""
    if not isinstance(record, dict):
        return False
    shape, objects = record.get("shape"), record.get("objects")
    return (
        _numbers(shape)
        and len(shape) in (2, 3)
        and min(shape) > 0
        and isinstance(objects, list)
        and all(_numbers(row) and len(row) == 9 for row in objects)
        and "voxel_ml" in record
        and (record["voxel_ml"] is None or _numbers([record["voxel_ml"]]))
        and _numbers([record.get("size")])
        and _are_names(record.get("class_names"), objects)
    )


def _are_names(names, objects):
    return (
        isinstance(names, list)
        and all(isinstance(name, str) for name in names)
        and all(row[0] in range(1, len(names) + 1) for row in objects)
    )


def _numbers(values: Any) -> TypeGuard[list[float]]:
    return isinstance(values, list) and all(
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and abs(value) < 1e15
        and math.isfinite(value)
        for value in values
    )


def rows_of(mask: str, record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows of `results.csv`: one of the image or volume, and one of each object.

    Args:
        mask: path of the mask in its folder.
        record: see `to_record`.

    Returns:
        Dictionaries of `COLUMNS`. The row of the image has the number of objects as
        `object` and the size of all together, in which what belongs to several
        classes counts once; the probability is the mean over the objects.
    """
    pixels = math.prod(record["shape"])
    is_volume = len(record["shape"]) == 3
    rows, size, weighted = [], 0, 0.0
    for number, values in enumerate(record["objects"], 1):
        label, voxels, x, y, width, height, first, last, probability = values
        size, weighted = size + voxels, weighted + voxels * probability
        row = {"mask": mask, "kind": "object", "object": number, "label": label}
        row["class"] = record["class_names"][int(label) - 1]
        row |= _sizes(voxels, pixels, record)
        row |= {"x": x, "y": y, "width": width, "height": height}
        row["mean_probability"] = round(probability, 4)
        if is_volume:
            row |= {"first_slice": first, "last_slice": last}
        rows.append(row)
    total: dict[str, Any] = {"mask": mask, "kind": "volume" if is_volume else "image"}
    total |= {"object": len(rows), **_sizes(record["size"], pixels, record)}
    if size:
        total["mean_probability"] = round(weighted / size, 4)
    if rows and is_volume:
        total["first_slice"] = min(row["first_slice"] for row in rows)
        total["last_slice"] = max(row["last_slice"] for row in rows)
    return [total, *rows]


def _sizes(size, pixels, record):
    sizes = {"size": size, "percent": round(100 * size / pixels, 4)}
    if record["voxel_ml"] is not None:
        sizes["volume_ml"] = round(size * record["voxel_ml"], 4)
    return sizes


def write_csv(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes rows as a CSV file, whole or not at all.

    Raises:
        OSError: if it cannot be written.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    replace_text(path, text.getvalue())
