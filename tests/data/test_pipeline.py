import itertools

import grain
import numpy as np
import pytest
from absl import flags

from keras_pamunet.data import Augment, Folder, Phantom, Resized, TfdsSource, pipeline


def stack(dataset, count):
    taken = [pair for _, pair in zip(range(count), dataset)]
    return [np.concatenate(part) for part in zip(*taken)]


def test_pipeline_in_order():
    source = Phantom(7, 16)
    images, masks = stack(pipeline(source, 3), 9)
    assert images.shape == (7, 16, 16, 3) and masks.shape == (7, 16, 16, 1)
    for index in range(7):
        np.testing.assert_array_equal(images[index], source[index][0])
        np.testing.assert_array_equal(masks[index, ..., 0], source[index][1])


def test_pipeline_depends_on_the_seed_alone():
    def run(count=9, **arguments):
        options = {"shuffle": True, "repeat": True, "seed": 1, **arguments}
        return stack(pipeline(Phantom(7, 16), 3, Augment(), **options), count)

    images, masks = run()
    for threads in (1, 5):
        again = run(num_threads=threads)
        np.testing.assert_array_equal(again[0], images)
        np.testing.assert_array_equal(again[1], masks)
    later = run(count=5, first_batch=4)
    np.testing.assert_array_equal(later[0], images[12:])
    assert (run(seed=2)[0] != images).any()
    assert (images[:7] != images[7:14]).any()


def test_batches_of_one_without_end():
    images, _ = stack(pipeline(Phantom(3, 16), 1, repeat=True), 7)
    expected = [Phantom(3, 16)[index % 3][0] for index in range(7)]
    np.testing.assert_array_equal(images, expected)


class Rare(Phantom):
    """Each fifth pair has an object; its number stands in its image."""

    def read(self, index):
        image, mask = super().read(index)
        number = int(self.names[index][-4:])
        return np.full_like(image, number), mask * np.uint8(number % 5 == 0)


def test_balanced():
    """Half of each batch has an object, and all pairs come about as often."""
    options = {"shuffle": True, "repeat": True, "balanced": True, "seed": 3}
    images, masks = stack(pipeline(Rare(20, 16), 4, **options), 32)
    found = masks.reshape(32, 4, -1).any(-1)
    assert (found.sum(axis=1) == 2).all()
    counts = np.bincount(images[:, 0, 0, 0], minlength=20)
    assert (counts[::5] == 16).all()  # 64 of 4 pairs, and 64 of 16 others.
    assert (np.delete(counts, range(0, 20, 5)) == 4).all()
    again, _ = stack(pipeline(Rare(20, 16), 4, first_batch=30, **options), 2)
    np.testing.assert_array_equal(again, images[-8:])
    for source in (Phantom(4, 16), Rare(20, 16).select(["phantom_0001"])):
        with pytest.raises(ValueError, match="Received: . with and . without"):
            pipeline(source, 2, balanced=True)


def test_pipeline_of_classes():
    class Source:
        num_classes = 3

        def __len__(self):
            return 1

        def __getitem__(self, index):
            return np.zeros((2, 2, 1), "uint8"), np.array([[0, 1], [2, 1]], "uint8")

    _, masks = stack(pipeline(Source(), 1), 1)
    np.testing.assert_array_equal(masks.argmax(-1)[0], [[0, 1], [2, 1]])
    assert (masks.sum(-1) == 1).all()


@pytest.mark.parametrize(("num_classes", "top"), [(1, 255), (3, 3)])
def test_labels_beyond_the_classes(num_classes, top):
    class Source(Phantom):
        def read(self, index):
            image, mask = super().read(index)
            return image, top * mask

    source = Source(1, 16)
    source.num_classes = num_classes
    with pytest.raises(ValueError, match=f"labels from 0 to .*Received: 0 to {top}"):
        stack(pipeline(source, 1), 1)


class Grouped(Phantom):
    """A source of groups, as volumes are."""

    groups = ["one"] * 3 + ["two"] * 4


@pytest.fixture(params=["folder", "tfds", "groups"])
def pairs(request):
    if request.param == "folder":
        source = Folder(request.getfixturevalue("folder")).select(
            [f"case {index:02}" for index in (9, 1, 7, 4, 2, 3, 0)]
        )
    elif request.param == "tfds":
        source = TfdsSource("kvasir_seg", request.getfixturevalue("tfds_dir"))
    else:
        source = Grouped(7, 40)
    return Resized(source, (16, 16))


def equal(batches, others):
    assert len(batches) == len(others) > 0
    for batch, other in zip(batches, others):
        for part, other_part in zip(batch, other):
            np.testing.assert_array_equal(part, other_part)


def test_one_pipeline_for_all_sources(pairs):
    """The batches do not depend on threads, and go on from a state in mid-epoch."""

    def run(num_threads=2):
        return pipeline(pairs, 2, Augment(), shuffle=True, num_threads=num_threads)

    whole = list(run())
    assert [len(images) for images, _ in whole] == [2, 2, 2, 1]
    equal(list(run(5)), whole)
    iterator = iter(run())
    for _ in range(2):
        next(iterator)
    state = iterator.get_state()
    next(iterator)
    resumed = iter(run(1))
    resumed.set_state(state)
    equal(list(resumed), whole[2:])
    iterator.set_state(state)
    equal(list(iterator), whole[2:])


def test_worker_processes():
    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()  # Grain's workers ask for one.
    dataset = pipeline(Phantom(7, 16), 2, Augment(), shuffle=True)
    options = grain.MultiprocessingOptions(num_workers=2)
    equal(list(dataset.mp_prefetch(options)), list(dataset))


def test_shards():
    """Together they are the batches of one process, in mid-epoch, too."""
    pairs = Phantom(7, 16)
    options = {"shuffle": True, "repeat": True, "first_batch": 1}

    def run(shard):
        batches = pipeline(pairs, 6, Augment(), **options, shard=shard)
        return itertools.islice(batches, 3)

    shards = [run(grain.sharding.ShardOptions(index, 3)) for index in range(3)]
    for whole, *parts in zip(run(None), *shards):
        for array, *others in zip(whole, *parts):
            assert {len(other) for other in others} == {2}
            np.testing.assert_array_equal(np.concat(others), array[[0, 3, 1, 4, 2, 5]])
    with pytest.raises(ValueError, match="divides by 4 shards.*batch_size=6"):
        pipeline(pairs, 6, shard=grain.sharding.ShardOptions(0, 4))
