"""Model files: read exactly, or refused, before anything is done for them."""

import io
import json
import os
import resource
import shutil
import subprocess
import sys
import zipfile
from zipfile import ZipFile

import h5py
import keras
import numpy as np
import pytest

from keras_pamunet import PAMUNet
from keras_pamunet.backend import run_once
from keras_pamunet.model_files import CONFIG, METADATA, WEIGHTS, check_weights
from keras_pamunet.models import load_file, load_model
from tests.helpers import once

# Of files, not of what is computed.
pytestmark = once


@pytest.fixture(scope="module")
def model():
    return PAMUNet((32, 32, 3), expansion=1, score_activation="softmax")


@pytest.fixture(scope="module")
def members(tmp_path_factory, model):
    """Content of the members of the model's `.keras` file."""
    path = tmp_path_factory.mktemp("model") / "model.keras"
    model.save(path)
    with ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write(path, members, **settings):
    with ZipFile(path, "w", **settings) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


@pytest.fixture
def path(tmp_path, members):
    return write(tmp_path / "model.keras", members)


def edited(members, **changes):
    """The members, some arguments of the model changed."""
    config = json.loads(members[CONFIG])
    config["config"].update(changes)
    return {**members, CONFIG: json.dumps(config).encode()}


# === Exactness ===
OTHER = {
    "input_shape": [32, 32, 1],
    "num_classes": 2,
    "expansion": 2,
    "attention": "self",
    "score_activation": "sigmoid",
    "key_stride": 2,
    "input_range": [0, 1],
}
# What changes no number that the network finds, but in its last digits.
ALIKE = {
    "input_shape": [64, 40, 3],
    "attention_regularization": 1.0,
    "batch_norm_momentum": 0.5,
    "encoder_weights": "imagenet",
    "masks": "overlapping",  # Of one class they are the same.
    "class_names": ["polyp"],
    "mirror_axes": [1],
    "name": "other",
    "trainable": False,
    "frozen": ["stem"],
    "dtype": "mixed_float16",
}


def test_every_argument_is_edited(model):
    assert {*OTHER, *ALIKE} == set(model.get_config())


@pytest.mark.parametrize("name", OTHER)
@pytest.mark.filterwarnings("ignore:Skipping nested container")
def test_another_architecture(tmp_path, members, name):
    value = OTHER[name]
    others = {"class_names": None}
    if name == "masks":
        others["num_classes"] = 2
    others.pop(name, None)
    path = write(tmp_path / "m.keras", edited(members, **{name: value}, **others))
    with pytest.raises(ValueError, match="weights|could not be loaded"):
        load_model(path)


@pytest.mark.filterwarnings("ignore:Skipping variable loading for optimizer")
def test_no_attention(tmp_path, members):
    """All shapes of the smaller network are there, in their places."""
    changes = {"attention": None, "score_activation": None}
    path = write(tmp_path / "model.keras", edited(members, **changes))
    for load in (load_model, keras.saving.load_model):
        with pytest.raises(ValueError, match="weights for attention='luong', and a"):
            load(path)
    # A file of before, which does not say it.
    weights = io.BytesIO(members[WEIGHTS])
    with h5py.File(weights, "r+") as file:
        del file["vars/architecture"]
    members = {**members, WEIGHTS: weights.getvalue()}
    path = write(tmp_path / "model.keras", members)
    assert load_model(path).attention == "luong"
    path = write(tmp_path / "model.keras", edited(members, **changes))
    with pytest.raises(ValueError, match="Received: .*model.keras with 259, of which"):
        load_model(path)


