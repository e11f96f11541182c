"""Export to ONNX, and prediction without Keras."""

import hashlib
import json
import os
import subprocess
import sys

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
from PIL import Image
from typer.testing import CliRunner

from keras_pamunet import PAMUNet, onnx_export
from keras_pamunet.backend import run_once
from keras_pamunet.cli import app
from keras_pamunet.inference.images import predict_images
from keras_pamunet.inference.onnx_model import METADATA, SHA256, OnnxModel, seal
from keras_pamunet.layers import CropLike
from keras_pamunet.models import MobileUNet, onnx_file

TENSORFLOW = keras.backend.backend() == "tensorflow"
# The conversion, which takes its time, is shared: all in one process.
pytestmark = pytest.mark.xdist_group("export")


def make(*args, **kwargs):
    """A model whose gates and masks are as pronounced as those of a trained one.

    And whose statistics are not those of a new one, which change nothing.
    """
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    model = PAMUNet(*args, expansion=1, **kwargs)
    for variable in model.variables:
        if variable.name == "gamma" and variable.shape == ():
            variable.assign(3.0)
        elif "_bn/" in variable.path:
            variable.assign(rng.uniform(0.7, 1.3, variable.shape))
    kernel = model.get_layer("logits").kernel
    kernel.assign(20 * kernel)
    return model


@pytest.fixture(scope="module")
def model():
    return make((32, 32, 3))


@pytest.fixture(scope="module")
def exported(tmp_path_factory, model):
    """The model for images of any size, in a file, and its report."""
    path = tmp_path_factory.mktemp("export") / "any.onnx"
    return path, onnx_export.export(model, path, size=(None, None), progress=False)


@pytest.fixture
def converts(monkeypatch, exported):
    """Has the export find that file, whatever it is asked for."""

    def write_onnx(model, output, batch_size):
        output.write_bytes(exported[0].read_bytes())

    monkeypatch.setattr(onnx_export, "write_onnx", write_onnx)


def test_any_size(rng, model, exported):
    path, report = exported
    assert [file.name for file in path.parent.iterdir()] == ["any.onnx"]
    assert report.images == 20
    assert report.pixels == 10 * (64 * 64 + 97 * 97)
    assert report.largest_difference <= 1e-5 and report.changed_pixels == 0
    ours, theirs = make((None, None, 3)), OnnxModel(path)
    ours.set_weights(model.get_weights())
    assert theirs.input_shape == (None, None, None, 3)
    for shape in ((2, 32, 32, 3), (1, 45, 70, 3), (3, 64, 17, 3)):
        images = rng.uniform(0, 255, shape)
        np.testing.assert_allclose(
            theirs.predict_on_batch(images),
            np.asarray(run_once(ours, images.astype("float32"))),
            atol=1e-5,
        )
    with pytest.raises(ValueError, match="shape .10, 10, 3.; the model takes"):
        theirs.predict_on_batch(np.zeros((1, 10, 10, 3)))


def close(one, other):
    """But for the last digit of float32."""
    return one.shape == other.shape and np.allclose(one, other, rtol=2e-7, atol=0)


def test_batch_normalisation_is_folded_exactly(model, exported):
    graph = onnx.load(exported[0]).graph
    kernels = [onnx.numpy_helper.to_array(x) for x in graph.initializer]
    for name in ("stem", "up_head"):
        gamma, _, _, variance = (
            np.float64(x) for x in model.get_layer(f"{name}_bn").get_weights()
        )
        (kernel,) = (np.float64(x) for x in model.get_layer(name).get_weights())
        scale = gamma / np.sqrt(variance + 1e-3)
        expected = kernel * (scale if name == "stem" else scale[:, np.newaxis])
        expected = np.float32(expected.transpose(3, 2, 0, 1))
        assert any(close(expected, found) for found in kernels), name


@pytest.mark.skipif(not TENSORFLOW, reason="the conversion is TensorFlow's")
def test_fixed_size(rng, tmp_path):
    """Grey values in HU, three classes, another attention, a batch of 2, 33 pixels."""
    ours = make(
        (33, 40, 1),
        num_classes=3,
        attention="self",
        input_range=(-200, 250),
        class_names=("liver", "tumour"),
        mirror_axes=(2,),
    )
    path = tmp_path / "fixed.onnx"
    onnx_export.export(ours, path, batch_size=2, progress=False)
    theirs = OnnxModel(path)
    assert theirs.input_shape == (2, 33, 40, 1)
    assert (theirs.num_classes, theirs.masks) == (3, "exclusive")
    assert theirs.class_names == ours.class_names
    assert theirs.mirror_axes == ours.mirror_axes == (2,)
    assert theirs.input_range == (-200, 250)
    images = rng.uniform(-300, 300, (5, 33, 40, 1)).astype("float32")
    np.testing.assert_allclose(
        theirs.predict_on_batch(images), run_once(ours, images), atol=1e-5
    )


