"""Presets: written whole, read as published, or refused."""

import ctypes
import json
import os
import shutil
import subprocess
import sys
import threading
import types
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from keras_pamunet import PAMUNet, hub
from keras_pamunet.analysis.complexity import count
from keras_pamunet.backend import run_once
from keras_pamunet.data import Folder, Phantom, Resized
from keras_pamunet.files import sha256_of
from keras_pamunet.models import load_model
from tests.helpers import once


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return PAMUNet((32, 32, 3), expansion=1, attention=None)


@pytest.fixture(scope="module")
def written(tmp_path_factory, model):
    folder = tmp_path_factory.mktemp("hub") / "preset"
    model.save_to_preset(folder, {"about": "a test"}, "# A test")
    return folder


@pytest.fixture
def preset(tmp_path, written):
    return shutil.copytree(written, tmp_path / "preset")


def test_preset(preset, model):
    assert sorted(path.name for path in preset.iterdir()) == sorted(
        ("README.md", "config.json", "metadata.json", "model.weights.h5")
    )
    metadata = json.loads((preset / "metadata.json").read_text())
    assert metadata["about"] == "a test"
    for loaded in (PAMUNet.from_preset(preset), load_model(preset)):
        assert loaded.get_config() == model.get_config()
        assert all(map(np.array_equal, loaded.get_weights(), model.get_weights()))
    other = PAMUNet.from_preset(preset, load_weights=False)
    assert other.expansion == 1
    assert (other.weights[0].numpy() != model.weights[0].numpy()).any()


def test_published_scores(kvasir):
    """What is published still finds what it did before its weights were halved."""
    folder = Path(PAMUNet.presets()["pamunet_kvasir_seg"]["folder"])
    metadata = json.loads((folder / hub.METADATA).read_text())
    rows = metadata["images"]["network size"][:8]
    model = PAMUNet.from_preset(folder)
    assert count(model)["macs"] <= 0.25e9
    pairs = Folder(kvasir).select(row["name"] for row in rows)
    images, masks = map(np.stack, zip(*Resized(pairs, model.input_shape[1:3])))
    found = np.asarray(run_once(model, images))[..., 0] > 0.5
    both, sums = found & (masks > 0), found.sum((1, 2)) + (masks > 0).sum((1, 2))
    expected = [row["dice"] for row in rows]
    np.testing.assert_allclose(2 * both.sum((1, 2)) / sums, expected, atol=0.01)
    assert count(PAMUNet.from_preset("pamunet_kvasir_seg_256"))["macs"] <= 1e9


@pytest.mark.parametrize("name", PAMUNet.presets())
def test_published_output(name):
    """What is published still finds in a drawn image what it did when it was."""
    model = PAMUNet.from_preset(name)
    _, metadata = hub.read(hub.find(name))
    expected = metadata["on_phantom"]
    image, _ = Resized(Phantom(1), model.input_shape[1:3])[0]
    image = image[..., : model.input_shape[-1]]
    found = np.asarray(run_once(model, image[np.newaxis]))[0, ..., 0]
    assert abs(found.mean(dtype="float64") - expected["mean"]) < 1e-4
    assert len(expected["pixels"]) == 8
    probabilities = found[tuple(np.transpose(expected["pixels"]))]
    np.testing.assert_allclose(
        probabilities, expected["probabilities"], rtol=0, atol=1e-4
    )


@once
def test_names(preset, monkeypatch):
    monkeypatch.setattr(hub, "PRESETS", preset.parent)
    (found,) = PAMUNet.presets().items()
    assert found[0] == "preset" and found[1]["folder"] == str(preset)
    assert found[1]["input_shape"] == [32, 32, 3] and found[1]["megabytes"] > 1
    preset.rename(preset.with_name(".preset-old"))  # What a kill may leave.
    assert not PAMUNet.presets()
    preset.with_name(".preset-old").rename(preset)
    assert PAMUNet.from_preset("preset").expansion == 1


@once
def test_encoder_weights_of_a_preset_are_not_read(preset):
    config = json.loads((preset / hub.CONFIG).read_text())
    config["encoder_weights"] = str(preset / "nosuch.weights.h5")
    (preset / hub.CONFIG).write_text(json.dumps(config))
    sign(preset)
    assert PAMUNet.from_preset(preset, load_weights=False).expansion == 1


