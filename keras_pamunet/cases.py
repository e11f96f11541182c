import csv
import io
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_pamunet.data.pairs import Pairs
from keras_pamunet.files import replace_text
from keras_pamunet.objects import count_objects, object_scores
from keras_pamunet.surface import summary, surface_scores

SCORES = ("dice", "iou", "recall", "precision")
ERRORS = ("voe", "rvd")
DISTANCES = ("hd95", "assd", "mssd")
# mm by which a surface may be off for `nsd`.
TOLERANCE = 2.0


class CaseScores:
    """Scores of whole cases, such as the volumes that slices are of.

    A case is scored once all its images are there; until then its masks are held, a
    bit a pixel.

    Args:
        source: the pairs, with `groups`, which name the case of each, and `spacing`.
        class_names: of the labels 1, 2, ...

    Example:

    >>> from keras_pamunet.data import Volumes
    >>> pairs = Volumes("Task03_Liver")
    >>> cases = CaseScores(pairs, ("liver",))
    >>> for _, mask in pairs:  # Found as it is.
    ...     cases.add(mask[..., np.newaxis], mask[..., np.newaxis])
    >>> float(cases.rows[0]["classes"][0]["dice"])
    1.0
    """

    def __init__(self, source: Pairs, class_names: Sequence[str]):
        self.source = source
        self.class_names = class_names
        self.rows: list[dict[str, Any]] = []
        self._groups = source.groups or []
        self._missing = Counter(self._groups)
        self._masks: dict[str, list[tuple[Any, np.ndarray, np.ndarray]]] = {}
        self._added = 0

    def add(self, truth: np.ndarray, found: np.ndarray) -> None:
        """Adds the next image of the source.

        Args:
            truth: where each class is, `(rows, columns, classes)` of 0 and 1.
            found: where it was found, of the same shape. Images of a case with a
                spacing have one shape.
        """
        group = self._groups[self._added]
        self._added += 1
        masks = self._masks.setdefault(group, [])
        masks.append((truth.shape, np.packbits(truth > 0), np.packbits(found > 0)))
        self._missing[group] -= 1
        if not self._missing[group]:
            self.rows.append(self._score(group, self._masks.pop(group)))

    def _score(self, group, masks):
        spacing = self.source.spacing(group)
        shapes, *packed = zip(*masks)
        truth, found = (
            [
                np.unpackbits(bits, count=math.prod(shape)).reshape(1, *shape)
                for shape, bits in zip(shapes, each)
            ]
            for each in packed
        )
        if spacing is None:  # Images of a patient may have different sizes.
            truth, found = (
                [image.reshape(-1, 1, image.shape[-1]) for image in each]
                for each in (truth, found)
            )
        truth, found = np.concatenate(truth), np.concatenate(found)
        return {
            "group": group,
            "n": len(masks),
            "classes": [
                {"class": label, "name": name}
                | _of_class(truth[..., label - 1], found[..., label - 1], spacing)
                for label, name in enumerate(self.class_names, 1)
            ],
        }

    def summary(self) -> list[dict[str, Any]]:
        """For each class what its cases have in the mean.

        Returns:
            Rows of `class`, `name`, the mean of the four scores and of the errors of
            volume over the cases that have the class (`None` if there are none),
            `n_with_truth`, `n_missed` (not found at all) and `n_false` (found where it
            is not). `voe` is the volumetric overlap error, 1 - IoU, and `rvd` the
            relative volume difference, (found - truth) / truth. With a spacing also
            `hd95`, `assd` and `mssd`, mm, the mean over the cases where something of it
            was found, `nsd`, and `objects`, the counts of
            `keras_pamunet.objects.count_objects` over all cases with their
            `object_scores`.
        """
        classes = zip(*(row["classes"] for row in self.rows))
        return [_mean_of(list(rows)) for rows in classes]


def write_cases(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Writes a CSV file with a row for each class of each case.

    Args:
        rows: of `CaseScores`.
        path: of the file. Counts of objects have columns `objects_...`.

    Raises:
        OSError: if it cannot be written.
    """
    table = [
        {"group": row["group"], "n": row["n"]}
        | {name: value for name, value in scores.items() if name != "objects"}
        | {f"objects_{name}": n for name, n in scores.get("objects", {}).items()}
        for row in rows
        for scores in row["classes"]
    ]
    text = io.StringIO()
    writer = csv.DictWriter(text, table[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    replace_text(path, text.getvalue())


def _of_class(truth, found, spacing):
    both = np.count_nonzero(truth & found)
    sizes = np.count_nonzero(truth), np.count_nonzero(found)
    row = {
        "truth": bool(sizes[0]),
        "found": bool(sizes[1]),
        "dice": _ratio(2 * both, sum(sizes)),
        "iou": _ratio(both, sum(sizes) - both),
        "recall": _ratio(both, sizes[0], empty=not sizes[1]),
        "precision": _ratio(both, sizes[1], empty=not sizes[0]),
        "voe": 1 - _ratio(both, sum(sizes) - both),
        "rvd": sizes[1] / sizes[0] - 1 if sizes[0] else None,
    }
    if spacing is not None:
        voxel_ml = math.prod(spacing) / 1000
        row |= {"truth_ml": sizes[0] * voxel_ml, "found_ml": sizes[1] * voxel_ml}
        for name, score in surface_scores(truth, found, spacing, TOLERANCE).items():
            row[name] = score if math.isfinite(score) else None
        row["objects"] = count_objects(truth, found)
    return row


def _ratio(part, whole, empty=True):
    """A share; of nothing 1 if both masks are empty, else 0."""
    return part / whole if whole else float(empty)


def _mean_of(rows):
    true = [row for row in rows if row["truth"]]
    mean: dict[str, Any] = {
        name: float(np.mean([row[name] for row in true])) if true else None
        for name in (*SCORES, *ERRORS, *(["nsd"] if "nsd" in rows[0] else []))
    }
    for name in DISTANCES:
        if name in rows[0]:
            values = [math.inf if row[name] is None else row[name] for row in true]
            mean[name] = summary(values)["mean"]
    if "objects" in rows[0]:
        counts = [row["objects"] for row in rows]
        total = {name: sum(count[name] for count in counts) for name in counts[0]}
        mean["objects"] = total | object_scores(total)
    return {
        "class": rows[0]["class"],
        "name": rows[0]["name"],
        **mean,
        "n_with_truth": len(true),
        "n_missed": sum(row["truth"] and not row["found"] for row in rows),
        "n_false": sum(row["found"] and not row["truth"] for row in rows),
    }
