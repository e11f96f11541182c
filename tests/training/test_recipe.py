import pytest

from keras_pamunet.models import ResUNet
from keras_pamunet.training import RECIPES


@pytest.mark.parametrize("recipe", RECIPES.values())
def test_augmentation_follows_the_network(recipe):
    """Without mirror axes it knows how a patient lies: nothing is turned."""
    arguments = {"filters": 4, "input_range": (-200, 250)}
    free = recipe.augment_for(ResUNet((32, 32, 1), **arguments))
    assert free.turn and free.rotation == 180
    fixed = recipe.augment_for(ResUNet((32, 32, 1), mirror_axes=(), **arguments))
    assert not fixed.turn and fixed.rotation == 15
    assert fixed.mirror_axes == () and fixed.value_range == (-200, 250)
