"""Export to other runtimes, and prediction without Keras."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import cv2
import keras
import numpy as np
import onnx
import onnxruntime
import pytest
from PIL import Image
from typer.testing import CliRunner

import keras_pamunet
from keras_pamunet import LiteRTModel, PAMUNet, ResUNet, exporting
from keras_pamunet.backend import run_once
from keras_pamunet.cli import app
from keras_pamunet.data import Folder, Phantom, Resized
from keras_pamunet.evaluation import evaluate
from keras_pamunet.inference import litert_model
from keras_pamunet.inference.exported_model import METADATA
from keras_pamunet.inference.images import predict_images
from keras_pamunet.inference.model_file import open_exported
from keras_pamunet.inference.onnx_model import SHA256, OnnxModel, seal
from keras_pamunet.layers import CropLike
from keras_pamunet.models import MobileUNet, conversion
from keras_pamunet.models.description import source_of
from keras_pamunet.models.onnx_quantization import quantize_onnx

TENSORFLOW = keras.backend.backend() == "tensorflow"
# The conversion, which takes its time, is shared: all in one process.
pytestmark = pytest.mark.xdist_group("export")


def make(*args, **kwargs):
    """A model whose gates and masks are as pronounced as those of a trained one.

    And whose statistics are not those of a new one, which change nothing.
    """
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    if "attention" not in kwargs:
        kwargs["score_activation"] = "sigmoid"  # The gates that are hardest to export.
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
    return path, exporting.export(model, path, size=(None, None), progress=False)


@pytest.fixture(scope="module")
def lite(tmp_path_factory, model):
    """The model in a LiteRT file, and its report."""
    path = tmp_path_factory.mktemp("export") / "model.tflite"
    return path, exporting.export(model, path, progress=False)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A network without gates, and its ONNX file."""
    keras.utils.set_random_seed(0)
    model = ResUNet((32, 32, 3), filters=8)
    path = tmp_path_factory.mktemp("small") / "small.onnx"
    exporting.export(model, path, progress=False)
    return model, path


@pytest.fixture
def converts(monkeypatch, exported):
    """Has the export find that file, whatever it is asked for."""

    def write_onnx(model, output, batch_size, source, input_dtype):
        output.write_bytes(exported[0].read_bytes())

    monkeypatch.setattr(exporting, "write_onnx", write_onnx)


def test_any_size(rng, model, exported):
    path, report = exported
    names = {file.name for file in path.parent.iterdir()}
    assert names == {"any.onnx", "any.onnx.json"}
    held = json.loads((path.parent / "any.onnx.json").read_text())
    assert held == {**report.to_json(), "float_layers": []}
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
    exporting.export(ours, path, batch_size=2, progress=False)
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


