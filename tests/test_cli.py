"""The commands that look at data, as they are called."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from keras_pamunet import PAMUNet
from keras_pamunet.cli import app
from keras_pamunet.data import Folder, Phantom, load_split, save_split
from keras_pamunet.palette import COLOURS
from keras_pamunet.show import show


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_check(folder):
    done = run("check", folder)
    assert done.exit_code == 0
    assert "12 pairs, 2 sizes" in done.stdout and "6 of 40x40" in done.stdout
    Image.new("L", (40, 40)).save(folder / "masks/case 04.png")
    (folder / "images/case 03.jpg").write_text("no image")
    done = run("check", folder, "--quiet")
    assert done.exit_code == 1
    assert "1 of 12 masks are empty: case 04" in done.stdout
    assert "Error: Cannot read" in done.stdout and "case 03.jpg" in done.stdout


def test_check_for_programs(folder, tmp_path):
    done = run("check", folder, "--json")
    report = json.loads(done.stdout)
    assert done.exit_code == 0 and report["pairs"] == 12 and not report["errors"]
    (folder / "masks/case 07.png").unlink()
    done = run("check", folder, "--json")
    assert done.exit_code == 1
    assert "Missing for 1: case 07.png" in json.loads(done.stdout)["errors"][0]
    done = run("check", folder)
    assert done.exit_code == 1 and "Missing for 1: case 07.png" in done.stderr


def test_split(folder, tmp_path):
    path = tmp_path / "mine.json"
    done = run("split", folder, "-o", path, "--seed", 1)
    assert done.exit_code == 0
    assert "train 10" in " ".join(done.stdout.split())
    names = [name for part in load_split(path).values() for name in part]
    assert sorted(names) == Folder(folder).names
    done = run("check", folder, "--split", path, "--json")
    assert json.loads(done.stdout)["pairs"] == 12
    assert run("split", folder, "-o", path, "--folds", 3).exit_code == 0
    done = run("split", folder, "-o", path)
    assert done.exit_code == 1 and "Expected a new file" in done.stderr
    assert run("split", folder, "-o", path, "--overwrite").exit_code == 0
    folds = [load_split(tmp_path / f"mine-{number}.json") for number in (1, 2, 3)]
    names = [name for fold in folds for name in fold["validation"]]
    assert sorted(names) == Folder(folder).names
    assert run("split", folder, "-o", tmp_path / "mine.txt").exit_code == 1


def test_info_of_a_model(tmp_path):
    path = tmp_path / "model.keras"
    PAMUNet((None, None, 3), expansion=1, attention=None).save(path)
    counts = json.loads(run("info", path, "--size", 64, "--json").stdout)
    assert counts["input_shape"] == [64, 64, 3]
    stem = next(row for row in counts["layers"] if row["name"] == "stem")
    macs = 32 * 32 * 9 * 3 * 32
    assert stem == {
        "name": "stem",
        "kind": "Conv2D",
        "parameters": 9 * 3 * 32,
        "macs": macs,
        "flops": 2 * macs,
    }
    table = run("info", path, "--size", 64).stdout
    assert "stem" in table and f"{macs:,}" in table and f"{counts['macs']:,}" in table
    assert "crop" not in table
    assert run("info", tmp_path / "nowhere").exit_code == 1
    dense = keras.Sequential([keras.Input((7,)), keras.layers.Dense(3)])
    dense.save(path)
    assert json.loads(run("info", path, "--json").stdout)["macs"] == 21
    two = [keras.Input((4, 3)), keras.Input((5, 3))]
    keras.Model(two, keras.layers.Dot(2)(two)).save(path)
    assert json.loads(run("info", path, "--json").stdout)["macs"] == 4 * 5 * 3
    assert "60" in run("info", path).stdout
    path.write_bytes(b"cut")
    assert "Cannot load" in run("info", path).stderr


def test_brackets_in_tables(tmp_path):
    """They are no markup."""
    dense = keras.layers.Dense(3, name="a[b]")
    keras.Sequential([keras.Input((7,)), dense]).save(tmp_path / "model.keras")
    assert "a[b]" in run("info", tmp_path / "model.keras").stdout


def test_show(folder, tmp_path):
    split, sheet = tmp_path / "split.json", tmp_path / "new/sheet.png"
    save_split(split, {"train": ["case 00"], "validation": ["case 02"]})
    options = ("--split", split, "-o", sheet, "--subset")
    done = run("show", folder, *options, "test")
    assert done.exit_code == 1 and "('train', 'validation')" in done.stderr
    assert run("show", folder, *options, "train").exit_code == 0
    panels = np.asarray(Image.open(sheet)).astype(int)
    assert panels.shape == (320 + 22, 6 * (320 + 4), 3)
    image, mask, overlay, changed, _, _ = np.split(panels[:320], 6, axis=1)
    expected = Folder(folder)[0][1].mean()
    assert abs(np.mean((mask[:, :320] == COLOURS[1]).all(axis=-1)) - expected) < 0.01
    differs = (image != overlay).any(axis=-1).mean()
    assert 0 < differs < 0.1 < (image != changed).any(axis=-1).mean()
    assert run("show", tmp_path / "nowhere", "-o", sheet).exit_code == 1
    assert run("show", folder, "-o", sheet, "--count", 3).exit_code == 0
    assert np.asarray(Image.open(sheet)).shape[0] == 3 * (320 + 22)


@pytest.mark.parametrize(
    ("dtype", "gain", "offset"), [("int16", 16, -1000), ("uint16", 250, 1785)]
)
def test_show_deep_images(tmp_path, dtype, gain, offset):
    class Deep(Phantom):
        def read(self, index):
            image, mask = super().read(index)
            return (gain * image.astype("int32") + offset).astype(dtype), mask

    show(Deep(1), tmp_path / "sheet.png")
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    for image in (sheet[:320, :320], sheet[:320, 3 * 324 : 3 * 324 + 320]):
        assert image.min() < 40 and image.max() > 215
        assert np.isin(image, (0, 255)).mean() < 0.1  # Little is cut off.


def process(*arguments, **options):
    """The command in a process of its own."""
    command = [sys.executable, "-c", "from keras_pamunet.cli import run; run()"]
    options = {"capture_output": True, "text": True, "timeout": 100, **options}
    return subprocess.run([*command, *map(str, arguments)], **options)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_output_of_other_encodings(folder, encoding):
    """A name may have letters that the terminal's encoding has not."""
    name = "\u809d [bold]x :smile:"
    for part in ("images", "masks"):
        path = folder / part / "case 01.png"
        path.rename(path.with_name(f"{name}.png"))
    Image.new("L", (40, 39)).save(folder / f"masks/{name}.png")
    options = {"env": {**os.environ, "PYTHONIOENCODING": encoding}, "text": False}
    done = process("check", folder, "--quiet", **options)
    # ASCII is mostly a mistake, and Click writes UTF-8 in its place.
    shown = name.encode(
        "utf-8" if encoding == "ascii" else encoding, "backslashreplace"
    )
    assert done.returncode == 0, done.stderr
    assert b"are empty: " + shown in done.stdout
    done = process("check", folder, "--json", **options)
    assert json.loads(done.stdout)["empty"] == [name]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("arguments", [["info"], ["info", "presets", "--json"]])
