"""Masks of CT volumes, on a few small ones."""

import csv
import gzip
import json
import tempfile
import tracemalloc
from functools import partial
from pathlib import Path

import keras
import nibabel
import numpy as np
import pytest
import scipy.ndimage
from PIL import Image
from typer.testing import CliRunner

from keras_pamunet import PAMUNet
from keras_pamunet.cli import app
from keras_pamunet.data import Volume
from keras_pamunet.data.nifti import is_nifti
from keras_pamunet.data.resized import resize_image
from keras_pamunet.inference import volumes
from keras_pamunet.inference.incomplete import Incomplete
from keras_pamunet.inference.predictor import segment
from keras_pamunet.inference.volumes import predict_volume
from keras_pamunet.models import load_model
from keras_pamunet.palette import COLOURS
from tests.conftest import DATA
from tests.data.test_volume import AFFINE, OBLIQUE, assert_lies_on, restore

SHAPE = (12, 10, 5)


class Brightness:
    """What inference asks of a model; brighter is likelier, more so at the right."""

    class_names, mirror_axes = ("object",), (1, 2)
    runtime = {"device": "CPU"}

    def __init__(self, channels=1, num_classes=1, input_range=(-200, 250)):
        self.input_shape = (None, 32, 32, channels)
        self.masks, self.num_classes = "exclusive", num_classes
        if num_classes > 1:
            self.class_names = ("liver", "tumour")
        self.input_range = input_range
        self.origin = f"brightness of {channels} channels, {num_classes}"
        self.fingerprint = f"{self.origin}, {input_range}"

    def predict_on_batch(self, images):
        assert images.shape[1:] == self.input_shape[1:]
        low, high = self.input_range
        grey = np.clip((images.astype("float32") - low) / (high - low), 0, 1)
        slope = np.linspace(0.8, 1, 32, dtype="float32")
        grey = grey[..., -1:] * slope[:, np.newaxis]
        if self.num_classes == 1:
            return grey
        return np.concatenate([0.6 - grey, 0 * grey + 0.3, grey - 0.2], axis=-1)


def predict_volumes(model, inputs, output, preview=False, **options):
    """Masks that were written, and those that were kept."""
    options.setdefault("progress", False)
    done = volumes.predict_volumes(model, inputs, output, preview=preview, **options)
    return done.written, done.kept


@pytest.fixture
def model():
    return Brightness()


@pytest.fixture
def hu(rng):
    """HU in the order "LPS", with some structure, and air in a corner."""
    noise = rng.normal(size=(4, 4, 5)).repeat(3, 0).repeat(3, 1)[:12, :10]
    noise[0, 0] = -5
    return (200 * noise).astype("int16")


@pytest.fixture
def scans(tmp_path, hu):
    """A folder of three volumes, the second damaged."""
    folder = tmp_path / "scans"
    folder.mkdir()
    for name in ("a.nii", "b.nii.gz", "c.nii.gz"):
        nibabel.Nifti1Image(hu, AFFINE).to_filename(folder / name)
    path = folder / "b.nii.gz"
    path.write_bytes(path.read_bytes()[:-200])
    return folder


def slice_by_slice(model, hu, flips=True):
    """The labels in the order of `hu`, by the way of images."""
    images = hu[..., np.newaxis].astype("float32").repeat(model.input_shape[-1], -1)
    slices = [
        segment(model, images[:, :, z].swapaxes(0, 1), flips=flips).mask
        for z in range(5)
    ]
    return np.stack(slices).T


def test_mask_lies_on_its_image():
    image = np.zeros((48, 80, 3), "uint8")
    image[12:36, 20:60] = 255
    model = Brightness(3, input_range=(0, 255))
    mask = segment(model, image, flips=False).mask
    assert mask.shape == (48, 80) and mask[14:34, 23:57].all()
    for outside in (mask[:10], mask[38:], mask[:, :17], mask[:, 63:]):
        assert not outside.any()