def test_predicts_without_keras(folder, tmp_path, model, exported):
    """The command line, in a process of its own."""
    code = (
        "import sys\n"
        "sys.modules['jax'] = None\n"  # As if not installed.
        "from keras_pamunet.cli import app\n"
        "app(standalone_mode=False)\n"
        "heavy = {'keras', 'tensorflow', 'torch', 'onnx'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    arguments = ["predict", folder / "images", "--model", exported[0]]
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments), "-o", str(tmp_path / "out")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and not done.stderr, done.stderr
    free = make((None, None, 3))
    free.set_weights(model.get_weights())
    masks = predict_images(
        free, folder / "images", tmp_path / "ours", progress=False
    ).written
    assert len(masks) == 12
    for path in masks:
        with (
            Image.open(path) as ours,
            Image.open(tmp_path / "out" / path.name) as found,
        ):
            np.testing.assert_array_equal(found, ours)


def test_command_line(folder, tmp_path, model, converts):
    model.save(tmp_path / "model.keras")
    path = tmp_path / "new" / "model.onnx"
    command = f"export {tmp_path / 'model.keras'} -o {path} --data {folder} --quiet"
    done = CliRunner().invoke(app, command.split())
    assert done.exit_code == 0, done.output
    assert path.exists()
    assert "0 of 1,024 mask pixels changed" in " ".join(done.output.split())
    again = CliRunner().invoke(app, command.split())
    assert again.exit_code == 1 and "--overwrite" in again.output


@pytest.mark.skipif(not TENSORFLOW, reason="the conversion is TensorFlow's")
def test_first_order_scores(rng, tmp_path):
    """Of a model with the sigmoid, by the command line."""
    ours = make((32, 48, 3))
    for layer in ours.layers:
        if layer.name.startswith("attention"):
            # Scores so large that the tangent is not the sigmoid.
            layer.query.kernel.assign(20 * layer.query.kernel)
            for projection in (layer.query, layer.key, layer.value):
                projection.bias.assign(rng.normal(size=projection.bias.shape))
    ours.save(tmp_path / "model.keras")
    path = tmp_path / "first.onnx"
    command = f"export {tmp_path / 'model.keras'} -o {path} --any-size --quiet"
    done = CliRunner().invoke(app, [*command.split(), "--score-activation=first_order"])
    assert done.exit_code == 0, done.output
    kinds = {node.op_type for node in onnx.load(path).graph.node}
    assert "MatMul" in kinds and not kinds & {"Loop", "Scan"}
    images = rng.uniform(0, 255, (3, 32, 48, 3)).astype("float32")
    found = OnnxModel(path).predict_on_batch(images)
    switched = run_once(ours.clone(score_activation="first_order"), images)
    np.testing.assert_allclose(found, switched, atol=1e-5)
    assert np.abs(found - run_once(ours, images)).max() > 1e-3


def test_unfit_score_activation(tmp_path, model):
    path = tmp_path / "model.onnx"
    with pytest.raises(ValueError, match="score_activation='tanh'"):
        onnx_export.export(model, path, score_activation="tanh")
    with pytest.raises(ValueError, match="arguments of MobileUNet.*score_activation"):
        other = MobileUNet((32, 32, 3))
        onnx_export.export(other, path, score_activation="first_order")
    assert not path.exists()


def test_other_results_are_not_kept(tmp_path, converts):
    other = PAMUNet((32, 32, 3), expansion=1, attention=None)
    path = tmp_path / "model.onnx"
    path.write_text("the old one")
    with pytest.raises(ValueError, match="Nothing was written"):
        onnx_export.export(other, path, overwrite=True, progress=False)
    assert path.read_text() == "the old one"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(not TENSORFLOW, reason="compiles one more network")
def test_report(rng, exported):
    other = PAMUNet((32, 32, 3), expansion=1, attention=None)
    theirs = OnnxModel(exported[0])
    images = rng.integers(0, 256, (3, 32, 32, 3), "uint8")
    report = onnx_export._compare(other, theirs, images, False)
    one, two = (model.predict_on_batch(images) for model in (other, theirs))
    changed = np.count_nonzero((one > 0.5) != (two > 0.5))
    assert 0 < changed == report.changed_pixels
    assert report.largest_difference == pytest.approx(np.abs(one - two).max(), 1e-4)
    assert (report.images, report.pixels) == (3, 3 * 32 * 32)


