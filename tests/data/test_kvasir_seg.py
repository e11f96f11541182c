import tempfile
from zipfile import ZipFile

import numpy as np
import pytest

from keras_pamunet.data import Folder, Phantom, TfdsSource

tfds = pytest.importorskip("tensorflow_datasets")
kvasir_seg = pytest.importorskip("keras_pamunet.data.kvasir_seg.kvasir_seg")


class TestBuilder(tfds.testing.DatasetBuilderTestCase):
    """The tests that TFDS has for every builder."""

    DATASET_CLASS = kvasir_seg.KvasirSeg
    SPLITS = {"train": 7}
    SKIP_CHECKSUMS = True  # The archive is fetched from where there is a network.

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def examples(cls, kvasir_zip):
        with tempfile.TemporaryDirectory() as folder:
            ZipFile(kvasir_zip / "kvasir-seg.zip").extractall(folder)
            cls.EXAMPLE_DIR = folder
            yield


def prepare(root, manual):
    builder = tfds.builder("kvasir_seg", data_dir=root, file_format="array_record")
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(manual_dir=manual)
    )
    return builder


def test_pairs(tfds_dir, kvasir_zip, tmp_path):
    ZipFile(kvasir_zip / "kvasir-seg.zip").extractall(tmp_path)
    folder = Folder(tmp_path / "Kvasir-SEG")
    images = {name: image for name, (image, _) in zip(folder.names, folder)}
    phantom = Phantom(7, 40)
    masks = {name: mask for name, (_, mask) in zip(phantom.names, phantom)}
    builder = tfds.builder("kvasir_seg", data_dir=tfds_dir)
    examples = list(builder.as_data_source("train"))
    assert {example["name"].decode() for example in examples} == set(phantom.names)
    for example in examples:
        name = example["name"].decode()
        np.testing.assert_array_equal(example["mask"][..., 0], masks[name])
        np.testing.assert_allclose(example["image"], images[name], atol=2)
    assert "Jha" in builder.info.citation
    assert "permission" in builder.info.redistribution_info.license


def test_unpacked_folder(kvasir_zip, tmp_path):
    ZipFile(kvasir_zip / "kvasir-seg.zip").extractall(tmp_path / "manual")
    builder = prepare(tmp_path / "tfds", tmp_path / "manual")
    assert builder.info.splits["train"].num_examples == 7


def test_download(kvasir_zip, tmp_path):
    """With nothing put there by hand the archive is fetched."""

    class Manager:
        @property
        def manual_dir(self):
            raise AssertionError("Manual directory does not exist or is empty")

        def download_and_extract(self, url):
            assert url == "https://datasets.simula.no/downloads/kvasir-seg.zip"
            return tmp_path

    assert kvasir_seg._folder(Manager()) == tmp_path / "Kvasir-SEG"


def test_interrupted_preparation(kvasir_zip, tmp_path, monkeypatch):
    def interrupted(self, folder):
        for number, example in enumerate(generate(self, folder)):
            if number == 3:
                raise KeyboardInterrupt
            yield example

    generate = kvasir_seg.KvasirSeg._generate_examples
    with monkeypatch.context() as patch:
        patch.setattr(kvasir_seg.KvasirSeg, "_generate_examples", interrupted)
        with pytest.raises(KeyboardInterrupt):
            prepare(tmp_path, kvasir_zip)
    with pytest.raises(FileNotFoundError, match="Expected a prepared set"):
        TfdsSource("kvasir_seg", tmp_path)
    prepare(tmp_path, kvasir_zip)
    assert len(TfdsSource("kvasir_seg", tmp_path)) == 7


def test_unfit_pair(kvasir_zip, tmp_path):
    ZipFile(kvasir_zip / "kvasir-seg.zip").extractall(tmp_path / "manual")
    path = tmp_path / "manual/Kvasir-SEG/masks/phantom_0003.jpg"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="phantom_0003"):
        prepare(tmp_path / "tfds", tmp_path / "manual")
    assert not list((tmp_path / "tfds").glob("kvasir_seg/1*"))


def test_real_pairs(kvasir, tmp_path):
    (tmp_path / "Kvasir-SEG").symlink_to(kvasir)
    builder = prepare(tmp_path / "tfds", tmp_path)
    as_stored = {"image": tfds.decode.SkipDecoding()}
    examples = list(builder.as_data_source("train", decoders=as_stored))
    assert len(examples) == 1000
    assert len({example["mask"].shape for example in examples}) == 333
    assert all(example["mask"].any() for example in examples)
    for example in examples:
        path = kvasir / "images" / f"{example['name'].decode()}.jpg"
        assert example["image"] == path.read_bytes()
    names = Folder(kvasir).names[::100]
    pairs = TfdsSource("kvasir_seg", tmp_path / "tfds").select(names)
    for (image, mask), expected in zip(pairs, Folder(kvasir).select(names)):
        np.testing.assert_array_equal(mask, expected[1])
        assert np.abs(image.astype(int) - expected[0]).mean() < 1
