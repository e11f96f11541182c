"""What is tried: a kind of file, damaged, the public call that reads it, the truth.

Each function of `KINDS` makes the seeds of its kind in a folder, once, and returns a
function of a random generator and an empty folder: one try, whose column and text are
those of `judge`.
"""

import csv
import gzip
import hashlib
import io
import json
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.fuzz import damage, readers, seeds
from tests.fuzz.judge import judge

Try = Callable[[np.random.Generator, Path], tuple[str, str]]


def images(root: Path) -> Try:
    from keras_pamunet.data.folder import read_image

    files = seeds.images()

    def attempt(rng, folder):
        name = [*files][rng.integers(len(files))]
        data = _damaged(rng, files[name])
        path = folder / name
        path.write_bytes(data)

        def fault(found):
            truths = [*readers.pictures(data), *readers.pictures(files[name])]
            if any(readers.same(found, truth) for truth in truths):
                return ""
            others = [(truth.dtype.name, truth.shape) for truth in truths]
            return f"{found.dtype} {found.shape} against {others}"

        return judge(lambda: read_image(path), fault, name)

    return attempt


def masks(root: Path) -> Try:
    from keras_pamunet.data import Folder

    truth, files = seeds.masks()
    picture = seeds.images()["grey.png"]

    def attempt(rng, folder):
        name = [*files][rng.integers(len(files))]
        classes = int(rng.choice([1, 3]))
        data = _damaged(rng, files[name])
        for part, content in (("images", picture), ("masks", data)):
            (folder / part).mkdir()
            (folder / part / name).write_bytes(content)
        (folder / "images" / name).rename(folder / "images" / f"{Path(name).stem}.png")

        def fault(found):
            mask = found[1]
            for pixels in readers.pictures(data):
                # Labels as they are, or two values of any brightness.
                if readers.same(mask[..., None], pixels):
                    return ""
                if any(np.array_equal(mask, x) for x in readers.masks_of(pixels)):
                    return ""
            wrong = np.count_nonzero(mask != truth) if mask.shape == truth.shape else -1
            return wrong and f"{wrong} pixels of {mask.shape}, {classes} classes"

        return judge(lambda: Folder(folder, num_classes=classes)[0], fault, name)

    return attempt


def volumes(root: Path) -> Try:
    from keras_pamunet.data import Volume

    files, whole = seeds.volumes(), {}
    for name, content in files.items():
        (root / f"{name}.nii").write_bytes(content)
        whole[name] = readers.volume(root / f"{name}.nii")["slices"]

    def read(path):
        volume = Volume(path)
        slices = np.stack([volume.slice(z) for z in range(len(volume))])
        mask = volume.to_nifti(np.zeros(slices.shape, "uint8"))
        return slices, volume.spacing, mask

    def attempt(rng, folder):
        name = [*files][rng.integers(len(files))]
        data = files[name]
        if rng.random() < 0.6:
            data = damage.damage_nifti(rng, data)
        elif rng.random() < 0.7:
            data = damage.damage_bytes(rng, data)
        path = folder / f"{name}.nii"
        if rng.random() < 0.5:
            path = folder / f"{name}.nii.gz"
            data = gzip.compress(data, 1)
            if rng.random() < 0.3:
                data = damage.damage_bytes(rng, data)
        path.write_bytes(data)

        def fault(found):
            slices, spacing, mask = found
            try:
                truth = readers.volume(path)
            except Exception as error:
                return f"nibabel cannot read it: {error!r}"
            shapes = slices.shape, mask.shape
            if shapes != (truth["slices"].shape, truth["shape"]):
                return "shape"
            same = slices.shape == whole[name].shape
            scale = max(np.abs(truth["slices"]).max(), 1) * 1e-5
            tests = {
                "voxels": np.allclose(slices, truth["slices"], 1e-5, scale)
                or (same and np.allclose(slices, whole[name], 1e-5, 1e-2)),
                "spacing": np.allclose(spacing, truth["spacing"], 1e-4),
                "affine": np.allclose(mask.affine, truth["affine"], 1e-4, 1e-4),
                "the patient's name": b"NAME OF PATIENT" not in mask.to_bytes(),
                truth["doubt"]: not truth["doubt"],
            }
            return ", ".join(name for name, passed in tests.items() if not passed)

        return judge(lambda: read(path), fault, path.name)

    return attempt


def models(root: Path) -> Try:
    from keras_pamunet.models import load_model

    whole = _network(root).with_suffix(".keras").read_bytes()
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}

    def attempt(rng, folder):
        path = folder / "model.keras"
        path.write_bytes(_damaged_model(rng, root, whole, parts))
        return judge(lambda: load_model(path), lambda x: fault(x, path), path.name)

    def fault(model, path):
        with zipfile.ZipFile(path) as archive:
            return _other_weights(model, archive.read(WEIGHTS))

    return attempt


WEIGHTS = "model.weights.h5"


