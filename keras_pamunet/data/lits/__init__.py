"""LiTS for TensorFlow Datasets. Importing this makes `tfds.load("lits")` work."""

from keras_pamunet.data.lits.lits import Lits

__all__ = ["Lits"]
