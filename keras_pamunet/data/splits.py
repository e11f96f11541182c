"""Which pairs are for training, validation and test."""

from pathlib import Path
from typing import Any

import numpy as np

from keras_pamunet.data.folder import Folder
from keras_pamunet.data.phantom import Phantom

PARTS = ("train", "validation", "test")


def open_splits(
    data: str | Path = "phantom",
    split: str | None = None,
    num_classes: int = 1,
    seed: int = 0,
) -> dict[str, Any]:
    """Opens a data set, divided into its parts.

    Args:
        data: folder with `images/` and `masks/`, or `"phantom"`.
        split: name of a split in the folder's `splits/`: the files that start with
            it and end with `train.txt`, `validation.txt` (or `val.txt`) and
            `test.txt` hold a name a line. By default 80 % of the pairs are for
            training, 10 % for validation and 10 % for test, drawn by the seed.
        num_classes: see `Folder`.
        seed: of the drawn split.

    Returns:
        Sources by name, `"train"`, `"validation"` and, if the split has one,
        `"test"`.

    Raises:
        ValueError: if there is no such split, a part of it is empty or two of its
            parts overlap.
    """
    source = Phantom() if str(data) == "phantom" else Folder(data, None, num_classes)
    if split is None:
        order = np.random.default_rng(seed).permutation(source.names).tolist()
        held_out = max(len(order) // 10, 1)
        if len(order) < 3:
            raise ValueError(
                f"Expected at least 3 pairs to divide. Received: {len(order)} in {data}"
            )
        names = {
            "test": order[:held_out],
            "validation": order[held_out : 2 * held_out],
            "train": order[2 * held_out :],
        }
    else:
        names = _read_split(Path(data) / "splits", split)
    _check_overlap(names)
    return {part: source.subset(names[part]) for part in PARTS if part in names}


def _read_split(folder, split):
    files = {}
    for path in sorted(folder.glob("*.txt")):
        for part, ending in (*zip(PARTS, PARTS), ("validation", "val")):
            stem = path.stem.removesuffix(ending)
            if stem != path.stem and (stem + "_").startswith(f"{split}_"):
                files.setdefault(part, []).append(path)
    unclear = [paths for paths in files.values() if len(paths) > 1]
    if unclear:
        raise ValueError(
            f"Expected one file for each part of split {split!r}. Received: "
            f"{', '.join(path.name for path in unclear[0])}"
        )
    if not {"train", "validation"} <= set(files):
        found = sorted(path.name for path in folder.glob("*.txt"))
        raise ValueError(
            f"Expected {folder} to hold {split}_train.txt and {split}_validation.txt. "
            f"Found: {', '.join(found) or 'no .txt file'}"
        )
    names = {}
    for part, (path,) in files.items():
        lines = map(str.strip, path.read_text("utf-8").splitlines())
        names[part] = [line for line in lines if line]
        if not names[part]:
            raise ValueError(f"Expected a name a line in {path}. Found none.")
    return names


def _check_overlap(names):
    owner = {}
    for part, part_names in names.items():
        for name in part_names:
            if name in owner:
                raise ValueError(
                    f"Expected each pair once in a split. Received: {name} in "
                    f"{owner[name]} and in {part}"
                )
            owner[name] = part