@pytest.mark.parametrize("affine", [AFFINE, OBLIQUE], ids=["straight", "oblique"])
@pytest.mark.parametrize("axes", ["RAS", "LPS", "LAS", "PIR"])
def test_orientations(model, hu, axes, affine):
    expected = slice_by_slice(model, hu)
    assert 0.1 < expected.mean() < 0.9
    image = restore(nibabel.Nifti1Image(hu, affine), axes)
    mask = predict_volume(model, image)
    assert_lies_on(mask, image)
    labels = Volume(mask)
    found = np.stack([labels.slice(z) for z in range(5)]).T
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 5])
def test_batches(model, hu, batch_size):
    image = nibabel.Nifti1Image(hu, AFFINE)
    expected = slice_by_slice(model, hu, False)
    for source in (image, image.to_bytes()):
        mask = predict_volume(model, source, batch_size=batch_size, flips=False)
        np.testing.assert_array_equal(np.asarray(mask.dataobj), expected)


def test_kinds_of_models(hu):
    image = nibabel.Nifti1Image(hu, AFFINE)
    colours = Brightness(3, 3, (-500, 700))
    mask = np.asarray(predict_volume(colours, image).dataobj)
    expected = slice_by_slice(colours, hu)
    assert len(np.unique(expected)) == 3
    np.testing.assert_array_equal(mask, expected)
    with pytest.raises(ValueError, match="1 or 3 channels.*one of 2 channels"):
        predict_volume(Brightness(2), image)
    # A preset for photographs, say.
    with pytest.raises(ValueError, match=r"window of HU.*values of \(0, 255\)"):
        predict_volume(Brightness(input_range=(0, 255)), image)


class Overlapping(Brightness):
    """A tumour (2) is what is brightest in its liver (1)."""

    class_names = ("liver", "tumour")

    def __init__(self):
        super().__init__()
        self.masks, self.num_classes = "overlapping", 2

    def predict_on_batch(self, images):
        grey = Brightness().predict_on_batch(images)
        return np.concatenate([grey, grey - 0.2], axis=-1)


def test_default_model(tmp_path, hu):
    """The preset for volumes, of whose finds the largest is kept."""
    nibabel.Nifti1Image(hu, AFFINE).to_filename(tmp_path / "ct.nii")
    command = ["predict", str(tmp_path / "ct.nii"), "-o", str(tmp_path / "out")]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert "Model: pamunet_liver_ct, for liver in CT" in done.output
    record = json.loads((tmp_path / "out/predictions.json").read_text())
    settings = record["masks"]["ct.nii"]["settings"]
    assert settings["largest"] and settings["min_volume"] == 0
    assert not (tmp_path / "out/report.json").exists()
    options = ["--no-largest", "--overwrite", "--report"]
    done = CliRunner().invoke(app, [*command, *options])
    assert "report.json" in done.output
    (row,) = json.loads((tmp_path / "out/report.json").read_text())["masks"]
    assert row["made"]["keras"] == keras.__version__
    assert keras.backend.backend() in row["made"] and row["made"]["device"]
    record = json.loads((tmp_path / "out/predictions.json").read_text())
    assert not record["masks"]["ct.nii"]["settings"]["largest"]


