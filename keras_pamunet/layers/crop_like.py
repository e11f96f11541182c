import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_pamunet")
class CropLike(keras.layers.Layer):
    """Cuts rows and columns at the lower and right edge to another tensor's size.

    Undoes `PadToMultiple`.

    Call arguments:
        inputs: the tensor to cut.
        reference: the tensor whose height and width it shall have.

    Input shape:
        `(batch, height, width, channels)` and
        `(batch, new_height, new_width, any)`.

    Output shape:
        `(batch, new_height, new_width, channels)`.

    Example:

    >>> layer = keras_pamunet.layers.CropLike()
    >>> outputs = layer(keras.ops.ones((1, 64, 64, 1)), keras.ops.ones((1, 33, 64, 3)))
    >>> keras.ops.shape(outputs)
    (1, 33, 64, 1)
    """

    def build(self, inputs_shape, reference_shape):
        pass

    def call(self, inputs, reference):
        height, width = ops.shape(reference)[1:3]
        return inputs[:, :height, :width]

    def compute_output_shape(self, inputs_shape, reference_shape):
        return (*reference_shape[:3], inputs_shape[-1])
