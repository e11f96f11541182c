import json
import os
import shutil

import numpy as np
import pytest
import tifffile
from PIL import Image

from keras_pamunet.data import Folder, Phantom, Resized, check, examine
from keras_pamunet.data.pairs import Pairs


def damage_truncated(folder):
    path = folder / "images/case 03.jpg"
    path.write_bytes(path.read_bytes()[:-200])


def damage_no_image(folder):
    (folder / "images/case 03.jpg").write_text("no image")


def damage_mask_size(folder):
    Image.fromarray(np.zeros((9, 9), "uint8")).save(folder / "masks/case 03.png")


def damage_grey_mask(folder):
    values = np.arange(40, dtype="uint8") * 6 * np.ones((39, 1), "uint8")
    Image.fromarray(values).save(folder / "masks/case 03.png")


def damage_labels(folder):
    Image.fromarray(np.eye(39, 40, dtype="uint8") * 2).save(
        folder / "masks/case 03.png"
    )


def damage_third_value(folder):
    values = np.eye(39, 40, dtype="uint8")
    values[-1] = 255
    Image.fromarray(values).save(folder / "masks/case 03.png")


def damage_nan_mask(folder):
    values = np.full((39, 40), np.nan, "float32")
    (folder / "masks/case 03.png").unlink()
    Image.fromarray(values).save(folder / "masks/case 03.tif")


def damage_coloured_mask(folder):
    values = np.zeros((39, 40, 3), "uint8")
    values[0, 0] = (255, 0, 0)
    Image.fromarray(values).save(folder / "masks/case 03.png")


def damage_channels(folder):
    (folder / "images/case 03.jpg").unlink()
    pixels = np.zeros((39, 40, 5), "uint8")
    tifffile.imwrite(folder / "images/case 03.tif", pixels, planarconfig="contig")


def damage_nan(folder):
    (folder / "images/case 03.jpg").unlink()
    values = np.zeros((39, 40), "float32")
    values[2, 3] = np.nan
    Image.fromarray(values).save(folder / "images/case 03.tif")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damage_truncated, "truncated"),
        (damage_no_image, "no JPEG, PNG"),
        (damage_mask_size, "9 x 9 pixels. Received: 40 x 39 pixels"),
        (damage_grey_mask, "two values.*Received: 40 values"),
        (damage_labels, "two values.*Received: 2 values \\(0, 2\\)"),
        (damage_third_value, "two values.*Received: 3 values \\(0, 1, 255\\)"),
        (damage_nan_mask, "two values.*Received: 1 values \\(nan\\)"),
        (damage_coloured_mask, "mask of several colours"),
        (damage_channels, "3 channels. Received: 5 channels"),
        (damage_nan, "Received: 1 NaN"),
    ],
)
def test_unfit_pairs(folder, damage, message):
    damage(folder)
    pairs = Folder(folder)
    with pytest.raises(ValueError, match=f"(?s)1 of 12 pairs.*{message}") as error:
        check([pairs], progress=False)
    assert "case 03" in str(error.value)
    with pytest.raises(ValueError, match=message):
        pairs[3]


def test_empty_mask_warns(folder):
    Image.fromarray(np.zeros((39, 40), "uint8")).save(folder / "masks/case 03.png")
    with pytest.warns(UserWarning, match="1 of 12 masks are empty: case 03"):
        check([Folder(folder)], progress=False)


def test_goes_on_after_an_error(folder):
    for name, text in (("00.jpg", "no image"), ("05.png", ""), ("11.png", "x")):
        (folder / "images" / f"case {name}").write_text(text)
    report = examine([Folder(folder, channels=3)], progress=False)
    assert len(report["errors"]) == 3 and report["pairs"] == 12
    for name, error in zip(("00", "05", "11"), report["errors"]):
        assert f"case {name}" in error
    assert sum(report["sizes"].values()) == sum(report["foreground"].values()) == 9


def test_every_image_has_the_range(folder):
    deep = np.arange(39 * 40 * 3, dtype="uint16").reshape(39, 40, 3)
    small = np.linspace(0, 1, 39 * 40 * 3, dtype="float32").reshape(39, 40, 3)
    for name, pixels in (("05", deep), ("07", small), ("09", -small)):
        next((folder / "images").glob(f"case {name}.*")).unlink()
        tifffile.imwrite(folder / f"images/case {name}.tif", pixels, photometric="rgb")
    assert not examine([Folder(folder)], progress=False)["errors"]
    errors = examine([Folder(folder)], False, input_range=(0, 255))["errors"]
    for error, (name, message) in zip(
        errors, (("05", "8 bits"), ("07", "Multiply"), ("09", "no negative"))
    ):
        assert error.startswith(f"case {name}: ") and message in error
    with pytest.raises(ValueError, match="(?s)3 of 12 pairs.*case 05: Expected"):
        check([Folder(folder)], False, (0, 255))
    errors = examine([Folder(folder)], False, input_range=(0, 1))["errors"]
    assert len(errors) == 11  # All but that of 0 to 1.


def test_errors_of_any_kind_have_the_name():
    class Bad(Listed):
        def read(self, index):
            if index == 0:
                raise KeyError("pixels")
            image, mask = super().read(index)
            return image, 255 * mask if index == 1 else mask

    errors = examine([Bad(*[np.zeros((9, 9, 1), "uint8")] * 3)], False)["errors"]
    assert errors == [
        "image 0: KeyError 'pixels'",
        "image 1: Expected labels from 0 to 1. Received: 255 to 255",
    ]


