"""Which pairs are for training, validation and test."""

import json
import unicodedata
import warnings
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import numpy as np

from keras_pamunet.data.pairs import Pairs, some
from keras_pamunet.data.source import open_source
from keras_pamunet.files import check_regular, is_split, read_json, write_json

SUBSETS = ("train", "validation", "test")
KVASIR_SEG = Path(__file__).parent / "kvasir_seg"


def open_splits(
    data: str | Path = "phantom",
    split: str | Path | None = None,
    num_classes: int = 1,
    seed: int = 0,
) -> dict[str, Pairs]:
    """Opens a data set, divided into its subsets.

    A split that names no validation pairs gets a tenth of its training pairs for
    them, drawn by the seed. What is drawn keeps the pairs of a group (the slices of a
    volume) and the known near-duplicates of Kvasir-SEG together.

    Args:
        data: see `open_source`.
        split: a file that `save_split` wrote, or the name of a split: of one in the
            folder's `splits/`, where the files that start with the name and end with
            `train.txt`, `validation.txt` (or `val.txt`) and `test.txt` hold a name a
            line, or of a published split of Kvasir-SEG, `"effisegnet"` (800, 100 and
            100 pairs), `"official"` (880, none and 120) or `"pranet"` (900, none and
            100). By default that of `splits/train.txt`, `splits/validation.txt` and
            `splits/test.txt`, or if there is no `splits/train.txt`, `ratio_split`
            draws one. Names may have their file's ending.
        num_classes: see `Folder`.
        seed: of what is drawn.

    Returns:
        Sources by name, `"train"`, `"validation"` and, if the split has one,
        `"test"`.

    Raises:
        ValueError: if there is no such split, a subset of it is empty or two of its
            subsets overlap.

    Warns:
        UserWarning: names the near-duplicates that stand in two subsets.
    """
    source = open_source(data, num_classes)
    groups = groups_of(source)
    if split is None and not Path(data, "splits", "train.txt").exists():
        names = ratio_split(source.names, groups, seed=seed)
    else:
        names = _find_split(data, split)
        known = {*source.names}
        names = {
            subset: [x if x in known else Path(x).stem for x in of_subset]
            for subset, of_subset in names.items()
        }
        _check_split(names, dict(zip(source.names, source.groups or [])), split)
        if "validation" not in names:
            group = dict(zip(source.names, groups))
            drawn = [group.get(name, name) for name in names["train"]]
            names |= ratio_split(names["train"], drawn, (0.9, 0.1, 0), seed)
    return {
        subset: source.select(names[subset]) for subset in SUBSETS if subset in names
    }


def ratio_split(
    names: Sequence[str],
    groups: Sequence[str] | None = None,
    ratios: tuple[float, float, float] = (0.8, 0.1, 0.1),
    seed: int = 0,
) -> dict[str, list[str]]:
    """Draws a split by shares of the groups.

    Args:
        names: of the pairs.
        groups: the patient, volume or sequence of each name. None of them is divided.
            By default each pair is a group.
        ratios: of training, validation and test, 1 together. A subset with a ratio of 0
            is left out, any other gets a group at least.
        seed: of the drawing.

    Returns:
        The names of each subset, `"train"`, `"validation"` and `"test"`.

    Raises:
        ValueError: for other ratios, or fewer groups than subsets.
    """
    if min(ratios) < 0 or not ratios[0] or abs(sum(ratios) - 1) > 1e-6:
        raise ValueError(
            "Expected three ratios, 1 together, the first above 0. Received: "
            f"ratios={ratios}"
        )
    members = _drawn_groups(names, groups, seed)
    split, start = {}, 0
    for subset, ratio in (("test", ratios[2]), ("validation", ratios[1])):
        if ratio:
            # In floating point int(290 * 0.1) may be 28.
            end = start + max(int(len(members) * ratio + 1e-6), 1)
            split[subset] = [*chain(*members[start:end])]
            start = end
    if start >= len(members):
        raise ValueError(
            f"Expected more pairs (or groups of them) to divide by {ratios}. Received: "
            f"{len(members)}"
        )
    return {**split, "train": [*chain(*members[start:])]}


def k_fold_split(
    names: Sequence[str],
    groups: Sequence[str] | None = None,
    folds: int = 5,
    seed: int = 0,
) -> list[dict[str, list[str]]]:
    """Draws the splits of a cross-validation: each pair is validated on once.

    Args:
        names: of the pairs.
        groups: the patient, volume or sequence of each name. None of them is divided.
            By default each pair is a group.
        folds: number of splits, 2 or more.
        seed: of the drawing.

    Returns:
        For each fold the names of the subsets `"train"` and `"validation"`.

    Raises:
        ValueError: for fewer groups than folds, or fewer than two folds.
    """
    members = _drawn_groups(names, groups, seed)
    if not 2 <= folds <= len(members):
        raise ValueError(
            f"Expected from 2 to {len(members)} folds, the number of pairs or groups. "
            f"Received: folds={folds}"
        )
    subsets = [[*chain(*members[fold::folds])] for fold in range(folds)]
    return [
        {
            "train": [*chain(*subsets[:fold], *subsets[fold + 1 :])],
            "validation": subsets[fold],
        }
        for fold in range(folds)
    ]


