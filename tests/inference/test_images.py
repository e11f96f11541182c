"""What `predict` writes of images, and what `segment` finds in one."""

import csv
import json
import os
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from typer.testing import CliRunner

from keras_pamunet import PAMUNet
from keras_pamunet.cli import app
from keras_pamunet.data import Folder
from keras_pamunet.inference.images import predict_images
from keras_pamunet.inference.predictor import segment
from keras_pamunet.palette import COLOURS


class Brightness:
    """A model without Keras that takes brightness for probability."""

    input_range = (0, 255)
    masks, mirror_axes = "exclusive", (1, 2)
    origin = fingerprint = "brightness"
    runtime = {"device": "CPU"}

    def __init__(self, size=32, num_classes=1):
        self.input_shape = (None, size, size, 3)
        self.num_classes = num_classes
        self.class_names = ("object",) if num_classes == 1 else ("grey", "bright")
        self.batches = []

    def predict_on_batch(self, images):
        self.batches.append(len(images))
        grey = images.astype("float32").mean(axis=-1, keepdims=True) / 255
        if self.num_classes == 1:
            return grey
        other = 1 - grey
        return np.concatenate([0.7 * other, 0.3 * other, grey], axis=-1)


@pytest.fixture
def images(folder):
    return folder / "images"


def read_rows(folder):
    with (folder / "results.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_segment(images):
    path = images / "case 01.png"
    model = Brightness()
    found = segment(model, path, flips=False)
    image = np.asarray(Image.open(path))
    for other in (str(path), image):
        again = segment(model, other, flips=False)
        np.testing.assert_array_equal(again.mask, found.mask)
    assert found.probabilities.shape == (*image.shape[:2], 1)
    np.testing.assert_array_equal(found.mask, found.probabilities[..., 0] > 0.5)
    numbers, count = ndimage.label(found.mask, np.ones((3, 3)))
    sizes = sorted(np.bincount(numbers.ravel())[1:], reverse=True)
    assert [x.size for x in found.objects] == sizes and count
    least = sizes[0]
    largest = segment(model, path, flips=False, min_area=least)
    assert largest.mask.sum() == sum(x for x in sizes if x >= least)
    strict = segment(model, path, flips=False, threshold=0.6)
    np.testing.assert_array_equal(strict.mask, found.probabilities[..., 0] > 0.6)
    overlay = found.overlay()
    assert overlay.shape == image.shape and (overlay != image).any()
    assert found._repr_png_().startswith(b"\x89PNG")
    assert f"{len(sizes)} object(s)" in repr(found)
    with pytest.warns(UserWarning, match="1 channels is converted"):
        assert segment(model, image[..., 0]).mask.shape == image.shape[:2]


@pytest.mark.parametrize("threshold", [0, 1, -0.1, float("nan")])
def test_thresholds(images, tmp_path, threshold):
    for call in (segment, predict_images):
        arguments = [] if call is segment else [tmp_path / "masks"]
        with pytest.raises(ValueError, match="a threshold between 0 and 1"):
            call(Brightness(), images, *arguments, threshold=threshold)
    with pytest.raises(ValueError, match="classes exclude each other"):
        segment(Brightness(num_classes=3), images, threshold=0.4)


@pytest.mark.parametrize("num_classes", [1, 3])
def test_files_and_numbers(folder, images, tmp_path, num_classes):
    """The folder says what `segment` says."""
    model = Brightness(num_classes=num_classes)
    options = {"probabilities": True, "min_area": 3, "progress": False}
    done = predict_images(model, images, tmp_path / "m", **options)
    assert len(done.written) == 12 and not done.kept
    content = json.loads(json.dumps(done.to_json()))
    assert content["written"] == [str(path) for path in done.written]
    assert content["folder"] == str(tmp_path / "m") and content["rows"] == done.rows
    rows = read_rows(tmp_path / "m")
    assert len(rows) == len(done.rows)
    for path in done.written:
        image = next(images.glob(f"{path.stem}.*"))
        found = segment(model, image, min_area=3)
        with Image.open(path) as picture:
            mask = np.asarray(picture)
            if num_classes == 3:
                colours = np.asarray(picture.convert("RGB"))
                np.testing.assert_array_equal(colours, COLOURS[found.mask])
        bright = 255 if num_classes == 1 else 1
        np.testing.assert_array_equal(mask, bright * found.mask)
        overlay = np.asarray(Image.open(tmp_path / "m/overlays" / path.name))
        np.testing.assert_array_equal(overlay, found.overlay())
        share = np.asarray(Image.open(tmp_path / "m/probabilities" / path.name))
        objects = found.probabilities[..., -1 if num_classes == 1 else 1 :]
        assert share.dtype == np.uint16
        np.testing.assert_allclose(share / 65535, objects.sum(-1), atol=2e-5)
        total, *own = [row for row in rows if row["mask"] == path.name]
        assert total["kind"] == "image" and int(total["object"]) == len(own)
        assert int(total["size"]) == np.count_nonzero(found.mask)
        percent = 100 * np.mean(found.mask > 0)
        assert float(total["percent"]) == pytest.approx(percent, abs=1e-4)
        for row, expected in zip(own, found.objects, strict=True):
            box = tuple(int(row[x]) for x in ("x", "y", "width", "height"))
            values = int(row["label"]), int(row["size"]), box
            assert values == (expected.label, expected.size, expected.box)
            mean = float(row["mean_probability"])
            assert mean == pytest.approx(expected.mean_probability, abs=1e-4)
            assert not row["volume_ml"] and not row["first_slice"]
    # What was there is in the table, too; and the masks are a data set's.
    before = (tmp_path / "m/results.csv").read_bytes()
    done.written[0].unlink()
    again = predict_images(model, images, tmp_path / "m", **options)
    assert again.written == done.written[:1] and again.rows == done.rows
    assert (tmp_path / "m/results.csv").read_bytes() == before
    shutil.move(tmp_path / "m", folder / "found")
    assert len(Folder(folder, masks="found", num_classes=model.num_classes)) == 12


def test_batches(images, tmp_path):
    """Of few sizes, and no image waits for one that cannot be read."""
    (images / "case 05.png").write_text("no image")
    model = Brightness()
    with pytest.raises(ValueError, match="1 of 12 images.*\n.*case 05"):
        predict_images(
            model, images, tmp_path / "a", batch_size=4, flips=False, progress=False
        )
    assert model.batches == [4, 4, 4]
    assert len(list((tmp_path / "a").glob("*.png"))) == 11
    single = Brightness()
    predict_images(
        single,
        sorted(images.glob("case 0[0-3]*")),
        tmp_path / "b",
        flips=False,
        progress=False,
    )
    assert single.batches == [4]
    for path in (tmp_path / "b").glob("*.png"):
        assert path.read_bytes() == (tmp_path / "a" / path.name).read_bytes()


def test_folders_of_folders(images, tmp_path):
    for patient in ("one", "two"):
        shutil.copytree(images, tmp_path / "in" / patient)
    with pytest.raises(ValueError, match="Found none. Folders in it are looked into"):
        predict_images(Brightness(), tmp_path / "in", tmp_path / "in/out")
    options = {"recursive": True, "progress": False}
    for _ in range(2):  # The second finds its own masks, which are no inputs.
        done = predict_images(
            Brightness(), tmp_path / "in", tmp_path / "in/out", **options
        )
        assert len(done.written + done.kept) == 24
    assert (tmp_path / "in/out/two/case 01.png").exists()
    assert (tmp_path / "in/out/overlays/two/case 01.png").exists()
    inputs = [tmp_path / "in/one", tmp_path / "in/two"]
    with pytest.raises(ValueError, match="files of different names"):
        predict_images(Brightness(), inputs, tmp_path / "out")


def test_one_file(images, tmp_path):
    mask = tmp_path / "new/mask.png"
    done = predict_images(Brightness(), images / "case 01.png", mask, progress=False)
    assert done.written == [mask] and (tmp_path / "new/overlays/mask.png").exists()
    assert read_rows(tmp_path / "new")[0]["mask"] == "mask.png"
    with pytest.raises(ValueError, match="a folder for the masks of 12 inputs"):
        predict_images(Brightness(), images, mask, progress=False)


def test_own_results_stay(images, tmp_path):
    (tmp_path / "results.csv").write_text("mine")
    with pytest.raises(ValueError, match="in the place of those.*results.csv"):
        predict_images(Brightness(), images, tmp_path, progress=False)
    assert (tmp_path / "results.csv").read_text() == "mine"


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.mark.parametrize("count", [1, 3, 99])
def test_parts_make_the_whole(images, tmp_path, count):
    """Also if one of them is done twice. Of more parts than images some do nothing."""
    model = Brightness()
    predict_images(model, images, tmp_path / "whole", progress=False)
    done = [
        predict_images(
            model, images, tmp_path / "parts", shard=(number, count), progress=False
        )
        for number in [*range(1, count + 1), 1]
    ]
    written = [path.name for part in done for path in part.written]
    assert len(written) == len(set(written)) == 12
    assert max(len(part.written) for part in done) == -(-12 // count)
    assert not done[-1].written and len(done[-1].kept) == len(done[0].written)
    tables = [(tmp_path / x / "results.csv").read_text() for x in ("whole", "parts")]
    assert tables[0] == tables[1]
    with pytest.raises(ValueError, match=f"Received: 0/{count}"):
        predict_images(model, images, tmp_path / "x", shard=(0, count))


def test_command_line(images, tmp_path, monkeypatch):
    monkeypatch.setattr("keras_pamunet.models.load_model", lambda name: Brightness())
    monkeypatch.chdir(tmp_path)
    done = run("predict", "nosuch.jpg")
    assert done.exit_code == 1 and "Not there: nosuch.jpg" in done.stderr
    done = run("predict", images)
    assert done.exit_code == 0, done.output
    assert "pamunet_kvasir_seg_256, for polyps" in done.output
    assert "12 new mask(s) in" in done.output
    assert len(list(images.with_name("images_predicted").glob("*.png"))) == 12
    done = run("predict", images / "*1.png", images / "case 00.jpg", "-m", "any", "-q")
    assert done.exit_code == 0 and "case 01.png" in done.output, done.output
    assert len(list((tmp_path / "predicted").glob("*.png"))) == 3
    done = run("predict", images, "-m", "any", "--device", "gpu:7", "-o", "x")
    assert done.exit_code == 1 and "Received: 'gpu:7'" in done.stderr


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="of JAX alone")
def test_what_is_compiled_is_kept(folder, tmp_path):
    """Small parts, too: the second process compiles nothing."""
    keras.utils.set_random_seed(0)
    model = tmp_path / "m.keras"
    PAMUNet((32, 32, 3), expansion=1, attention=None).save(model)
    image = next((folder / "images").iterdir())
    cached = []
    for name in "ab":
        command = "from keras_pamunet.cli import run; run()"
        arguments = ["predict", image, "--model", model, "-o", tmp_path / name, "-q"]
        subprocess.run(
            [sys.executable, "-c", command, *map(str, arguments)],
            env={
                **{k: v for k, v in os.environ.items() if "_CACHE_" not in k},
                "XDG_CACHE_HOME": str(tmp_path / "cache"),
            },
            check=True,
        )
        files = (tmp_path / "cache" / "keras_pamunet" / "jax").glob("*-cache")
        cached.append({path.name for path in files})
    assert len(cached[0]) > 10 and cached[0] == cached[1]
