"""Which pairs are scored."""

import json
import shutil

import keras
import pytest
from typer.testing import CliRunner

from keras_pamunet import PAMUNet
from keras_pamunet.cli import app
from keras_pamunet.data import open_splits, save_split
from keras_pamunet.scored_pairs import open_pairs
from tests.helpers import write_lits


def run(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return PAMUNet((32, 32, 3), expansion=1, attention=None)


@pytest.fixture
def run_of_folder(folder, tmp_path, model):
    """A run folder whose split was drawn by another seed than the default."""
    model.save(tmp_path / "model.keras")
    settings = {"data": str(folder), "split": None, "seed": 5}
    split = {part: x.names for part, x in open_splits(folder, seed=5).items()}
    config = {"settings": settings, "split": split}
    (tmp_path / "config.json").write_text(json.dumps(config))
    return tmp_path, split


def test_evaluate_takes_the_split_of_the_run(folder, run_of_folder):
    path, split = run_of_folder
    common = ("evaluate", "--model", path, "--subset", "train", "--quiet", "-o")
    done = run(*common, path / "a")
    assert done.exit_code == 0, done.output
    images = json.loads((path / "a" / "metrics.json").read_text())["images"]
    names = [row["name"] for row in images]
    assert names == split["train"] != open_splits(folder, seed=0)["train"].names
    done = run("evaluate", "--model", path, "--split", "nosuch")
    assert f"Expected {folder}" in done.output.replace("\n", "")
    done = run(*common, path)
    assert done.exit_code == 1 and "holds a run" in done.output


def test_evaluate_knows_what_was_trained_on(folder, run_of_folder, model):
    """The folder has changed since: a split drawn anew would mix the parts."""
    path, split = run_of_folder
    for part in ("images", "masks"):
        shutil.copy(folder / part / "case 01.png", folder / part / "case 95.png")
        (folder / part / f"{split['train'][0]}.png").unlink(missing_ok=True)
        (folder / part / f"{split['train'][0]}.jpg").unlink(missing_ok=True)
    with pytest.warns(UserWarning, match="1 pairs .* are new and left out: case 95"):
        part, pairs = open_pairs({path: model})
    assert part == "test" and pairs.names == split["test"]
    with pytest.warns(UserWarning) as caught:
        _, pairs = open_pairs({path: model}, subset="train")
    assert f"1 pairs of {folder} are gone" in str(caught[0].message)
    assert pairs.names == split["train"][1:]
    with pytest.warns(UserWarning, match="new and left out"):
        _, pairs = open_pairs({path / "model.keras": model})
    assert pairs.names == split["test"]
    with pytest.warns(UserWarning, match="trained on 9 of these 12 pairs"):
        part, pairs = open_pairs({path: model}, subset="all")
    assert part == "all" and "case 95" in pairs.names and len(pairs) == 12
    # Another split of the same data, named in another way.
    other = path / "other.json"
    names = split["train"][1:4]
    save_split(other, {**split, "train": split["test"], "test": names})
    data = folder / ".." / folder.name
    with pytest.warns(UserWarning, match="trained on 3 of these 3 pairs"):
        open_pairs({path: model}, data, other)
    copy = shutil.copytree(folder, folder.with_name("copy"))
    with pytest.warns(UserWarning, match="or on others of their names"):
        open_pairs({path: model}, copy, other)
    for part in ("images", "masks"):
        for file in (folder / part).iterdir():
            if file.stem in split["test"]:
                file.unlink()
    with (
        pytest.warns(UserWarning),
        pytest.raises(ValueError, match="None of them is there"),
    ):
        open_pairs({path: model})


def test_evaluate_knows_what_presets_were_trained_on(folder, tmp_path, model):
    split = {part: pairs.names for part, pairs in open_splits(folder).items()}
    model.save_to_preset(tmp_path / "preset", {"data": {"split": split}})
    models = {tmp_path / "preset": model}
    _, pairs = open_pairs(models, folder, subset="test")
    assert pairs.names == split["test"]
    with pytest.warns(UserWarning, match="trained on 1 of these 1 pairs"):
        open_pairs(models, folder, subset="test", seed=1)
    # New data: all of them, also those that may be known.
    with pytest.warns(UserWarning, match="trained on 10 of these 12 pairs.*too high"):
        part, pairs = open_pairs(models, folder)
    assert part == "all" and len(pairs) == 12


def test_parts_of_new_data(folder, model):
    models = {"mine.keras": model}
    part, pairs = open_pairs(models, folder)
    assert part == "all" and len(pairs) == 12
    split = folder / "mine.json"
    save_split(split, {"train": ["case 01"], "test": ["case 03", "case 02"]})
    with pytest.raises(ValueError, match="Expected more pairs"):
        open_pairs(models, folder, split)  # A lone pair leaves none to validate on.
    parts = {"train": ["case 01"], "validation": ["case 00"], "test": ["case 03"]}
    save_split(split, parts, overwrite=True)
    part, pairs = open_pairs(models, folder, split)
    assert part == "test" and pairs.names == ["case 03"]
    _, pairs = open_pairs(models, folder, split, "all")
    assert sorted(pairs.names) == ["case 00", "case 01", "case 03"]
    with pytest.raises(ValueError, match="'test', 'all'.*--subset nosuch"):
        open_pairs(models, folder, subset="nosuch")
    with pytest.raises(ValueError, match="--data .* No run folder: mine.keras"):
        open_pairs(models)


def test_several_models(folder, run_of_folder, model):
    """All get the pairs of the first run, whatever they were trained on."""
    path, split = run_of_folder
    other = {part: pairs.names for part, pairs in open_splits(folder, seed=1).items()}
    assert set(split["test"]) <= set(other["train"])
    model.save_to_preset(path / "preset", {"data": {"split": other}})
    models = {str(path / "preset"): model, str(path): model}
    with pytest.warns(UserWarning, match="preset was trained on 1 of these 1 pairs"):
        part, pairs = open_pairs(models)
    assert part == "test" and pairs.names == split["test"]
    with pytest.warns(UserWarning, match="preset was trained on 1 of these 1 pairs"):
        open_pairs(models, folder)
    classes = PAMUNet((32, 32, 3), expansion=1, attention=None, num_classes=3)
    with pytest.raises(ValueError, match="a model in memory has 1 exclusive, .* has 3"):
        open_pairs({**models, "labels": classes}, folder)


def test_models_of_ct(tmp_path):
    """Each has its own window; one of photographs is refused."""
    write_lits(tmp_path)
    models = {
        str(window): PAMUNet((32, 32, 1), 1, 1, None, input_range=window)
        for window in ((-200, 250), (-1000, 0))
    }
    part, pairs = open_pairs(models, tmp_path)
    assert part == "all" and len(pairs) == 6
    photographs = {"photos": PAMUNet((32, 32, 1), 1, 1, None)}
    with pytest.raises(ValueError, match=r"model of CT.*values of \(0, 255\)"):
        open_pairs(photographs, tmp_path)


def test_masks_without_images(folder):
    part, pairs = open_pairs({}, folder / "masks")
    assert part == "all" and len(pairs) == 12 and not pairs[0][0].any()
    _, pairs = open_pairs({}, folder)
    assert pairs[0][0].any()
    with pytest.raises(ValueError, match="--data to score on.$"):
        open_pairs({})
