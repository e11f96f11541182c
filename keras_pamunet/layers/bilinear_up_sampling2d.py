import keras

from keras_pamunet.backend import resize_bilinear


@keras.saving.register_keras_serializable(package="keras_pamunet")
class BilinearUpSampling2D(keras.layers.Layer):
    """Enlarges by bilinear interpolation, images of any size in graphs, too.

    Same results as `keras.layers.UpSampling2D(factor, interpolation="bilinear")`, which
    TensorFlow cannot trace where height and width are not known.

    Args:
        factor: how many times as large the images become.

    Input shape:
        `(batch, height, width, channels)`.

    Output shape:
        `(batch, factor * height, factor * width, channels)`.

    Example:

    >>> layer = keras_pamunet.layers.BilinearUpSampling2D(4)
    >>> keras.ops.shape(layer(keras.ops.ones((1, 4, 5, 3))))
    (1, 16, 20, 3)
    """

    def __init__(self, factor: int = 2, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, inputs):
        return resize_bilinear(inputs, self.factor)

    def compute_output_shape(self, input_shape):
        batch, *size, channels = input_shape
        return (batch, *(side and side * self.factor for side in size), channels)

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}
