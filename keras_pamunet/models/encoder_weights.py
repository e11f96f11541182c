"""Weights of Keras Applications, for the encoders of the networks."""

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from keras_pamunet.backend import channels_last
from keras_pamunet.model_files import check_weights

# Mean colour of ImageNet's photographs, blue first.
MEAN_BGR = np.array([103.939, 116.779, 123.68])


def read_layers(
    application: Callable[..., keras.Model], weights: str | Path
) -> list[keras.Layer]:
    """The layers with weights of a model of Keras Applications.

    Args:
        application: such as `keras.applications.ResNet50`.
        weights: `"imagenet"`, downloaded by Keras Applications, or the path of a
            `.weights.h5` file of the application with `include_top=False`.

    Raises:
        ValueError: if there are no such weights, or they do not fit.
    """
    if not isinstance(weights, str | Path):
        raise ValueError(
            "Expected `encoder_weights` to be None, 'imagenet' or a path. "
            f"Received: encoder_weights={weights!r}"
        )
    try:
        if weights != "imagenet":
            check_weights(weights)
        with channels_last():
            source = application(
                input_shape=(224, 224, 3), include_top=False, weights=weights
            )
    except Exception as error:  # keras.utils.get_file raises a bare Exception.
        raise ValueError(
            "Invalid value for argument `encoder_weights`. Expected 'imagenet' "
            "or the path of a .weights.h5 file of keras.applications."
            f"{application.__name__}(include_top=False). Received: {weights!r} "
            f"({error})"
        ) from error
    return [layer for layer in source.layers if layer.weights]


def fit_channels(kernel: np.ndarray, channels: int) -> np.ndarray:
    """The first kernel for images of other than 3 channels.

    It is the mean of the three, scaled so that a grey image gives the same features as
    its RGB copy.
    """
    if channels == 3:
        return kernel
    mean = kernel.mean(axis=2, keepdims=True)
    return (3 / channels * mean).repeat(channels, axis=2)


def load_bgr_encoder(
    model: keras.Model, application: Callable[..., keras.Model], weights: str | Path
) -> None:
    """Copies weights that were trained with colours less their mean, blue first.

    They are those of ResNet50 and VGG16. The first convolution is changed so that it
    finds in images in [-1, 1] what it found in such ones, but for the edges, beyond
    which there is grey in place of the mean colour. Where a convolution has no bias,
    that of the weights goes into the batch normalisation behind it.

    Args:
        model: a network whose encoder's layers have the application's names.
        application: see `read_layers`.
        weights: see `read_layers`.

    Raises:
        ValueError: if there are no such weights, or they do not fit.
    """
    biases = {}
    for layer in read_layers(application, weights):
        target = model.get_layer(layer.name)
        values = layer.get_weights()
        if isinstance(layer, keras.layers.BatchNormalization):
            values[2] -= biases[layer.input._keras_history.operation.name]
            target.set_weights(values)
            continue
        kernel, bias = values
        if not biases:  # The first one.
            bias = bias + kernel.sum(axis=(0, 1)).T @ (127.5 - MEAN_BGR)
            kernel = fit_channels(127.5 * kernel[:, :, ::-1], model.input_shape[-1])
        target.set_weights([kernel, bias][: len(target.weights)])
        biases[layer.name] = bias