@pytest.mark.skipif(not TENSORFLOW, reason="the conversion is TensorFlow's")
def test_operation_that_onnx_lacks(tmp_path, monkeypatch):
    def call(self, inputs, reference):
        return keras.ops.erfinv(inputs / 1e9)

    model = make((32, 32, 3), attention=None)
    monkeypatch.setattr(CropLike, "call", call)
    with pytest.raises(ValueError, match="Erfinv"):
        onnx_export.export(model, tmp_path / "model.onnx", progress=False)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(TENSORFLOW, reason="converts in its own process")
@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("raise ValueError('no such thing')", "^no such thing$"),
        ("import os; os.write(2, b'a log'); os.kill(os.getpid(), 9)", "-9.*a log$"),
    ],
)
def test_conversion_that_fails_elsewhere(tmp_path, monkeypatch, model, code, message):
    monkeypatch.setattr(onnx_file, "CONVERT", code)
    with pytest.raises(ValueError, match=message):
        onnx_export.export(model, tmp_path / "model.onnx", progress=False)
    assert not list(tmp_path.iterdir())


def test_unfit_outputs(tmp_path, model):
    with pytest.raises(ValueError, match="name of an .onnx file. Received: .*model$"):
        onnx_export.export(model, tmp_path / "model")
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="can be written.*file .File exists"):
        onnx_export.export(model, tmp_path / "file" / "model.onnx")


def test_missing_requirements(tmp_path, monkeypatch, model):
    monkeypatch.setattr(onnx_file, "find_spec", lambda name: None)
    with pytest.raises(
        ModuleNotFoundError, match=r"pip install .\.\[export,tensorflow"
    ):
        onnx_export.export(model, tmp_path / "model.onnx")


def test_part_of_the_data(folder, tmp_path, model):
    with pytest.raises(ValueError, match="subset='all'"):
        onnx_export.export(model, tmp_path / "model.onnx", data=folder, subset="all")


def test_damaged_files(tmp_path, exported):
    with pytest.raises(FileNotFoundError, match="Not there"):
        OnnxModel(tmp_path / "none.onnx")
    content = exported[0].read_bytes()
    path = tmp_path / "cut.onnx"
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="It was cut"):
        OnnxModel(path)


def rewritten(exported, path, metadata):
    """The file with other metadata, sealed anew."""
    graph = onnx.load(exported[0])
    held = {entry.key: entry.value for entry in graph.metadata_props}
    assert set(held) == {METADATA, SHA256}
    del graph.metadata_props[:]
    if metadata is not None:
        text = metadata
        if isinstance(metadata, dict):
            text = json.dumps({**json.loads(held[METADATA]), **metadata})
        onnx.helper.set_model_props(graph, {METADATA: text})
    path.write_bytes(seal(graph.SerializeToString()))
    return path


@pytest.mark.parametrize(
    "metadata",
    [
        "{}",
        "[]",
        "7",
        10**5 * "[",
        {"num_classes": True},
        {"num_classes": 10**9},
        {"num_classes": "1"},
        {"masks": "both"},
        {"masks": ["exclusive"]},
        {"class_names": ["a", "b"]},
        {"class_names": 5},
        {"mirror_axes": [3]},
        {"input_range": [1, 0]},
        {"input_range": ["a", "b"]},
        {"input_range": [0, float("nan")]},
    ],
)
def test_altered_metadata(tmp_path, exported, metadata):
    path = rewritten(exported, tmp_path / "altered.onnx", metadata)
    with pytest.raises(ValueError, match="altered.onnx; what it says of its model was"):
        OnnxModel(path)


def test_window_of_the_file(tmp_path, exported):
    """Of an older version: its file takes grey values, and not HU."""
    path = rewritten(exported, tmp_path / "a.onnx", {"window": [-200, 250]})
    with pytest.raises(ValueError, match="8-bit grey values. Export"):
        OnnxModel(path)


def test_another_program_wrote_it(tmp_path, exported):
    path = rewritten(exported, tmp_path / "none.onnx", None)
    with pytest.raises(ValueError, match="exported by keras_pamunet"):
        OnnxModel(path)


