import struct
import unicodedata

import numpy as np
import pytest
from PIL import ExifTags, Image

from keras_pamunet.data import Folder, Phantom


def test_folder(folder):
    pairs = Folder(folder)
    assert pairs.names == [f"case {index:02}" for index in range(12)]
    image, mask = pairs[1]
    expected, expected_mask = Phantom(12, 40)[1]
    np.testing.assert_array_equal(image, expected[:39])
    np.testing.assert_array_equal(mask, expected_mask[:39])
    part = pairs.select(["case 03", "case 01"])
    np.testing.assert_array_equal(part[1][0], image)
    assert len(part) == 2 and part.channels == 3


def test_folder_of_labels(folder):
    labels = np.arange(40 * 40, dtype="uint8").reshape(40, 40) % 3
    Image.fromarray(labels).save(folder / "masks/case 00.png")
    np.testing.assert_array_equal(Folder(folder, num_classes=3)[0][1], labels)


def test_grey_and_deep_images(folder):
    values = np.arange(1600, dtype="uint16").reshape(40, 40)
    Image.fromarray(values).save(folder / "images/case 02.png")
    image, _ = Folder(folder, channels=1)[2]
    np.testing.assert_array_equal(image[..., 0], values)


def test_byte_order(folder):
    values = np.arange(1600, dtype=">u2").reshape(40, 40)
    (folder / "images/case 02.png").unlink()
    header = b"MM\0*\0\0\0\x08\0\x08"  # A TIFF of big-endian numbers.
    entries = [(256, 40), (257, 40), (258, 16), (259, 1), (262, 1), (273, 110)]
    entries += [(278, 40), (279, 3200)]
    for tag, value in entries:
        header += struct.pack(">HHII", tag, 4, 1, value)
    data = (header + bytes(4)).ljust(110, b"\0") + values.tobytes()
    (folder / "images/case 02.tif").write_bytes(data)
    image, _ = Folder(folder, channels=1)[2]
    assert image.dtype.isnative
    np.testing.assert_array_equal(image[..., 0], values)


@pytest.mark.parametrize(("mode", "suffix"), [("P", "png"), ("CMYK", "tif")])
def test_colours_stored_otherwise(folder, mode, suffix):
    expected = np.zeros((40, 40, 3), "uint8")
    expected[10:] = (255, 0, 0)
    (folder / "images/case 02.png").unlink()
    path = folder / f"images/case 02.{suffix}"
    Image.fromarray(expected).convert(mode).save(path)
    np.testing.assert_array_equal(Folder(folder)[2][0], expected)


def test_names_of_any_letters(folder):
    expected = Folder(folder)[1]
    for part in ("images", "masks"):
        (folder / part / "case 01.png").rename(folder / part / "Fall ü 腸.png")
    pairs = Folder(folder)
    (found,) = pairs.select(["Fall ü 腸"])
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])


def test_rotated_by_exif(folder):
    path = folder / "images/case 03.jpg"
    image = np.asarray(Image.open(path))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6  # To be shown turned clockwise.
    Image.fromarray(np.rot90(image)).save(path, exif=exif, quality=100)
    turned, _ = Folder(folder)[3]
    assert turned.shape == image.shape
    assert np.abs(turned - image.astype(float)).mean() < 3


def test_missing_partner(folder):
    (folder / "masks/case 03.png").unlink()
    (folder / "masks/case 05.png").unlink()
    message = r"one mask.*Missing for 2: case 03.jpg, case 05.png"
    with pytest.raises(FileNotFoundError, match=message):
        Folder(folder)
    (folder / "images/case 03.jpg").unlink()
    (folder / "images/case 05.png").unlink()
    (folder / "images/case 00.jpg").unlink()
    with pytest.raises(FileNotFoundError, match="one image.*case 00.png"):
        Folder(folder)


def test_folders(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match="Not there:.*nowhere"):
        Folder(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="Not there: case 99"):
        Folder(folder).select(["case 99"])
    Image.new("RGB", (4, 4)).save(folder / "images/case 00.bmp")
    with pytest.raises(ValueError, match="one file for each stem.*case 00"):
        Folder(folder)
    for path in (folder / "images").iterdir():
        path.unlink()
    with pytest.raises(ValueError, match="Found none"):
        Folder(folder)


def test_several_kinds_of_images(folder):
    """RGB with opacity and grey among RGB: brought to RGB, said once."""
    expected, _ = Folder(folder)[1]
    opacity = np.full(expected.shape[:2], 7, "uint8")
    rgba = Image.fromarray(np.dstack([expected, opacity]))
    rgba.save(folder / "images/case 01.png")
    grey = expected[..., 0]
    (folder / "images/case 00.jpg").unlink()
    Image.fromarray(np.pad(grey, ((0, 1), (0, 0)))).save(folder / "images/case 00.png")
    Image.fromarray(grey).save(folder / "images/case 07.png")
    pairs = Folder(folder)
    assert pairs.channels == 3
    message = r"of 3 channels. Received: 4 channels in .*case 01.png"
    with pytest.warns(UserWarning, match=message) as told:
        for part in (pairs.select(pairs.names[1:6]), pairs, pairs.select(["case 07"])):
            images = {name: part[at][0] for at, name in enumerate(part.names)}
            assert {image.shape[2] for image in images.values()} == {3}
    assert len(told) == 1
    np.testing.assert_array_equal(pairs[1][0], expected)
    np.testing.assert_array_equal(images["case 07"], np.dstack([grey] * 3))
    assert Folder(folder, channels=4)[1][0].shape == (39, 40, 4)
    with pytest.raises(ValueError, match="of 1 channels. Received: 3 channels in"):
        Folder(folder, channels=1)[2]


def test_damaged_first_image(folder):
    (folder / "images/case 00.jpg").write_text("no image")
    assert Folder(folder).channels == 3
    for path in (folder / "images").iterdir():
        path.write_text("no image")
    with pytest.raises(ValueError, match="Cannot read .*case 00.jpg"):
        Folder(folder)


def test_names_in_both_forms_of_unicode(folder):
    expected = Folder(folder)[1]
    for part, form in (("images", "NFD"), ("masks", "NFC")):
        name = unicodedata.normalize(form, "Fall ü.PNG")
        (folder / part / "case 01.png").rename(folder / part / name)
    (folder / "images/._Fall ü.png").write_text("of a Mac")
    pairs = Folder(folder)
    assert "Fall \u00fc" in pairs.names
    for name in ("Fall \u00fc", "Fall u\u0308"):
        (found,) = pairs.select([name])
        np.testing.assert_array_equal(found[0], expected[0])
        np.testing.assert_array_equal(found[1], expected[1])


@pytest.mark.parametrize("num_classes", [0, 257])
def test_number_of_classes(folder, num_classes):
    with pytest.raises(ValueError, match="Expected 1 to 256 classes"):
        Folder(folder, num_classes=num_classes)
