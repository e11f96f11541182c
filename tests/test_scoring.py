"""Scores of models and folders of masks, and the command `evaluate`."""

import csv
import json
import shutil

import keras
import pytest
from PIL import Image
from typer.testing import CliRunner

from keras_pamunet import PAMUNet
from keras_pamunet.bootstrap import mean_interval
from keras_pamunet.cli import app
from keras_pamunet.inference.images import predict_images
from keras_pamunet.models import load_model
from keras_pamunet.scoring import score
from tests.helpers import write_lits


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Two models of 32 pixels and one of 40, in files."""
    root = tmp_path_factory.mktemp("models")
    keras.utils.set_random_seed(0)
    for name, side in (("a", 32), ("b", 32), ("c", 40)):
        model = PAMUNet((side, side, 3), expansion=1, attention=None)
        model.save(root / f"{name}.keras")
    return root


def run(*arguments):
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments)])


def test_masks_of_a_model_score_as_the_model_does(folder, models, tmp_path):
    path = models / "a.keras"
    predict_images(
        load_model(path), folder / "images", tmp_path / "found", progress=False
    )
    results, comparison = score(
        [path], folder, masks=[tmp_path / "found"], full_size=True, progress=False
    )
    model, masks = results.values()
    assert model.summary == masks.summary and model.images == masks.images
    assert model.subset == "all" and model.summary["n"] == 12
    assert 0 < model.dice < 1
    difference = comparison.differences[str(tmp_path / "found")]["dice"]
    assert difference == {
        "mean": 0,
        "interval": [0, 0],
        "verdict": "not told apart",
    }
    # A part of the pairs needs no other folder of masks.
    results, comparison = score(
        data=folder, masks=[tmp_path / "found"], subset="test", progress=False
    )
    (result,) = results.values()
    assert comparison is None and result.summary["n"] == 1
    assert result.images[0] in model.images


def test_command(folder, models, tmp_path):
    paths = [models / "a.keras", models / "b.keras"]
    options = [x for path in paths for x in ("--model", path)]
    done = run(*options, "--data", folder, "-o", tmp_path / "out", "--quiet")
    assert done.exit_code == 0, done.output
    assert "all (12 images, in the models' size, mean of flips)" in done.output
    comparison = json.loads((tmp_path / "out" / "comparison.json").read_text())
    dice = comparison["differences"][str(paths[1])]["dice"]
    low, high = dice["interval"]
    assert (
        f"{paths[1]} - {paths[0]}: Dice {dice['mean']:+.3f}, 95 % interval {low:+.3f} "
        f"to {high:+.3f} over 12 images: {dice['verdict']}" in done.output
    )
    assert "Of fewer than 20 they are too narrow" in done.output
    with (tmp_path / "out" / "comparison.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    found = sorted((tmp_path / "out").glob("*/metrics.json"))
    for path, metrics in zip(paths, found, strict=True):
        images = json.loads(metrics.read_text())["images"]
        assert [float(row[str(path)]) for row in rows] == [x["dice"] for x in images]
        assert len(list((metrics.parent / "pictures").iterdir())) == 8
        assert metrics.parent.name.endswith(path.name)


def test_command_of_one_model(folder, models, tmp_path):
    done = run("--model", models / "a.keras", "--data", folder, "--quiet")
    assert done.exit_code == 0 and "all (12 images)" in done.output
    results, _ = score([models / "a.keras"], folder, progress=False)
    (result,) = results.values()
    summary = result.summary
    low, high = summary["intervals"]["dice"]
    assert f"{summary['dice']:.3f} ({low:.3f} to {high:.3f})" in done.output
    assert low < summary["dice"] < high


def test_models_of_two_sizes(folder, models):
    """In the images' own, or they would be scored against other masks."""
    with pytest.warns(UserWarning, match="own sizes"):
        results, comparison = score(
            [models / "a.keras", models / "c.keras"], folder, progress=False
        )
    assert comparison.settings["full_size"]
    alone, _ = score([models / "c.keras"], folder, full_size=True, progress=False)
    assert results[str(models / "c.keras")] == alone[str(models / "c.keras")]


