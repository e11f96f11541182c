"""What documents and docstrings say to type is typed, on small stand-ins."""

import ast
import doctest
import importlib
import inspect
import json
import os
import re
import shlex
import shutil
from pathlib import Path
from zipfile import ZipFile

import keras
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import keras_pamunet
from keras_pamunet import PAMUNet
from keras_pamunet.cli import app
from keras_pamunet.data import Phantom, splits
from tests.data.test_dicom import write_series
from tests.helpers import write_lits
from tests.inference.test_video import write as write_video

tfds = pytest.importorskip("tensorflow_datasets")

ROOT = Path(__file__).parents[1]
PAGES = {
    str(path.relative_to(ROOT)): path.read_text("utf-8")
    for pattern in ("README.md", "CONTRIBUTING.md", "docs/*.md", "hub/**/*.md")
    for path in sorted(ROOT.glob(pattern))
}
# A block in fences, an indented one, and a command with arguments in a sentence.
BLOCK = re.compile(
    r"^```\w*\n(.*?)^```|((?:^ {4}[^\n]*\n(?:[ \t]*\n)*)+)"
    r"|`(keras-pamunet [\w-]+ [^`]+)`",
    re.M | re.S,
)

# What takes long is cut short, by these means alone.
SHORT_PYTHON = {
    r"\bepochs=\d+": "epochs=1",
    r"\bmax_trials=\d+": "max_trials=1",
    r"\bbatch_size=20": "batch_size=5",
}
SHORT_COMMANDS = {  # The last of an option given twice counts.
    "train": ["--epochs=1", "--size=32"],
    # Not of those that start from weights, or have gates.
    "train anew": ["--epochs=1", "--size=32", "--network=res_unet", "--filters=4"],
    "tune": ["--epochs=1", "--size=32", "--trials=1"],
    "cka": ["--batch-size=5"],
    "benchmark": ["--repeats=1"],
    # Drawn images are not what the presets were made for.
    "export": ["--max-changed=1", "--max-dice-loss=1"],
}
PHANTOMS = 10

# What is not run: how it begins, and why.
NOT_RUN = {
    "python3 -m venv": "the environment is that of the tests",
    "pip install": "the environment is that of the tests",
    "make ": "calls these tests, or measures",
    "KERAS_BACKEND=jax .venv/bin/python -m pytest": "calls these tests",
    "KERAS_DISTRIBUTION_": "waits for another process; tests/test_distribution.py",
    "TF_CONFIG=": "waits for another process; tests/test_distribution.py",
    "export KERAS_BACKEND=": "the back end is that of the tests",
    "python examples/reproduce_tables.py": "trains for days; tests/test_examples.py",
    "python examples/publish_": "trains for hours; tests/test_examples.py",
    "python -m tests.fuzz": "takes its time; tests/fuzz/test_fuzz.py",
    "pamunet_kvasir_seg_paper - pamunet_kvasir_seg:": "is what a command shows",
    "keras-pamunet export --score-activation first_order": "is a part of a command",
    "keras-pamunet tune --chief": "waits for others; tests/test_chief_oracle.py",
    "python -m keras_pamunet.beam": "tests/test_beam.py",
    "keras-pamunet export pamunet_kvasir_seg -o 128.onnx": "measures",
    "keras-pamunet benchmark 128.onnx": "measures",
    "taskset -c 0 keras-pamunet predict": "measures",
    "keras-pamunet predict ct_17.nii.gz --model liver.onnx": "measures",
    "keras-pamunet info MODEL": "MODEL stands for others",
    "keras-pamunet page": "needs Node.js and a browser; web/e2e",
}

# Run folders that a page takes as given.
RUNS = {
    "docs/analysis.md": ["a", "b"],
    "docs/evaluate.md": ["mine", "a", "b"],
    "docs/network.md": ["kvasir-seg-default"],
    "docs/predict.md": ["mine", "liver"],
    "keras_pamunet.inference.volumes": ["liver"],
}
# Side of the images that a page or module takes as given.
SIDES = {
    "README.md": 128,
    "docs/export.md": 128,
    "docs/tuning.md": 64,
    "hub/pamunet_kvasir_seg/README.md": 128,
    "hub/pamunet_kvasir_seg_256/README.md": 256,
    "hub/pamunet_kvasir_seg_paper/README.md": 128,
    "keras_pamunet.models.mobile_unet": 128,
    "keras_pamunet.models.pamunet": 128,
    "keras_pamunet.tuning": 64,
}

