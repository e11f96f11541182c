import cv2
import numpy as np
import pytest

from keras_pamunet.data import Augment, Phantom


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


STILL = {"mirror_axes": (), "turn": False, "rotation": 0, "zoom": (1, 1), "shift": 0}


def test_augment_mixes_no_labels(rng):
    image, mask = Phantom(1)[0]
    for _ in range(20):
        _, changed = Augment()(image, 2 * mask, rng)
        assert set(np.unique(changed)) <= {0, 2}


def test_masks_have_two_axes(rng):
    image, mask = Phantom(1)[0]
    with pytest.raises(ValueError):
        Augment()(image, mask[..., np.newaxis], rng)


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


@pytest.mark.parametrize("channels", [1, 2, 5, 7])
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint32", "int32", "f8"])
def test_any_kind_of_image(rng, dtype, channels):
    """The same as of floats, rounded; channels do not mix."""
    ramp = np.add.outer(np.arange(40), np.arange(48))
    image = np.dstack([ramp + 2 * at for at in range(channels)]).astype(dtype)
    mask = np.eye(40, 48, dtype="uint8")
    augment = Augment(value_range=(0, 100))
    state = np.random.default_rng(3), np.random.default_rng(3)
    changed, changed_mask = augment(image, mask, state[0])
    expected, _ = augment(image.astype("float32"), mask, state[1])
    assert changed.dtype == dtype and changed.shape == image.shape
    assert changed_mask.shape == mask.shape
    # The warp of some types rounds before the colours change.
    np.testing.assert_allclose(changed.astype("f8"), expected, atol=1.3)
    for at in range(channels):
        one = Augment(contrast=0, brightness=0, tint=0)
        states = np.random.default_rng(5), np.random.default_rng(5)
        whole, _ = one(image, mask, states[0])
        alone, _ = one(image[..., at : at + 1], mask, states[1])
        difference = whole[..., at].astype("f8") - alone[..., 0]
        assert np.abs(difference).max() <= 1


def test_large_integers_stay_in_range(rng):
    image = np.full((16, 16, 1), np.iinfo("int32").max)
    image = image.astype("int32")
    value_range = (0, np.iinfo("int32").max)
    changed, _ = Augment(value_range=value_range)(image, image[..., 0] > 0, rng)
    assert changed.min() >= 0