def test_labels_in_the_table(tmp_path, rng):
    for name in ("images", "masks", "x", "y"):
        (tmp_path / name).mkdir()
        for index in range(2):
            labels = rng.integers(0, 3, (20, 20), "uint8")
            Image.fromarray(labels).save(tmp_path / name / f"{index}.png")
    folders = ("--masks", tmp_path / "x", "--masks", tmp_path / "y")
    done = run(*folders, "--data", tmp_path, "--num-classes", 3, "--quiet")
    assert done.exit_code == 0, done.output
    assert "all (2 images, each in its own size)" in done.output
    assert "dice, class 1" in done.output and "dice, class 2" in done.output
    done = run(*folders[:2], "--data", tmp_path, "--num-classes", 3, "--quiet")
    assert "Images with the class" in done.output
    shutil.rmtree(tmp_path / "y")
    (tmp_path / "images" / "1.png").unlink()
    (tmp_path / "masks" / "1.png").unlink()
    (tmp_path / "x" / "1.png").unlink()
    done = run(*folders[:2], "--data", tmp_path, "--num-classes", 3, "--quiet")
    assert "No intervals" in done.output


def test_slices_are_drawn_by_volume(tmp_path):
    write_lits(tmp_path, cases=("0", "10", "11"))
    options = {"input_range": (-200, 250), "expansion": 1, "attention": None}
    path = tmp_path / "liver.keras"
    PAMUNet((32, 32, 1), **options).save(path)
    done = run("--model", path, "--data", tmp_path, "-o", tmp_path / "out", "--quiet")
    assert "over 3 groups of 9 images" in done.output, done.output
    result = json.loads((tmp_path / "out" / "metrics.json").read_text())
    groups = [row["group"] for row in result["images"]]
    assert groups == ["volume-0"] * 3 + ["volume-10"] * 3 + ["volume-11"] * 3
    summary = result["summary"]
    dice = [row["dice"] for row in result["images"]]
    assert summary["n_groups"] == 3
    assert summary["intervals"]["dice"] == mean_interval(dice, groups)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "Expected models (--model) or folders of masks (--masks)"),
        (("--masks", "found", "--masks", "found"), "each once. Received: found, found"),
        (("--masks", "found"), "Expected --data to score on"),
        (("--masks", "ct", "--data", "set"), "in ct. Found none"),
        (("--masks", "nosuch", "--data", "set"), "Not there: nosuch"),
        (("--model", "a.keras", "--data", "set", "--size", 64), "images of 32 pixels"),
        (("--model", "a.keras", "--data", "set", "--num-classes", 2), "Received: 2"),
        (("--model", "a.keras", "--data", "set", "-o", "run"), "run holds a run"),
    ],
)
def test_errors(folder, models, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    shutil.copy(models / "a.keras", tmp_path)
    for name in ("found", "ct", "run"):
        (tmp_path / name).mkdir()
    (tmp_path / "ct" / "mask.nii.gz").touch()
    (tmp_path / "run" / "config.json").touch()
    done = run(*arguments)
    assert done.exit_code == 1 and message in done.output.replace("\n", " ")


def test_safe_names_of_folders(folder, tmp_path, monkeypatch):
    """Those of two are never the same, and none is outside the output."""
    monkeypatch.chdir(folder)
    for name in ("x y", "x_y", "../z"):
        shutil.copytree("masks", name)
    masks = ["x y", "x_y", "../z"]
    results, _ = score(data=".", masks=masks, output="out", progress=False)
    assert [x.summary["dice"] for x in results.values()] == [1, 1, 1]
    found = {path.parent.name for path in (folder / "out").glob("*/metrics.json")}
    assert found == {"x_y", "x_y-2", "z"}