PACKAGE = Path(keras_pamunet.__path__[0])
MODULES = [
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
    for path in sorted(PACKAGE.rglob("*.py"))
    if ">>> " in path.read_text("utf-8")
]


def given(name):
    """What a page's or module's blocks take as given, by its name."""
    side = SIDES.get(name, 32)
    names = {
        "images": np.stack([image for image, _ in Phantom(5, side)]),
        "masks": np.stack([mask for _, mask in Phantom(5, side)])[..., np.newaxis],
    }
    if name == "docs/data.md":
        names["model"] = PAMUNet.from_preset("pamunet_kvasir_seg")
    elif name == "docs/volumes.md":
        truth, found = np.zeros((2, 4, 5, 6), bool)
        truth[1:3, 1:4, 1:4] = found[1:3, 1:4, 2:5] = True
        names |= {"truth": truth, "found": found, "spacing": (0.8, 0.8, 2)}
        names |= {"distances": [1.5, 2.5], "masks": np.zeros((61, 10, 12), "uint8")}
    elif name == "keras_pamunet.data.tfds_source":
        importlib.import_module("keras_pamunet.data.kvasir_seg")
        tfds.builder("kvasir_seg", file_format="array_record").download_and_prepare()
    return names


def write_pairs(folder, to_mask=lambda mask: 255 * mask):
    """A data set of drawn images, and its masks by themselves."""
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    for name, (image, mask) in zip(Phantom(PHANTOMS, 40).names, Phantom(PHANTOMS, 40)):
        Image.fromarray(image).save(folder / f"images/{name}.jpg")
        Image.fromarray(to_mask(mask)).save(folder / f"masks/{name}.png")


def run_command(line):
    """One line of a shell, on the back end of the tests."""
    line = re.sub("^KERAS_BACKEND=[a-z]+ ", "", line)
    program, *arguments = shlex.split(line, comments=True)
    assert program == "keras-pamunet", line
    kind = arguments[0]
    if kind == "train" and not {"--weights", "--attention"} & {*arguments}:
        kind = "train anew"
    done = CliRunner().invoke(app, [*arguments, *SHORT_COMMANDS.get(kind, [])])
    error = done.exception if not isinstance(done.exception, SystemExit) else None
    assert done.exit_code == 0, f"{line}\n{done.output}{error!r}"


@pytest.fixture(scope="module")
def stand_ins(tmp_path_factory):
    """A folder of all that documents name, small."""
    root = tmp_path_factory.mktemp("stand_ins")
    for name in ("photos", "my_photos", "kvasir-seg"):
        write_pairs(root / name)
    for name in ("cells", "livers"):
        write_pairs(root / name, lambda mask: mask + mask * np.tri(40, dtype="uint8"))
    shutil.copytree(root / "my_photos/masks", root / "their_masks")
    shutil.copytree(root / "photos/images", root / "new")
    image = Image.fromarray(Phantom(1, 300)[0][0])
    for name in ("photo.jpg", "image.jpg", "photos/1.jpg", "photos/1_left.png"):
        image.save(root / name)
    write_video(root / "scope.mp4", count=3)

    write_lits(root / "scans", cases="0123")
    hu = np.random.default_rng(0).integers(-1024, 400, (4, 10, 12))
    for folder, number in (("study", 3), ("study", 4), ("patients/a", 1)):
        write_series(root / folder, hu, number, f"1.2.{number}")
    shutil.copytree(root / "scans", root / "new_scans")
    for path in (root / "new_scans").glob("segmentation*"):
        path.unlink()
    shutil.copy(root / "scans/volume-0.nii.gz", root / "ct.nii.gz")
    write_lits(root / "long", "0", (12, 10, 61))
    shutil.copy(root / "long/volume-0.nii.gz", root)
    for part, kind in (("imagesTr", "volume"), ("labelsTr", "segmentation")):
        (root / "Task03_Liver" / part).mkdir(parents=True)
        for case in "0123":
            source = root / f"scans/{kind}-{case}.nii.gz"
            shutil.copy(source, root / f"Task03_Liver/{part}/liver_{case}.nii.gz")

    # Where TFDS looks for what it need not download.
    shutil.copytree(root / "scans", root / "data/downloads/manual")
    manual = root / "tensorflow_datasets/downloads/manual"
    manual.mkdir(parents=True)
    with ZipFile(manual / "kvasir-seg.zip", "w") as archive:
        for path in (root / "kvasir-seg").glob("*/*"):
            name = f"Kvasir-SEG/{path.parent.name}/{path.stem}.jpg"
            with Image.open(path) as image, archive.open(name, "w") as file:
                image.convert("RGB").save(file, "jpeg")
    names = Phantom(PHANTOMS).names
    published = {"train": names[:8], "validation": names[8:9], "test": names[9:]}
    (root / "published/splits").mkdir(parents=True)
    path = root / "published/splits/effisegnet.json"
    path.write_text(json.dumps(published), "utf-8")
    (root / "published/near_duplicates.json").write_text("[]", "utf-8")

    encoder = keras.applications.MobileNetV2(weights=None, include_top=False)
    encoder.save_weights(root / "mobilenet_v2.weights.h5")
    return root


