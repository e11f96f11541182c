import numpy as np

from keras_pamunet.data import Augment, Phantom
from keras_pamunet.data import pipeline as batches


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
