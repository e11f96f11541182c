"""The statistics of batch normalisation, estimated anew."""

from collections.abc import Iterable

import keras
import numpy as np

from keras_pamunet.models import Segmenter


def estimate_batch_statistics(model: Segmenter, batches: Iterable[np.ndarray]) -> None:
    """Has a model normalise by the statistics of the images given.

    While it is trained, a model follows those of augmented images, which differ from
    the ones that it is to predict, and of the last few batches only. This sets the
    moving means and variances to the mean of those of the batches, and leaves all
    weights that are trained as they are.

    Args:
        model: is changed in place.
        batches: images as they are, say those it was trained on: arrays of shape
            `(batch, height, width, channels)`, best all of one shape.

    Raises:
        ValueError: if there is no batch.

    Example:

    >>> estimate_batch_statistics(model, np.split(images, 10))

    Reference:
        - "Precise" batch normalisation: Wu and Johnson, Rethinking "Batch" in
          BatchNorm, arXiv 2105.07576, section 3.
    """
    # With this momentum a batch's statistics take the place of those before.
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
