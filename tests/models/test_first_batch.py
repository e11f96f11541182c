"""The first batch is looked at as it passes, and all data come through as they are."""

import keras
import numpy as np
import pytest

from keras_pamunet import PAMUNet
from keras_pamunet.losses import DiceBCE
from keras_pamunet.models import first_batch


class Batches(keras.utils.PyDataset):
    """Draws its batches, so that a second look would find others."""

    def __init__(self, images, masks):
        super().__init__()
        self.images, self.masks = images, masks
        self.rng = np.random.default_rng(0)
        self.begun = 0

    def __len__(self):
        return len(self.images) // 2

    def __getitem__(self, index):
        chosen = self.rng.integers(0, len(self.images), 2)
        return self.images[chosen], self.masks[chosen]

    def on_epoch_begin(self):
        self.begun += 1


def tensorflow_data(images, masks):
    tf = pytest.importorskip("tensorflow")
    data = tf.data.Dataset.from_tensor_slices((images, masks))
    return data.shuffle(8, seed=1, reshuffle_each_iteration=True).batch(2)


def grain_data(images, masks):
    grain = pytest.importorskip("grain")
    pairs = list(zip(images, masks))
    return grain.MapDataset.source(pairs).seed(0).shuffle().to_iter_dataset().batch(2)


def generator(images, masks):
    rng = np.random.default_rng(0)
    for _ in range(4):
        chosen = rng.integers(0, len(images), 2)
        yield images[chosen], masks[chosen]


def torch_data(images, masks):
    torch = pytest.importorskip("torch")
    data = torch.utils.data.TensorDataset(*map(torch.from_numpy, (images, masks)))
    seed = torch.Generator().manual_seed(0)
    return torch.utils.data.DataLoader(data, 2, shuffle=True, generator=seed)


KINDS = (Batches, tensorflow_data, grain_data, generator, torch_data)


@pytest.fixture(scope="module")
def model():
    return PAMUNet((32, 32, 3), expansion=1, attention=None)


@pytest.fixture
def pairs(rng):
    images = rng.integers(0, 256, (8, 32, 32, 3)).astype("float32")
    return images, (images[..., :1] > 127).astype("float32")


@pytest.mark.parametrize("kind", KINDS)
def test_data_pass_unchanged(model, pairs, kind):
    expected = kind(*pairs)
    with first_batch.checked(model) as watch:
        found = watch(kind(*pairs))
        for _ in range(1 if kind is generator else 2):  # Epochs.
            for ours, theirs in zip(found, expected, strict=True):
                for one, other in zip(ours, theirs, strict=True):
                    np.testing.assert_array_equal(one, other)
    if kind is Batches:
        assert found.num_batches == 4
        found.on_epoch_begin()
        assert found.data.begun == 1
    if kind is tensorflow_data:
        assert found.element_spec == expected.element_spec
        assert len(found) == 4


@pytest.mark.parametrize("kind", KINDS)
def test_values_out_of_range(model, pairs, kind):
    images, masks = pairs
    with (
        pytest.raises(ValueError, match="values from 0.0 to 255.0. Divide"),
        first_batch.checked(model) as watch,
    ):
        next(iter(watch(kind(images, 255 * masks))))
    with (
        pytest.warns(UserWarning, match="Expected values from 0 to 255.* were they"),
        first_batch.checked(model) as watch,
    ):
        next(iter(watch(kind(images / 255, masks))))


def test_only_the_first_batch(model, pairs):
    images, masks = pairs
    masks[4:] *= 2
    with first_batch.checked(model) as watch:
        assert watch(images, masks, 4) is images
        with pytest.raises(ValueError, match="0.0 to 2.0"):
            watch(images, masks, 8)


def test_arrays_in_structures(model, pairs):
    images, masks = pairs
    for given in (([images], [255 * masks]), ({"image": images}, 255 * masks)):
        with (
            first_batch.checked(model) as watch,
            pytest.raises(ValueError, match="values from 0.0 to 255.0"),
        ):
            watch(*given, 4)
        with pytest.raises(ValueError, match="values from 0.0 to 255.0"):
            first_batch.check_batch(model, *given)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x / 127.5 - 1, "from -1 to 1: were they divided"),
        (lambda x: x * 16, "to 4.08e\\+03: what lies beyond is cut off"),
        (lambda x: x - 10, "from -10 to .*: what lies beyond is cut off"),
    ],
)
def test_images_out_of_range(model, pairs, change, message):
    with pytest.warns(UserWarning, match=message):
        first_batch.check_batch(model, change(pairs[0]))


