"""The examples run as they are written, but for their length."""

import csv
import json
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_pamunet import PAMUNet, hub
from keras_pamunet.bootstrap import mean_interval
from keras_pamunet.data import Folder
from keras_pamunet.evaluation import evaluate
from keras_pamunet.models import load_model
from keras_pamunet.training import RECIPES
from tests.helpers import PAPER

pytestmark = pytest.mark.skipif(
    keras.backend.backend() == "jax", reason="compiles for minutes; once is enough"
)
EXAMPLES = Path(__file__).parents[1] / "examples"


def test_finetune(tmp_path):
    notebook = json.loads((EXAMPLES / "finetune.ipynb").read_text("utf-8"))
    cells = [
        "".join(x["source"]) for x in notebook["cells"] if x["cell_type"] == "code"
    ]
    code = "\n".join(cells)
    for long, short in (
        ("EPOCHS = 5", "EPOCHS = 1"),
        ("SIZE = 64", "SIZE = 32"),
        (
            "open_splits(DATA)",
            "{k: v.select(v.names[:8]) for k, v in open_splits(DATA).items()}",
        ),
    ):
        assert long in code
        code = code.replace(long, short)
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    metadata = read_metadata(tmp_path / "my_preset")
    assert 0 <= metadata["scores"]["dice"] <= 1
    assert PAMUNet.from_preset(tmp_path / "my_preset").input_shape == (None, 32, 32, 3)


def read_metadata(preset):
    return json.loads((preset / hub.METADATA).read_text())


def test_quickstart(capsys, monkeypatch):
    fit = keras.Model.fit
    monkeypatch.setattr(
        keras.Model, "fit", lambda *a, **k: fit(*a, **{**k, "epochs": 1})
    )
    runpy.run_path(str(EXAMPLES / "quickstart.py"))
    score = capsys.readouterr().out.splitlines()[-1].rpartition(": ")[2]
    assert 0 <= float(score) <= 1


def test_publish(folder, tmp_path, monkeypatch):
    """On twelve drawn images, in place of Kvasir-SEG."""
    monkeypatch.setitem(RECIPES, "paper", PAPER)
    publish = runpy.run_path(str(EXAMPLES / "publish_kvasir.py"))["publish"]
    tiny = {"size": 32, "recipe": "paper", "expansion": 1, "key_stride": 2}
    publish.__globals__.update(SPLIT=None, PRESETS={"tiny": tiny}, HALF_TOLERANCE=1)
    runs, out = tmp_path / "runs", tmp_path / "hub"
    publish("tiny", str(folder), "imagenet", 1, [0], runs, out, compare=True)
    metadata = read_metadata(out / "tiny")
    assert list(metadata["seeds"]) == ["tiny-0", "tiny_plain-0"]
    assert "encoder_weights" not in metadata["training"]["model"]
    assert len(list(runs.glob("tiny-0/published/pictures/*"))) == 1
    model = PAMUNet.from_preset(out / "tiny")
    assert model.key_stride == 2 and model.score_activation == "sigmoid"
    card = (out / "tiny" / hub.CARD).read_text()
    assert (
        "external" not in metadata
        and "Images of other hospitals were not tried." in card
    )
    # The best seed may be one whose run is not on this machine.
    metadata["seeds"]["tiny-0"]["validation_dice"] = 1.1
    plain = metadata["seeds"]["tiny_plain-0"]["test"]
    other = {"dice": 0.1, "iou": 0.2, "recall": 0.3, "precision": 0.4}
    metadata["seeds"]["tiny_plain-1"] = {"validation_dice": 0.5, "test": other}
    (out / "tiny" / hub.METADATA).write_text(json.dumps(metadata))
    elsewhere = tmp_path / "elsewhere"
    arguments = "tiny", str(folder), "imagenet", 1, [0, 1], elsewhere, out
    publish.__globals__.update(HALF_TOLERANCE=-1)
    with pytest.raises(SystemExit, match="half precision"):
        publish(*arguments, add=True)
    assert read_metadata(out / "tiny") == metadata  # Not replaced.
    publish.__globals__.update(HALF_TOLERANCE=1)
    external = shutil.copytree(folder, tmp_path / "elsewhere set")
    for path in external.glob("*/case 0[0-2].*"):
        path.unlink()
    publish(*arguments, add=True, external=external)
    assert sorted(x.name for x in elsewhere.iterdir()) == ["tiny-1", "tiny_half"]
    added = read_metadata(out / "tiny")
    assert list(added["seeds"]) == [*metadata["seeds"], "tiny-1"]
    assert added["training"] == metadata["training"]
    kept = PAMUNet.from_preset(out / "tiny").get_weights()
    assert all(map(np.array_equal, kept, model.get_weights()))
    card = (out / "tiny" / hub.CARD).read_text()
    assert "Of 2 seed(s)" in card
    assert "the 9 images of the folder `elsewhere set`" in card
    assert "source and on\nthose of `elsewhere set`." in card
    assert "not tried" not in card
    found = evaluate(model, Folder(external)).images
    values = [[x[score] for x in found] for score in ("dice", "iou", "recall")]
    means = " | ".join(
        f"{np.mean(x):.4f} ({low:.4f} to {high:.4f})"
        for x, (low, high) in zip(values, map(mean_interval, values))
    )
    assert f"| Dice | IoU | recall |\n|---|---|---|\n| {means} |\n" in card
    (row,) = [x for x in card.splitlines() if x.startswith("| without attention")]
    assert "2 seed(s): mean" in row
    assert row.split(" | ")[3] == f"{(plain['recall'] + 0.3) / 2:.4f}"
    with pytest.raises(SystemExit, match="epochs=2, not 1$"):  # Before it trains.
        publish("tiny", str(folder), "imagenet", 2, [3], elsewhere, out, add=True)
    with pytest.raises(FileNotFoundError, match="Expected a f"):
        publish("tiny", str(folder), "imagenet", 1, [3], runs, out, external=tmp_path)
    assert not (elsewhere / "tiny-3").exists() and not (runs / "tiny-3").exists()
    larger = {"size": 48, "recipe": "paper", "learning_rate": 0.1}
    larger["weights"] = str(out / "tiny")
    publish.__globals__.update(PRESETS={"larger": larger}, AVERAGED={"larger"})
    # Itself is none that it exceeds.
    averaged = runs / "larger-0/averaged"
    publish.__globals__.update(EXCEEDED={"larger": averaged})
    arguments = "larger", str(folder), "imagenet", 1, [0], runs, out
    with pytest.raises(SystemExit, match="higher validation Dice"):
        publish(*arguments)
    assert not (averaged / "metrics.json").exists() and not (out / "larger").exists()
    held = json.loads((runs / "larger-0/metrics.json").read_text())
    assert held["subset"] == "validation"
    publish.__globals__.update(EXCEEDED={})
    publish(*arguments)
    published = PAMUNet.from_preset(out / "larger")
    assert published.input_shape == (None, 48, 48, 3)
    card = (out / "larger" / hub.CARD).read_text()
    assert "from\nthe weights of" in card and "averaged with them" in card
    after = load_model(runs / "larger-0")
    moved = []
    for one, two, mean in zip(
        *(x.trainable_weights for x in (model, after, published))
    ):
        expected = (np.array(one) + np.array(two)) / 2
        np.testing.assert_allclose(mean, expected, rtol=2e-3, atol=1e-4)
        moved.append(np.abs(np.array(one) - np.array(two)).max())
    assert max(moved) > 0.01