def _damaged_model(rng, root, whole, parts):
    how = rng.integers(6)
    if how == 0:
        return damage.damage_bytes(rng, whole)
    if how == 1:
        return damage.damage_directory(rng, whole)
    if how == 2:
        weights = damage.damage_bytes(rng, parts[WEIGHTS])
        return damage.replace_member(whole, WEIGHTS, weights)
    if how == 3:
        weights = damage.damage_weights(rng, parts[WEIGHTS])
        return damage.replace_member(whole, WEIGHTS, weights)
    config = parts["config.json"].decode()
    if how == 4:
        config = damage.damage_json(rng, config)
    else:
        config = _odd_arguments(rng, root, config, lambda x: x["config"])
    return damage.replace_member(whole, "config.json", config)


def presets(root: Path) -> Try:
    from keras_pamunet import PAMUNet

    whole = _network(root)

    def attempt(rng, folder):
        shutil.copytree(whole, folder / "preset")
        folder = folder / "preset"
        name = ("config.json", WEIGHTS, "metadata.json")[rng.integers(3)]
        path = folder / name
        if name == WEIGHTS:
            how = (damage.damage_weights, damage.damage_bytes)[rng.integers(2)]
            path.write_bytes(how(rng, path.read_bytes()))
        elif rng.random() < 0.5 and name == "config.json":
            path.write_bytes(_odd_arguments(rng, root, path.read_text(), lambda x: x))
        else:
            path.write_bytes(damage.damage_json(rng, path.read_text("utf-8")))
        if name != "metadata.json" and rng.random() < 0.8:  # As if it were so.
            metadata = json.loads((folder / "metadata.json").read_text())
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            metadata["sha256"][name] = digest
            (folder / "metadata.json").write_text(json.dumps(metadata))
        weights = folder / WEIGHTS
        return judge(
            lambda: PAMUNet.from_preset(folder),
            lambda model: _other_weights(model, weights.read_bytes()),
            folder.name,
        )

    return attempt


# Arguments of other networks, whose weights are not those of the file.
ODD = (
    *(("attention", value) for value in (None, "additive", "self")),
    *(("expansion", value) for value in (2, 6)),
    *(("input_shape", value) for value in ([64, 64, 3], [None, None, 1])),
    *(("num_classes", value) for value in (2, 3)),
    *(("masks", value) for value in ("overlapping", "both")),
)


def _odd_arguments(rng, root, text, arguments):
    """A configuration with another value of one argument of the network."""
    content = json.loads(text)
    held = arguments(content)
    name, value = ODD[rng.integers(len(ODD))]
    if rng.random() < 0.5:
        name = [*held][rng.integers(len(held))]
        value = damage.VALUES[rng.integers(len(damage.VALUES))]
    elif rng.random() < 0.2:  # A model file makes nothing else be read.
        name = "encoder_weights"
        value = ("https://localhost:9/x.h5", str(root / "pipe"))[rng.integers(2)]
    held[name] = value
    return json.dumps(content).encode()


def _network(root):
    """A preset of a small network; beside it the same as a `.keras` file."""
    preset = root / "network"
    if not preset.exists():
        from keras_pamunet import PAMUNet

        model = PAMUNet((32, 32, 3), expansion=1)
        model.save(preset.with_suffix(".keras"))
        model.save_to_preset(preset)
        os.mkfifo(root / "pipe")  # Whoever reads it waits for ever.
    return preset


def _other_weights(model, file):
    """What of a model's weights is not in its HDF5 file, or the other way round."""
    held = sorted(np.asarray(x, "float32").tobytes() for x in model.get_weights())
    truth = readers.weights(file)
    return held != truth and f"{len(held)} arrays, not the {len(truth)} of the file"


def exported(root: Path) -> Try:
    from keras_pamunet.inference.onnx_model import OnnxModel

    whole = seeds.onnx_model()
    pixels = np.random.default_rng(0).uniform(0, 255, (1, 20, 20, 3)).astype("float32")
    scores = pixels @ np.array([[0.01], [-0.02], [0.005]], "float32")
    truth = 1 / (1 + np.exp(-scores))

    def read(path):
        model = OnnxModel(path, threads=1)
        facts = model.num_classes, model.masks, tuple(model.input_range)
        return facts, model.predict_on_batch(pixels)

    def fault(found):
        facts, probabilities = found
        if facts != (1, "exclusive", (0, 255)):
            return f"{facts}"
        return not np.allclose(probabilities, truth, atol=1e-5) and "probabilities"

    def attempt(rng, folder):
        path = folder / "model.onnx"
        path.write_bytes(_damaged(rng, whole))
        return judge(lambda: read(path), fault, path.name, "ONNX")

    return attempt


