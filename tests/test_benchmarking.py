"""Models measured in turn. What the times are is no test's business."""

import json
import sys

import pytest
from PIL import Image
from typer.testing import CliRunner

from keras_pamunet import sides
from keras_pamunet.benchmarking import benchmark
from keras_pamunet.cli import app
from tests.fuzz.seeds import onnx_model
from tests.helpers import once

pytestmark = once


@pytest.fixture
def models(tmp_path):
    """Two files of the smallest network there is."""
    paths = [tmp_path / "a.onnx", tmp_path / "b.onnx"]
    for path in paths:
        path.write_bytes(onnx_model())
    return paths


def test_command_line(tmp_path, models):
    out = tmp_path / "out"
    options = ["-o", out, "--size", 40, "--batch-size", 2, "--repeats", 2, "--quiet"]
    done = CliRunner().invoke(app, ["benchmark", *map(str, [*models, *options])])
    assert done.exit_code == 0, done.output
    assert "a.onnx" in done.stdout and "b.onnx" in done.stdout
    held = json.loads((out / "benchmark.json").read_text())
    assert (held["threads"], held["batch_size"]) == (1, 2)
    first, second = held["rows"]
    assert first["ratio"] == first["memory_ratio"] == 1
    for row, path in zip((first, second), models):
        assert row["model"] == str(path) and row["bytes"] == path.stat().st_size
        assert 0 < row["ms"] <= row["p95_ms"]
        assert row["images_per_second"] == pytest.approx(2e3 / row["ms"], rel=0.1)
        # ONNX Runtime alone has tens of MB.
        assert 0.02 < row["process_gib"] < 4
    with Image.open(out / "benchmark.png") as picture:
        assert picture.width > 1000


SIDE = """
import os, sys, time
from keras_pamunet import sides

def work():
    with open(sys.argv[1], "a") as file:
        file.write(sys.argv[2])
    time.sleep(0.21)

sides.serve(lambda: work)
"""


def test_sides_take_turns(tmp_path):
    log = tmp_path / "log"
    commands = [[sys.executable, "-c", SIDE, str(log), name] for name in "ab"]
    found = sides.compare(commands, 2)
    # Each works three times before, one of them to measure its memory.
    assert log.read_text() == "aaabbb" + "ab" * 2
    assert all(210 <= row["ms"] < 2000 for row in found)
    assert "work_gib" in found[0]
    # Not the memory of this process, which has Keras.
    assert found[0]["process_gib"] < 0.2


def test_side_that_fails(tmp_path):
    with pytest.raises(RuntimeError, match="A side has failed(.|\n)*no such thing"):
        sides.compare([[sys.executable, "-c", "raise ValueError('no such thing')"]], 1)


def test_unfit_models(tmp_path, models):
    with pytest.raises(ValueError, match="each once"):
        benchmark([models[0], models[0]])
    with pytest.raises(ValueError, match="Presets: .*Received: .*none.onnx"):
        benchmark([models[0], tmp_path / "none.onnx"])
    with pytest.raises(ValueError, match="as there are cores. Received: 10000"):
        benchmark(models, threads=10_000)
    models[1].write_text("no model")
    with pytest.raises(ValueError, match="cannot be measured. .*Cannot load .*b.onnx"):
        benchmark(models, progress=False)