@pytest.fixture(scope="module")
def trained(stand_ins, tmp_path_factory):
    """A run folder of photographs, and one of CT."""
    root = tmp_path_factory.mktemp("runs")
    for name, data, options in (
        ("mine", "photos", "--attention additive --expansion 1"),
        ("liver", "Task03_Liver", ""),
    ):
        paths = f"--data {stand_ins / data} --output {root / name}"
        run_command(f"keras-pamunet train {paths} {options}")
    return root


@pytest.fixture
def place(request, stand_ins, tmp_path, monkeypatch):
    """Goes to a copy of the stand-ins; returns how to get the run folders there."""
    folder = tmp_path / "reader"
    shutil.copytree(stand_ins, folder, copy_function=os.link)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(splits, "KVASIR_SEG", folder / "published")
    data_dir = str(folder / "tensorflow_datasets")
    monkeypatch.setattr(tfds.core.constants, "DATA_DIR", data_dir)
    monkeypatch.setattr(Phantom.__init__, "__defaults__", (PHANTOMS, 64, 0))

    def prepare(name):
        for run in RUNS.get(name, []):
            trained = request.getfixturevalue("trained")
            source = trained / ("liver" if run == "liver" else "mine")
            shutil.copytree(source, folder / "runs" / run)
        return given(name)

    return prepare


@pytest.fixture(scope="module", autouse=True)
def eager():
    """No graphs under TensorFlow, which take longer to make than a few steps."""
    tensorflow = pytest.importorskip("tensorflow")  # To export, at least.
    tensorflow.config.run_functions_eagerly(True)
    keras.utils.disable_interactive_logging()
    yield
    keras.utils.enable_interactive_logging()
    tensorflow.config.run_functions_eagerly(False)


def blocks(text):
    """The Python blocks and the lines for a shell, in their order."""
    for fenced, indented, inline in BLOCK.findall(text):
        block = inspect.cleandoc("\n" + (fenced or indented or inline))
        try:
            ast.parse(block)
            yield "python", block
        except SyntaxError:
            block = " ".join(inline.split()) or block.replace("\\\n", " ")
            for line in filter(None, block.splitlines()):
                yield "shell", line


def shorter(code):
    for pattern, replacement in SHORT_PYTHON.items():
        code = re.sub(pattern, replacement, code)
    return code


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("page", PAGES)
def test_page(page, place):
    """From its first block to its last, as a reader would."""
    names = place(page)
    for kind, text in blocks(PAGES[page]):
        if kind == "python":
            exec(compile(shorter(text), f"a block of {page}", "exec"), names)
        elif not text.startswith(tuple(NOT_RUN)):
            run_command(text)


@pytest.fixture(scope="module")
def model():
    return PAMUNet((32, 32, 3), expansion=1, attention="additive")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", MODULES)
def test_docstrings(name, place, model):
    """All show what they give; their numbers may be left out."""
    module = importlib.import_module(name)
    names = {"keras": keras, "keras_pamunet": keras_pamunet, "np": np, "model": model}
    names |= place(name)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for example in doctest.DocTestFinder().find(module, extraglobs=names):
        for line in example.examples:
            line.source = shorter(line.source)
        shown = []
        assert not runner.run(example, out=shown.append).failed, "".join(shown)
    assert runner.tries


def test_what_is_not_run():
    """It is in the documents still."""
    lines = [line for page in PAGES.values() for _, line in blocks(page)]
    for beginning in NOT_RUN:
        assert any(line.startswith(beginning) for line in lines), beginning


@pytest.mark.parametrize(
    "line", ["keras-pamunet info --nosuch", "keras-pamunet nosuch", "nosuch", "rm a"]
)
def test_what_cannot_be_run(line):
    with pytest.raises(AssertionError, match=line.split()[-1]):
        run_command(line)