@once
def test_numbers_of_numpy(tmp_path):
    limits = np.uint8([0, 200])
    model = PAMUNet((17, 17, 1), expansion=1, attention=None, input_range=limits)
    scaling = next(x for x in model.layers if isinstance(x, keras.layers.Rescaling))
    assert (scaling.scale, scaling.offset) == (0.01, -1)
    model.save_to_preset(tmp_path / "preset", {"dice": np.float32(0.5)})
    config, metadata = hub.read(tmp_path / "preset")
    assert config["config"]["input_range"] == [0, 200] and metadata["dice"] == 0.5


def test_half_precision(tmp_path, model):
    model.save_to_preset(tmp_path / "half", half=True)
    loaded = PAMUNet.from_preset(tmp_path / "half")
    for one, other in zip(model.get_weights(), loaded.get_weights()):
        expected = one.astype("float16") if one.ndim > 1 else one
        np.testing.assert_array_equal(other, expected)


def test_other_arguments(preset, model):
    with pytest.warns(UserWarning, match="start at random: logits$"):
        other = PAMUNet.from_preset(preset, num_classes=2, input_shape=(64, 64, 3))
    assert other.output_shape == (None, 64, 64, 2)
    for layer in other.layers:
        if layer.weights and layer.name != "logits":
            expected = model.get_layer(layer.name).get_weights()
            for one, two in zip(layer.get_weights(), expected):
                np.testing.assert_array_equal(one, two)
    larger = PAMUNet.from_preset(preset, input_shape=(None, None, 3))
    assert larger.count_params() == model.count_params()


def cut(folder):
    content = (folder / hub.WEIGHTS).read_bytes()
    (folder / hub.WEIGHTS).write_bytes(content[: len(content) // 2])


def alter(folder):
    with h5py.File(folder / hub.WEIGHTS, "r+") as file:
        file["layers/conv2d/vars/0"][0] = 1


def alter_config(folder):
    config = json.loads((folder / hub.CONFIG).read_text())
    (folder / hub.CONFIG).write_text(json.dumps({**config, "expansion": 2}))


def publish_another(folder):
    """A preset with the right hashes, of another architecture."""
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)]).save_weights(
        folder / hub.WEIGHTS
    )
    sign(folder)


def pickle(folder):
    (folder / hub.WEIGHTS).write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    sign(folder)


def unknown_argument(folder):
    config = {"class_name": "Lambda", "config": {"function": "..."}}
    (folder / hub.CONFIG).write_text(json.dumps(config))
    sign(folder)


def sign(folder):
    sha256 = {name: sha256_of(folder / name) for name in hub.HASHED}
    (folder / hub.METADATA).write_text(json.dumps({"sha256": sha256}))


# Keras warns before it refuses weights of another architecture.
@pytest.mark.filterwarnings("ignore:Skipping nested container")
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut, "model.weights.h5 is not the file that was published"),
        (alter, "model.weights.h5 is not the file that was published"),
        (alter_config, "config.json is not the file that was published"),
        (publish_another, "holds no PAMUNet"),
        (pickle, "holds no PAMUNet"),
        (unknown_argument, "holds no PAMUNet.*class_name"),
        (lambda folder: (folder / hub.METADATA).unlink(), "there: metadata.json"),
        (lambda folder: (folder / hub.METADATA).write_text("{"), "Cannot read"),
        (lambda folder: (folder / hub.METADATA).write_text("[]"), "JSON object"),
        (
            lambda folder: (folder / hub.METADATA).write_text('{"sha256": null}'),
            "not the file that was published",
        ),
    ],
)
@once
def test_damaged_presets(preset, damage, message):
    damage(preset)
    with pytest.raises(ValueError, match=message):
        PAMUNet.from_preset(preset)


@pytest.mark.parametrize("name", ["nosuch", "../nosuch", "/nosuch"])
@once
def test_unknown_names(name):
    with pytest.raises(ValueError, match=f"Expected the name of a preset.*'{name}'"):
        PAMUNet.from_preset(name)


@once
def test_no_network(monkeypatch):
    def download(repository, **arguments):
        raise ConnectionError("no route to host")

    module = types.SimpleNamespace(snapshot_download=download)
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)
    with pytest.raises(OSError, match="hf://owner/name: no route to host"):
        PAMUNet.from_preset("hf://owner/name")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match="pip install huggingface_hub"):
        PAMUNet.from_preset("hf://owner/name")