PLAN = """
recipe = "default"
size = 32
epochs = 1
reference = "MED"
[[rows]]
table = "II"
name = "MED"
network = "res_unet"
arguments = { filters = 4 }
[[rows]]
table = "II"
name = "wider"
network = "res_unet"
arguments = { filters = 5 }
paper = { phantom = ".5" }
"""


def test_reproduce_tables(tmp_path):
    module = runpy.run_path(str(EXAMPLES / "reproduce_tables.py"))
    plan = tmp_path / "plan.toml"
    plan.write_text(PLAN)
    results = tmp_path / "results"

    def reproduce(models=None):
        data, runs = {"phantom": "phantom"}, tmp_path / "runs"
        module["reproduce"](data, plan, models, [0], None, runs, results)
        return (results / "tables.csv").read_text(), (results / "tables.md").read_text()

    table, text = reproduce()
    rows = [line.split(",") for line in table.splitlines()]
    runs = [
        tmp_path / "runs" / "phantom" / "random" / row[2].replace(" ", "-")
        for row in rows[1:]
    ]
    for row, run in zip(rows[1:], runs, strict=True):
        found = dict(zip(rows[0], row, strict=True))
        scores = json.loads(
            run.with_name(f"{run.name}-0").joinpath("metrics.json").read_text()
        )
        assert float(found["dice"]) == pytest.approx(
            scores["summary"]["dice"], abs=1e-4
        )
    assert text.count("1 seed(s)") == 2
    assert "| .5 |" in text
    assert reproduce() == (table, text)
    with pytest.raises(ValueError, match="networks of the plan: res_unet.*unet"):
        reproduce(["unet"])
    plan.write_text(PLAN.replace("size = 32", "size = 64"))
    with pytest.raises(ValueError, match="'size': '64'.*Received.*'size': '32'"):
        reproduce()


def test_tables_of_slices(folder, tmp_path):
    """Of volumes, which have a Dice of their own."""
    lines = [f"case {index:02},{index // 2}" for index in range(12)]
    (folder / "index.csv").write_text("\n".join(["file,volume", *lines]))
    plan = tmp_path / "plan.toml"
    plan.write_text(PLAN)
    module = runpy.run_path(str(EXAMPLES / "reproduce_tables.py"))
    runs, results = tmp_path / "runs", tmp_path / "results"
    module["reproduce"]({"slices": folder}, plan, None, [0], None, runs, results)
    with (results / "tables.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2
    for row in rows:
        run = runs / "slices" / "random" / f"{row['training'].replace(' ', '-')}-0"
        (found,) = json.loads((run / "metrics.json").read_text())["summary"]["cases"]
        assert float(row["volume_dice"]) == pytest.approx(found["dice"], abs=1e-4)


def test_the_plan_of_the_tables_is_fit():
    module = runpy.run_path(str(EXAMPLES / "reproduce_tables.py"))
    _, rows = module["read_plan"](EXAMPLES / "tables.toml")
    assert {row.table for row in rows} == {"I", "II"}
    assert len(rows) == len({row.name for row in rows}) == 16
