import struct

import cv2
import numpy as np
import pytest
from PIL import ExifTags, Image

from keras_pamunet.data import Augment, Cache, Folder, Phantom, check, open_splits
from keras_pamunet.data import pipeline as batches
from keras_pamunet.data.cache import resize_image


def test_folder(folder):
    pairs = Folder(folder)
    assert pairs.names == [f"case {index:02}" for index in range(12)]
    image, mask = pairs[1]
    expected, expected_mask = Phantom(12, 40)[1]
    np.testing.assert_array_equal(image, expected[:39])
    np.testing.assert_array_equal(mask, expected_mask[:39])
    part = pairs.subset(["case 03", "case 01"])
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


def test_rotated_by_exif(folder):
    path = folder / "images/case 03.jpg"
    image = np.asarray(Image.open(path))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6  # To be shown turned clockwise.
    Image.fromarray(np.rot90(image)).save(path, exif=exif, quality=100)
    for size in (None, (10, 10)):
        turned, _ = Folder(folder).read(3, size)
        assert turned.shape == image.shape
        assert np.abs(turned - image.astype(float)).mean() < 3


def test_long_integers(rng):
    image = rng.integers(0, 4000, (16, 16, 1), "int32")
    pair = Augment(value_range=(0, 4000))(
        resize_image(image, (16, 16)), np.zeros((16, 16), "uint8"), rng
    )
    assert pair[0].shape == (16, 16, 1)


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
    Image.fromarray(np.zeros((39, 40), "uint8")).save(folder / "images/case 03.jpg")


def damage_nan(folder):
    (folder / "images/case 03.jpg").unlink()
    values = np.zeros((39, 40), "float32")
    values[2, 3] = np.nan
    Image.fromarray(values).save(folder / "images/case 03.tif")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damage_truncated, "truncated"),
        (damage_no_image, "cannot identify"),
        (damage_mask_size, "9 x 9 pixels. Received: 40 x 39 pixels"),
        (damage_grey_mask, "two values.*Received: 40 values"),
        (damage_labels, "two values.*Received: 2 values \\(0, 2\\)"),
        (damage_third_value, "two values.*Received: 3 values \\(0, 1, 255\\)"),
        (damage_nan_mask, "two values.*Received: 1 values \\(nan\\)"),
        (damage_coloured_mask, "mask of several colours"),
        (damage_channels, "3 channels. Received: 1 channels"),
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
        pairs.read(3, (32, 32))


def test_empty_mask_warns(folder):
    Image.fromarray(np.zeros((39, 40), "uint8")).save(folder / "masks/case 03.png")
    with pytest.warns(UserWarning, match="1 of 12 masks are empty: case 03"):
        check([Folder(folder)], progress=False)


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
        Folder(folder).subset(["case 99"])
    Image.new("RGB", (4, 4)).save(folder / "images/case 00.bmp")
    with pytest.raises(ValueError, match="one file for each stem.*case 00"):
        Folder(folder)
    for path in (folder / "images").iterdir():
        path.unlink()
    with pytest.raises(ValueError, match="Found none"):
        Folder(folder)


def test_phantom():
    phantom = Phantom(8, 48, seed=3)
    image, mask = phantom[5]
    assert image.shape == (48, 48, 3) and image.dtype == np.uint8
    assert 0 < mask.mean() < 0.8 and set(np.unique(mask)) == {0, 1}
    np.testing.assert_array_equal(phantom.subset(["phantom_0005"])[0][0], image)
    assert (Phantom(8, 48, seed=4)[5][0] != image).any()


def test_cache(folder):
    pairs = Cache(Folder(folder), (20, 24))
    image, mask = pairs[0]
    assert image.shape == (20, 24, 3) and mask.shape == (20, 24)
    full_image, full_mask = Folder(folder)[0]
    expected = cv2.resize(full_image, (24, 20), interpolation=cv2.INTER_AREA)
    assert np.abs(image.astype(int) - expected).mean() < 4  # JPEG, decoded coarsely
    assert abs(mask.mean() - full_mask.mean()) < 0.05
    assert pairs[0][0] is image
    assert Cache(Folder(folder), (20, 24), max_bytes=0)[0][0] is not image


def test_mask_stays_with_the_image():
    """The mask as the image: they must not come apart by more than the border."""
    augment = Augment(contrast=0, brightness=0, tint=0)
    rng = np.random.default_rng(0)
    for index in range(1000):
        _, mask = Phantom(1000)[index % 20]
        image, changed = augment(255 * mask[..., np.newaxis], mask, rng)
        bright = (image[..., 0] > 127).astype("uint8")
        border = cv2.morphologyEx(
            np.dstack([bright, changed]), cv2.MORPH_GRADIENT, np.ones((5, 5))
        ).any(axis=-1)
        assert not (bright != changed)[~border].any()


STILL = {"flip": False, "turn": False, "rotation": 0, "zoom": (1, 1), "shift": 0}