def test_no_state_of_the_optimizer(tmp_path, model):
    model.optimizer.build(model.trainable_variables)
    for name, bytes_each in (("whole", 4), ("half", 2)):
        model.save_to_preset(tmp_path / name, half=name == "half")
        size = (tmp_path / name / hub.WEIGHTS).stat().st_size
        # Beside the numbers, some 2 kB for each of 300 groups and tables.
        assert size < bytes_each * model.count_params() + 800_000


FULL_DISK = """
import resource, signal, sys
from keras_pamunet import PAMUNet

model = PAMUNet((32, 32, 3), expansion=1, attention=None)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # As on a full disk, an error.
resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))
try:
    model.save_to_preset(sys.argv[1])
except OSError as error:
    print("OSError", error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has no such limits")
@once
def test_full_disk(preset):
    """No library writes by itself: HDF5 would end with a segmentation fault."""
    before = {path.name: path.read_bytes() for path in preset.iterdir()}
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, preset], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("OSError Cannot write")
    assert "model.weights.h5: File too large. Make room" in done.stdout
    assert {path.name: path.read_bytes() for path in preset.iterdir()} == before
    assert list(preset.parent.iterdir()) == [preset]


@once
def test_umask(tmp_path, model):
    umask = os.umask(0o027)
    try:
        model.save_to_preset(tmp_path / "preset")
    finally:
        os.umask(umask)
    assert (tmp_path / "preset").stat().st_mode & 0o777 == 0o750
    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "preset").iterdir()}
    assert modes == {0o640}


@once
def test_replaced(preset, model):
    model.save_to_preset(preset, {"about": "another"})
    assert json.loads((preset / "metadata.json").read_text())["about"] == "another"
    assert list(preset.parent.iterdir()) == [preset]


@once
def test_link_to_a_preset(preset, model):
    link = preset.with_name("link")
    link.symlink_to(preset)
    model.save_to_preset(link, {"about": "another"})
    assert json.loads((preset / "metadata.json").read_text())["about"] == "another"
    assert link.is_symlink() and len(list(preset.parent.iterdir())) == 2


@once
def test_no_preset_is_replaced(tmp_path, model):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ValueError, match="a new folder, or one that holds a preset"):
        model.save_to_preset(tmp_path)


@once
def test_no_other_file_is_lost(preset, model):
    (preset / "model.onnx").touch()
    with pytest.raises(ValueError, match="nothing else. Received: .*model.onnx"):
        model.save_to_preset(preset)
    assert (preset / "model.onnx").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux swaps names")
@once
def test_seen_at_every_moment(preset, model):
    """While it is replaced, over and over, there is a preset under its name."""
    folder, seen = preset / "metadata.json", []

    def look():
        while not stop.is_set():
            seen.append(folder.exists())

    stop = threading.Event()
    thread = threading.Thread(target=look)
    thread.start()
    weights = (preset / hub.WEIGHTS).read_bytes()
    for _ in range(20):
        hub.write(preset, model.get_config(), weights)
    stop.set()
    thread.join()
    assert len(seen) > 20 and all(seen)
    assert list(preset.parent.iterdir()) == [preset]


@pytest.mark.parametrize("kind", [PermissionError, KeyboardInterrupt])
@once
def test_old_preset_stays(preset, model, monkeypatch, kind):
    """Where names cannot be swapped, and the second of two renames fails."""
    before = {path.name: path.read_bytes() for path in preset.iterdir()}
    replace = os.replace

    def fail_for_the_new(source, target):
        if target == preset and source.name != "old":
            raise kind("no")
        replace(source, target)

    monkeypatch.setattr(ctypes, "CDLL", lambda *args, **kwargs: None)
    monkeypatch.setattr(os, "replace", fail_for_the_new)
    with pytest.raises(kind, match="no"):
        model.save_to_preset(preset)
    assert {path.name: path.read_bytes() for path in preset.iterdir()} == before
    assert list(preset.parent.iterdir()) == [preset]


@once
def test_damaged_preset_hides_no_other(preset, monkeypatch):
    monkeypatch.setattr(hub, "PRESETS", preset.parent)
    for name, text in (("deep", 10**5 * "["), ("list", "[]"), ("number", '{"a": 1}')):
        shutil.copytree(preset, preset.with_name(name))
        (preset.with_name(name) / hub.METADATA).write_text(text)
    (preset.with_name("number") / hub.CONFIG).write_text("7")
    with pytest.warns(UserWarning, match="The preset .* is damaged") as caught:
        assert list(hub.presets()) == ["preset"]
    assert len(caught) == 3
