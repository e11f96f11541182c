from keras_pamunet.training.batch_statistics import estimate_batch_statistics
from keras_pamunet.training.recipe import RECIPES, Recipe, find_recipe
from keras_pamunet.training.run import Run, train

__all__ = [
    "RECIPES",
    "Recipe",
    "Run",
    "estimate_batch_statistics",
    "find_recipe",
    "train",
]