def test_largest_and_statistics(tmp_path, scans, model):
    """Numbers are those of the mask that is written, also of one that is kept."""
    scans = [scans / "a.nii", scans / "c.nii.gz"]
    options = {"largest": True, "statistics": True, "threshold": 0.65}
    _, kept = predict_volumes(model, scans[:1], tmp_path / "out", **options)
    assert not kept
    _, kept = predict_volumes(model, scans, tmp_path / "out", **options)
    assert [path.name for path in kept] == ["a.nii"]
    with (tmp_path / "out/statistics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["mask"] for row in rows] == ["a.nii", "c.nii.gz"]
    voxel_ml = abs(np.linalg.det(AFFINE[:3, :3])) / 1000
    mask = np.asarray(nibabel.load(tmp_path / "out/a.nii").dataobj)
    for row in rows:
        assert row["class"] == "object" and row["objects"] == "1"
        assert float(row["volume_ml"]) == pytest.approx(mask.sum() * voxel_ml, abs=1e-4)
    other = tmp_path / "out/statistics/other.json"
    other.write_text("{}")
    with pytest.raises(ValueError, match="statistics of a mask in .*other.json"):
        predict_volumes(model, scans, tmp_path / "out", **options)
    predict_volumes(model, scans[0], tmp_path / "all", threshold=0.65)
    whole = np.asarray(nibabel.load(tmp_path / "all/a.nii").dataobj)
    assert 0 < mask.sum() < whole.sum() and (mask <= whole).all()
    assert len(read_rows(tmp_path / "all")) > 2
    with pytest.raises(ValueError, match="these settings"):
        predict_volumes(model, scans, tmp_path / "out")


def test_holes_are_filled_first(tmp_path, model):
    """A ring is smaller than the block beside it, and larger once it is filled."""
    hu = np.full((32, 32, 2), -1000, "int16")
    hu[2:16, 2:16] = hu[18:30, 18:30] = 250
    hu[5:13, 5:13] = -200
    nibabel.Nifti1Image(hu, AFFINE).to_filename(tmp_path / "ct.nii")
    masks = []
    for filled in (False, True):
        out = tmp_path / str(filled)
        options = {"largest": True, "flips": False, "fill_holes": filled}
        predict_volumes(model, tmp_path / "ct.nii", out, **options)
        masks.append(np.asarray(nibabel.load(out / "ct.nii").dataobj))
        total, row = read_rows(out)
        assert int(row["size"]) == masks[-1].sum() == int(total["size"])
    expected = np.zeros((2, *hu.shape), "uint8")
    expected[0, 18:30, 18:30] = expected[1, 2:16, 2:16] = 1
    np.testing.assert_array_equal(masks, expected)
    # The mean is over all voxels, those that were filled, too.
    across = np.linspace(0.8, 1, 32)[2:16, np.newaxis]
    mean = np.where(hu[2:16, 2:16, 0] > 0, across, 0).mean()
    assert float(row["mean_probability"]) == pytest.approx(mean, abs=1e-3)


def test_overlapping_classes(tmp_path, hu):
    """A tumour that is left out leaves its liver behind."""
    nibabel.Nifti1Image(hu, AFFINE).to_filename(tmp_path / "ct.nii")
    found = {}
    for min_volume in (0, 0.1):
        out = tmp_path / str(min_volume)
        predict_volumes(
            Overlapping(),
            tmp_path / "ct.nii",
            out,
            class_masks=True,
            min_volume=min_volume,
        )
        found[min_volume] = [
            np.asarray(nibabel.load(out / name / "ct.nii").dataobj)
            for name in (".", "classes/liver", "classes/tumour")
        ]
    labels, liver, tumour = found[0]
    np.testing.assert_array_equal(liver, slice_by_slice(Brightness(), hu))
    assert 0 < tumour.sum() < liver.sum() and not tumour[liver == 0].any()
    np.testing.assert_array_equal(labels, np.where(tumour, 2, liver))
    voxel_ml = abs(np.linalg.det(AFFINE[:3, :3])) / 1000
    for index in (1, 2):
        # Corners join in a slice, and faces across slices.
        structure = np.ones((3, 3, 3))
        structure[..., ::2] = 0
        structure[1, 1] = 1
        parts, _ = scipy.ndimage.label(found[0][index], structure)
        sizes = np.bincount(parts.ravel()) * voxel_ml
        large = (sizes >= 0.1)[parts] & (parts > 0)
        assert index == 1 or 0 < large.sum() < tumour.sum()
        np.testing.assert_array_equal(found[0.1][index], large)
    labels, liver, tumour = found[0.1]
    np.testing.assert_array_equal(labels, np.where(tumour, 2, liver))
    total, *rows = read_rows(tmp_path / "0.1")
    assert int(total["size"]) == np.count_nonzero(labels)  # Not the sum of both.
    sizes = {name: 0 for name in ("liver", "tumour")}
    for row in rows:
        sizes[row["class"]] += int(row["size"])
    assert sizes == {"liver": liver.sum(), "tumour": tumour.sum()}


def test_volumes_that_are_not_in_hu(tmp_path, hu, model):
    """Models of HU refuse them, others see what they were made for."""
    scans = tmp_path / "scans"
    scans.mkdir()
    for name, voxels in (("plus", hu + np.int16(1024)), ("right", hu)):
        nibabel.Nifti1Image(voxels, AFFINE).to_filename(scans / f"{name}.nii")
    for seeing_hu in (model, Brightness(input_range=(-200, 250))):
        with pytest.raises(ValueError, match="in HU.*Nothing is below 0"):
            predict_volume(seeing_hu, scans / "plus.nii")
        masks = tmp_path / str(seeing_hu.input_range)
        with pytest.raises(ValueError, match="(?s)1 of 2 .*plus.nii: .*in HU"):
            predict_volumes(seeing_hu, scans, masks, progress=False)
        assert [path.name for path in masks.glob("*.nii")] == ["right.nii"]
    stored = Brightness(input_range=(0, 4095))
    assert predict_volume(stored, scans / "plus.nii").shape == SHAPE


def test_network(hu, tmp_path, monkeypatch):
    """One of Keras, from memory and from its file."""
    keras.utils.set_random_seed(0)
    network = PAMUNet((32, 32, 1), 1, 1, None, input_range=(-200, 250))
    # Pronounced masks: half the pixels, and none of them close to the threshold.
    slices = hu.T[..., np.newaxis].astype("float32")
    slices = np.stack([resize_image(image, (32, 32)) for image in slices])
    found = np.asarray(network.predict_on_batch(slices))
    head = network.get_layer("logits")
    head.bias.assign([-20 * np.median(np.log(found / (1 - found)))])
    head.kernel.assign(20 * head.kernel)
    path = tmp_path / "model.keras"
    network.save(path)
    expected = slice_by_slice(network, hu)
    assert 0.05 < expected.mean() < 0.95
    image = nibabel.Nifti1Image(hu, AFFINE)
    image.to_filename(tmp_path / "ct.nii")
    predict_volumes(load_model(path), tmp_path / "ct.nii", tmp_path / "m.nii")
    for mask in (
        predict_volume(network, image),
        predict_volume(load_model(path), image),
        nibabel.load(tmp_path / "m.nii"),
    ):
        np.testing.assert_array_equal(np.asarray(mask.dataobj), expected)


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_command_line(tmp_path, scans, hu, model, monkeypatch):
    monkeypatch.setattr("keras_pamunet.models.load_model", lambda name: model)
    before = {path: path.read_bytes() for path in scans.iterdir()}
    masks = tmp_path / "masks"
    command = ("predict", scans, "--model", "any", "-o", masks)
    command = (*command, "-q")
    done = run(*command)
    assert done.exit_code == 1
    assert "1 of 3 volumes" in done.stderr and "b.nii.gz: Cannot read" in done.stderr
    assert "2 new mask(s) in" in done.stdout and "b.nii.gz" not in done.stdout
    assert "│ a.nii " in done.stdout and "│ c.nii.gz " in done.stdout
    assert sorted(path.name for path in masks.glob("*.nii*")) == ["a.nii", "c.nii.gz"]
    assert sorted(path.name for path in masks.glob("previews/*")) == ["a.png", "c.png"]
    expected = slice_by_slice(model, hu)
    for name in ("a.nii", "c.nii.gz"):
        found = np.asarray(nibabel.load(masks / name).dataobj)
        np.testing.assert_array_equal(found, expected)
    (masks / "a.nii").write_text("an older mask")
    (scans / "b.nii.gz").unlink()
    (scans / "b.nii.gz").symlink_to("nowhere")
    done = run(*command)
    assert done.exit_code == 1 and "b.nii.gz: Expected a NIfTI" in done.stderr
    (scans / "b.nii.gz").unlink()
    (scans / "b.nii.gz").write_bytes(before[scans / "c.nii.gz"])
    done = run(*command)
    assert done.exit_code == 0, done.output
    assert "2 mask(s) were there" in done.output and "1 new mask(s) in" in done.output
    assert (masks / "a.nii").read_text() == "an older mask"
    done = run(*command, "--overwrite")
    assert "3 new mask(s) in" in done.output and "were there" not in done.output
    assert nibabel.load(masks / "a.nii").shape == SHAPE
    assert (scans / "a.nii").read_bytes() == before[scans / "a.nii"]


def test_options_for_the_other_kind(tmp_path, folder, scans, model, monkeypatch):
    monkeypatch.setattr("keras_pamunet.models.load_model", lambda name: model)
    command = ("predict", "--model", "any", "-o", tmp_path / "masks", "-q")
    for source, option, message in (
        (scans, "--min-area=3", "Expected --min-volume for volumes"),
        (folder / "images", "--min-volume=3", "Expected NIfTI volumes"),
    ):
        done = run(*command, source, option)
        assert done.exit_code == 1 and message in done.stderr
    assert not (tmp_path / "masks").exists()


def test_damaged_headers(tmp_path, scans, hu, model):
    """Each is named, whatever its header claims, and the others are done."""
    content = (scans / "a.nii").read_bytes()
    for name, start, damage in (
        ("offset.nii", 108, b"\0\0\x7f\x7f"),
        ("size.nii", 42, 3 * b"\xff\x7f"),
    ):
        damaged = content[:start] + damage + content[start + len(damage) :]
        (scans / name).write_bytes(damaged)
    with pytest.raises(Incomplete, match="(?s)3 of 5.*b.nii.gz.*offset.*size") as error:
        predict_volumes(model, scans, tmp_path / "masks", progress=False)
    predicted = error.value.predicted
    assert [path.name for path in predicted.written] == ["a.nii", "c.nii.gz"]
    assert {row["mask"] for row in predicted.rows} == {"a.nii", "c.nii.gz"}
    found = sorted(path.name for path in (tmp_path / "masks").glob("*.nii*"))
    assert found == ["a.nii", "c.nii.gz"]


def test_one_file(tmp_path, scans, model):
    source, mask = scans / "a.nii", tmp_path / "new" / "mask.nii.gz"
    assert predict_volumes(model, source, mask, progress=False) == ([mask], [])
    assert_lies_on(nibabel.load(mask), nibabel.load(source))
    before = mask.read_bytes()
    assert predict_volumes(model, source, mask, progress=False) == ([], [mask])
    for other, options in ((scans / "b.nii.gz", {}), (source, {"flips": False})):
        with pytest.raises(ValueError, match="mask.nii.gz, made .*--overwrite"):
            predict_volumes(model, other, mask, progress=False, **options)
    assert mask.read_bytes() == before
    overwritten = predict_volumes(
        model, source, mask, overwrite=True, progress=False, flips=False
    )
    assert overwritten == ([mask], []) and mask.read_bytes() != before
    for output in (scans, source):
        with pytest.raises(ValueError, match="another (place|folder)"):
            predict_volumes(model, source, output, overwrite=True, progress=False)
    with pytest.raises(ValueError, match="another folder"):
        predict_volumes(model, scans, scans, overwrite=True, progress=False)


def test_numbers(tmp_path, scans, model):
    """ml, slices and boxes of all objects, as SciPy finds them in the mask."""
    masks = tmp_path / "masks"
    predict_volumes(model, scans / "a.nii", masks, probabilities=True)
    found = np.asarray(nibabel.load(masks / "a.nii").dataobj)
    probabilities = nibabel.load(masks / "probabilities" / "a.nii").get_fdata()
    np.testing.assert_array_equal(probabilities > 0.5, found == 1)
    total, *rows = read_rows(masks)
    ml = abs(np.linalg.det(AFFINE[:3, :3])) / 1000
    parts, count = scipy.ndimage.label(found, np.ones((3, 3, 3)))
    assert total["kind"] == "volume" and int(total["object"]) == len(rows) == count
    assert float(total["volume_ml"]) == pytest.approx(found.sum() * ml, abs=1e-3)
    expected = []
    for part, (x, y, z) in enumerate(scipy.ndimage.find_objects(parts), 1):
        mean = probabilities[parts == part].mean()
        expected.append(
            (int((parts == part).sum()), x.start, y.start, z.start + 1, z.stop, mean)
        )
    keys = ("size", "x", "y", "first_slice", "last_slice", "mean_probability")
    listed = [tuple(float(row[key]) for key in keys) for row in rows]
    np.testing.assert_allclose(sorted(listed), sorted(expected), atol=1e-3)

    largest = max(float(row["volume_ml"]) for row in rows)
    predict_volumes(model, scans / "a.nii", tmp_path / "b", min_volume=0.99 * largest)
    assert [float(row["volume_ml"]) for row in read_rows(tmp_path / "b")] == [
        largest
    ] * 2


def read_rows(folder):
    with (folder / "results.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_memory(tmp_path, model):
    """Does not grow with the slices: neither voxels nor labels are in it."""
    hu = np.full((128, 128, 400), -1000, "int16")
    hu[40:80, 40:80] = 200
    image = restore(nibabel.Nifti1Image(hu, AFFINE), "PIR")
    image.to_filename(tmp_path / "ct.nii.gz")
    tracemalloc.start()
    try:
        mask = tmp_path / "mask.nii.gz"
        predict_volumes(model, tmp_path / "ct.nii.gz", mask, progress=False)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert nibabel.load(mask).shape == image.shape
    assert peak < hu.size / 2


def test_preview(tmp_path, scans, hu, model):
    masks = tmp_path / "masks"
    predict_volumes(model, scans / "a.nii", masks, preview=True, progress=False)
    expected = slice_by_slice(model, hu)
    sheet = np.asarray(Image.open(masks / "previews/a.png"))
    slices = np.flatnonzero(expected.any(axis=(0, 1)))
    sheet = sheet[-(-(-len(slices) // 2) * (320 + 22)) :]  # Below the planes.
    width = round(320 * 12 / 10)
    found = (sheet[:320, width + 4 : 2 * width + 4] == COLOURS[1]).all(axis=-1)
    assert abs(found.mean() - expected[..., slices[0]].mean()) < 0.03


def test_links_are_not_written_through(tmp_path, scans, model):
    """Neither one beside the output nor one in its place."""
    masks = tmp_path / "masks"
    (masks / "previews").mkdir(parents=True)
    for name in (".partial-a.nii", "previews/.partial-a.png", "previews/a.png"):
        own = tmp_path / f"own {Path(name).name}"
        own.write_text("the user's")
        (masks / name).symlink_to(own)
    options = {"preview": True, "progress": False}
    with pytest.raises(ValueError, match="in the place of those.*a.png"):
        predict_volumes(model, scans / "a.nii", masks, **options)
    predict_volumes(model, scans / "a.nii", masks, overwrite=True, **options)
    for path in tmp_path.glob("own *"):
        assert path.read_text() == "the user's"
    assert (masks / "previews/a.png").read_bytes().startswith(b"\x89PNG")
    assert not (masks / "previews/a.png").is_symlink()


def test_endings_in_any_case(tmp_path, hu, model):
    """And names in which rich would look for markup."""
    scans, masks = tmp_path / "scans [1]", tmp_path / "masks"
    scans.mkdir()
    content = nibabel.Nifti1Image(hu, AFFINE).to_bytes()
    names = ["ONE.NII", "TWO.NII.GZ", "four [bold].nii", "three.Nii.gz"]
    for name in names:
        packed = gzip.compress(content) if name.lower().endswith("gz") else content
        (scans / name).write_bytes(packed)
    expected = slice_by_slice(model, hu)
    written, _ = predict_volumes(model, scans, masks)
    assert sorted(path.name for path in masks.glob("*.*") if is_nifti(path)) == names
    for path in written:
        assert (path.read_bytes()[:2] == b"\x1f\x8b") == ("gz" in path.name.lower())
        labels = Volume(path)
        found = np.stack([labels.slice(z) for z in range(5)]).T
        np.testing.assert_array_equal(found, expected)
    single = tmp_path / "mask.Nii.Gz"
    assert predict_volumes(model, scans / names[3], single)[0] == [single]
    assert single.read_bytes() == (masks / "three.Nii.gz").read_bytes()


class Failing(Brightness):
    """Fails at some scans by what a file may cause, or by its own fault."""

    def __init__(self, error):
        super().__init__()
        self.error, self.calls = error, 0

    def predict_on_batch(self, images):
        self.calls += 1
        if self.calls == 1:
            raise self.error
        return super().predict_on_batch(images)


def test_what_stops_a_folder(tmp_path, scans):
    """What a volume causes does not, what the model does would happen again."""
    for error in (MemoryError(), OSError(5, "Input/output error")):
        masks = tmp_path / type(error).__name__
        kind = "MemoryError|Input/output"
        with pytest.raises(ValueError, match=f"2 of 3 .*\n.*a.nii: .*({kind})"):
            predict_volumes(Failing(error), scans, masks, progress=False)
        assert [path.name for path in masks.glob("*.nii*")] == ["c.nii.gz"]
    model = Failing(ValueError("Expected probabilities. Received: NaN"))
    with pytest.raises(ValueError, match="^Expected prob.*NaN"):
        predict_volumes(model, scans, tmp_path / "none", progress=False)
    assert model.calls == 1


def test_interrupted_write(tmp_path, scans, model, monkeypatch):
    def fail(image, file):
        file.write(b"half a mask")
        raise KeyboardInterrupt

    monkeypatch.setattr(nibabel.Nifti1Image, "to_stream", fail)
    with pytest.raises(KeyboardInterrupt):
        predict_volumes(model, scans, tmp_path / "masks", progress=False)
    names = sorted(path.name for path in (tmp_path / "masks").iterdir())
    assert names == ["predictions.json", "results.csv"]


def test_bad_places(tmp_path, scans, model, monkeypatch):
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    # No volume is read before the output is known to be good.
    monkeypatch.setattr(volumes, "Volume", None)
    for source, output, message in (
        (scans, tmp_path / "file" / "masks", "can be written.*masks .Not a directory"),
        (scans, tmp_path / "file", "can be written.*file .File exists"),
        (tmp_path / "none", tmp_path / "masks", "Not there: .*none"),
    ):
        with pytest.raises(OSError, match=message):
            predict_volumes(model, source, output, progress=False)
    with pytest.raises(ValueError, match="in .*empty. Found none"):
        predict_volumes(model, tmp_path / "empty", tmp_path / "masks", progress=False)
    with pytest.raises(ValueError, match="Expected a folder .*Received: .*mask.nii"):
        predict_volumes(model, scans, tmp_path / "mask.nii", progress=False)


@pytest.mark.parametrize("shape", [(12, 10, 5, 2), (12, 10, 0)])
def test_unfit_volumes(model, shape):
    image = nibabel.Nifti1Image(np.zeros(shape, "int16"), AFFINE)
    with pytest.raises(ValueError, match="a volume of three axes. Received: shape"):
        predict_volume(model, image)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_full_disk(tmp_path, model, monkeypatch):
    full = partial(open, "/dev/full", "r+b", buffering=0)
    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    image = nibabel.Nifti1Image(np.zeros((12, 10, 5), "int16"), AFFINE)
    with pytest.raises(OSError, match="temporary files is full: .*TMPDIR"):
        predict_volume(model, image)
    nibabel.save(image, tmp_path / "ct.nii.gz")
    with pytest.raises(ValueError, match="read .*ct.nii.gz: .*is full: .*TMPDIR"):
        predict_volume(model, tmp_path / "ct.nii.gz")


def test_real_volume(model):
    path = next(iter((DATA / "small-ct").glob("*ct*.nii*")), None)
    if path is None:
        pytest.skip(f"needs small-ct in {DATA}; set KERAS_PAMUNET_DATA")
    assert_lies_on(predict_volume(model, path, flips=False), nibabel.load(path))
