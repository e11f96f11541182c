"""Masks are kept where they are what would be made, and nowhere else."""

import hashlib
import json
import shutil
import subprocess
import sys
from importlib import metadata

import numpy as np
import pytest
from PIL import Image

from keras_pamunet.data import Folder
from keras_pamunet.inference.images import predict_images
from keras_pamunet.inference.predictions import (
    RECORD,
    REPORT,
    RESULTS,
    Predictions,
)


class Threshold:
    """A model without Keras: what is brighter than a value."""

    input_shape = (None, 32, 32, 3)
    input_range = (0, 255)
    masks, mirror_axes = "exclusive", (1, 2)
    num_classes = 1
    class_names = ("object",)
    runtime = {"toolkit": "1.2.3", "device": "CPU"}

    def __init__(self, value):
        self.value = value
        self.origin = f"threshold-{value}"
        self.fingerprint = hashlib.sha256(bytes([value])).hexdigest()

    def predict_on_batch(self, images):
        bright = np.mean(images, axis=-1, keepdims=True) > self.value
        return bright.astype("float32")


def predict(model, inputs, output, overlay=False, **options):
    """Masks that were written, and those that were kept."""
    options.setdefault("progress", False)
    done = predict_images(model, inputs, output, overlay=overlay, **options)
    return done.written, done.kept


@pytest.fixture
def images(folder):
    return folder / "images"


def test_record(images, tmp_path):
    masks = tmp_path / "masks"
    written, kept = predict(Threshold(90), images, masks, progress=False)
    assert len(written) == 12 and not kept
    entries = json.loads((masks / RECORD).read_text())["masks"]
    assert sorted(entries) == sorted(path.name for path in written)
    image = images / "case 01.png"
    made = entries["case 01.png"]["made"]
    mask = (masks / "case 01.png").read_bytes()
    assert made.pop("sha256") == hashlib.sha256(mask).hexdigest()
    assert 0 < made.pop("seconds") < 60
    assert made == {
        "keras_pamunet": metadata.version("keras-pamunet"),
        "python": sys.version.split()[0],
        "numpy": np.__version__,
        "toolkit": "1.2.3",
        "device": "CPU",
    }
    assert entries["case 01.png"] == {
        "input": str(image),
        "bytes": image.stat().st_size,
        "sha256": hashlib.sha256(image.read_bytes()).hexdigest(),
        "model": "threshold-90",
        "model_sha256": Threshold(90).fingerprint,
        "settings": {"flips": True, "threshold": 0.5, "min_area": 0},
        "made": made,
        "results": entries["case 01.png"]["results"],
    }
    written[0].unlink()
    before = written[1].stat()
    again, kept = predict(Threshold(90), images, masks, progress=False)
    assert again == written[:1] and kept == written[1:]
    assert written[1].stat().st_mtime_ns == before.st_mtime_ns
    # The same image elsewhere is the same image.
    shutil.copytree(images, tmp_path / "copy")
    assert (
        len(predict(Threshold(90), tmp_path / "copy", masks, progress=False)[1]) == 12
    )


def test_report(images, tmp_path):
    """Of all masks in the folder, also of those that another call has made."""
    masks = tmp_path / "masks"
    predict(Threshold(90), images / "case 01.png", masks)
    assert not (masks / REPORT).exists()
    predict(Threshold(90), images, masks, report=True)
    rows = json.loads((masks / REPORT).read_text())["masks"]
    assert [row["mask"] for row in rows] == [f"case {x:02}.png" for x in range(12)]
    entries = json.loads((masks / RECORD).read_text())["masks"]
    for row in rows:
        entry = entries[row.pop("mask")]
        del entry["results"]
        assert row == entry and row["model"] == "threshold-90"
    (masks / "case 03.png").unlink()
    predict(Threshold(90), images / "case 01.png", masks, report=True)
    rows = json.loads((masks / REPORT).read_text())["masks"]
    assert len(rows) == 11
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / REPORT).write_text("the user's")
    with pytest.raises(ValueError, match="in the place of those to write.*report"):
        predict(Threshold(90), images, tmp_path / "other", report=True)


def another_model(images):
    return Threshold(120), images, {}


def other_settings(images):
    return Threshold(90), images, {"flips": False}


def another_patient(images):
    """The same file names, other pixels."""
    for path in images.iterdir():
        with Image.open(path) as image:
            turned = image.rotate(180)
        turned.save(path)
    return Threshold(90), images, {}


def no_record(images):
    (images.parents[1] / "masks" / RECORD).unlink()
    return Threshold(90), images, {}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (another_model, "made by another model, threshold-90"),
        (other_settings, "made with other settings, .*'flips': True"),
        (another_patient, "made of another input, .*case 00.jpg"),
        (no_record, "which no record tells the origin of"),
    ],
)
def test_masks_of_other_origin(images, tmp_path, change, message):
    masks = tmp_path / "masks"
    written, _ = predict(Threshold(90), images, masks, progress=False)
    before = [path.read_bytes() for path in written]
    model, images, options = change(images)
    with pytest.raises(ValueError, match=f"12 other.*{message}.*--overwrite.*folder"):
        predict(model, images, masks, progress=False, **options)
    assert [path.read_bytes() for path in written] == before
    arguments = {"progress": False, **options}
    again, _ = predict(model, images, masks, overwrite=True, **arguments)
    assert again == written
    assert predict(model, images, masks, **arguments) == ([], written)
    for path, (image, _) in zip(written, Folder(images.parent)):
        bright = np.mean(image, axis=-1) > model.value
        found = np.asarray(Image.open(path)) > 0
        assert np.mean(bright != found) < 0.1  # But for the resizing.


