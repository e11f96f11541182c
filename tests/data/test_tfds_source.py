import os
import subprocess
import sys

import numpy as np
import pytest

from keras_pamunet.data import Phantom, TfdsSource, open_source, open_splits

tfds = pytest.importorskip("tensorflow_datasets")

with tfds.core.registered.skip_registration():

    class Slices(tfds.core.GeneratorBasedBuilder):
        """Three slices of each of four volumes, with labels 0 to 2."""

        name = "slices"
        VERSION = tfds.core.Version("1.0.0")
        left_out = None

        def _info(self):
            features = {
                "image": tfds.features.Image(shape=(None, None, 1)),
                "mask": tfds.features.Image(shape=(None, None, 1)),
                "volume": tfds.features.Text(),
                "slice": np.int32,
            }
            features.pop(self.left_out, None)
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(features)
            )

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples()}

        def _generate_examples(self):
            for number in range(12):
                image = np.full((8, 8, 1), number, "uint8")
                example = {
                    "image": image,
                    "mask": image % 3,
                    "volume": f"volume-{number // 3}",
                    "slice": number % 3,
                }
                example.pop(self.left_out, None)
                yield number, example


def test_pairs(tfds_dir):
    pairs, phantom = TfdsSource("kvasir_seg", tfds_dir), Phantom(7, 40)
    assert pairs.names == phantom.names and pairs.channels == 3
    assert pairs.groups is None
    for (image, mask), (expected, expected_mask) in zip(pairs, phantom):
        np.testing.assert_array_equal(mask, expected_mask)
        assert np.abs(image.astype(int) - expected).mean() < 12  # JPEG
    part = pairs.select(["phantom_0004", "phantom_0002"])
    np.testing.assert_array_equal(part[1][0], pairs[2][0])
    with pytest.raises(ValueError, match="Not there: phantom_0009"):
        pairs.select(["phantom_0009"])


def test_volumes(tmp_path):
    Slices(data_dir=tmp_path, file_format="array_record").download_and_prepare()
    pairs = TfdsSource("slices", tmp_path, num_classes=3)
    assert pairs.names[:4] == [
        "volume-0/0000",
        "volume-0/0001",
        "volume-0/0002",
        "volume-1/0000",
    ]
    assert pairs.groups[2:4] == ["volume-0", "volume-1"]
    part = pairs.select(pairs.names[5:2:-1])
    assert part.groups == ["volume-1"] * 3
    image, mask = part[0]
    assert (image == 5).all() and (mask == 2).all() and mask.shape == (8, 8)
    assert (TfdsSource("slices", tmp_path)[2][1] == 1).all()
    with pytest.raises(ValueError, match="from 0 to 1. .*2.* in volume-0/0002"):
        TfdsSource("slices", tmp_path, num_classes=2)[2]


def masks_of(values, dtype, shape):
    """A builder of one pair with a mask of these values, in a row of each."""

    with tfds.core.registered.skip_registration():

        class Masks(tfds.core.GeneratorBasedBuilder):
            name = "masks"
            VERSION = tfds.core.Version("1.0.0")

            def _info(self):
                features = {
                    "image": tfds.features.Image(shape=(None, None, 3)),
                    "mask": tfds.features.Tensor(
                        shape=shape, dtype=np.dtype(dtype).type
                    ),
                    "name": tfds.features.Text(),
                }
                return tfds.core.DatasetInfo(
                    builder=self, features=tfds.features.FeaturesDict(features)
                )

            def _split_generators(self, dl_manager):
                return {"train": self._generate_examples()}

            def _generate_examples(self):
                mask = np.repeat(np.array(values, dtype), 8).reshape(shape)
                image = np.zeros((*mask.shape[:2], 3), "uint8")
                yield 0, {"image": image, "mask": mask, "name": "one"}

    return Masks


@pytest.mark.parametrize("shape", [(3, 8, 1), (3, 8)])
@pytest.mark.parametrize(
    ("values", "dtype", "num_classes", "expected"),
    [
        ([0, 1, 2], "uint8", 1, [0, 1, 1]),  # Organ and tumour.
        ([0, 255, 255], "uint8", 1, [0, 1, 1]),
        ([0, 2, 1], "int32", 3, [0, 2, 1]),
        ([0, 256, 1], "uint16", 3, "from 0 to 2"),
        ([0, -1, 1], "int16", 3, "from 0 to 2"),
        ([0, -1, 1], "int16", 1, "from 0 to 191"),
        ([0, 127, 255], "uint8", 1, "two values"),
        ([0, 0.5, 1], "float32", 3, "from 0 to 2"),
    ],
)
def test_labels(tmp_path, shape, values, dtype, num_classes, expected):
    builder = masks_of(values, dtype, shape)
    builder(data_dir=tmp_path, file_format="array_record").download_and_prepare()
    pairs = TfdsSource("masks", tmp_path, num_classes)
    if isinstance(expected, str):
        with pytest.raises(ValueError, match=f"{expected}.* in one of masks"):
            pairs[0]
    else:
        assert pairs[0][1].dtype == np.uint8
        np.testing.assert_array_equal(pairs[0][1][:, 0], expected)


def test_number_of_classes(tmp_path):
    with pytest.raises(ValueError, match="Expected 1 to 256 classes"):
        TfdsSource("slices", tmp_path, num_classes=300)


def test_unfit_sets(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="(?s)Not there.*download_and_prepare"):
        TfdsSource("kvasir_seg", tmp_path)
    with pytest.raises(ValueError, match="no data set 'nowhere'"):
        TfdsSource("nowhere", tmp_path)
    Slices(data_dir=tmp_path / "tf").download_and_prepare()
    with pytest.raises(ValueError, match="array_record. Received: tfrecord"):
        TfdsSource("slices", tmp_path / "tf")
    monkeypatch.setattr(Slices, "left_out", "slice")
    Slices(data_dir=tmp_path, file_format="array_record").download_and_prepare()
    with pytest.raises(ValueError, match="Received: image, mask, volume$"):
        TfdsSource("slices", tmp_path)
    monkeypatch.setattr("keras_pamunet.data.tfds_source.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install .\.\[data\]"):
        TfdsSource("kvasir_seg", tmp_path)


def test_open(tfds_dir, monkeypatch):
    monkeypatch.setattr("tensorflow_datasets.core.constants.DATA_DIR", str(tfds_dir))
    assert open_source("tfds:kvasir_seg").names == Phantom(7).names
    parts = open_splits("tfds:kvasir_seg")
    assert [len(part) for part in parts.values()] == [5, 1, 1]


def test_reads_without_tensorflow(tfds_dir):
    code = (
        "import sys; from keras_pamunet.data import Resized, open_source, pipeline;"
        "pairs = Resized(open_source('tfds:kvasir_seg'), (32, 32));"
        "images, masks = next(iter(pipeline(pairs, 4)));"
        "assert images.shape == (4, 32, 32, 3) and masks.any();"
        "assert 'tensorflow' not in sys.modules"
    )
    pytest.importorskip("jax")
    environment = {
        **os.environ,
        "KERAS_BACKEND": "jax",
        "TFDS_DATA_DIR": str(tfds_dir),
    }
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