def splits(root: Path) -> Try:
    from keras_pamunet.data import load_split, open_splits

    whole = json.dumps({part: [f"{part}-{i}" for i in range(3)] for part in PARTS})
    data = root / "data"
    if not data.exists():
        seeds.data_set(data)

    def attempt(rng, folder):
        if rng.random() < 0.5:
            path = folder / "split.json"
            path.write_bytes(damage.damage_json(rng, whole))
            return judge(
                lambda: load_split(path),
                lambda x: x != json.loads(path.read_text("utf-8-sig")) and f"{x}",
                path.name,
            )
        shutil.copytree(data, folder / "data")
        path = folder / "data" / "splits" / "own_train.txt"
        path.write_bytes(damage.damage_bytes(rng, b"case-0\ncase-3\n"))

        def fault(parts):
            names = path.read_text("utf-8-sig").splitlines()
            names = [name.strip() for name in names if name.strip()]
            return parts["train"].names != names and f"{parts['train'].names}"

        return judge(lambda: open_splits(folder / "data", "own"), fault, path.name)

    return attempt


PARTS = ("train", "validation", "test")


def runs(root: Path) -> Try:
    """The folder of a finished run, which `train` reads when called again."""
    from keras_pamunet.training import train
    from tests.helpers import EAGER

    data, whole = root / "data", root / "run"
    call = {"size": 32, "expansion": 1, "attention": None, "epochs": 1}
    call |= {"split": "own", "batch_size": 1, "recipe": EAGER, "progress": False}
    if not whole.exists():
        seeds.data_set(data)
        train(data, whole, **call)
        (whole / "model.keras").rename(root / "run.keras")

    def attempt(rng, folder):
        run = folder / "run"
        shutil.copytree(whole, run, ignore=shutil.ignore_patterns("pictures"))
        (run / "model.keras").symlink_to(root / "run.keras")
        path = run / ("config.json", "metrics.json")[rng.integers(2)]
        path.write_bytes(damage.damage_json(rng, path.read_text("utf-8")))

        def fault(found):
            truth = json.loads((run / "metrics.json").read_text("utf-8-sig"))
            found = found.to_json()
            return found != {name: truth[name] for name in found} and f"{found}"

        return judge(lambda: train(data, run, **call), fault, path.name, run.name)

    return attempt


def searches(root: Path) -> Try:
    """The state of a search by KerasTuner, all of whose trials were refused."""
    from keras_pamunet.tuning import tune

    whole = root / "search"
    call = {"trials": 2, "max_macs": 1, "size": 32, "attention": None, "epochs": 1}
    call = {**call, "search": ("expansion",), "progress": False}

    def read(folder):
        try:
            tune("phantom", folder, **call)
        except ValueError as error:
            if "No trial could be trained" not in str(error):
                raise
        with (folder / "trials.csv").open(newline="", encoding="utf-8") as file:
            return [*csv.DictReader(file)]

    if not whole.exists():
        read(whole)

    def attempt(rng, folder):
        run = folder / "search"
        shutil.copytree(whole, run)
        files = sorted(path for path in (run / "trials").rglob("*.json"))
        path = files[rng.integers(len(files))]
        path.write_bytes(damage.damage_json(rng, path.read_text("utf-8")))
        names = path.name, run.name
        # What KerasTuner draws anew is as good.
        return judge(
            lambda: read(run), lambda rows: len(rows) < 2 and f"{rows}", *names
        )

    return attempt


def records(root: Path) -> Try:
    """The record of the masks in a folder, which `predict` goes on with."""
    from keras_pamunet.inference.images import predict_images

    data, whole = root / "pictures", root / "found"
    if not whole.exists():
        seeds.data_set(data)
        predict_images(Stub(), data / "images", whole, progress=False)
    truth = {path.name: path.read_bytes() for path in whole.glob("*.png")}

    def attempt(rng, folder):
        run = folder / "found"
        shutil.copytree(whole, run)
        path = run / "predictions.json"
        if path.exists():
            path.write_bytes(damage.damage_json(rng, path.read_text("utf-8")))
        (run / f"case-{rng.integers(4)}.png").unlink()

        def fault(_):
            found = {path.name: path.read_bytes() for path in run.glob("*.png")}
            return truth != found and "other masks"

        return judge(
            lambda: predict_images(Stub(), data / "images", run, progress=False),
            fault,
            path.name,
        )

    return attempt


class Stub:
    """A model of any size without Keras: dark pixels are background."""

    input_shape = (None, None, None, 3)
    input_range = (0, 255)
    masks, mirror_axes = "exclusive", (1, 2)
    num_classes = 1
    class_names = ("object",)
    name = origin = "stub"
    fingerprint = "0" * 64
    runtime = {"device": "CPU"}

    def predict_on_batch(self, images):
        return np.asarray(images, "float32").mean(-1, keepdims=True) / 255


def _damaged(rng, data):
    """The bytes damaged, but for one try in twenty."""
    return data if rng.random() < 0.05 else damage.damage_bytes(rng, data)


KINDS: dict[str, Callable[[Path], Try]] = {
    "runs": runs,
    "models": models,
    "presets": presets,
    "searches": searches,
    "volumes": volumes,
    "images": images,
    "masks": masks,
    "splits": splits,
    "onnx": exported,
    "records": records,
}