def test_augment_mixes_no_labels(rng):
    image, mask = Phantom(1)[0]
    for _ in range(20):
        _, changed = Augment()(image, 2 * mask, rng)
        assert set(np.unique(changed)) <= {0, 2}


def test_augment_turns(rng):
    image, mask = Phantom(1)[0]
    augment = Augment(**{**STILL, "turn": True}, contrast=0, brightness=0, tint=0)
    turns = [np.rot90(mask, turn).tolist() for turn in range(4)]
    seen = {turns.index(augment(image, mask, rng)[1].tolist()) for _ in range(40)}
    assert seen == {0, 1, 2, 3}


def test_augment_colours(rng):
    image, mask = Phantom(1)[0]
    changed, same = Augment(**STILL)(image, mask, rng)
    np.testing.assert_array_equal(same, mask)
    assert changed.dtype == np.uint8 and (changed != image).any()
    # The table for 8 bit and the sums for other types are the same function.
    state = np.random.default_rng(7), np.random.default_rng(7)
    eight_bit, _ = Augment(**STILL)(image, mask, state[0])
    floats, _ = Augment(**STILL)(image.astype("float32"), mask, state[1])
    np.testing.assert_allclose(eight_bit, floats, atol=0.51)
    untouched = Augment(**STILL, contrast=0, brightness=0, tint=0)
    np.testing.assert_array_equal(untouched(image, mask, rng)[0], image)


def stack(dataset, count):
    taken = [pair for _, pair in zip(range(count), dataset)]
    return [np.concatenate(part) for part in zip(*taken)]


def test_pipeline_in_order():
    source = Phantom(7, 16)
    images, masks = stack(batches(source, 3), 9)
    assert images.shape == (7, 16, 16, 3) and masks.shape == (7, 16, 16, 1)
    for index in range(7):
        np.testing.assert_array_equal(images[index], source[index][0])
        np.testing.assert_array_equal(masks[index, ..., 0], source[index][1])


def test_pipeline_depends_on_the_seed_alone():
    def run(count=9, **arguments):
        options = {"shuffle": True, "repeat": True, "seed": 1, **arguments}
        return stack(batches(Phantom(7, 16), 3, Augment(), **options), count)

    images, masks = run()
    for threads in (1, 5):
        again = run(num_threads=threads)
        np.testing.assert_array_equal(again[0], images)
        np.testing.assert_array_equal(again[1], masks)
    later = run(count=5, first_batch=4)
    np.testing.assert_array_equal(later[0], images[12:])
    assert (run(seed=2)[0] != images).any()
    assert (images[:7] != images[7:14]).any()


def test_pipeline_of_classes():
    class Source:
        num_classes = 3

        def __len__(self):
            return 1

        def __getitem__(self, index):
            return np.zeros((2, 2, 1), "uint8"), np.array([[0, 1], [2, 1]], "uint8")

    _, masks = stack(batches(Source(), 1), 1)
    np.testing.assert_array_equal(masks.argmax(-1)[0], [[0, 1], [2, 1]])
    assert (masks.sum(-1) == 1).all()


def test_drawn_split(folder):
    parts = open_splits(folder)
    assert {name: len(part) for name, part in parts.items()} == {
        "train": 10,
        "validation": 1,
        "test": 1,
    }
    assert open_splits(folder)["train"].names == parts["train"].names
    assert open_splits(folder, seed=1)["train"].names != parts["train"].names


def test_kvasir_splits(kvasir):
    for split, sizes in (("effisegnet", [800, 100, 100]), ("official", [880, 120])):
        parts = open_splits(kvasir, split)
        assert [len(part) for part in parts.values()] == sizes
    image, mask = parts["train"].read(0, (128, 128))
    assert image.shape[2] == 3 and set(np.unique(mask)) == {0, 1}
    with pytest.raises(ValueError, match="pranet_train.txt.*Found: effisegnet_800"):
        open_splits(kvasir, "pranet")


def test_named_split(folder):
    (folder / "splits").mkdir()
    names = Folder(folder).names
    lists = {"train": names[:8], "val": names[8:10], "test": names[10:]}
    for part, part_names in lists.items():
        text = "\n".join(part_names) + "\n"
        (folder / f"splits/mine_{part}.txt").write_text(text)
    parts = open_splits(folder, "mine")
    assert {name: part.names for name, part in parts.items()} == {
        "train": names[:8],
        "validation": names[8:10],
        "test": names[10:],
    }
    with pytest.raises(ValueError, match="other_train.txt.*Found: mine_test.txt"):
        open_splits(folder, "other")
    (folder / "splits/mine_val.txt").write_text("\n")
    with pytest.raises(ValueError, match="a name a line in .*mine_val.txt"):
        open_splits(folder, "mine")
    (folder / "splits/mine_val.txt").write_text(f" {names[0]} \n\n")
    with pytest.raises(
        ValueError, match="Received: case 00 in train and in validation"
    ):
        open_splits(folder, "mine")
