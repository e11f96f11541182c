"""The page in a real Chromium, beside what prediction in Python finds."""

import gzip
import io
import os
import time
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from keras_pamunet import choices
from keras_pamunet.data import Phantom
from keras_pamunet.inference.images import predict_images
from keras_pamunet.inference.onnx_model import OnnxModel
from keras_pamunet.inference.volumes import predict_volumes
from web.e2e.conftest import opened, served

DATA = Path(os.environ.get("KERAS_PAMUNET_DATA", "shared/data"))
# Of the pixels of a mask, those that may differ: another decoder, other sums.
SHARE = 0.001
DONE = "#list li[data-state=done]"


def photograph(path, index=0, size=(300, 340), **options):
    """A drawn one, as a camera's file."""
    image, _ = Phantom(9, max(size))[index]
    Image.fromarray(image[: size[0], : size[1]]).save(path, **options)
    return path


def choose(page, *paths):
    page.set_input_files("#files", [str(path) for path in paths])


def wait_for(page, count, selector=DONE):
    page.wait_for_function(
        "([selector, count]) => document.querySelectorAll(selector).length === count",
        arg=[selector, count],
    )


def saved(page, button):
    with page.expect_download() as download:
        page.click(button)
    return Path(download.value.path()).read_bytes(), download.value.suggested_filename


def model(site, name):
    return OnnxModel(site / f"models/{name}.onnx")


@pytest.mark.parametrize("flips", [True, False])
@pytest.mark.parametrize(
    "name, options",
    [
        ("photo.jpg", {"quality": 92}),
        ("photo.png", {}),
        ("small.webp", {"size": (90, 200), "lossless": True}),
        ("turned.jpg", {"exif": Image.Exif(), "quality": 92}),
    ],
)
def test_photograph(page, site, tmp_path, name, options, flips):
    """The same mask as that of `predict`, and the same row in the table."""
    if "exif" in options:
        options["exif"][0x0112] = 6
    path = photograph(tmp_path / name, **options)
    page.set_checked("#flips", flips)
    choose(page, path)
    wait_for(page, 1)
    mask, file = saved(page, "#save-one")
    predicted = predict_images(
        model(site, choices.PHOTOGRAPHS),
        path,
        tmp_path / "found",
        flips=flips,
        progress=False,
    )
    ours = np.asarray(Image.open(predicted.written[0]))
    theirs = np.asarray(Image.open(io.BytesIO(mask)))
    assert file == f"{path.stem}_mask.png"
    assert theirs.shape == ours.shape and set(np.unique(theirs)) == {0, 255}
    assert np.mean(theirs != ours) <= SHARE
    table = saved(page, "#save-table")[0].decode().splitlines()
    expected = (tmp_path / "found/results.csv").read_text().splitlines()
    assert table[0] == expected[0]
    total, truth = (
        dict(zip(table[0].split(","), x[1].split(","))) for x in (table, expected)
    )
    assert abs(float(total["percent"]) - float(truth["percent"])) <= 100 * SHARE


def ct(path):
    """30 slices of a scan if there is one, else drawn ones; stored front to back."""
    scan = DATA / "liver-ct/ircad-volume-17/ct_17.nii.gz"
    if scan.is_file():
        image = nibabel.load(scan)
        middle = image.shape[2] // 2
        image = image.slicer[::2, ::2, middle - 15 : middle + 15]
        hu, affine = np.asarray(image.dataobj), image.affine
    else:
        y, x, z = np.ogrid[-1:1:96j, -1:1:112j, -1:1:30j]
        hu = np.where(x**2 + y**2 + 0 * z < 0.8, 20, -1000)
        hu = np.where((x + 0.4) ** 2 + y**2 + z**2 / 4 < 0.15, 120, hu)
        hu = hu + np.random.default_rng(0).normal(0, 15, hu.shape)
        affine = np.diag([-3.1, -3.3, 4.7, 1])
    affine = affine @ [
        [1, 0.02, 0, 3.3],
        [-0.02, 1, 0, 7.7],
        [0, 0, 1, 1.1],
        [0, 0, 0, 1],
    ]
    image = nibabel.Nifti1Image(np.rint(hu).astype("int16"), affine)
    image.set_qform(affine, 1, strip_shears=True)
    image.set_sform(affine, 2)
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = b"a name that stays here"
    image.to_filename(path)
    return path


def test_volume(page, site, tmp_path):
    """Byte for byte the file that `predict` writes: header, affine and labels."""
    path = ct(tmp_path / "ct.nii.gz")
    choose(page, path)
    wait_for(page, 1)
    mask, file = saved(page, "#save-one")
    predicted = predict_volumes(
        model(site, choices.VOLUMES),
        path,
        tmp_path / "found",
        preview=False,
        largest=True,
        progress=False,
    )
    expected = gzip.decompress(predicted.written[0].read_bytes())
    theirs = gzip.decompress(mask)
    offset = int(nibabel.load(predicted.written[0]).dataobj.offset)
    assert file == "ct_mask.nii.gz"
    assert theirs[:offset] == expected[:offset] and len(theirs) == len(expected)
    ours, other = (np.frombuffer(x[offset:], "uint8") for x in (expected, theirs))
    assert ours.any() and np.mean(ours != other) <= SHARE
    print(f"volume: {np.count_nonzero(ours != other)} of {ours.size} voxels differ")
    header = (tmp_path / "found/results.csv").read_text().splitlines()
    table = saved(page, "#save-table")[0].decode().splitlines()
    assert table[0] == header[0] and len(table) == len(header) == 3


def test_first_mask(browser, address, tmp_path):
    """Time from the choice of a file to its mask, the model's download in it."""
    path = photograph(tmp_path / "photo.png", size=(256, 256))
    with opened(browser, address) as page:
        start = time.perf_counter()
        choose(page, path)
        wait_for(page, 1)
        print(f"first mask: {time.perf_counter() - start:.2f} s")
        threads = page.evaluate("crossOriginIsolated && navigator.hardwareConcurrency")
        assert threads
