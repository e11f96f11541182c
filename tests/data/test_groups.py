import pytest

from keras_pamunet.data import Folder, open_splits
from keras_pamunet.data.splits import ratio_split


def write(folder, *rows, header="file,volume,slice"):
    (folder / "index.csv").write_text("\n".join([header, *rows]), "utf-8")


def rows(ending=".png"):
    return [f"case {index:02}{ending},v{index // 3},{index}" for index in range(12)]


@pytest.mark.parametrize("ending", ["", ".png", ".jpg"])
def test_groups(folder, ending):
    write(folder, *reversed(rows(ending=ending)))
    pairs = Folder(folder)
    assert pairs.groups == [f"v{index // 3}" for index in range(12)]
    assert pairs.select(["case 07", "case 01"]).groups == ["v2", "v0"]


def test_no_group_is_divided(folder):
    write(folder, *rows())
    subsets = open_splits(folder)
    groups = [{*pairs.groups} for pairs in subsets.values()]
    assert sum(map(len, groups)) == 4 == len(set.union(*groups))
    names = [f"case {index:02}" for index in range(12)]
    assert ratio_split(names) != {x: pairs.names for x, pairs in subsets.items()}


@pytest.mark.parametrize("header", ["name,volume,slice", "file,size,slice"])
def test_another_table(folder, header):
    write(folder, *rows(), header=header)
    assert Folder(folder).groups is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows[1:], "Missing for 1: case 00"),
        (lambda rows: ["case 00.png,,0", *rows[1:]], "Missing for 1: case 00"),
        (lambda rows: [*rows, "case 04.png,v3,4"], "'v1' and 'v3' for case 04"),
    ],
)
def test_incomplete_table(folder, change, message):
    write(folder, *change(rows()))
    with pytest.raises(ValueError, match=message):
        Folder(folder)


def test_unreadable_table(folder):
    (folder / "index.csv").write_bytes(b"file,volume\n\xff\xfe\n")
    with pytest.raises(ValueError, match="Cannot read .*index.csv"):
        Folder(folder)


def test_own_split(folder):
    write(folder, *rows())
    (folder / "splits").mkdir()
    own = {"train": range(6), "validation": range(6, 9), "test": range(9, 12)}
    for subset, numbers in own.items():
        names = [f"case {index:02}.png" for index in numbers]
        (folder / f"splits/{subset}.txt").write_text("\n".join(names), "utf-8")
    subsets = open_splits(folder)
    assert {
        subset: [int(name[-2:]) for name in pairs.names]
        for subset, pairs in subsets.items()
    } == {subset: [*numbers] for subset, numbers in own.items()}
    write(folder, *[row.replace("v3", "v0") for row in rows()])
    with pytest.raises(ValueError, match="v0"):
        open_splits(folder)
