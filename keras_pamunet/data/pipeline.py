"""From pairs of image and mask to batches, on Grain, for any back end."""

from collections.abc import Callable
from typing import Any

import cv2
import grain

from keras_pamunet.targets import to_targets


def pipeline(
    source: Any,
    batch_size: int,
    augment: Callable | None = None,
    shuffle: bool = False,
    repeat: bool = False,
    seed: int = 0,
    first_batch: int = 0,
    num_threads: int = 2,
    masks: str = "exclusive",
    balanced: bool = False,
    shard: grain.sharding.ShardOptions | None = None,
) -> grain.IterDataset:
    """Batches for `model.fit`, `evaluate` and `predict`.

    The batches depend on the seed alone, not on the number of threads, nor of worker
    processes if `mp_prefetch` is called on the result. The state of its iterator,
    `get_state()` and `set_state(state)`, goes on in mid-epoch.

    Args:
        source: pairs of one size: a `Resized`, or any sequence of images
            `(height, width, channels)` and masks `(height, width)` with an attribute
            `num_classes`.
        batch_size: pairs in a batch, of all shards. The last batch may have fewer.
        augment: called with image, mask and random state; see `Augment`.
        shuffle: whether to draw the pairs in another order in each pass.
        repeat: whether to go on for ever. Give `fit` its `steps_per_epoch` then.
        seed: of order and augmentation.
        first_batch: number of the first batch, to go on where a run was stopped.
        num_threads: threads that read and augment.
        masks: of a network's classes, see `keras_pamunet.targets.to_targets`.
        balanced: whether to draw pairs with an object and pairs without one in turn,
            those of the smaller kind more often. Reads every mask once before.
        shard: the part of each batch to read, where other processes read the others.
            Together they read what one process would.

    Raises:
        ValueError: if the batches do not divide by the shards.

    Returns:
        Dataset of `(images, masks)`: `(batch, height, width, channels)` in the
        source's dtype and `(batch, height, width, num_classes)` uint8 of 0 and 1.

    Raises:
        ValueError: if there is nothing to balance: all pairs have an object, or none.

    Example:

    >>> from keras_pamunet.data import Folder, Resized
    >>> pairs = Resized(Folder("kvasir-seg"), model.input_shape[1:3])
    >>> loss, *scores = model.evaluate(pipeline(pairs, batch_size=16))
    """

    # The labels of files count the background, which is no overlapping class.
    num_classes = source.num_classes
    if masks == "overlapping":
        num_classes = max(num_classes - 1, 1)

    def to_sample(pair, rng=None):
        image, mask = pair if augment is None else augment(*pair, rng)
        return image, to_targets(mask, num_classes, masks)

    # Grain reads several pairs at once. OpenCV's own threads would only compete.
    cv2.setNumThreads(1)
    parts = _with_and_without(source) if balanced else [source]
    datasets = [_in_order(part, shuffle, repeat, seed) for part in parts]
    dataset = datasets[0]
    if balanced:
        dataset = grain.MapDataset.mix(datasets).seed(seed).map(source.__getitem__)
    dataset = (
        dataset.map(to_sample) if augment is None else dataset.random_map(to_sample)
    )
    if shard is not None:
        if batch_size % shard.shard_count:
            raise ValueError(
                f"Expected a batch size that divides by {shard.shard_count} shards. "
                f"Received: batch_size={batch_size}"
            )
        dataset = dataset.slice(slice(shard.shard_index, None, shard.shard_count))
        batch_size //= shard.shard_count
    # Grain cannot count the batches of 1 of what has no end, with a last, smaller one.
    dataset = dataset.batch(batch_size, drop_remainder=repeat)
    dataset = dataset.slice(slice(first_batch, None))
    return dataset.to_iter_dataset(
        grain.ReadOptions(num_threads=num_threads, prefetch_buffer_size=2 * num_threads)
    )


def _in_order(items, shuffle, repeat, seed):
    dataset = grain.MapDataset.source(items).seed(seed)
    if shuffle:
        dataset = dataset.shuffle()
    return dataset.repeat() if repeat else dataset


def _with_and_without(source):
    """Numbers of the pairs with an object, and of those without."""
    parts = [], []
    for index in range(len(source)):
        _, mask = source[index]
        parts[0 if mask.any() else 1].append(index)
    if not all(parts):
        raise ValueError(
            "Expected pairs with and without an object, to draw both in turn. "
            f"Received: {len(parts[0])} with and {len(parts[1])} without one. Draw all "
            "alike (balanced=False)."
        )
    return parts
