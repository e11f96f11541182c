"""Checks of the first batch that a model is given: values of images and masks.

The data are looked at as they pass, and no order is changed. Only a `grain.DataLoader`
has its first batch read twice.
"""

import copy
import math
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import GeneratorType
from typing import Any

import keras

from keras_pamunet.masks import check_masks


@contextmanager
def checked(model: keras.Model) -> Iterator[Callable[..., Any]]:
    """Within it, data pass a function that has their first batch checked.

    Args:
        model: a `Segmenter`.

    Yields:
        A function of images and masks, arrays or data of any kind that Keras takes,
        and of the batch size, which returns what takes the place of the images.

    Raises:
        ValueError: see `check_batch`. Threads and graphs that read the data raise
            others in its place.
    """
    found = []

    def check(images, masks=None, *_):
        try:
            check_batch(model, images, masks)
        except ValueError as error:
            found.append(error)
            raise

    def watch(data, masks=None, batch_size=None):
        return _watch(check, data, masks, batch_size or 32)

    try:
        yield watch
    except Exception as error:
        if not found or error is found[0]:
            raise
        raise found[0] from None


def check_batch(model: keras.Model, images: Any, masks: Any = None) -> None:
    """Makes sure that a batch has the values that a model is made for.

    Raises:
        ValueError: if images have NaN or infinite pixels, or masks other values than
            0 to 1 and the loss does not take labels.

    Warns:
        UserWarning: if the model takes 0 to 255, and all images lie in -1 to 1, or some
            pixels beyond its range.
    """
    images = _values(images)
    if images is not None:
        _check_images(images, *model.input_range)
    masks = _values(masks)
    if masks is None:
        return
    channels = masks.shape[-1] if masks.ndim == 4 else 1
    if channels == model.num_classes or not _takes_labels(model.loss):
        check_masks(masks)


def _check_images(images, low, high):
    lowest, highest = float(images.min()), float(images.max())
    if not (math.isfinite(lowest) and math.isfinite(highest)):
        raise ValueError("Expected finite pixels. Received: NaN or infinite pixels")
    hint = None
    if low <= 0 and high > 10 and lowest >= -1 and 0 < highest <= 1:
        hint = "were they divided?"
    elif (low, high) == (0, 255) and (lowest < 0 or highest > 255):
        hint = "what lies beyond is cut off."
    if hint:
        warnings.warn(
            f"Expected values from {low:g} to {high:g}, the model's input_range. The "
            f"first images have values from {lowest:.3g} to {highest:.3g}: {hint}",
            stacklevel=3,
        )


def _values(tensors):
    """The first of tensors in any structure as an array, or None if it is none."""
    tensor, *_ = keras.tree.flatten(tensors) or [None]
    if not hasattr(tensor, "shape") or not hasattr(tensor, "dtype"):
        return None
    values = keras.ops.convert_to_numpy(tensor)
    return values if values.size and values.dtype.kind in "buif" else None


def _takes_labels(loss):
    """Whether a loss takes labels, or is somebody's own and might."""
    if isinstance(loss, str):
        return "sparse" in loss.lower()
    known = type(loss).__module__.startswith(("keras.", "keras_pamunet."))
    return not known or "sparse" in type(loss).__name__.lower()


def _watch(check, data, masks, batch_size):
    if data is None:
        return None
    if isinstance(data, keras.utils.PyDataset):
        # What goes to other processes must be a copy: those are not watched.
        return data if data.use_multiprocessing else _Watched(data, check)
    if isinstance(data, GeneratorType):
        return _first_of_generator(data, check)
    # What is not imported, no object is of.
    tensorflow, grain, torch = map(sys.modules.get, ("tensorflow", "grain", "torch"))
    if tensorflow and isinstance(data, tensorflow.data.Dataset):
        return _first_of_tensorflow(data, check)
    if grain and isinstance(data, grain.MapDataset | grain.IterDataset):
        return data.map(_First(check))
    if torch and isinstance(data, torch.utils.data.DataLoader):
        if data.num_workers:
            return data
        data = copy.copy(data)
        collate, first = data.collate_fn, _First(check)
        data.collate_fn = lambda samples: first(collate(samples))
        return data
    if grain and isinstance(data, grain.DataLoader):
        _First(check)(next(iter(data)))  # It begins anew each time.
    elif all(hasattr(array, "shape") for array in keras.tree.flatten(data)):
        check(*(_first_rows(arrays, batch_size) for arrays in (data, masks)))
    return data


def _first_rows(arrays, count):
    if arrays is None:
        return None
    return keras.tree.map_structure(lambda array: array[:count], arrays)


class _First:
    """Returns what it is called with; the first of that is checked."""

    def __init__(self, check):
        self.check = check
        self.seen = False

    def __call__(self, batch):
        if not self.seen:
            self.seen = True
            self.check(*(batch if isinstance(batch, tuple | list) else (batch,)))
        return batch


class _Watched(keras.utils.PyDataset):
    """Another PyDataset, whose first batch is checked."""

    def __init__(self, data, check):
        super().__init__(data.workers, data.use_multiprocessing, data.max_queue_size)
        self.data = data
        self.first = _First(check)

    def __getitem__(self, index):
        return self.first(self.data[index])

    @property
    def num_batches(self):
        return self.data.num_batches

    def on_epoch_begin(self):
        self.data.on_epoch_begin()

    def on_epoch_end(self):
        self.data.on_epoch_end()


def _first_of_generator(data, check):
    first = _First(check)
    for batch in data:
        yield first(batch)


def _first_of_tensorflow(data, check):
    import tensorflow as tf

    first = _First(check)

    def watch(*batch):
        parts = tf.nest.flatten(batch)
        tf.py_function(lambda *x: first(tf.nest.pack_sequence_as(batch, x)), parts, [])
        return batch if len(batch) > 1 else batch[0]

    return data.map(watch)
