import keras
import numpy as np
import pytest

from keras_pamunet.models import Segmenter
from keras_pamunet.models.task import Task
from keras_pamunet.training import RECIPES, find_recipe
from tests.helpers import EAGER, PAPER


@pytest.mark.parametrize("recipe", RECIPES.values())
def test_augmentation_follows_the_network(recipe):
    """Without mirror axes it knows how a patient lies: nothing is turned."""
    free = recipe.suited_to((0, 255), (1, 2)).augment
    assert free.turn and free.rotation == 180
    fixed = recipe.suited_to((-200, 250), ()).augment
    assert not fixed.turn and fixed.rotation == 15
    assert fixed.mirror_axes == () and fixed.value_range == (-200, 250)


class Convolution(Segmenter):
    """A network without batch normalisation, in which images do not meet."""

    def __init__(self):
        task = Task(input_shape=(32, 32, 3), name="convolution")
        inputs, x = task.prepare()
        x = keras.layers.Conv2D(1, 3, padding="same")(x)
        super().__init__(inputs, task.head(x, inputs), task)


# The average that the first keeps follows the last step in parts.
@pytest.mark.parametrize(("recipe", "error"), [(EAGER, 1e-4), (PAPER, 1e-6)])
def test_parts_of_a_batch(rng, recipe, error):
    """They are worth one step of the whole batch."""
    images = rng.integers(0, 256, (16, 32, 32, 3), "uint8")
    masks = rng.integers(0, 2, (16, 32, 32, 1), "uint8")
    weights = []
    for parts in (None, 4):
        keras.utils.set_random_seed(0)
        model = Convolution()
        changed = find_recipe(
            recipe, batch_size=8, accumulate=parts, schedule="constant"
        )
        assert changed.parts == (parts or 1)
        changed.compile(model, steps=2 * changed.parts)
        size = 8 // changed.parts
        model.fit(images, masks, size, epochs=2, shuffle=False, verbose=0)
        assert int(model.optimizer.iterations) == 4
        weights.append(model.get_weights())
    for one, other in zip(*weights):
        np.testing.assert_allclose(one, other, atol=error)


@pytest.mark.parametrize("parts", [0, -1, 3, 32])
def test_unfit_parts(parts):
    with pytest.raises(ValueError, match=f"accumulate={parts}, batch_size=16"):
        find_recipe("default", accumulate=parts)