def without_keras(*arguments):
    """Calls the command in a process where neither Keras nor a back end is there."""
    code = (
        "import sys\n"
        "class NotInstalled:\n"
        "    def find_spec(name, path=None, target=None):\n"
        "        if name in ('keras', 'tensorflow', 'jax', 'torch', 'onnx'):\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, NotInstalled)\n"
        "from keras_pamunet.cli import app\n"
        "app(standalone_mode=False)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_litert(rng, model, lite):
    path, report = lite
    assert report.largest_difference <= 1e-5 and report.changed_pixels <= 2
    assert (report.format, report.quantize) == ("litert", None)
    assert report.bytes == path.stat().st_size
    theirs = LiteRTModel(path, threads=1)
    assert theirs.input_shape == (1, 32, 32, 3)
    assert theirs.class_names == model.class_names
    images = rng.uniform(0, 255, (3, 32, 32, 3)).astype("float32")
    found = theirs.predict_on_batch(images)
    np.testing.assert_allclose(found, np.asarray(run_once(model, images)), atol=1e-5)
    with pytest.raises(ValueError, match="shape .40, 40, 3.; the model takes"):
        theirs.predict_on_batch(np.zeros((1, 40, 40, 3)))


def test_what_files_say(lite, exported):
    """As other programs read it."""
    with ZipFile(lite[0]) as archive:
        of_lite = json.loads(archive.read("keras_pamunet.json"))
    graph = onnx.load(exported[0])
    (text,) = [x.value for x in graph.metadata_props if x.key == METADATA]
    of_onnx = json.loads(text)
    # Of the size that the model takes, too.
    assert of_onnx.pop("model_sha256") != of_lite.pop("model_sha256")
    assert of_onnx == of_lite
    assert of_lite["producer"] == f"keras_pamunet {keras_pamunet.__version__}"
    assert of_lite["class_names"] == ["object"] and of_lite["mirror_axes"] == [1, 2]
    (image,), (mask,) = graph.graph.input, graph.graph.output
    assert (image.name, mask.name) == ("image", "mask")
    for tensor in (image, mask):
        sides = [side.dim_param for side in tensor.type.tensor_type.shape.dim[:3]]
        assert sides == ["batch", "height", "width"]


def test_source_of_presets():
    """Of what else is exported, a file says nothing: least of all the path."""
    said = source_of("pamunet_kvasir_seg")
    assert said["preset"] == "pamunet_kvasir_seg" and said["preset_version"] >= "1.3.0"
    assert "Kvasir-SEG" in said["licence"]
    assert source_of("runs/mine") == source_of("a model in memory") == {}


def test_litert_without_keras(folder, tmp_path, model, lite):
    out = tmp_path / "out"
    arguments = ["predict", folder / "images", "--model", lite[0], "-o", out]
    assert "12 new mask(s)" in without_keras(*arguments, "--no-flips")
    theirs = LiteRTModel(lite[0])
    for path in (folder / "images").iterdir():
        expected = theirs.segment(path, flips=False).mask
        with Image.open(out / f"{path.stem}.png") as found:
            np.testing.assert_array_equal(np.asarray(found) > 0, expected > 0)


def test_scores_without_keras(folder, tmp_path, model, lite, exported):
    out = tmp_path / "out"
    without_keras("evaluate", "--model", lite[0], "--data", folder, "-o", out)
    held = json.loads((out / "metrics.json").read_text())
    pairs = Resized(Folder(folder), (32, 32))
    expected = evaluate(model, pairs, progress=False, subset="all").to_json()
    for ours, theirs in zip(expected["images"], held["images"]):
        assert ours["name"] == theirs["name"]
        # A pixel may have changed.
        assert ours["dice"] == pytest.approx(theirs["dice"], abs=0.01)
    assert held["summary"]["n"] == 12 and held["flips"]


def test_damaged_litert(rng, tmp_path, lite):
    content = lite[0].read_bytes()
    model = LiteRTModel(lite[0])
    assert model.fingerprint == hashlib.sha256(content[:-64]).hexdigest()
    path = tmp_path / "flipped.tflite"
    for at in (*rng.integers(0, len(content), 20), *range(-120, 0, 7)):
        flipped = bytearray(content)
        flipped[at] ^= 1 << at % 8
        path.write_bytes(flipped)
        with pytest.raises(ValueError, match="flipped.tflite, which was cut or"):
            LiteRTModel(path)
    for cut in (b"", content[:100], content[:-1]):
        path.write_bytes(cut)
        with pytest.raises(ValueError, match="flipped.tflite, which was cut or"):
            LiteRTModel(path)
    with pytest.raises(FileNotFoundError, match="Not there"):
        LiteRTModel(tmp_path / "none.tflite")
    path.write_bytes(litert_model.seal(content[:1000], "{}"))
    with pytest.raises(ValueError, match="flipped.tflite; LiteRT cannot run it"):
        LiteRTModel(path)


@pytest.mark.skipif(not TENSORFLOW, reason="the conversion is TensorFlow's")
def test_saved_model(rng, tmp_path, small):
    import tensorflow as tf

    ours, _ = small
    path = tmp_path / "new" / "model"
    exporting.export(ours, path, format="saved_model", progress=False)
    assert {x.name for x in path.parent.iterdir()} == {"model", "model.json"}
    images = rng.uniform(0, 255, (2, 32, 32, 3)).astype("float32")
    theirs = tf.saved_model.load(str(path))
    found = theirs.serve(images)["mask"]
    np.testing.assert_allclose(found, run_once(ours, images), atol=1e-5)
    with pytest.raises(FileExistsError, match="--overwrite"):
        exporting.export(ours, path, format="saved_model", progress=False)


def quantised(small, monkeypatch, path, **options):
    """The report on `small` in fewer bits, and how far its probabilities are off."""
    model, whole = small

    def write_onnx(model, output, batch_size, source, input_dtype):
        output.write_bytes(whole.read_bytes())

    monkeypatch.setattr(exporting, "write_onnx", write_onnx)
    report = exporting.export(model, path, progress=False, **options)
    images = np.stack([image for image, _ in Phantom(3, 32)])
    found = open_exported(path).predict_on_batch(images)
    off = np.abs(found - np.asarray(run_once(model, images.astype("float32"))))
    assert report.bytes < 0.6 * whole.stat().st_size
    assert off.mean() > 1e-7 and 1e-7 < report.largest_difference < 0.5
    return report, off.mean()


def test_int8_in_onnx(tmp_path, folder, small, monkeypatch):
    path = tmp_path / "model.onnx"
    options = {"quantize": "int8", "calibrate": folder / "images", "max_changed": 1}
    report, off = quantised(
        small, monkeypatch, path, data=folder, max_dice_loss=1, **options
    )
    assert off < 0.02
    assert 0 <= report.dice_before <= 1 and report.images == 1
    kinds = {node.op_type for node in onnx.load(path).graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= kinds
    assert OnnxModel(path).metadata["class_names"] == ["object"]


def test_float16_in_onnx(tmp_path, small, monkeypatch):
    path = tmp_path / "model.onnx"
    _, off = quantised(small, monkeypatch, path, quantize="float16")
    assert off < 0.002


@pytest.mark.skipif(not TENSORFLOW, reason="the conversion is TensorFlow's")
@pytest.mark.parametrize(("quantize", "most"), [("int8", 0.02), ("float16", 0.002)])
def test_quantised_litert(tmp_path, folder, small, monkeypatch, quantize, most):
    path = tmp_path / "model.tflite"
    calibrate = folder if quantize == "int8" else None
    options = {"quantize": quantize, "calibrate": calibrate, "max_changed": 1}
    _, off = quantised(small, monkeypatch, path, **options)
    assert off < most
    assert LiteRTModel(path).metadata["precision"] == quantize


def test_int8_that_changes_too_much(tmp_path, folder, small, monkeypatch):
    path = tmp_path / "model.onnx"
    options = {"quantize": "int8", "calibrate": folder / "images"}
    with pytest.raises(ValueError, match="0.0% of the pixels of another mask. Receiv"):
        quantised(small, monkeypatch, path, max_changed=-1, **options)
    with pytest.raises(ValueError, match="at most -1 less. Received: .*Dice of 0"):
        quantised(small, monkeypatch, path, data=folder, max_dice_loss=-1, **options)
    assert {x.name for x in tmp_path.iterdir()} == {"set"}


def test_gates_in_float32(tmp_path, model, exported, folder):
    path = tmp_path / "model.onnx"
    path.write_bytes(exported[0].read_bytes())
    images = np.stack([image[:32, :32] for image, _ in Folder(folder)])
    gates = quantize_onnx(path, "int8", images.astype("float32"))
    assert gates == tuple(f"attention_{x}" for x in range(4))
    nodes = onnx.load(path).graph.node
    of_gates = [x for x in nodes if "attention_" in x.name and x.op_type == "Conv"]
    assert of_gates
    others = {x.output[0]: x.op_type for x in nodes}
    for node in of_gates:
        assert others.get(node.input[1]) != "DequantizeLinear"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"quantize": "int8"}, "--calibrate FOLDER. for int8"),
        ({"calibrate": "photos"}, "--calibrate FOLDER. for int8"),
        ({"quantize": "int4"}, "int8 or float16"),
        ({"quantize": "int8", "calibrate": "empty"}, "Found none"),
        ({"quantize": "int8", "calibrate": "few"}, "at least 10 images.*: 9 in"),
        ({"quantize": "int8", "calibrate": "deep"}, "calibrate on .*images of 8 bits"),
        ({"quantize": "int8", "calibrate": "text"}, "calibrate on .*3.png"),
        ({"format": "litert"}, "of a .tflite file"),
    ],
)
def test_unfit_to_quantise(tmp_path, monkeypatch, model, options, message):
    """Said before the model is converted."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(exporting, "write_onnx", None)
    for name, count in (("empty", 0), ("few", 9), ("deep", 10), ("text", 10)):
        Path(name).mkdir()
        for index in range(count):
            pixels = np.full((32, 32, 3), 100, "uint8")
            if name == "deep":
                cv2.imwrite(f"{name}/{index}.png", 256 * pixels.astype("uint16"))
            else:
                cv2.imwrite(f"{name}/{index}.png", pixels)
    Path("text/3.png").write_text("no image")
    with pytest.raises(ValueError, match=message):
        exporting.export(model, "model.onnx", progress=False, **options)
    assert not list(tmp_path.glob("model*"))


@pytest.mark.skipif(not TENSORFLOW, reason="the conversion is TensorFlow's")
@pytest.mark.parametrize(
    ("name", "quantize"), [("model.onnx", "int8"), ("model.tflite", None)]
)
def test_uint8_images(tmp_path, folder, small, name, quantize):
    """Pixels as cameras have them give what their floats give."""
    ours, _ = small
    path = tmp_path / name
    exporting.export(
        ours,
        path,
        quantize=quantize,
        calibrate=folder if quantize else None,
        max_changed=1,
        input_dtype="uint8",
        progress=False,
    )
    theirs = open_exported(path)
    assert theirs.input_dtype == "uint8"
    images = np.stack([image for image, _ in Phantom(3, 32)])
    found = theirs.predict_on_batch(images)
    # Other numbers are clipped as the network does it, and rounded.
    others = np.where(images == 255, 300, images - 0.4)
    np.testing.assert_array_equal(theirs.predict_on_batch(others), found)
    off = np.abs(found - run_once(ours, images.astype("float32")))
    assert off.mean() < 0.02 if quantize else off.max() < 1e-5


def test_unfit_input_dtype(tmp_path, model):
    path = tmp_path / "model.onnx"
    with pytest.raises(ValueError, match="float32 or uint8.*'int8'"):
        exporting.export(model, path, input_dtype="int8")
    ct = PAMUNet((32, 32, 1), expansion=1, input_range=(-200, 250))
    with pytest.raises(ValueError, match="0 to 255 .* takes -200 to 250"):
        exporting.export(ct, path, input_dtype="uint8")


def test_int8_of_any_size(tmp_path, model):
    options = {"quantize": "int8", "calibrate": tmp_path, "size": (None, None)}
    with pytest.raises(ValueError, match="Expected a size .--size. for int8"):
        exporting.export(model, tmp_path / "model.onnx", **options)


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
        exporting.export(model, path, score_activation="tanh")
    with pytest.raises(ValueError, match="arguments of MobileUNet.*score_activation"):
        other = MobileUNet((32, 32, 3))
        exporting.export(other, path, score_activation="first_order")
    assert not path.exists()


def test_other_results_are_not_kept(tmp_path, converts):
    other = PAMUNet((32, 32, 3), expansion=1, attention=None)
    path = tmp_path / "model.onnx"
    path.write_text("the old one")
    with pytest.raises(ValueError, match="Nothing was written"):
        exporting.export(other, path, overwrite=True, progress=False)
    assert path.read_text() == "the old one"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(not TENSORFLOW, reason="compiles one more network")
def test_report(rng, exported):
    other = PAMUNet((32, 32, 3), expansion=1, attention=None)
    theirs = OnnxModel(exported[0])
    images = rng.integers(0, 256, (3, 32, 32, 3), "uint8")
    masks = rng.integers(0, 2, (3, 32, 32), "uint8")
    report = exporting.compare(other, theirs, [*zip(images, masks)])
    one, two = (model.predict_on_batch(images) for model in (other, theirs))
    found = [x[..., 0] > 0.5 for x in (one, two)]
    changed = np.count_nonzero(found[0] != found[1])
    assert 0 < changed == report["changed_pixels"]
    assert report["largest_difference"] == pytest.approx(np.abs(one - two).max(), 1e-4)
    assert (report["images"], report["pixels"]) == (3, 3 * 32 * 32)
    for name, mask in zip(("dice_before", "dice_after"), found):
        both = (mask & masks).sum(axis=(1, 2))
        sizes = mask.sum(axis=(1, 2)) + masks.sum(axis=(1, 2))
        assert report[name] == pytest.approx(np.mean(2 * both / sizes))


@pytest.mark.skipif(not TENSORFLOW, reason="the conversion is TensorFlow's")
def test_operation_that_onnx_lacks(tmp_path, monkeypatch):
    def call(self, inputs, reference):
        return keras.ops.erfinv(inputs / 1e9)

    model = make((32, 32, 3), attention=None)
    monkeypatch.setattr(CropLike, "call", call)
    with pytest.raises(ValueError, match="Erfinv"):
        exporting.export(model, tmp_path / "model.onnx", progress=False)
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
    monkeypatch.setattr(conversion, "CONVERT", code)
    with pytest.raises(ValueError, match=message):
        exporting.export(model, tmp_path / "model.onnx", progress=False)
    assert not list(tmp_path.iterdir())


def test_unfit_outputs(tmp_path, model):
    with pytest.raises(
        ValueError, match="name of an .onnx file.* Received: .*model, format=None"
    ):
        exporting.export(model, tmp_path / "model")
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="can be written.*file .File exists"):
        exporting.export(model, tmp_path / "file" / "model.onnx")


def test_missing_requirements(tmp_path, monkeypatch, model):
    monkeypatch.setattr(conversion, "find_spec", lambda name: None)
    with pytest.raises(
        ModuleNotFoundError, match=r"pip install .\.\[export,tensorflow"
    ):
        exporting.export(model, tmp_path / "model.onnx")


def test_part_of_the_data(folder, tmp_path, model):
    with pytest.raises(ValueError, match="subset='all'"):
        exporting.export(model, tmp_path / "model.onnx", data=folder, subset="all")


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
    assert OnnxModel(path).input_dtype == "float32"
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
from keras_pamunet.models import conversion

signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
conversion.CONVERT = "import os, time; os.kill(os.getppid(), 15); time.sleep(60)"
conversion.keras.backend.backend = lambda: "another"
from keras_pamunet.exporting import export
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
