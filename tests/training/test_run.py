"""Training, evaluation and prediction on a few small images."""

import dataclasses
import hashlib
import json
import signal
import subprocess
import sys

import keras
import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

from keras_pamunet import PAMUNet, history, training
from keras_pamunet.data import Augment, Folder, Resized, open_splits
from keras_pamunet.evaluation import evaluate
from keras_pamunet.inference.images import predict_images
from keras_pamunet.inference.predictor import segment
from keras_pamunet.models import ResUNet, load_model
from keras_pamunet.training import RECIPES
from keras_pamunet.training.stop_at_nan import StopAtNaN
from tests.helpers import EAGER, PAPER, SMALL, once, write_lits

KILLED = """
import os, signal, sys
import keras
from keras_pamunet import training
from tests.helpers import SMALL

steps = []

def kill(batch, logs):
    steps.append(batch)
    if len(steps) == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)

killer = keras.callbacks.LambdaCallback(on_train_batch_end=kill)
training.train(sys.argv[1], sys.argv[2], callbacks=[killer], **SMALL)
"""


def test_run_folder_and_going_on(folder, tmp_path):
    """A run that was killed ends with the weights of one that was not."""
    whole = tmp_path / "whole"
    result = training.train(folder, whole, **SMALL)
    assert result.to_json() == json.loads((whole / "metrics.json").read_text())
    content = (whole / "model.keras").read_bytes()
    assert result.subset == "test" and result.summary["n"] == 1
    assert 0 <= result.dice <= 1
    config = json.loads((whole / "config.json").read_text())
    assert (
        config["settings"]["recipe"]["epochs"] == 2
        and len(config["split"]["train"]) == 10
    )
    assert config["versions"]["keras"] == keras.__version__
    assert hashlib.sha256(content).hexdigest() in config["model_sha256"]
    assert [path.suffix for path in (whole / "pictures").iterdir()] == [".png"]
    with Image.open(whole / "learning_curve.png") as curve:
        assert curve.width > 2 * curve.height
    (events,) = (whole / "logs").iterdir()
    steps = {event.step for event in EventFileLoader(str(events)).Load()}
    assert steps == {0, 1, 2}
    assert not list(whole.glob("*state*")) and not list(whole.glob(".*"))
    # Batch normalisation knows the images as they are, not as they were augmented.
    model = load_model(whole)
    pairs = Resized(open_splits(folder)["train"], (32, 32))
    first = keras.Model(model.input, model.get_layer("encoder_0_0").output)
    means = first.predict_on_batch(np.stack([image for image, _ in pairs]))
    np.testing.assert_allclose(
        model.get_layer("encoder_0_1_bn").moving_mean,
        means.mean(axis=(0, 1, 2)),
        rtol=1e-3,
        atol=1e-5,
    )

    # In the last step of an epoch, before anything is kept of it, and after it.
    weights = load_model(whole).get_weights()
    for step in (2, 3):
        broken = tmp_path / f"killed at {step}"
        done = subprocess.run(
            [sys.executable, "-c", KILLED, str(folder), str(broken), str(step)],
            capture_output=True,
            text=True,
        )
        assert done.returncode == -signal.SIGKILL, done.stderr
        if step == 3:  # Beyond the first epoch.
            assert load_model(broken).filters == 4  # Usable as it is.
            # Scores beside a state are those of a run stopped before it tidied up.
            (broken / "metrics.json").write_text("{}")
            config = broken / "config.json"
            other = {"jax": "tensorflow"}.get(keras.backend.backend(), "jax")
            text = config.read_text()
            ours = f'"{keras.backend.backend()}"'
            config.write_text(text.replace(ours, f'"{other}"'))
            with pytest.raises(ValueError, match=f"set KERAS_BACKEND={other}"):
                training.train(folder, broken, **SMALL)
            config.write_text(text)
        resumed = training.train(folder, broken, **SMALL)
        assert resumed.images == result.images, f"killed at step {step}"
        history = (whole / "history.csv").read_text()
        assert (broken / "history.csv").read_text() == history
        assert history.count("\n") == 3
        for one, other in zip(weights, load_model(broken).get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)

    # The run is over: asked again, it answers from the folder.
    assert training.train(folder, whole, **SMALL) == result
    older = {**result.to_json(), "summary": {"dice": 0.5, "n": 1}}
    for content in ({"summary": None}, older):
        (whole / "metrics.json").write_text(json.dumps(content))
        with pytest.raises(ValueError, match="scores of a run in .*metrics.json"):
            training.train(folder, whole, **SMALL)
    with pytest.raises(ValueError, match=r"falls to 0.*--weights .*whole --output"):
        training.train(folder, whole, **{**SMALL, "epochs": 3})
    with pytest.raises(ValueError, match="other settings: seed=0, not 1"):
        training.train(folder, whole, **{**SMALL, "seed": 1})
    for part in ("images", "masks"):
        path = folder / part / "case 01.png"
        path.rename(path.with_name("case 99.png"))
    with pytest.raises(ValueError, match="split has changed since"):
        training.train(folder, whole, **SMALL)


