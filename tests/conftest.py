import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_pamunet.data import Phantom

HERE = Path(__file__).parent
DATA = Path(os.environ.get("KERAS_PAMUNET_DATA", HERE.parents[1] / "shared" / "data"))


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
