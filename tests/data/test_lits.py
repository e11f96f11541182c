import os
import subprocess
import sys
import tempfile
from pathlib import Path
from unittest.mock import Mock

import nibabel
import numpy as np
import pytest

from keras_pamunet.data import TfdsSource, Volumes
from keras_pamunet.data.resized import resize_image, resize_mask
from tests.helpers import write_lits

tfds = pytest.importorskip("tensorflow_datasets")
pytest.importorskip("tensorflow")

from keras_pamunet.data.lits import Lits, lits  # noqa: E402

SLICES = [f"volume-{case}/000{z}" for case in (0, 10) for z in range(3)]


class TestLits(tfds.testing.DatasetBuilderTestCase):
    """The checks that TFDS runs on its own builders."""

    DATASET_CLASS = Lits
    BUILDER_CONFIG_NAMES_TO_TEST = ["slices_128"]
    SPLITS = {"train": 6}

    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.EXAMPLE_DIR = folder.name
        write_lits(Path(folder.name))
        super().setUpClass()


class TestLitsVolumes(TestLits):
    BUILDER_CONFIG_NAMES_TO_TEST = ["volumes"]
    SPLITS = {"train": 2}


@pytest.fixture
def manual(tmp_path):
    (tmp_path / "manual").mkdir()
    return tmp_path / "manual"


def prepare(config, manual, **options):
    builder = tfds.builder(
        f"lits/{config}", data_dir=manual.parent / "tfds", file_format="array_record"
    )
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(manual_dir=manual, **options)
    )
    examples = {}
    for example in builder.as_data_source("train"):
        name = example["volume"].decode()
        if "slice" in example:
            name += f"/{example['slice']:04}"
        examples[name] = example
    return examples


def assert_slices(examples, manual):
    pairs = Volumes(manual, num_classes=3)
    assert sorted(examples) == pairs.names == SLICES
    for name, (image, mask) in zip(pairs.names, pairs):
        example = examples[name]
        np.testing.assert_array_equal(example["image"], resize_image(image, (128, 128)))
        np.testing.assert_array_equal(
            example["mask"][..., 0], resize_mask(mask, (128, 128))
        )
        # 12 columns and 10 rows of 0.8 mm.
        np.testing.assert_allclose(example["spacing"], (0.075, 0.0625, 2), rtol=1e-6)


def test_slices(manual, monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)  # It is not needed.
    write_lits(manual)
    assert_slices(prepare("slices_128", manual), manual)
    source = TfdsSource("lits/slices_128", manual.parent / "tfds", num_classes=3)
    assert source.in_hu and source[0][0].dtype == np.int16


def test_labels_of_a_wrong_affine(manual):
    arrays = write_lits(manual)
    path = manual / "segmentation-10.nii.gz"
    labels = np.asarray(nibabel.load(path).dataobj)
    nibabel.Nifti1Image(labels, np.eye(4)).to_filename(path)
    with pytest.warns(UserWarning, match="1 labels have another .*segmentation-10"):
        examples = prepare("volumes", manual)
    for name, (_, labels) in arrays.items():
        np.testing.assert_array_equal(examples[name]["mask"], labels.T)


def test_images_that_are_not_in_hu(manual):
    hu, _ = write_lits(manual)["volume-10"]
    image = nibabel.Nifti1Image((hu + 1024) / 4096, np.diag([-0.8, -0.8, 2, 1]))
    image.to_filename(manual / "volume-10.nii.gz")
    with pytest.raises(ValueError, match="in HU.* in .*volume-10.*undo"):
        prepare("slices_128", manual)


def test_volumes(manual):
    arrays = write_lits(manual)
    hu, labels = arrays["volume-10"]
    padded = hu.astype("int32")
    padded[0] = -(2**31)  # Outside of the scanner's circle; 0 were water.
    image = nibabel.Nifti1Image(padded, np.diag([-0.8, -0.8, 2, 1]))
    image.to_filename(manual / "volume-10.nii.gz")
    arrays["volume-10"] = np.maximum(padded, -(2**15)), labels
    examples = prepare("volumes", manual)
    assert sorted(examples) == sorted(arrays)
    for name, (hu, labels) in arrays.items():
        example = examples[name]
        assert example["image"].dtype == np.int16
        np.testing.assert_array_equal(example["image"], hu.T)
        np.testing.assert_array_equal(example["mask"], labels.T)
        np.testing.assert_allclose(example["spacing"], (0.8, 0.8, 2))


@pytest.mark.filterwarnings("default")  # Beam and what it imports have some.
def test_on_beam(manual, monkeypatch):
    beam = pytest.importorskip("apache_beam")
    create = Mock(wraps=beam.Create)
    monkeypatch.setattr(beam, "Create", create)
    write_lits(manual)
    options = beam.options.pipeline_options.PipelineOptions(["--runner=DirectRunner"])
    assert_slices(prepare("slices_128", manual, beam_options=options), manual)
    assert create.called


def test_interrupted_preparation_starts_again(manual, monkeypatch):
    write_lits(manual)

    def fail(labels, z):
        if z == 1:
            raise KeyboardInterrupt
        return read_labels(labels, z)

    read_labels = lits.read_labels
    with monkeypatch.context() as patch:
        patch.setattr(lits, "read_labels", fail)
        with pytest.raises(KeyboardInterrupt):
            prepare("slices_128", manual)
    prepared = manual.parent / "tfds/lits/slices_128/2.0.0"
    assert not prepared.exists()
    assert_slices(prepare("slices_128", manual), manual)
    assert prepared.exists() and len(list(prepared.parent.iterdir())) == 1


def test_unfit_volume_is_named(manual):
    write_lits(manual)
    path = manual / "segmentation-10.nii.gz"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ValueError, match="Cannot read .*segmentation-10.nii.gz"):
        prepare("slices_128", manual)
    path.unlink()
    with pytest.raises(FileNotFoundError, match="labels of .*volume-10.nii.gz"):
        prepare("slices_128", manual)


def test_reading_needs_no_tensorflow(manual):
    write_lits(manual)
    prepare("slices_128", manual)
    program = """
import sys
import grain
from keras_pamunet.data import lits
import tensorflow_datasets as tfds
source = tfds.data_source("lits/slices_128", data_dir=sys.argv[1], split="train")
assert sum(1 for _ in grain.MapDataset.source(source).to_iter_dataset()) == 6
assert "tensorflow" not in sys.modules
"""
    subprocess.run(
        [sys.executable, "-c", program, str(manual.parent / "tfds")],
        env={**os.environ, "KERAS_BACKEND": "jax"},
        check=True,
    )
