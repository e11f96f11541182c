import keras
from keras import ops

from keras_pamunet.backend import jax_on_cpu


@keras.saving.register_keras_serializable(package="keras_pamunet")
class Conv2DTranspose(keras.layers.Conv2DTranspose):
    """Transposed convolution that trains fast on a CPU under JAX, too.

    Same arguments, weights and results as `keras.layers.Conv2DTranspose`. XLA has no
    fast kernel for its gradient on CPUs: there, one product of two matrices makes
    what each pixel gives to each tap of the kernel, and shifted sums put it in place.

    Args: those of `keras.layers.Conv2DTranspose`.

    Input shape:
        `(batch, height, width, channels)`.

    Output shape:
        `(batch, new_height, new_width, filters)`.

    Example:

    >>> layer = keras_pamunet.layers.Conv2DTranspose(8, 3, 2, padding="same")
    >>> keras.ops.shape(layer(keras.ops.ones((1, 4, 4, 3))))
    (1, 8, 8, 8)
    """

    def call(self, inputs):
        if not self._is_product():
            return super().call(inputs)
        outputs = self.convolution_op(inputs, self.kernel)
        if self.use_bias:
            outputs = outputs + self.bias
        return self.activation(outputs)

    def convolution_op(self, inputs, kernel):
        """The transposed convolution by a kernel of this layer's shape."""
        if not self._is_product():
            return ops.conv_transpose(
                inputs,
                kernel,
                strides=list(self.strides),
                padding=self.padding,
                output_padding=self.output_padding,
                dilation_rate=self.dilation_rate,
                data_format=self.data_format,
            )
        batch, height, width, channels = inputs.shape
        taps, stride = self.kernel_size[0], self.strides[0]
        given = ops.matmul(
            ops.reshape(inputs, (-1, channels)),
            ops.transpose(ops.reshape(kernel, (-1, channels))),
        )
        given = ops.reshape(given, (batch, height, width, taps, taps, self.filters))
        # Output line i * stride + t receives tap t of input line i. So the lines of
        # the same index modulo stride are sums of shifted taps.
        rows = _interleave([given[:, :, :, tap] for tap in range(taps)], stride, 1)
        outputs = _interleave([rows[:, :, :, tap] for tap in range(taps)], stride, 2)
        # "same" cuts the surplus, the smaller half of it from the beginning.
        top = (taps - stride) // 2
        return outputs[:, top : top + height * stride, top : top + width * stride]

    def _is_product(self):
        return (
            self.padding == "same"
            and self.kernel_size[0] == self.kernel_size[1] >= self.strides[0]
            and self.strides[0] == self.strides[1]
            and self.output_padding is None
            and self.dilation_rate == (1, 1)
            and self.data_format == "channels_last"
            and jax_on_cpu()
        )


def _interleave(taps, stride, axis):
    """Sums the taps, `stride` lines apart along `axis`, tap t from line t on."""
    shifts = -(-len(taps) // stride)
    padding = [(0, 0)] * len(taps[0].shape)
    phases = []
    for phase in range(stride):
        total = 0
        for shift, tap in enumerate(taps[phase::stride]):
            padding[axis] = (shift, shifts - 1 - shift)
            total = total + ops.pad(tap, padding)
        phases.append(total)
    lines = ops.stack(phases, axis=axis + 1)
    shape = list(phases[0].shape)
    shape[axis] *= stride
    return ops.reshape(lines, shape)
