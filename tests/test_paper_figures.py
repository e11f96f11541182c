"""Which images the figures show, and what stands beside them."""

import re

import keras
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from keras_pamunet import PAMUNet, paper_figures
from keras_pamunet.cli import app
from keras_pamunet.figure_images import FigureImages
from keras_pamunet.paper_figures import draw_failures, draw_masks
from keras_pamunet.run_folder import replace_model, write_config

OBJECTS = {"a": 2, "b": 1, "c": 1, "d": 3, "e": 4, "f": 1}
SPLIT = {"train": ["a", "b"], "validation": ["c", "f"], "test": ["c", "d", "e"]}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    keras.utils.set_random_seed(0)
    path = tmp_path_factory.mktemp("models") / "model.keras"
    PAMUNet((32, 32, 3), expansion=1).save(path)
    return path


@pytest.fixture
def data(tmp_path, rng):
    """Images of some objects each; the mask of `a` has a speck more."""
    root = tmp_path / "set"
    for part in ("images", "masks"):
        (root / part).mkdir(parents=True)
    for name, objects in OBJECTS.items():
        mask = np.zeros((120, 150), "uint8")
        for number in range(objects):
            mask[20:60, 30 * number : 30 * number + 20] = 255
        mask[100, 100] = 255 * (name == "a")
        image = rng.integers(0, 256, (120, 150, 3), "uint8")
        Image.fromarray(image).save(root / "images" / f"{name}.png")
        Image.fromarray(mask).save(root / "masks" / f"{name}.png")
    return root


@pytest.fixture
def run(tmp_path, data, model):
    folder = tmp_path / "run"
    folder.mkdir()
    write_config(folder, {"data": str(data)}, SPLIT)
    replace_model(folder, model.read_bytes())
    return folder


@pytest.fixture
def drawn(monkeypatch):
    """The rows of the pictures."""
    rows = []
    for name in ("before_after", "masks_sheet"):
        draw = getattr(paper_figures, name)
        monkeypatch.setattr(
            paper_figures,
            name,
            lambda found, *note, draw=draw: rows.extend(found) or draw(found, *note),
        )
    return rows


def dice(truth, found):
    return 2 * (truth * found).sum() / (truth.sum() + found.sum())


def test_more_objects(run, tmp_path, drawn):
    images = FigureImages([run])
    assert images.source.names == ["c", "d", "e"]
    note = draw_failures(images, tmp_path / "x.png", flips=False, progress=False)
    assert note == (
        "2 of 3 images have more objects than any of the 2 training images, 2."
    )
    assert [row[0] for row in drawn] == ["4 objects: e", "3 objects: d"]
    for _, _, truth, found in drawn:
        ((title, labels),) = found.items()
        assert truth.shape == labels.shape == (120, 150)
        score = float(re.fullmatch(r"run: Dice (\d\.\d+)", title)[1])
        assert score == pytest.approx(dice(truth, labels), abs=6e-4)


def test_lowest_dice(run, model, data, tmp_path, drawn):
    images = FigureImages([run], subset="validation")
    note = draw_failures(images, tmp_path / "x.png", flips=False, progress=False)
    assert note.startswith("None of 2 images has more objects than the training im")
    assert note.endswith("2 at most: the images of the lowest Dice.")
    drawn.clear()
    images = FigureImages([model], data)
    note = draw_failures(
        images, tmp_path / "x.png", count=6, flips=False, progress=False
    )
    assert note.startswith("No training images are known")
    scores = [dice(truth, *found.values()) for _, _, truth, found in drawn]
    assert len(scores) == 6 and scores == sorted(scores) and scores[0] < scores[-1]


def test_images_of_training(run, data, tmp_path, drawn):
    """They are left out, unless they are asked for."""
    assert FigureImages([run], subset="train").source.names == ["a", "b"]
    assert FigureImages([run], subset="all").source.names == ["c", "d", "e", "f"]
    images = FigureImages([run], seed=1)
    draw_masks(images, tmp_path / "x.png", count=2, flips=False, progress=False)
    draw_masks(images, tmp_path / "x.png", names=["e"], flips=False, progress=False)
    assert len(drawn) == 3 and drawn[2][0] == "e"
    with pytest.raises(ValueError, match="Not there: b"):
        draw_masks(images, tmp_path / "x.png", names=["b"])
    for path in (data / "images").glob("[c-f].png"):
        path.unlink()
        (data / "masks" / path.name).unlink()
    with pytest.warns(UserWarning, match="such as a model was trained on"):
        images = FigureImages([run], data.rename(tmp_path / "others"))
    assert images.source.names == ["a", "b"]


def test_commands(run, model, data, tmp_path):
    def figure(*arguments):
        return CliRunner().invoke(app, ["figure", *map(str, arguments)])

    picture = tmp_path / "new/x.png"

    def shape():
        return np.asarray(Image.open(picture)).shape[:2]

    options = ("--data", data, "--count", 2, "-o", picture)
    done = figure("masks", run, model, *options, "--no-flips")
    assert done.exit_code == 0, done.output
    assert shape() == (2 * (320 + 22), 4 * (400 + 4))
    done = figure("gates", run, *options)
    assert done.exit_code == 0, done.output
    width = 404 + 4 * (404 + 14)
    assert shape() == (4 * (320 + 22) + 22, width)
    done = figure("failures", run, *options, "--no-flips", "-q")
    assert done.exit_code == 0 and "2 of 3 images have more" in done.output
    assert shape() == (2 * (320 + 22) + 22, 2 * 404)
    done = figure("masks", model, "-o", picture)
    assert done.exit_code == 1 and "Expected --data" in done.output
    done = figure("gates", run, "-o", "x.txt")
    assert done.exit_code == 1 and "Expected a picture" in done.output
