"""The commands, with small models."""

import inspect
import json

import keras
import pytest
from typer.testing import CliRunner

from keras_pamunet import PAMUNet, training
from keras_pamunet.cli import app


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return PAMUNet((32, 32, 3), expansion=1, attention=None)


def run(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


def test_command_line(folder, tmp_path, model):
    model.save(tmp_path / "model.keras")
    common = ("--model", tmp_path / "model.keras", "--quiet")
    done = run(
        "evaluate", *common, "--data", folder, "--subset", "train", "-o", tmp_path / "a"
    )
    assert done.exit_code == 0, done.output
    assert "train (10 images)" in done.output and "n_missed" in done.output
    assert (
        json.loads((tmp_path / "a" / "metrics.json").read_text())["subset"] == "train"
    )
    done = run("evaluate", *common)
    assert done.exit_code == 1 and "Expected --data" in done.output
    done = run("evaluate", *common, "--data", folder, "--size", 64)
    assert done.exit_code == 1 and "images of 32 pixels" in done.output
    (folder / "images" / "ct.nii").touch()
    done = run("predict", folder / "images", *common, "-o", tmp_path / "b")
    assert done.exit_code == 1 and "Received both" in done.output.replace("\n", " ")
    image = folder / "images" / "case 00.jpg"
    done = run("predict", image, *common, "-o", tmp_path / "b")
    assert done.exit_code == 0 and (tmp_path / "b" / "case 00.png").exists()


def test_command_line_training(folder, tmp_path, monkeypatch):
    seen, signature = {}, inspect.signature(training.train)

    def train(*arguments, **model_arguments):
        bound = signature.bind(*arguments, **model_arguments).arguments
        seen.update(bound | bound.pop("model_arguments"))
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "train", train)
    output = tmp_path / "run"
    command = ("train", "--data", folder, "-o", output, "--attention", "none")
    done = run(*command, "--learning-rate", 0.003)
    assert done.exit_code == 130
    assert "To go on:" in done.output.replace("\n", " ")
    assert seen["output"] == output and seen["recipe"] == "default"
    assert seen["learning_rate"] == 0.003
    assert seen["attention"] is None
    # Left to the weights, where some are given.
    assert not seen.keys() & {"key_stride", "num_classes", "masks"}
    run(*command, "--weights", "some", "--input-range", "-200", "250")
    assert "score_activation" not in seen
    assert seen["weights"] == "some" and seen["input_range"] == (-200, 250)
    run(*command, "--score-activation", "first_order")
    assert seen["score_activation"] == "first_order" and "dtype" not in seen
    assert seen["distribute"].count == 1 and seen["accumulate"] is None
    run(*command, "--mixed-precision", "--accumulate", 4)
    assert seen["dtype"] == "mixed_bfloat16" and seen["accumulate"] == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", "--data", "nowhere"), "Not there: nowhere"),
        (("train", "--split", "nosuch"), "nosuch_train.txt"),
        (("train", "--recipe", "nosuch"), "nosuch"),
        (("train", "-o", "file/run"), "file"),
        (("train", "-o", "full"), "holds other files"),
        (("train", "-o", "preset"), "config.json is not of a run"),
        (("train", "--learning-rate", "0"), "learning_rate=0.0"),
        (("train", "--accumulate", "3"), "accumulate=3, batch_size=16"),
        (("train", "--distribute", "multi_worker"), "description of the processes"),
        (("evaluate", "--model", "nosuch"), "'nosuch'"),
        (("predict", __file__, "--model", "nosuch"), "name of a preset"),
    ],
)
def test_command_line_errors(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").touch()
    (tmp_path / "preset").mkdir()
    (tmp_path / "preset" / "config.json").write_text("{}")
    done = run(*arguments)
    assert done.exit_code in (1, 2), done.output
    assert message in done.output.replace("\n", " ")