def test_weights_to_start_from(folder, tmp_path):
    """With a learning rate of nearly nothing the model stays what it was."""
    base = ResUNet((32, 32, 3), filters=4)
    base.save(tmp_path / "base.keras")
    recipe = dataclasses.replace(EAGER, batch_statistics=False)
    arguments = {"epochs": 1, "learning_rate": 1e-12, "recipe": recipe}
    arguments["progress"] = False
    arguments["weights"] = tmp_path / "base.keras"
    training.train(folder, tmp_path / "run", **arguments)
    model = load_model(tmp_path / "run")
    assert model.filters == 4 and model.input_shape == (None, 32, 32, 3)
    for layer, other in zip(base.layers, model.layers):
        for one, two in zip(layer.trainable_weights, other.trainable_weights):
            np.testing.assert_allclose(one, two, atol=1e-6, err_msg=layer.name)
    before, after, comparison = (
        json.loads((tmp_path / "run" / f"{name}.json").read_text())
        for name in ("metrics_before", "metrics", "comparison")
    )
    assert before["summary"]["n"] == after["summary"]["n"] == 1
    difference = comparison["differences"]["after"]["dice"]["mean"]
    assert difference == after["summary"]["dice"] - before["summary"]["dice"]
    own = evaluate(base, Resized(open_splits(folder)["test"], (32, 32)))
    assert before["summary"] == own.summary
    assert list(comparison["summaries"]) == ["before", "after"]
    assert (tmp_path / "run" / "before_after.png").exists()
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["settings"]["weights"] == str(tmp_path / "base.keras")
    with pytest.raises(ValueError, match="`weights` or `encoder_weights`"):
        training.train(folder, tmp_path / "b", encoder_weights="x", **arguments)
    for path in (folder / "masks").iterdir():  # Labels 0 and 1.
        Image.fromarray(np.asarray(Image.open(path)) // 255).save(path)
    larger = {**arguments, "size": 40, "num_classes": 2}
    with pytest.warns(UserWarning, match="start at random: logits$"):
        training.train(folder, tmp_path / "larger", **larger)
    assert load_model(tmp_path / "larger").input_shape == (None, 40, 40, 3)
    assert not (tmp_path / "larger" / "metrics_before.json").exists()


def test_more_epochs(folder, tmp_path):
    """A run of a constant rate that goes on is one that was longer from the start."""
    arguments = {**SMALL, "recipe": PAPER, "epochs": 1}
    more = {**arguments, "epochs": 2}
    training.train(folder, tmp_path / "a", **arguments)
    result = training.train(folder, tmp_path / "a", **more)
    assert result == training.train(folder, tmp_path / "b", **more)
    assert training.train(folder, tmp_path / "a", **more) == result
    histories = [(tmp_path / run / "history.csv").read_text() for run in "ab"]
    assert histories[0] == histories[1] and histories[0].count("\n") == 3
    with pytest.raises(ValueError, match="other settings: recipe.epochs=2, not 1"):
        training.train(folder, tmp_path / "a", **arguments)
    # Of a run without them the old scores would pass for those of more epochs.
    (tmp_path / "a" / "last.weights.h5").unlink()
    for _ in range(2):
        with pytest.raises(ValueError, match="last.weights.h5 to go on from"):
            training.train(folder, tmp_path / "a", **{**arguments, "epochs": 3})
    config = tmp_path / "b" / "config.json"
    config.write_text(config.read_text().replace('"epochs": 2', '"epochs": "2"'))
    with pytest.raises(ValueError, match="other settings: recipe.epochs='2', not 3"):
        training.train(folder, tmp_path / "b", **{**arguments, "epochs": 3})


@once
def test_what_is_said(folder, tmp_path, capsys):
    seen = []
    callback = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.append(logs["val_dice"])
    )
    arguments = {**SMALL, "progress": True, "epochs": 2}
    training.train(folder, tmp_path / "run", callbacks=[callback], **arguments)
    said = " ".join(capsys.readouterr().out.split())
    assert "pairs 10 to train, 1 to validate, 1 of test to score at the end" in said
    assert "size 32 x 32 pixels" in said and "start random weights" in said
    assert "recipe default: 2 epochs of 2 steps, 5 images each" in said
    assert f"({keras.backend.backend()})" in said and str(tmp_path / "run") in said
    rows = history.read_history(tmp_path / "run")
    assert [row["val_dice"] for row in rows] == pytest.approx(seen)
    assert [(row["epoch"], row["step"]) for row in rows] == [(1, 2), (2, 4)]


