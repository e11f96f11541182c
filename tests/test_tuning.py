"""Searches on a few small images."""

import csv
import inspect
import json
import shutil
import subprocess
import sys
from types import SimpleNamespace

import keras
import keras_tuner
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from keras_pamunet import PAMUNet, tuning
from keras_pamunet.analysis.complexity import count
from keras_pamunet.cli import app
from keras_pamunet.data import Folder
from keras_pamunet.data.splits import ratio_split, save_split
from keras_pamunet.models import find_network
from tests.helpers import EAGER, once

SMALL = {
    "tuner": "random",
    "trials": 3,
    "epochs": 1,
    "size": 32,
    "recipe": EAGER,
    "batch_size": 5,
    "progress": False,
}


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("trained") / "model.keras"
    PAMUNet((32, 32, 3), expansion=1).save(path)
    return path


# Where it is made up, nothing depends on the back end.
@pytest.fixture
def trained(monkeypatch, model_file):
    """Stands in for `train`: what each call was told, its Dice made up."""
    calls = []
    small = keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Conv2D(1, 1)])

    def build(self, hp):
        self.values(hp)
        return small

    def train(output, epochs, **arguments):
        calls.append({"epochs": epochs, **arguments})
        expansion = arguments["expansion"]
        if expansion == 7:
            raise FloatingPointError("The loss became nan")
        output.mkdir(parents=True, exist_ok=True)
        shutil.copy(model_file, output)
        return SimpleNamespace(dice=expansion / 10)

    monkeypatch.setattr(tuning.SegmenterHyperModel, "build", build)
    monkeypatch.setattr(tuning, "train", train)
    return calls


def read_table(output):
    with (output / "trials.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.skipif(
    keras.backend.backend() == "jax",
    reason="compiles for minutes; the other tests of the search run",
)
def test_search(folder, tmp_path):
    ceiling = count(PAMUNet((32, 32, 3), expansion=5))["macs"]
    settings = {**SMALL, "trials": 2, "search": ("expansion",), "max_macs": ceiling}
    rows = tuning.tune(folder, tmp_path / "search", **settings).trials
    assert [row["status"] for row in rows] == ["done", "refused"]
    for row in rows:
        run = tmp_path / f"search/trials/trial_{row['trial']}/run"
        model = PAMUNet((32, 32, 3), expansion=row["expansion"])
        assert row["macs"] == count(model)["macs"]
        assert (row["status"] == "refused") == (row["expansion"] > 5) != run.exists()
        if row["status"] == "refused":
            assert row["dice"] == 0 and f"{ceiling:,}" in row["note"]
            continue
        # The test pairs stay unseen.
        metrics = json.loads((run / "metrics.json").read_text())
        assert metrics["subset"] == "validation"
        assert row["dice"] == metrics["summary"]["dice"]
    for read, row in zip(read_table(tmp_path / "search"), rows, strict=True):
        assert read["trial"] == row["trial"] and read["macs"] == str(row["macs"])
    best = PAMUNet.from_preset(tmp_path / "search/best")
    assert best.expansion == rows[0]["expansion"]
    with Image.open(tmp_path / "search/trials.png") as picture:
        assert picture.width > 300


def test_failing_trial_is_marked(folder, tmp_path, trained):
    settings = {**SMALL, "trials": 8}
    found = tuning.tune(folder, tmp_path / "search", search=("expansion",), **settings)
    rows = found.trials
    content = {"trials": rows, "folder": str(tmp_path / "search")}
    assert json.loads(json.dumps(found.to_json())) == content
    assert sorted(row["expansion"] for row in rows) == list(range(1, 9))
    assert rows[0]["expansion"] == 8 and rows[0]["status"] == "done"
    assert rows[-1]["expansion"] == 7 and rows[-1]["status"] == "failed"
    assert rows[-1]["note"] == "The loss became nan"
    assert all(isinstance(row["macs"], int) for row in rows)


@once
def test_other_failures_are_marked(folder, tmp_path, trained, monkeypatch):
    def fail(**arguments):
        if arguments["expansion"] == 3:
            raise RuntimeError("no memory")
        return train(**arguments)

    train = tuning.train
    monkeypatch.setattr(tuning, "train", fail)
    settings = {**SMALL, "trials": 8}
    rows = tuning.tune(
        folder, tmp_path / "search", search=("expansion",), **settings
    ).trials
    failed = {row["expansion"]: row["note"] for row in rows if row["status"] != "done"}
    assert set(failed) == {3, 7} and "no memory" in failed[3]


