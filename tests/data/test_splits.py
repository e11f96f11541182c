import numpy as np
import pytest

from keras_pamunet.data import Folder, open_splits


def test_drawn_split(folder):
    parts = open_splits(folder)
    assert {name: len(part) for name, part in parts.items()} == {
        "train": 10,
        "validation": 1,
        "test": 1,
    }
    assert open_splits(folder)["train"].names == parts["train"].names
    assert open_splits(folder, seed=1)["train"].names != parts["train"].names


def test_kvasir_splits(kvasir):
    for split, sizes in (("effisegnet", [800, 100, 100]), ("official", [880, 120])):
        parts = open_splits(kvasir, split)
        assert [len(part) for part in parts.values()] == sizes
    image, mask = parts["train"].read(0, (128, 128))
    assert image.shape[2] == 3 and set(np.unique(mask)) == {0, 1}
    with pytest.raises(ValueError, match="pranet_train.txt.*Found: effisegnet_800"):
        open_splits(kvasir, "pranet")


def test_named_split(folder):
    (folder / "splits").mkdir()
    names = Folder(folder).names
    lists = {"train": names[:8], "val": names[8:10], "test": names[10:]}
    for part, part_names in lists.items():
        text = "\n".join(part_names) + "\n"
        (folder / f"splits/mine_{part}.txt").write_text(text)
    parts = open_splits(folder, "mine")
    assert {name: part.names for name, part in parts.items()} == {
        "train": names[:8],
        "validation": names[8:10],
        "test": names[10:],
    }
    with pytest.raises(ValueError, match="other_train.txt.*Found: mine_test.txt"):
        open_splits(folder, "other")
    (folder / "splits/mine_val.txt").write_text("\n")
    with pytest.raises(ValueError, match="a name a line in .*mine_val.txt"):
        open_splits(folder, "mine")
    (folder / "splits/mine_val.txt").write_text(f" {names[0]} \n\n")
    with pytest.raises(
        ValueError, match="Received: case 00 in train and in validation"
    ):
        open_splits(folder, "mine")