def test_flipped_bytes(rng, tmp_path, exported):
    content = exported[0].read_bytes()
    model = OnnxModel(exported[0])
    digest = hashlib.sha256(content[:-90]).hexdigest()
    assert model.fingerprint == digest == content[-64:].decode()
    assert model.runtime == {
        "onnxruntime": onnxruntime.__version__,
        "device": "CPU",
    }
    path = tmp_path / "flipped.onnx"
    inside, at_the_end = rng.integers(0, len(content), 40), range(1, 91)
    for at in (*inside, *(len(content) - place for place in at_the_end)):
        flipped = bytearray(content)
        flipped[at] ^= 1 << at % 8
        path.write_bytes(flipped)
        with pytest.raises(ValueError, match="flipped.onnx"):
            OnnxModel(path)
    path.write_bytes(content[:-90])
    with pytest.raises(ValueError, match="its end was cut off"):
        OnnxModel(path)


def test_file_of_before(tmp_path, exported):
    """As it was written before files had a SHA-256."""
    graph = onnx.load(exported[0])
    (text,) = [x.value for x in graph.metadata_props if x.key == METADATA]
    held = json.loads(text)
    del graph.metadata_props[:], held["sealed"], held["masks"]
    del held["class_names"], held["mirror_axes"]
    held |= {"activation": "sigmoid", "window": None}
    onnx.helper.set_model_props(graph, {METADATA: json.dumps(held)})
    onnx.save(graph, tmp_path / "old.onnx")
    with pytest.warns(UserWarning, match="old.onnx was exported before"):
        model = OnnxModel(tmp_path / "old.onnx")
    images = np.ones((1, 32, 32, 3))
    expected = OnnxModel(exported[0]).predict_on_batch(images)
    np.testing.assert_array_equal(model.predict_on_batch(images), expected)


def test_weights_in_another_file(tmp_path, exported):
    graph = onnx.load(exported[0])
    path = tmp_path / "model.onnx"
    onnx.save(graph, path, save_as_external_data=True, location="weights")
    with pytest.raises(ValueError, match="all weights in one file"):
        OnnxModel(path)


def test_pipe(tmp_path):
    os.mkfifo(tmp_path / "model.onnx")
    with pytest.raises(ValueError, match="a pipe or a device"):
        OnnxModel(tmp_path / "model.onnx")


def test_no_telemetry(exported):
    """What ONNX Runtime reads as it starts, whatever the environment says."""
    code = (
        "import os, sys\n"
        "from keras_pamunet.inference.onnx_model import OnnxModel\n"
        "OnnxModel(sys.argv[1])\n"
        "with open('/proc/self/maps') as file:\n"
        "    assert 'onnxruntime' in file.read()\n"
        "assert os.environ['ORT_DISABLE_TELEMETRY'] == '1'\n"
    )
    subprocess.run(
        [sys.executable, "-c", code, exported[0]],
        env={**os.environ, "ORT_DISABLE_TELEMETRY": "0"},
        check=True,
    )


@pytest.mark.skipif(not TENSORFLOW, reason="converts in its own process")
def test_export_of_keras(rng, tmp_path):
    """The call that every model of Keras has."""
    model = make((32, 32, 3), attention=None)
    path = tmp_path / "model.onnx"
    with pytest.raises(ValueError, match="no other arguments.*opset_version"):
        model.export(path, format="onnx", opset_version=15)
    model.export(path, format="onnx", verbose=False)
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]
    images = rng.uniform(0, 255, (3, 32, 32, 3)).astype("float32")
    expected = model.predict_on_batch(images)
    assert expected.std() > 1e-3
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(
        session.run(None, {"image": images})[0], expected, atol=1e-4
    )
    np.testing.assert_allclose(
        OnnxModel(path).predict_on_batch(images), expected, atol=1e-4
    )


ENDED = """
import os, signal, sys, threading
from keras_pamunet import PAMUNet
from keras_pamunet.models import onnx_file

signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
onnx_file.CONVERT = "import os, time; os.kill(os.getppid(), 15); time.sleep(60)"
onnx_file.keras.backend.backend = lambda: "another"
from keras_pamunet.onnx_export import export
export(PAMUNet((32, 32, 3), expansion=1, attention=None), sys.argv[1], progress=False)
"""


def test_ended_export(tmp_path):
    """SIGTERM, as a program that ends by it: no folder and no process stay."""
    done = subprocess.run(
        [sys.executable, "-c", ENDED, tmp_path / "out" / "model.onnx"],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.returncode == 1, done.stderr
    left = [path for path in tmp_path.rglob("*") if path.name != "out"]
    assert not [path for path in left if path.suffix in (".onnx", ".keras")], left