@once
def test_failures_in_a_row(folder, tmp_path, trained, monkeypatch):
    """However many; and a trial that was trained stands before them, at a Dice of 0."""

    def fail(**arguments):
        if arguments["expansion"] != 1:
            raise RuntimeError("no memory")
        train(**arguments)
        return SimpleNamespace(dice=0.0)

    train = tuning.train
    monkeypatch.setattr(tuning, "train", fail)
    split = tmp_path / "split.json"
    save_split(split, ratio_split(Folder(folder).names))
    settings = {**SMALL, "search": ("expansion",), "trials": 8, "split": split}
    rows = tuning.tune(folder, tmp_path / "search", **settings).trials
    assert [row["status"] for row in rows] == ["done", *7 * ["failed"]]
    metadata = json.loads((tmp_path / "search/best/metadata.json").read_text())
    assert metadata["search"]["split"] == str(split)


@once
@pytest.mark.parametrize("tuner", ["random", "bayesian"])
def test_goes_on(folder, tmp_path, trained, monkeypatch, tuner):
    """After a break comes the same trial again, and no finished one."""

    def stop(**arguments):
        if len(trained) == 2:
            broken.append(arguments["expansion"])
            raise KeyboardInterrupt
        return train(**arguments)

    train, broken = tuning.train, []
    monkeypatch.setattr(tuning, "train", stop)
    settings = {**SMALL, "search": ("expansion",), "tuner": tuner, "trials": 4}

    def search(**others):
        return tuning.tune(folder, tmp_path / "search", **{**settings, **others})

    with pytest.raises(KeyboardInterrupt):
        search()
    monkeypatch.setattr(tuning, "train", train)
    rows = search().trials
    assert len(rows) == len(trained) == 4
    assert trained[2]["expansion"] == broken[0]
    # All the same asks for nothing, more trials go on.
    assert search().trials == rows and len(trained) == 4
    assert len(search(trials=5).trials) == len(trained) == 5
    with pytest.raises(ValueError, match=r"other settings: search=\['expansion'\]"):
        search(search=("learning_rate",))


@once
def test_hyperband(folder, tmp_path, trained):
    settings = {**SMALL, "trials": None, "tuner": "hyperband", "epochs": 3}
    rows = tuning.tune(
        folder, tmp_path / "search", search=("expansion",), **settings
    ).trials
    assert {row["epochs"] for row in rows} == {1, 3}
    assert {call["epochs"] for call in trained} == {1, 3}
    with pytest.raises(ValueError, match="no `trials`"):
        tuning.tune(folder, tmp_path / "search", **{**settings, "trials": 3})


def test_bad_data_ends_the_search(folder, tmp_path):
    (folder / "images/case 01.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match="case 01"):
        tuning.tune(folder, tmp_path / "search", search=("expansion",), **SMALL)


@once
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": 3}, "name=3"),
        ({"size": 16}, "17 x 17"),
        ({"expnsion": 4}, "Did you mean expansion"),
        ({"trial": 4}, "Did you mean trials"),
    ],
)
def test_invalid_argument(arguments, message):
    """Before any data is read."""
    with pytest.raises(ValueError, match=message):
        tuning.tune("nowhere", **arguments)


def test_mistakes_do_not_take_the_folder(folder, tmp_path):
    settings = {**SMALL, "search": ("attention",), "encoder_weights": "nowhere.h5"}
    with pytest.raises(ValueError, match="nowhere.h5"):
        tuning.tune(folder, tmp_path / "search", **settings)
    for name in ("trials", "epochs", "batch_size"):
        with pytest.raises(ValueError, match=f"{name}=0"):
            tuning.tune(folder, tmp_path / "search", **{**SMALL, name: 0})
    assert not (tmp_path / "search").exists()


def test_no_trial_trained(folder, tmp_path):
    with pytest.raises(ValueError, match="No trial could be trained"):
        tuning.tune(
            folder, tmp_path / "search", search=("expansion",), max_macs=1, **SMALL
        )
    assert {row["status"] for row in read_table(tmp_path / "search")} == {"refused"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"search": ()}, "Expected some of"),
        ({"search": ("width",)}, "Expected some of"),
        ({"search": ("expansion",), "expansion": 6}, "either"),
        ({"encoder_weights": "imagenet"}, "expansion factor of 6"),
    ],
)
def test_hypermodel_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        tuning.SegmenterHyperModel(**arguments)