def groups_of(source: Pairs) -> list[str]:
    """The group of each pair that a drawn split must not divide.

    That is the source's own, or the pair's name, one for the known near-duplicates of
    Kvasir-SEG.
    """
    first = {name: twins[0] for twins in _twins() for name in twins}
    return source.groups or [first.get(name, name) for name in source.names]


def save_split(
    path: str | Path, split: dict[str, list[str]], overwrite: bool = False
) -> None:
    """Writes a split to a JSON file, `{"train": [names], "validation": ...}`.

    Args:
        path: of the file.
        split: names of the pairs in each subset.
        overwrite: whether to replace a file that is there.

    Raises:
        ValueError: if the path does not end in `.json`.
        FileExistsError: if the file is there.
        OSError: if it cannot be written. A file that is there stays as it is.
    """
    path = Path(path)
    if path.suffix != ".json":
        raise ValueError(f"Expected a path that ends in .json. Received: {path}")
    if path.exists() and not overwrite:
        raise FileExistsError(
            f"Expected a new file. Received: {path}, which exists. Name another, or "
            "overwrite it (--overwrite)."
        )
    write_json(path, split)


def load_split(
    path: str | Path, groups: dict[str, str] | None = None
) -> dict[str, list[str]]:
    """Reads a split from a JSON file.

    Args:
        path: of a file that `save_split` wrote.
        groups: the group of each name, to make sure that none is divided.

    Returns:
        The names of each subset.

    Raises:
        ValueError: if the file holds no split, or two subsets overlap.

    Warns:
        UserWarning: names the known near-duplicates of Kvasir-SEG that stand in two
            subsets.
    """
    split = _read_json(path)
    _check_split(split, groups or {}, path)
    return split


def _drawn_groups(names, groups, seed):
    """The names of each group, the groups in drawn order."""
    members = {}
    for name, group in zip(names, names if groups is None else groups):
        members.setdefault(group, []).append(name)
    order = np.random.default_rng(seed).permutation(len(members))
    members = list(members.values())
    return [members[index] for index in order]


def _twins():
    """The names of each known set of near-duplicates."""
    return json.loads((KVASIR_SEG / "near_duplicates.json").read_text("utf-8"))


def _find_split(data, split):
    if split is not None and Path(split).suffix == ".json":
        return _read_json(split)
    folder = Path(data) / "splits"
    files = _text_files(folder, split)
    if "train" in files:
        return {subset: _read_text(path) for subset, path in files.items()}
    published = KVASIR_SEG / "splits" / f"{split}.json"
    if published.exists():
        return _read_json(published)
    found = sorted(path.name for path in folder.glob("*.txt"))
    known = sorted(path.stem for path in published.parent.glob("*.json"))
    raise ValueError(
        f"Expected {folder} to hold {split}_train.txt, or a published split of "
        f"Kvasir-SEG. Found: {', '.join(found) or 'no .txt file'}; published: "
        f"{', '.join(known)}"
    )


def _text_files(folder, split):
    """The file of each subset of a split, or with `None` of files without its name."""
    files = {}
    for path in sorted(folder.glob("*.txt")):
        for subset, ending in (*zip(SUBSETS, SUBSETS), ("validation", "val")):
            stem = path.stem.removesuffix(ending)
            named = not stem if split is None else f"{stem}_".startswith(f"{split}_")
            if stem != path.stem and named:
                if subset in files:
                    raise ValueError(
                        f"Expected one file for each subset of split {split!r}. "
                        f"Received: {files[subset].name}, {path.name}"
                    )
                files[subset] = path
    return files


def _read_text(path):
    check_regular(path)
    try:
        text = path.read_text("utf-8-sig")
    except ValueError as error:
        raise ValueError(f"Cannot read {path}: {error}") from error
    names = [_composed(line.strip()) for line in text.splitlines()]
    names = [name for name in names if name]
    if not names:
        raise ValueError(f"Expected a name a line in {path}. Found none.")
    return names


def _read_json(path):
    split = read_json(path)
    if not is_split(split) or not {"train"} <= set(split) <= set(SUBSETS):
        raise ValueError(
            f"Expected lists of names by subset, train and of {SUBSETS[1:]}, in {path}."
        )
    return {subset: [*map(_composed, names)] for subset, names in split.items()}


def _composed(name):
    """A name with its accents as parts of the letters, as sources have them."""
    return unicodedata.normalize("NFC", name)


def _check_split(split, groups, path):
    """Makes sure that no pair and no group stands in two subsets."""
    owner = {}
    for subset, names in split.items():
        for name in names:
            if name in owner:
                raise ValueError(
                    f"Expected each pair once in a split. Received: {name} in "
                    f"{owner[name]} and in {subset}"
                )
            owner[name] = subset
    first = {}
    for name, subset in owner.items():
        group = groups.get(name)
        if group is not None and first.setdefault(group, subset) != subset:
            raise ValueError(
                f"Expected each group in one subset of a split. Received: {group} in "
                f"{first[group]} and in {subset} of {path}"
            )
    apart = [
        " ~ ".join(f"{name} ({owner[name]})" for name in twins)
        for twins in _twins()
        if set(twins) <= set(owner) and len({owner[name] for name in twins}) > 1
    ]
    if apart:
        warnings.warn(
            f"Near-duplicates stand in two subsets of the split {path}: {some(apart)}",
            stacklevel=3,
        )
