import json

import numpy as np
import pytest

from keras_pamunet.data import (
    Folder,
    Phantom,
    k_fold_split,
    load_split,
    open_splits,
    ratio_split,
    save_split,
    splits,
)
from keras_pamunet.data.splits import KVASIR_SEG


def test_drawn_split(folder):
    parts = open_splits(folder)
    assert {name: len(part) for name, part in parts.items()} == {
        "train": 10,
        "validation": 1,
        "test": 1,
    }
    assert open_splits(folder)["train"].names == parts["train"].names
    assert open_splits(folder, seed=1)["train"].names != parts["train"].names


def test_drawn_split_of_recorded_runs():
    """Runs on record were drawn thus: tests first, then validation."""
    for count, seed in ((30, 0), (290, 1), (3, 2)):
        names = [f"name {index}" for index in range(count)]
        order = np.random.default_rng(seed).permutation(names).tolist()
        held_out = max(count // 10, 1)
        assert ratio_split(names, seed=seed) == {
            "test": order[:held_out],
            "validation": order[held_out : 2 * held_out],
            "train": order[2 * held_out :],
        }


NAMES = [f"{volume}/{index}" for volume in range(20) for index in range(volume + 1)]
VOLUMES = [name.partition("/")[0] for name in NAMES]


def volumes(names):
    return {name.partition("/")[0] for name in names}


def test_ratio_split_by_group():
    split = ratio_split(NAMES, VOLUMES, (0.5, 0.3, 0.2), seed=3)
    found = {part: volumes(names) for part, names in split.items()}
    assert {part: len(x) for part, x in found.items()} == {
        "train": 10,
        "validation": 6,
        "test": 4,
    }
    assert set.union(*found.values()) == set(VOLUMES)
    assert sorted(name for names in split.values() for name in names) == sorted(NAMES)
    assert ratio_split(NAMES, VOLUMES, (0.5, 0.3, 0.2), seed=3) == split
    assert ratio_split(NAMES, VOLUMES, (0.5, 0.3, 0.2), seed=4) != split
    assert set(ratio_split(NAMES, VOLUMES, (0.9, 0.1, 0))) == {"train", "validation"}
    for ratios in ((0.5, 0.3, 0.3), (0, 0.5, 0.5), (1.2, -0.2, 0)):
        with pytest.raises(ValueError, match="three ratios"):
            ratio_split(NAMES, VOLUMES, ratios)
    with pytest.raises(ValueError, match="Expected more pairs.*Received: 2"):
        ratio_split(["a", "b"])


def test_k_fold_split_by_group():
    folds = k_fold_split(NAMES, VOLUMES, folds=3)
    validated = [name for fold in folds for name in fold["validation"]]
    assert sorted(validated) == sorted(NAMES)
    for fold in folds:
        assert sorted(fold["train"] + fold["validation"]) == sorted(NAMES)
        assert not volumes(fold["train"]) & volumes(fold["validation"])
        assert len(volumes(fold["validation"])) in (6, 7)
    assert k_fold_split(NAMES, VOLUMES, 3, seed=1) != folds
    for count in (1, 21):
        with pytest.raises(ValueError, match=f"from 2 to 20 folds.*folds={count}"):
            k_fold_split(NAMES, VOLUMES, count)


def test_split_file(tmp_path):
    path = tmp_path / "split.json"
    split = {"train": ["1/a", "1/b"], "validation": ["2/ä"]}
    groups = {"1/a": "1", "1/b": "1", "2/ä": "2"}
    save_split(path, split)
    assert load_split(path, groups) == split
    with pytest.raises(ValueError, match="Received: 1 in train and in validation"):
        load_split(path, {**groups, "2/ä": "1"})
    with pytest.raises(ValueError, match="ends in .json. Received: split.txt"):
        save_split("split.txt", split)
    with pytest.raises(FileExistsError, match="Expected a new file.*--overwrite"):
        save_split(path, {})
    assert load_split(path) == split
    save_split(path, {"train": ["a"], "test": ["a"]}, overwrite=True)
    with pytest.raises(ValueError, match="Received: a in train and in test"):
        load_split(path)
    for text in (
        '{"train": ["a"',
        '{"test": ["a"]}',
        '{"train": []}',
        '{"train": [[1]]}',
        "[1]",
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match="split.json"):
            load_split(path)


@pytest.fixture
def kvasir_names(monkeypatch):
    """As many drawn images as Kvasir-SEG has, with its names."""
    phantom = Phantom(0)
    effisegnet = json.loads((KVASIR_SEG / "splits/effisegnet.json").read_text())
    phantom.names = sorted(sum(effisegnet.values(), []))
    monkeypatch.setattr(splits, "open_source", lambda *arguments: phantom)
    return phantom.names


@pytest.mark.filterwarnings("ignore:Near-duplicates")
@pytest.mark.parametrize(
    ("split", "sizes"),
    [
        ("effisegnet", [800, 100, 100]),
        ("official", [793, 87, 120]),
        ("pranet", [811, 89, 100]),
    ],
)
def test_published_splits(kvasir_names, split, sizes):
    parts = open_splits("anywhere", split)
    assert [len(part) for part in parts.values()] == sizes
    names = [name for part in parts.values() for name in part.names]
    assert sorted(names) == kvasir_names
    again = open_splits("anywhere", split, seed=1)
    assert again["test"].names == parts["test"].names
    drawn = split != "effisegnet"
    assert (again["validation"].names != parts["validation"].names) == drawn


def test_near_duplicates(kvasir_names, tmp_path):
    with pytest.warns(UserWarning, match="effisegnet: cju30.*train.* ~ cju77.*test"):
        open_splits("anywhere", "effisegnet")
    for seed in range(20):  # What is drawn keeps them together, or it would warn.
        for split in (None, "official"):
            path = tmp_path / "split.json"
            parts = open_splits("anywhere", split, seed=seed)
            split = {part: source.names for part, source in parts.items()}
            save_split(path, split, overwrite=True)
            load_split(path)


def test_split_from_a_file(folder, tmp_path):
    names = Folder(folder).names
    path = tmp_path / "mine.json"
    save_split(path, {"train": names[3:], "test": names[:3]})
    parts = open_splits(folder, path)
    assert {part: len(source) for part, source in parts.items()} == {
        "train": 8,
        "validation": 1,
        "test": 3,
    }
    assert parts["test"].names == names[:3]
    path.unlink()
    save_split(path, {"train": ["case 99"], "validation": names[:3]})
    with pytest.raises(ValueError, match="like case 00.*Not there: case 99"):
        open_splits(folder, path)


def test_names_written_otherwise(folder):
    """A byte order mark, and letters whose accents stand apart, as macOS has them."""
    for part in ("images", "masks"):
        path = folder / part / "case 01.png"
        path.rename(path.with_name("f\u00e4lle 01.png"))
    names = [name for name in Folder(folder).names if name != "f\u00e4lle 01"]
    (folder / "splits").mkdir()
    lists = {"train": names[:9], "val": names[9:], "test": ["fa\u0308lle 01"]}
    for part, part_names in lists.items():
        text = "\n".join(part_names)
        (folder / f"splits/mine_{part}.txt").write_text(text, "utf-8-sig")
    assert open_splits(folder, "mine")["test"].names == ["f\u00e4lle 01"]
    path = folder / "splits/mine.json"
    content = {"train": lists["train"], "test": lists["test"]}
    path.write_text(json.dumps(content), "utf-8-sig")
    assert open_splits(folder, path)["test"].names == ["f\u00e4lle 01"]
    (folder / "splits/mine_val.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="Cannot read .*mine_val.txt"):
        open_splits(folder, "mine")


def test_kvasir_splits(kvasir):
    """A split in the folder goes before the published one of that name."""
    for split, sizes in (("official", [880, 120]), ("pranet", [811, 89, 100])):
        parts = open_splits(kvasir, split)
        assert [len(part) for part in parts.values()] == sizes
    image, mask = parts["train"][0]
    assert image.shape[2] == 3 and set(np.unique(mask)) == {0, 1}
    with pytest.raises(ValueError, match="nothing_train.txt.*Found: effisegnet_800"):
        open_splits(kvasir, "nothing")


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
    # Before the published one of that name, and without validation pairs.
    for part in ("train", "test"):
        text = (folder / f"splits/mine_{part}.txt").read_text()
        (folder / f"splits/official_{part}.txt").write_text(text)
    sizes = {
        part: len(pairs) for part, pairs in open_splits(folder, "official").items()
    }
    assert sizes == {"train": 7, "validation": 1, "test": 2}
    (folder / "splits/mine_val.txt").write_text("\n")
    with pytest.raises(ValueError, match="a name a line in .*mine_val.txt"):
        open_splits(folder, "mine")
    (folder / "splits/mine_val.txt").write_text(f" {names[0]} \n\n")
    with pytest.raises(
        ValueError, match="Received: case 00 in train and in validation"
    ):
        open_splits(folder, "mine")