# Of the optimizer's state, which Keras leaves out.
@pytest.mark.filterwarnings("ignore:Skipping variable loading for optimizer")
@pytest.mark.parametrize("name", ALIKE)
def test_the_same_architecture(tmp_path, members, model, name):
    path = write(tmp_path / "model.keras", edited(members, **{name: ALIKE[name]}))
    loaded = load_model(path)
    for one, other in zip(loaded.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.filterwarnings("ignore:Skipping variable loading for optimizer")
def test_weights_of_another_size(tmp_path, model, rng):
    model.save_weights(tmp_path / "a.weights.h5")
    other = PAMUNet((48, 32, 3), expansion=1, score_activation="softmax", name="b")
    other.load_weights(tmp_path / "a.weights.h5")
    assert all(map(np.array_equal, other.get_weights(), model.get_weights()))
    other = PAMUNet((32, 32, 3), expansion=1)
    with pytest.raises(ValueError, match="score_activation='softmax', and a model of"):
        other.load_weights(tmp_path / "a.weights.h5")
    other = PAMUNet((32, 32, 3), expansion=1, attention=None)
    with pytest.raises(ValueError, match="a.weights.h5 with 259, of which 28"):
        other.load_weights(tmp_path / "a.weights.h5")


def test_fingerprint(model, path):
    assert load_model(path).fingerprint == model.fingerprint
    copy = model.clone(key_stride=2)
    assert copy.fingerprint != model.fingerprint
    copy = model.clone(name="another", attention_regularization=1.0)
    assert copy.fingerprint == model.fingerprint
    copy.get_layer("logits").bias.assign([1e-6])
    assert copy.fingerprint != model.fingerprint


# === Nothing else is read ===
def test_pipe_of_encoder_weights(tmp_path, members):
    """It would be waited for; a name would be downloaded."""
    os.mkfifo(tmp_path / "pipe.weights.h5")
    pipe = str(tmp_path / "pipe.weights.h5")
    with pytest.raises(ValueError, match="encoder_weights.*a folder, a pipe or a dev"):
        PAMUNet((32, 32, 3), encoder_weights=pipe)
    path = write(
        tmp_path / "model.keras", edited(members, encoder_weights=pipe, expansion=1)
    )
    for load in (load_model, keras.saving.load_model):
        assert load(path).expansion == 1
    with pytest.raises(ValueError, match="a pipe or a device"):
        load_file(tmp_path / "pipe.weights.h5")


def test_another_class(tmp_path, members):
    """Of another class nothing is made, whatever it would do."""
    config = {
        "class_name": "Sequential",
        "registered_name": None,
        "config": 10**5 * [0],
    }
    members = {**members, CONFIG: json.dumps(config).encode()}
    path = write(tmp_path / "model.keras", members)
    with pytest.raises(ValueError, match="Expected a network of .*a Sequential"):
        load_model(path)


# === Damaged archives ===
def nested(members):
    return {**members, CONFIG: 10**5 * b"[" + 10**5 * b"]"}


def missing(members):
    return {CONFIG: members[CONFIG]}


def foreign(members):
    return {**members, "run.py": b"pass"}


def no_object(members):
    return {**members, CONFIG: b"7"}


def no_model(members):
    return {**members, CONFIG: b'{"registered_name": "keras_pamunet>PAMUNet"}'}


def odd_argument(members):
    return edited(members, nosuch=1)


def odd_name(members):
    return edited(members, frozen=7)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (nested, "nested too deeply"),
        (missing, "each once"),
        (foreign, "run.py"),
        (no_object, "no JSON object"),
        (no_model, "may be damaged"),
        (odd_argument, "nosuch"),
        (odd_name, "frozen"),
    ],
)
def test_unfit_members(tmp_path, members, change, message):
    path = write(tmp_path / "model.keras", change(members))
    with pytest.raises(ValueError, match=f"(?s)model.keras.*{message}"):
        load_model(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_foreign_compression(tmp_path, members, method):
    path = write(tmp_path / "model.keras", members, compression=method)
    with pytest.raises(ValueError, match="compressed in a way unknown here"):
        load_model(path)


def test_zip_compression(tmp_path, members):
    path = write(tmp_path / "model.keras", members, compression=zipfile.ZIP_DEFLATED)
    assert load_model(path).expansion == 1


def test_encrypted(path):
    content = bytearray(path.read_bytes())
    for signature, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + place] |= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is encrypted"):
        load_model(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_duplicates(tmp_path, members):
    path = write(tmp_path / "model.keras", members)
    with ZipFile(path, "a") as archive:
        archive.writestr(CONFIG, members[CONFIG])
    with pytest.raises(ValueError, match="each once"):
        load_model(path)


def test_flipped_bytes(path, rng):
    """In the archive each byte is checked by its sum or by what it says."""
    whole = path.read_bytes()
    for at in rng.integers(0, len(whole) - 5000, 5):
        content = bytearray(whole)
        content[at] ^= 255
        path.write_bytes(content)
        with pytest.raises(ValueError, match="model.keras; it may be damaged"):
            load_model(path)


def test_bomb(tmp_path, members):
    members = {**members, METADATA: bytes(2**24)}
    path = write(tmp_path / "model.keras", members, compression=zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 2**25
    with pytest.raises(ValueError, match="metadata.json would have 16,777,216 bytes"):
        load_model(path)


# === Damaged weights ===
def changed(members, change):
    weights = io.BytesIO(members[WEIGHTS])
    with h5py.File(weights, "r+") as file:
        change(file)
    return {**members, WEIGHTS: weights.getvalue()}


VARS = "layers/batch_normalization/vars"


def claim(file):
    del file[f"{VARS}/0"]
    file[VARS].create_dataset("0", (10**9,), "float32")


def claim_chunks(file):
    del file[f"{VARS}/0"]
    file[VARS].create_dataset("0", (10**9,), "float32", chunks=(10**6,))


def compress(file):
    values = file[f"{VARS}/0"][()]
    del file[f"{VARS}/0"]
    file[VARS].create_dataset("0", data=values, compression="gzip")


def soft_link(file):
    file[f"{VARS}/9"] = h5py.SoftLink("/layers")


def external_link(file):
    file[f"{VARS}/9"] = h5py.ExternalLink("/etc/passwd", "/")


def circle(file):
    file[f"{VARS}/9"] = file["layers"]


def external_storage(file):
    del file[f"{VARS}/0"]
    file[VARS].create_dataset("0", (32,), "float32", external="/etc/passwd")


def virtual(file):
    layout = h5py.VirtualLayout((32,), "float32")
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", (32,))
    del file[f"{VARS}/0"]
    file[VARS].create_virtual_dataset("0", layout)


def text(file):
    del file[f"{VARS}/0"]
    file[f"{VARS}/0"] = "text"


def not_a_number(file):
    file[f"{VARS}/1"][3] = np.nan


def infinite(file):
    file[f"{VARS}/1"][3] = -np.inf


def record(file):
    file["vars/architecture"][:] = ord("[")


def null(file):
    del file[f"{VARS}/0"]
    file[f"{VARS}/0"] = h5py.Empty("float32")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (claim, "more than its size"),
        (claim_chunks, "more than its size"),
        (compress, "no plain array"),
        (soft_link, "a link to another place"),
        (external_link, "a link to another place"),
        (circle, "there twice"),
        (external_storage, "no plain array"),
        (virtual, "no plain array"),
        (text, "no plain array"),
        (null, "no plain array"),
        (not_a_number, "are NaN or infinite"),
        (infinite, "are NaN or infinite"),
        (record, "record of its architecture was altered"),
    ],
)
def test_unfit_weights(tmp_path, members, model, change, message):
    members = changed(members, change)
    path = write(tmp_path / "model.keras", members)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match=f"(?s)model.keras.*{message}"):
        load_model(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**20  # kB
    path = tmp_path / "a.weights.h5"
    path.write_bytes(members[WEIGHTS])
    with pytest.raises(ValueError, match=message):
        model.load_weights(path)


def test_encoder_weights_are_checked(tmp_path):
    path = tmp_path / "encoder.weights.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("layers/conv/vars/0", (10**9,), "float32")
    with pytest.raises(ValueError, match="encoder.weights.h5: .*more than its size"):
        PAMUNet((32, 32, 3), encoder_weights=path)


def test_weights_that_are_none(tmp_path):
    with pytest.raises(FileNotFoundError):
        check_weights(tmp_path / "none.h5")
    with pytest.raises(ValueError, match="no weights as Keras writes them"):
        check_weights(b"none")


# === Training goes on as it was ===
def test_frozen_layers(tmp_path, rng):
    """As of any functional model: after saving, in copies, in blocks; Adam's state."""
    model = PAMUNet((32, 32, 3), expansion=1, attention=None)
    for layer in model.layers:
        if layer.name.startswith(("stem", "encoder")):
            layer.trainable = False
    model.get_layer("encoder_3").trainable = True
    model.get_layer("encoder_3").blocks[1].trainable = False
    stage = model.get_layer("encoder_5")
    stage.trainable = False
    stage.blocks[0].trainable = True
    model.compile(keras.optimizers.Adam(1e-3), "binary_crossentropy")
    expected = [weight.path for weight in model.trainable_variables]
    assert 0 < len(expected) < len(model.trainable_weights) + 1
    model.optimizer.build(model.trainable_variables)
    state = [rng.normal(size=x.shape) for x in model.optimizer.variables]
    for variable, value in zip(model.optimizer.variables[2:], state[2:]):
        variable.assign(value)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")  # Warns of nothing.
    for copy in (loaded, model.clone(input_shape=(48, 48, 3))):
        assert [weight.path for weight in copy.trainable_variables] == expected
        assert copy.get_layer("encoder_3").blocks[0].trainable
        assert not copy.get_layer("encoder_3").blocks[1].trainable
        assert not stage.trainable and copy.get_layer("encoder_5").blocks[0].trainable
    ours, theirs = loaded.optimizer.variables, model.optimizer.variables
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.filterwarnings("ignore:Skipping variable loading for optimizer")
def test_no_optimizer(tmp_path, rng):
    """Saved without it, as Keras' own models can be."""
    model = PAMUNet((32, 32, 3), expansion=1, attention=None)
    model.optimizer = None
    model.save(tmp_path / "model.keras")
    loaded = load_model(tmp_path / "model.keras")
    images = rng.integers(0, 256, (1, 32, 32, 3), "uint8")
    np.testing.assert_array_equal(run_once(loaded, images), run_once(model, images))


CHANNELS_FIRST = """
import sys, keras, numpy as np
from keras_pamunet import PAMUNet
from keras_pamunet.backend import run_once
from keras_pamunet.models import load_model

assert keras.config.image_data_format() == "channels_first"
stored = np.load(sys.argv[2])
masks = run_once(load_model(sys.argv[1]), stored["images"])
np.testing.assert_allclose(masks, stored["masks"], rtol=1e-4, atol=1e-6)
for attention in ("additive", None):
    model = PAMUNet((32, 32, 3), attention=attention, encoder_weights=sys.argv[3])
    assert model.output_shape == (None, 32, 32, 1)
assert keras.config.image_data_format() == "channels_first"
"""


def test_channels_first(tmp_path, model, path, rng):
    """What `keras.json` says of channels does not concern the network."""
    home = tmp_path / "home"
    home.mkdir()
    text = json.dumps({"image_data_format": "channels_first"})
    (home / "keras.json").write_text(text)
    images = rng.integers(0, 256, (1, 32, 32, 3), "uint8")
    masks = np.asarray(run_once(load_model(path), images))
    np.savez(tmp_path / "stored.npz", images=images, masks=masks)
    encoder = keras.applications.MobileNetV2(
        (224, 224, 3), include_top=False, weights=None
    )
    encoder.save_weights(tmp_path / "encoder.weights.h5")
    names = ("model.keras", "stored.npz", "encoder.weights.h5")
    done = subprocess.run(
        [sys.executable, "-c", CHANNELS_FIRST, *(tmp_path / name for name in names)],
        env={**os.environ, "KERAS_HOME": str(home)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    shutil.rmtree(home)


def test_load_errors(tmp_path):
    path = tmp_path / "model.keras"
    path.write_text("no model")
    with pytest.raises(ValueError, match="Cannot load .*model.keras; it may be dam"):
        load_model(path)
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)]).save(path)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"build_config", b"build_konfig"))
    with pytest.raises(ValueError, match="Cannot load .*model.keras; it may be dam"):
        load_model(path)
    path.write_bytes(content)
    with pytest.raises(ValueError, match="a network of .*Received: a Sequential"):
        load_model(path)