def test_stopped_while_overwriting(images, tmp_path):
    """A mask that was not made anew is not taken for one that was."""
    masks = tmp_path / "masks"
    written, _ = predict(Threshold(90), images, masks, progress=False)
    model = Threshold(120)
    planned = {mask: images / "case 01.png" for mask in written}
    Predictions(masks, model, {}).plan(planned, overwrite=True)
    with pytest.raises(ValueError, match="12 other.*no record tells the origin"):
        predict(model, images, masks, progress=False)


def test_pictures(images, tmp_path):
    """An overlay shows the mask beside it, or is not there."""
    masks = tmp_path / "masks"
    written, _ = predict(Threshold(90), images, masks, progress=False)
    arguments = {"overlay": True, "progress": False}
    assert predict(Threshold(90), images, masks, **arguments) == (written, [])
    overlays = sorted((masks / "overlays").glob("*.png"))
    assert len(overlays) == 12
    assert predict(Threshold(90), images, masks, progress=False) == ([], written)
    overlays[0].unlink()
    own = masks / "overlays/mine.png"
    own.touch()
    assert predict(Threshold(90), images, masks, **arguments)[0] == written[:1]
    predict(Threshold(120), images, masks, overwrite=True, progress=False)
    assert list((masks / "overlays").glob("*.png")) == [own]


def test_pictures_take_no_others_place(images, tmp_path):
    masks = tmp_path / "masks"
    (masks / "overlays").mkdir(parents=True)
    arguments = {"overlay": True, "progress": False}
    (masks / "overlays/case 01.png").write_text("own")
    with pytest.raises(ValueError, match="in the place of those.*overlays/case 01"):
        predict(Threshold(90), images, masks, **arguments)
    assert (masks / "overlays/case 01.png").read_text() == "own"
    assert predict(Threshold(90), images, masks, overwrite=True, **arguments)[0]
    # The mask of one kind of input is no picture of another's.
    planned = {masks / "case 02.nii": images / "case 02.png"}
    extras = {masks / "case 02.nii": [masks / "case 02.png"]}
    predictions = Predictions(masks, Threshold(90), {})
    for overwrite in (False, True):
        with pytest.raises(ValueError, match="in the place of those"):
            predictions.plan(planned, overwrite, extras)


def test_two_models_at_once(images, tmp_path):
    masks = tmp_path / "masks"
    masks.mkdir()
    planned = {masks / "case 01.png": images / "case 01.png"}
    one, other = (Predictions(masks, Threshold(x), {}) for x in (90, 120))
    one.plan(planned)
    one.confirm(masks / "case 01.png")
    other.plan(planned)
    other.confirm(masks / "case 01.png")
    with pytest.raises(ValueError, match="Another one, of another model"):
        one.confirm(masks / "case 01.png")


@pytest.mark.parametrize("content", ["{", "[]", '{"masks": 3}', '{"masks": {"a": 1}}'])
def test_damaged_record(images, tmp_path, content):
    masks = tmp_path / "masks"
    written, _ = predict(Threshold(90), images, masks, progress=False)
    (masks / RECORD).write_text(content)
    with pytest.raises(ValueError, match=f"{RECORD}|12 other"):
        predict(Threshold(90), images, masks, progress=False)


def test_no_number(images, tmp_path):
    """Damaged weights give NaN, which is neither object nor background."""
    model = Threshold(90)
    model.predict_on_batch = lambda images: np.full((len(images), 32, 32, 1), np.nan)
    with pytest.raises(FloatingPointError, match="threshold-90. Received: NaN"):
        predict(model, images, tmp_path / "masks", progress=False)
    names = sorted(path.name for path in (tmp_path / "masks").iterdir())
    assert names == [RECORD, RESULTS]


FULL = """
import resource, signal, sys
from tests.inference.test_predictions import Threshold, predict

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
limit = int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
predict(Threshold(90), *sys.argv[1:3], overlay=True)
"""


@pytest.mark.parametrize(
    ("limit", "name"), [(9_000, "overlays/case 00.png"), (100, "pred")]
)
def test_full_disk(images, tmp_path, limit, name):
    """The first image that meets it ends the work: the next would meet it, too."""
    masks = tmp_path / "masks"
    shutil.copy(images / "case 01.png", tmp_path / "large.png")
    with Image.open(tmp_path / "large.png") as image:
        image.resize((900, 900)).save(images / "case 00.png")
    (images / "case 00.jpg").unlink()
    command = [sys.executable, "-c", FULL, images, masks, str(limit)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert f"OSError: Cannot write {masks}/{name}" in done.stderr
    assert "File too large. Make room there" in done.stderr
    assert not list(masks.glob("case*.png"))
