import atexit
import importlib
import io
import os
import shutil
import tempfile
from pathlib import Path
from zipfile import ZipFile

# The tests' processes compile the same functions under JAX, most of them small: each
# once is enough. JAX reads it as it is imported.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp()
    atexit.register(
        shutil.rmtree, os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True
    )
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
# TensorFlow 2.21's oneDNN overwrites memory, at least with AVX-512, in the gradients of
# convolutions of fewer than 16 filters and odd batches, which only tests have.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import keras
import numpy as np
import pytest
from PIL import Image

from keras_pamunet.data import Phantom

HERE = Path(__file__).parent
LONG = {
    "test_chief_oracle.py",
    "test_distribution.py",
    "test_docs.py",
    "test_examples.py",
    "training",
}
DATA = Path(os.environ.get("KERAS_PAMUNET_DATA", HERE.parents[1] / "shared" / "data"))


def pytest_collection_modifyitems(items):
    """Long ones come first: one at the end would have one process work alone."""
    items.sort(key=lambda item: not LONG & {*item.path.parts})


@pytest.fixture(autouse=True)
def seed():
    """A test that fails shall fail again."""
    keras.utils.set_random_seed(0)


@pytest.fixture
def kvasir():
    """The folder of Kvasir-SEG."""
    folder = DATA / "kvasir-seg"
    if not folder.is_dir():
        pytest.skip(f"needs Kvasir-SEG in {folder}; set KERAS_PAMUNET_DATA")
    return folder


@pytest.fixture
def folder(tmp_path):
    """A data set of twelve small images, PNG and JPEG, of two sizes."""
    root = tmp_path / "set"
    for part in ("images", "masks"):
        (root / part).mkdir(parents=True)
    for index in range(12):
        image, mask = Phantom(12, 40)[index]
        image, mask = image[: 40 - index % 2], mask[: 40 - index % 2]
        suffix = "jpg" if index % 3 == 0 else "png"
        Image.fromarray(image).save(root / "images" / f"case {index:02}.{suffix}")
        Image.fromarray(255 * mask).save(root / "masks" / f"case {index:02}.png")
    return root


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def kvasir_zip(tmp_path_factory):
    """A folder with a zip like that of Kvasir-SEG, of seven drawn images."""
    root = tmp_path_factory.mktemp("manual")
    phantom = Phantom(7, 40)
    with ZipFile(root / "kvasir-seg.zip", "w") as archive:
        for name, (image, mask) in zip(phantom.names, phantom):
            for part, pixels in (("images", image), ("masks", 255 * mask)):
                jpeg = io.BytesIO()
                pixels = np.broadcast_to(pixels.reshape(40, 40, -1), (40, 40, 3))
                Image.fromarray(pixels).save(jpeg, "jpeg")
                archive.writestr(f"Kvasir-SEG/{part}/{name}.jpg", jpeg.getvalue())
    return root


@pytest.fixture(scope="session")
def tfds_dir(tmp_path_factory, kvasir_zip):
    """A folder where TFDS has prepared those seven as `kvasir_seg`."""
    tfds = pytest.importorskip("tensorflow_datasets")
    importlib.import_module("keras_pamunet.data.kvasir_seg")  # Tells TFDS of it.
    root = tmp_path_factory.mktemp("tfds")
    tfds.builder(
        "kvasir_seg", data_dir=root, file_format="array_record"
    ).download_and_prepare(
        download_config=tfds.download.DownloadConfig(manual_dir=kvasir_zip)
    )
    return root
