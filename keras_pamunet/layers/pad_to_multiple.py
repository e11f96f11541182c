import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_pamunet")
class PadToMultiple(keras.layers.Layer):
    """Mirrors rows and columns at the lower and right edge up to a multiple.

    Args:
        multiple: what height and width shall be divisible by.

    Input shape:
        `(batch, height, width, channels)`. Height and width must be larger than
        half the multiple, since a mirrored edge is no longer than the image.

    Output shape:
        `(batch, padded_height, padded_width, channels)`.

    Raises:
        ValueError: if height or width is too small (`multiple / 2` or less).

    Example:

    >>> layer = keras_pamunet.layers.PadToMultiple(32)
    >>> keras.ops.shape(layer(keras.ops.ones((1, 33, 64, 3))))
    (1, 64, 64, 3)
    """

    def __init__(self, multiple: int = 32, **kwargs):
        super().__init__(**kwargs)
        self.multiple = multiple

    def build(self, input_shape):
        self._check_size(input_shape)

    def call(self, inputs):
        self._check_size(inputs.shape)
        # Not -side % multiple: in ONNX a negative number has a negative remainder, in
        # Python a positive one.
        padding = [
            (self.multiple - side % self.multiple) % self.multiple
            for side in ops.shape(inputs)[1:3]
        ]
        # In a graph for any size they are tensors, whose values are not known yet.
        if all(isinstance(count, int) and count == 0 for count in padding):
            return inputs
        return ops.pad(
            inputs, [(0, 0), (0, padding[0]), (0, padding[1]), (0, 0)], mode="reflect"
        )

    def _check_size(self, shape):
        smallest = self.multiple // 2 + 1
        if any(side is not None and side < smallest for side in shape[1:3]):
            raise ValueError(
                f"Expected images of at least {smallest} x {smallest} pixels. "
                f"Received: {shape[1]} x {shape[2]} pixels. Enlarge the images first."
            )

    def compute_output_shape(self, input_shape):
        batch, *size, channels = input_shape
        return (
            batch,
            *(side and side + -side % self.multiple for side in size),
            channels,
        )

    def get_config(self):
        return {**super().get_config(), "multiple": self.multiple}