@once
def test_deep_images_need_a_range(folder, tmp_path):
    for path in sorted((folder / "images").iterdir()):
        with Image.open(path) as image:
            deep = Image.fromarray(np.full(image.size[::-1], 4095, "uint16"))
        path.unlink()
        deep.save(path.with_suffix(".png"))
    with pytest.raises(ValueError, match="(?s)8 bits.*--input-range"):
        training.train(folder, tmp_path / "run", size=32, progress=False)
    assert not list((tmp_path / "run").iterdir())


@once
def test_window(tmp_path):
    """It is the network's range of values, from training to masks in files."""
    write_lits(tmp_path / "ct", cases=("0", "10", "11"))
    arguments = {**SMALL, "epochs": 1, "window": "lung"}
    del arguments["input_range"]
    training.train(tmp_path / "ct", tmp_path / "run", **arguments)
    model = load_model(tmp_path / "run")
    assert model.input_range == (-1350, 150) and model.mirror_axes == ()
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    augment = config["settings"]["recipe"]["augment"]
    assert augment["rotation"] == 15 and augment["value_range"] == [-1350, 150]
    assert model.class_names == ("liver",)
    # A model of photographs becomes one of CT.
    photographs = ResUNet((32, 32, 1), filters=4)
    photographs.save(tmp_path / "photos.keras")
    more = {"weights": tmp_path / "photos.keras", "epochs": 1, "progress": False}
    training.train(tmp_path / "ct", tmp_path / "tuned", recipe=PAPER, **more)
    model = load_model(tmp_path / "tuned")
    assert model.input_range == (-200, 250) and model.mirror_axes == ()
    assert model.class_names == ("liver",)
    with pytest.raises(ValueError, match="which are the same"):
        training.train(tmp_path / "ct", input_range=(0, 80), window="lung")
    for arguments in ({"window": (0, 255)}, {"input_range": (0, 255)}):
        with pytest.raises(ValueError, match="Expected a window of HU"):
            training.train(tmp_path / "ct", **arguments)
    with pytest.raises(ValueError, match="for CT volumes only"):
        training.train("phantom", window="lung")


def test_phantoms_have_one_class():
    with pytest.raises(ValueError, match="num_classes 1 for the drawn"):
        training.train("phantom", num_classes=3)


