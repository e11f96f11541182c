"""What the images of a folder come from, by the table `index.csv` beside them."""

import csv
from collections.abc import Sequence
from pathlib import Path

from keras_pamunet.data.pairs import some, to_nfc
from keras_pamunet.files import check_regular

INDEX = "index.csv"
# Names of the column that says what an image comes from; the first that is there.
COLUMNS = ("group", "patient", "volume", "sequence")


def read_groups(root: Path, names: Sequence[str]) -> list[str] | None:
    """The group of each image, such as its patient.

    Args:
        root: the folder of the data set. Its `index.csv` has a row for each image, with
            the columns `file`, the image's name with or without its ending, and one of
            `COLUMNS`.
        names: stems of the images.

    Returns:
        `None` if there is no table, or no such column in it.

    Raises:
        ValueError: names the table, if it cannot be read, or an image has no row, two
            that differ or no group.
    """
    path = Path(root) / INDEX
    if not path.exists():
        return None
    check_regular(path)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            found = reader.fieldnames or ()
            column = next((name for name in COLUMNS if name in found), None)
            if column is None or "file" not in found:
                return None
            rows = [(row["file"] or "", row[column] or "") for row in reader]
    except (ValueError, csv.Error) as error:
        raise ValueError(f"Cannot read {path}: {error}") from error
    groups: dict[str, str] = {}
    for name, group in rows:
        stem = to_nfc(name if to_nfc(name) in names else Path(name).stem)
        if groups.setdefault(stem, group) != group:
            raise ValueError(
                f"Expected one {column} for each image in {path}. Received: "
                f"{groups[stem]!r} and {group!r} for {stem}"
            )
    missing = [name for name in names if not groups.get(name)]
    if missing:
        raise ValueError(
            f"Expected the {column} of each image in {path}. Missing for "
            f"{len(missing)}: {some(missing)}"
        )
    return [groups[name] for name in names]