def test_hypermodel_makes_all_kinds():
    hypermodel = tuning.SegmenterHyperModel(
        search=("learning_rate", *PAMUNet.search_space),
        input_shape=(32, 32, 3),
        key_stride=2,
    )
    hp = keras_tuner.HyperParameters()
    hypermodel.build(hp)
    kinds = [space for space in hp.space if space.name == "attention"][0].values
    for kind in kinds:
        hp.values.update(attention=kind, expansion=1, learning_rate=0.005)
        model = hypermodel.build(hp)
        assert str(model.attention).lower() == kind
        assert float(model.optimizer.learning_rate) == pytest.approx(0.005)


def test_other_network_has_another_space():
    hypermodel = tuning.SegmenterHyperModel("mobile_unet", input_shape=(32, 32, 3))
    assert hypermodel.search == ("learning_rate",)
    with pytest.raises(ValueError, match="some of .'learning_rate',."):
        tuning.SegmenterHyperModel("mobile_unet", ("expansion",))


@pytest.mark.parametrize(
    ("network", "name"),
    [
        ("att_unet", "filters"),
        ("deeplab_v3_plus", "filters"),
        ("fcn8", "filters"),
        ("hrnet", "width"),
        ("res_unet", "filters"),
    ],
)
def test_search_begins_with_the_default(network, name):
    hypermodel = tuning.SegmenterHyperModel(network, (name,))
    default = inspect.signature(find_network(network)).parameters[name].default
    assert hypermodel.values(keras_tuner.HyperParameters()) == {name: default}


def test_command_line_for_a_network_without_encoder_weights(tmp_path):
    command = f"tune --network hrnet --data {tmp_path / 'nowhere'}"
    result = CliRunner().invoke(app, command.split())
    assert result.exit_code == 1
    assert "nowhere" in result.output and "encoder_weights" not in result.output


@once
def test_command_line(folder, tmp_path, trained):
    command = f"tune --data {folder} -o {tmp_path / 'search'} --size 32 --trials 2"
    more = "--search expansion --epochs 1 --tuner random --quiet"
    result = CliRunner().invoke(app, [*command.split(), *more.split()])
    assert result.exit_code == 0, result.output
    assert "best first" in result.output and "trials.png" in result.output
    assert {call["subset"] for call in trained} == {"validation"}


def test_imports_no_other_back_end():
    code = "import sys, keras_pamunet.tuning; print('tensorflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    used = keras.backend.backend() == "tensorflow"
    assert done.stdout.strip() == str(used), done.stderr


@once
@pytest.mark.parametrize("several", [False, True])
def test_direction_of_the_objective(tmp_path, rng, several):
    """By the name alone KerasTuner looks for the lowest Dice, without a word."""
    hypermodel = tuning.SegmenterHyperModel(
        "res_unet", ("learning_rate",), input_shape=(32, 32, 3), filters=4
    )
    images = rng.integers(0, 256, (2, 32, 32, 3), "uint8")
    pairs = images, images[..., :1] > 127

    def search(objective, name):
        tuner = keras_tuner.RandomSearch(
            hypermodel, objective, max_trials=1, directory=tmp_path, project_name=name
        )
        tuner.search(*pairs, validation_data=pairs, verbose=0)
        return tuner

    objective = ["val_loss", "val_dice"] if several else "val_dice"
    with pytest.raises(ValueError, match='Objective."val_dice", "max"'):
        search(objective, "wrong")
    if not several:
        tuner = search(keras_tuner.Objective("val_dice", "max"), "right")
        assert 0 <= tuner.oracle.get_best_trials()[0].score <= 1


def test_pareto_front():
    """Those that no other trial beats in Dice with as few MACs; by trying all pairs."""
    rng = np.random.default_rng(0)
    rows = [
        {"trial": str(x), "status": "done", "dice": float(dice), "macs": int(macs)}
        for x, (dice, macs) in enumerate(rng.integers(0, 9, (30, 2)))
    ]
    rows += [{"trial": "x", "status": "failed", "dice": 0.0, "macs": None}]
    done = rows[:-1]
    best = {
        (row["macs"], row["dice"])
        for row in done
        if all(
            other["dice"] < row["dice"]
            or (other["dice"] == row["dice"] and other["macs"] >= row["macs"])
            or other["macs"] > row["macs"]
            for other in done
        )
    }
    front = tuning.Search(trials=rows, folder=None).front
    assert [(row["macs"], row["dice"]) for row in front] == sorted(best)
    assert 1 < len(front) < 10