def test_images_that_are_no_numbers(model, pairs):
    images, _ = pairs
    images[0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="NaN or infinite pixels"):
        first_batch.check_batch(model, images)


def test_grain_loader(model, pairs):
    grain = pytest.importorskip("grain")
    images, masks = pairs

    def loader(scale):
        source = list(zip(images, scale * masks))
        sampler = grain.samplers.IndexSampler(8, num_epochs=1, seed=0, shuffle=True)
        batch = [grain.transforms.Batch(2)]
        return grain.DataLoader(data_source=source, sampler=sampler, operations=batch)

    with first_batch.checked(model) as watch:
        assert len(list(watch(loader(1)))) == 4
        with pytest.raises(ValueError, match="values from 0.0 to 255.0"):
            watch(loader(255))


# Keras reads the first batch before it traces or runs anything.
@pytest.mark.parametrize("kind", [None, *KINDS])
@pytest.mark.parametrize("verb", ["fit", "evaluate", "predict"])
def test_verbs(model, pairs, kind, verb):
    """What any back end makes of the error, it comes out as it was."""
    if kind is tensorflow_data or verb == "predict" or kind is torch_data:
        if keras.backend.backend() != "tensorflow":
            pytest.skip("compiles the network first")
        model.run_eagerly = True
    images, masks = pairs
    call = getattr(model, verb)
    if verb == "predict":
        with pytest.warns(UserWarning, match="from 0 to 255"):
            given = images / 255 if kind is None else kind(images / 255, masks)
            call(given, verbose=0, steps=1)
        return
    given = (images, 255 * masks)
    with pytest.raises(ValueError, match="^Expected masks of 0 and 1"):
        call(*(given if kind is None else [kind(*given)]), verbose=0)


def test_validation_data(model, pairs):
    images, masks = pairs
    for wrong in ((images, 3 * masks), Batches(images, 3 * masks)):
        model.run_eagerly = True
        if keras.backend.backend() != "tensorflow" and not isinstance(wrong, tuple):
            continue  # Compiles the network first.
        with pytest.raises(ValueError, match="0.0 to 3.0"):
            model.fit(images, masks, verbose=0, validation_data=wrong)


def test_single_batches(model, pairs):
    images, masks = pairs
    for call in (model.train_on_batch, model.test_on_batch):
        with pytest.raises(ValueError, match="0.0 to 255.0"):
            call(images, 255 * masks)


@pytest.mark.parametrize(
    ("loss", "channels", "largest", "fits"),
    [
        ("sparse_categorical_crossentropy", 1, 2, True),
        (keras.losses.SparseCategoricalCrossentropy(), 1, 2, True),
        (lambda y_true, y_pred: y_pred, 1, 2, True),
        (lambda y_true, y_pred: y_pred, 3, 2, False),
        ("categorical_crossentropy", 1, 2, False),
        (DiceBCE(), 3, 2, False),
        (DiceBCE(), 3, 1, True),
    ],
)
def test_labels(loss, channels, largest, fits):
    class Classes:
        num_classes, input_range = 3, (0, 255)

    Classes.loss = loss
    masks = np.full((1, 4, 4, channels), largest)
    if fits:
        first_batch.check_batch(Classes, None, masks)
        return
    with pytest.raises(ValueError, match="one channel a class"):
        first_batch.check_batch(Classes, None, masks)


@pytest.mark.parametrize("input_range", [(0, 1), (-1, 1), (0.5, 1)])
def test_ranges_of_one(input_range):
    class Small:
        num_classes, loss = 1, "mse"

    Small.input_range = input_range
    first_batch.check_batch(Small, np.full((1, 4, 4, 1), 0.5))


def test_black_images(model):
    first_batch.check_batch(model, np.zeros((1, 32, 32, 3)))