def test_truncated_tiff(folder):
    path = folder / "images/case 05.tif"
    tifffile.imwrite(path, np.ones((39, 40, 3), "uint8"), photometric="rgb")
    path.write_bytes(path.read_bytes()[:-500])
    (folder / "images/case 05.png").unlink()
    (folder / "images/case 06.jpg").write_text("no image")
    errors = examine([Folder(folder)], progress=False)["errors"]
    assert [name in error for name, error in zip(("05.tif", "06.jpg"), errors)] == [
        True,
        True,
    ]


def test_names_that_are_no_utf8(folder):
    for part in ("images", "masks"):
        new = os.fsencode(folder / part) + b"/f\xfc.png"
        os.rename(os.fsencode(folder / part / "case 01.png"), new)
    (folder / "images/case 02.png").write_bytes(b"")
    Image.fromarray(np.zeros((39, 40), "uint8")).save(
        os.fsencode(folder) + b"/masks/f\xfc.png", "png"
    )
    report = examine([Folder(folder)], progress=False)
    text = json.dumps(report, ensure_ascii=False)
    assert json.loads(text.encode()) == report
    assert report["empty"] == [r"f\udcfc"] and len(report["errors"]) == 1


def test_report(folder):
    for index, ones in ((3, 0), (4, 20), (6, 1600)):
        values = np.zeros(1600 if index % 2 == 0 else 1560, "uint8")
        values[:ones] = 1
        mask = Image.fromarray(values.reshape(-1, 40))
        mask.save(folder / f"masks/case {index:02}.png")
    report = examine([Folder(folder)], progress=False)
    assert report["errors"] == report["duplicates"] == report["near_duplicates"] == []
    assert report["empty"] == ["case 03"]
    assert report["sizes"] == {"40x40": 6, "39x40": 6}
    shares = [np.mean(mask > 0) for _, mask in Folder(folder)]
    bins = report["foreground"]
    assert bins["0-1 %"] == sum(share < 0.01 for share in shares) == 1
    assert bins["1-2 %"] == sum(0.01 <= share < 0.02 for share in shares) == 1
    assert bins["80-100 %"] == sum(share >= 0.8 for share in shares) == 1
    assert sum(bins.values()) == 12


def test_duplicates(folder):
    for part in ("images", "masks"):
        shutil.copy(folder / part / "case 01.png", folder / part / "case 07.png")
    pairs = Folder(folder)
    assert examine([pairs], False)["duplicates"] == [["case 01", "case 07"]]
    assert examine([pairs], False)["near_duplicates"] == []
    with pytest.warns(UserWarning, match="1 pairs.*are the same: case 01 ~ case 07"):
        check([pairs], progress=False)
    parts = [pairs.select(pairs.names[:5]), pairs.select(pairs.names[5:])]
    with pytest.raises(ValueError, match="the same one in case 01 and case 07"):
        check(parts, progress=False)


class Listed(Pairs):
    """Given images, and masks of ones."""

    num_classes = 1

    def __init__(self, *images, groups=None):
        self.images = {f"image {index}": image for index, image in enumerate(images)}
        self.names = list(self.images)
        self.groups = groups

    def read(self, index, size=None):
        image = self.images[self.names[index]]
        return image, np.ones(image.shape[:2], "uint8")


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
def test_near_duplicates(rng, dtype):
    one, two, three = (image for image, _ in Phantom(3))
    near = np.clip(one + rng.normal(12, 2, one.shape), 0, 255)
    images = [image.astype(dtype) for image in (one, two, three, near)]
    pairs = Listed(*images)
    found = [["image 0", "image 3"]]
    assert examine([pairs], False)["near_duplicates"] == found
    with pytest.warns(UserWarning, match="1 pairs.*look the same: image 0 ~ image 3"):
        check([pairs], progress=False)
    # In two parts they matter; in one of several, or in one volume, they do not.
    for first, expected in ((pairs.names[:2], found), (["image 0", "image 3"], [])):
        rest = [name for name in pairs.names if name not in first]
        parts = [pairs.select(first), pairs.select(rest)]
        assert examine(parts, False)["near_duplicates"] == expected
    volumes = Listed(*images, groups=["a", "b", "b", "a"])
    assert examine([volumes], False)["near_duplicates"] == []
    # Each pair of a subset keeps its own group.
    assert volumes.select(["image 3", "image 1"]).groups == ["a", "b"]


def test_flat_images_are_no_duplicates():
    air = np.zeros((9, 9, 1), "int16")
    report = examine([Listed(air, air), Listed(air)], progress=False)
    assert not report["errors"] and not report["duplicates"]
    assert not report["near_duplicates"]


def test_kvasir_near_duplicates(kvasir):
    """The one pair of Kvasir-SEG that its published split divides."""
    names = ["cju30bmab08bi0835mvlr6e0r", "cju77k828z46w0871r0avuoo9"]
    others = Folder(kvasir).names[:20]
    for size in (None, (128, 128)):
        parts = [Folder(kvasir).select(part) for part in (names[:1], names[1:], others)]
        if size is not None:
            parts = [Resized(part, size) for part in parts]
        report = examine(parts, progress=False)
        assert report["near_duplicates"] == [names] and not report["errors"]
