import os

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from keras_pamunet.data import Folder, Phantom
from keras_pamunet.show import show


@pytest.mark.parametrize("dtype", ["int8", "int16", "uint32", "int32", "float32"])
@pytest.mark.parametrize("channels", [1, 2, 5])
def test_any_kind_of_image(tmp_path, rng, dtype, channels):
    for part in ("images", "masks"):
        (tmp_path / part).mkdir()
    pixels = rng.integers(-100 if dtype[0] != "u" else 0, 100, (48, 64, channels))
    options = {"photometric": "minisblack"}
    if channels > 1:
        options["planarconfig"] = "contig"
    tifffile.imwrite(
        tmp_path / "images/a.tif", pixels.squeeze().astype(dtype), **options
    )
    mask = np.zeros((48, 64), "uint8")
    mask[5:20, 5:30] = 255
    cv2.imwrite(str(tmp_path / "masks/a.png"), mask)
    show(Folder(tmp_path, channels=channels), tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as sheet:
        panels = np.asarray(sheet)[:256, :341]
    assert panels.min() < 30 and panels.max() > 225


def test_names_that_are_no_utf8(folder, tmp_path):
    for part in ("images", "masks"):
        new = os.fsencode(folder / part) + b"/f\xfc.png"
        os.rename(os.fsencode(folder / part / "case 01.png"), new)
    show(Folder(folder), tmp_path / "sheet.png", count=12)
    assert (tmp_path / "sheet.png").exists()


def test_never_over_an_input(folder, tmp_path):
    for path in (folder / "images/case 01.png", folder / "masks/case 01.png"):
        before = path.read_bytes()
        for output in (path, tmp_path / "link.png"):
            if output != path:
                output.unlink(missing_ok=True)
                output.hardlink_to(path)
            with pytest.raises(ValueError, match="Expected another file"):
                show(Folder(folder), output)
        assert path.read_bytes() == before


def test_unfit_calls(folder, tmp_path):
    with pytest.raises(ValueError, match=r"Expected a picture.*sheet\.xyz"):
        show(Folder(folder), tmp_path / "sheet.xyz")
    with pytest.raises(ValueError, match="Expected pairs"):
        show(Phantom(0), tmp_path / "sheet.png")
    assert not list(tmp_path.glob("sheet*"))