def test_output_that_cannot_be_written(arguments):
    with open("/dev/full", "w") as full:
        done = process(*arguments, capture_output=False, stdout=full, stderr=-1)
    assert done.returncode == 1
    assert done.stderr == "Error: Cannot write the output: No space left on device\n"


def test_closed_output():
    done = process("info", preexec_fn=lambda: os.close(1), capture_output=False)
    assert done.returncode == 0


STOPPED = """
import os, signal, sys

# A shell's background jobs ignore it.
signal.signal(signal.SIGINT, signal.default_int_handler)

class Swallowing:  # As an import of a back end may do.
    def find_spec(self, name, path=None, target=None):
        if name == "keras_pamunet.data":
            try:
                os.kill(os.getpid(), signal.SIGINT)
                signal.sigtimedwait([], 1)
            except BaseException:
                pass

sys.meta_path.insert(0, Swallowing())
from keras_pamunet.cli import run
run()
"""


def test_stopped_while_importing():
    command = [sys.executable, "-c", STOPPED, "check", "phantom"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, "\nStopped.\n")


FAILING = """
import os, signal, sys
import keras_pamunet.cli

signal.signal(signal.SIGINT, signal.default_int_handler)

@keras_pamunet.cli.app.command()
def stop():
    def run():
        try:
            os.kill(os.getpid(), signal.SIGINT)
            signal.sigtimedwait([], 1)
        except KeyboardInterrupt:
            raise TypeError("half done")

    keras_pamunet.cli.entry.call(run, "json", "To go on: ")

keras_pamunet.cli.run()
"""


def test_stopped_in_mid_work():
    """A back end that is interrupted may fail in a way of its own."""
    done = subprocess.run(
        [sys.executable, "-c", FAILING, "stop"], capture_output=True, text=True
    )
    assert done.returncode == 130 and done.stderr == "\nStopped. To go on: -c stop\n"


TERMINATED = """
import os, signal, sys
from keras_pamunet import files
import keras_pamunet.cli

@keras_pamunet.cli.app.command()
def stop(path: str):
    with files.written_aside(files.Path(path)):
        os.kill(os.getpid(), signal.SIGTERM)

keras_pamunet.cli.run()
"""


def test_terminated(tmp_path):
    """What is half done is tidied up."""
    command = [sys.executable, "-c", TERMINATED, "stop", tmp_path / "a"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 143, done.stderr
    assert not list(tmp_path.iterdir())
