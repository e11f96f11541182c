"""The statistics of batch normalisation, estimated anew."""

from collections.abc import Iterable

import keras
import numpy as np

from keras_pamunet.models import Segmenter


def estimate_batch_statistics(model: Segmenter, batches: Iterable[np.ndarray]) -> None:
    """Recomputes the moving mean and variance of each batch normalisation.

    In training these statistics follow the last few batches, whose images are
    augmented and differ from those that the model will predict. This function sets
    them to their mean over the given batches, and leaves all trained weights as they
    are.

    Args:
        model: is changed in place.
        batches: images as they are, say those it was trained on: arrays of shape
            `(batch, height, width, channels)`, best all of one shape.

    Raises:
        ValueError: if there is no batch.

    Example:

    >>> estimate_batch_statistics(model, np.split(images, 5))

    Reference:
        - "Precise" batch normalisation: Wu and Johnson, Rethinking "Batch" in
          BatchNorm, arXiv 2105.07576, section 3.
    """
    # With momentum 0 the moving values become those of the last batch, so each batch's
    # can be read off.
    training = _Training(model.clone(batch_norm_momentum=0.0))
    found = []
    for images in batches:
        training.predict_on_batch(images)
        found.append([_copy(x) for x in _statistics(training.model)])
    if not found:
        raise ValueError("Expected batches of images. Received: none")
    for variable, values in zip(_statistics(model), zip(*found), strict=True):
        variable.assign(np.mean(values, axis=0))


class _Training(keras.Model):
    """A model that predicts as it does while it is trained."""

    def __init__(self, model):
        super().__init__(name="training")
        self.model = model

    def call(self, images):
        return self.model(images, training=True)


def _statistics(model):
    return [x for x in model.non_trainable_variables if x.name.startswith("moving_")]


def _copy(variable):
    return np.array(keras.ops.convert_to_numpy(variable))