def test_overlapping_classes(folder, tmp_path):
    """A tumour (2) belongs to its liver (1), from training to masks in files."""
    for path in (folder / "masks").iterdir():
        liver = np.asarray(Image.open(path)) // 255
        liver[:, : liver.shape[1] // 2] *= 2
        Image.fromarray(liver).save(path)
    arguments = {**SMALL, "epochs": 1, "num_classes": 2}
    arguments |= {"masks": "overlapping", "class_names": ["liver", "tumour"]}
    result = training.train(folder, tmp_path / "run", subset="train", **arguments)
    model = load_model(tmp_path / "run")
    assert model.output_shape[-1] == 2 and model.class_names == ("liver", "tumour")
    liver, tumour = result.summary["classes"]
    assert (liver["class"], liver["name"]) == (1, "liver")
    assert (tumour["class"], tumour["name"]) == (2, "tumour")
    image, truth = Folder(folder, num_classes=3)[0]
    found = segment(model, image, flips=False)
    probabilities = found.probabilities
    for index, mask in enumerate(found.class_masks().values()):
        np.testing.assert_array_equal(mask, probabilities[..., index] > 0.5)
    expected = np.where(
        probabilities[..., 1] > 0.5, 2, np.where(probabilities[..., 0] > 0.5, 1, 0)
    )
    np.testing.assert_array_equal(found.mask, expected)
    images = folder / "images"
    predict_images(
        model, images, tmp_path / "out", class_masks=True, flips=False, progress=False
    )
    for name, mask in found.class_masks().items():
        path = tmp_path / "out" / "classes" / name / "case 00.png"
        np.testing.assert_array_equal(np.asarray(Image.open(path)), 255 * mask)


@once
def test_classes_of_the_weights(folder, tmp_path):
    """They are those of the model it starts from, unless others are given."""
    base = ResUNet((32, 32, 3), 3, 4, class_names=("liver", "tumour"))
    base.save(tmp_path / "base.keras")
    for path in (folder / "masks").iterdir():
        Image.fromarray(np.asarray(Image.open(path)) // 255).save(path)
    arguments = {"weights": tmp_path / "base.keras", "epochs": 1, "progress": False}
    training.train(folder, tmp_path / "run", recipe=PAPER, **arguments)
    model = load_model(tmp_path / "run")
    assert model.num_classes == 3 and model.class_names == ("liver", "tumour")


@pytest.mark.parametrize("recipe", [EAGER, PAPER])
def test_learning_rate(folder, tmp_path, monkeypatch, recipe):
    def fit(self, *arguments, **others):
        rates.append(self.optimizer.get_config()["learning_rate"])
        raise KeyboardInterrupt

    monkeypatch.setattr(ResUNet, "fit", fit)
    rates = []
    with pytest.raises(KeyboardInterrupt):
        training.train(
            folder, tmp_path / "run", learning_rate=0.003, **SMALL | {"recipe": recipe}
        )
    rate = rates[0] if recipe is PAPER else rates[0]["config"]["warmup_target"]
    assert rate == pytest.approx(0.003)


@once
def test_balanced(folder, tmp_path):
    """As far as training goes; tests/data/test_pipeline.py counts what is drawn."""
    arguments = {**SMALL, "epochs": 1, "balanced": True}
    with pytest.raises(ValueError, match="10 with and 0 without one. Draw all alike"):
        training.train(folder, tmp_path / "all", **arguments)
    for path in sorted((folder / "masks").iterdir())[::2]:
        Image.new("L", (40, 40 - int(path.stem[-1]) % 2)).save(path)
    with pytest.warns(UserWarning, match="6 of 12 masks"):
        training.train(folder, tmp_path / "half", **arguments)
    config = json.loads((tmp_path / "half/config.json").read_text())
    assert config["settings"]["balanced"] is True


def test_unknown_part(folder, tmp_path):
    with pytest.raises(ValueError, match="'train', 'validation'.*subset='all'"):
        training.train(folder, tmp_path / "run", subset="all", **SMALL)
    assert not (tmp_path / "run").exists()


def test_loss_that_is_no_number():
    with pytest.raises(FloatingPointError, match="became nan in epoch 2"):
        # The last step of an epoch may be the one that went too far.
        StopAtNaN().on_epoch_end(1, {"loss": 0.5, "val_loss": float("nan")})


def test_unknown_recipe():
    with pytest.raises(ValueError, match="recipe='nosuch'"):
        training.train(recipe="nosuch")


def test_misspelt_argument(tmp_path):
    """Before any data is read, and without a folder left behind."""
    with pytest.raises(ValueError, match="expnsion. Did you mean expansion"):
        training.train("nowhere", tmp_path / "run", expnsion=4)
    with pytest.raises(ValueError, match="Received: epoch. Did you mean epochs"):
        training.train("nowhere", epoch=3)
    with pytest.raises(ValueError, match="Expected `size`.*input_shape="):
        training.train("nowhere", input_shape=(64, 64, 3))
    with pytest.raises(ValueError, match="arguments of MobileUNet: .*attention"):
        training.train("nowhere", network="mobile_unet", attention=None)
    with pytest.raises(ValueError, match="one of .*mobile_unet, .*'nosuch'"):
        training.train("nowhere", network="nosuch")
    assert not list(tmp_path.iterdir())


@once
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": 3}, "name=3"),
        ({"batch_norm_momentum": 2}, "batch_norm_momentum=2"),
        ({"trainable": "no"}, "trainable='no'"),
        ({"score_activation": "tanh"}, "score_activation='tanh'"),
        ({"encoder_weights": "imagnet"}, "encoder_weights='imagnet'"),
        ({"size": 16}, "at least 17 x 17"),
        ({"network": "unet", "num_classes": 0}, "num_classes=0"),
        ({"network": "fcn8", "filters": 0}, "filters=0"),
    ],
)
def test_invalid_argument(arguments, message):
    """Before any data is read."""
    with pytest.raises(ValueError, match=message):
        training.train("nowhere", **arguments)


@once
def test_invalid_argument_beside_weights(tmp_path):
    """What is not given is that of the weights."""
    names = {"num_classes": 3, "class_names": ("liver", "tumour")}
    base = tmp_path / "base.keras"
    PAMUNet((32, 32, 3), expansion=1, attention=None, **names).save(base)
    for arguments, message in (
        ({"class_names": ("a",)}, "Expected 2 different"),
        ({"score_activation": "softmax"}, "attention=None"),
        ({"class_names": ("a", "b")}, "Not there: nowhere"),
    ):
        with pytest.raises((ValueError, OSError), match=message):
            training.train("nowhere", weights=base, **arguments)


@once
def test_changed_recipe(folder, tmp_path):
    """A run does not go on with another recipe in silence."""
    arguments = {**SMALL, "epochs": 1}
    training.train(folder, tmp_path / "run", **arguments)
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["settings"]["recipe"]["augment"]["rotation"] == 180
    other = dataclasses.replace(EAGER, weight_decay=0.1)
    with pytest.raises(ValueError, match="recipe.weight_decay=0.001, not 0.1"):
        training.train(folder, tmp_path / "run", **arguments | {"recipe": other})


def test_training_learns(tmp_path):
    """Fails if the learning rate stays at 0, or the averages are never swapped in."""
    # With graphs: without them so many steps take minutes.
    recipe = dataclasses.replace(
        RECIPES["default"],
        epochs=5,
        batch_size=8,
        learning_rate=0.02,
        ema_momentum=0.6,
        augment=Augment(turn=False, rotation=0, zoom=(1, 1), shift=0),
    )
    arguments = {"recipe": recipe, "size": 32, "network": "res_unet", "filters": 4}
    result = training.train(
        "phantom", tmp_path / "run", subset="train", progress=False, **arguments
    )
    assert result.dice > 0.7
