from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import keras
from keras import layers

from keras_pamunet.choices import Attention
from keras_pamunet.layers import (
    AdditiveAttention,
    Conv2D,
    Conv2DTranspose,
    InvertedResidual,
    ProgressiveLuongAttention,
)
from keras_pamunet.models.arguments import (
    MAX_EXPANSION,
    MAX_SIDE,
    check_choice,
    check_number,
    to_integer,
)
from keras_pamunet.models.mobilenet_v2 import (
    batch_norm_relu,
    load_mobilenet_v2,
    mobilenet_v2,
)
from keras_pamunet.models.segmenter import Segmenter
from keras_pamunet.models.task import Task
from keras_pamunet.ops.luong_attention import SCORE_ACTIVATIONS
from keras_pamunet.regularizers import AttentionVariance

ATTENTIONS = tuple(None if x == "none" else x for x in get_args(Attention))
# Default `score_activation` of the attentions that have query-key scores.
DEFAULT_SCORES: dict[str | None, str] = {
    "luong": "first_order",
    "self": "softmax",
    "cross": "softmax",
}
# What they are in configurations that leave it open, which older versions wrote.
FORMER_SCORES = {**DEFAULT_SCORES, "luong": "sigmoid"}


@keras.saving.register_keras_serializable(package="keras_pamunet")
class PAMUNet(Segmenter):
    """PAM-UNet: a mobile U-Net with Progressive Luong Attention on every skip.

    The encoder is MobileNetV2 (alpha 1.0); its features at 1/2, 1/4, 1/8 and 1/16
    of the image pass an attention gate each and join the decoder of transposed
    convolutions and inverted residual blocks. The gates' variance (eq. 8) is added
    to whatever loss the model is compiled with; see `Segmenter.compile`.

    Args:
        input_shape: `(height, width, channels)`. Height and width may be `None` and
            need not be multiples of anything, but 17 pixels or more.
        num_classes: number of output channels.
        expansion: expansion factor of the inverted residual blocks.
        attention: the gates of the skips, a row of the paper's Table II. With 1x1
            convolutions Q, K, V, skip x, the decoder's features g of the same c
            channels and n pixels, and MACs of a gate behind the formula:

            * `"luong"`: `x + gamma * f(Q(x) K(g)^T / sqrt(c)) V(g) / n`. Progressive
              Luong Attention, Fig. 2b. By default f is the sigmoid's tangent at 0;
              `2 n c^2 + 3 c^3`. The paper's is the sigmoid; `2 n^2 c + 3 n c^2`.
            * `"cross"`: `x + gamma * softmax(Q(x) K(g)^T / sqrt(c)) V(g)`; the cost of
              the sigmoid. Encoder-decoder attention, Vaswani et al., arXiv 1706.03762;
              here as in eq. 3.
            * `"self"`: `x + gamma * softmax(Q(x) K(x)^T / sqrt(c)) V(x)`; the same
              cost. Non-local networks, Wang et al., arXiv 1711.07971.
            * `"additive"`: `x * sigmoid(psi(relu(W_x x + W_g g)))` with c / 2 hidden
              channels; `n c^2 + n c / 2`. Attention U-Net, arXiv 1804.03999.
            * `None`: `x`, the plain mobile encoder-decoder.

            All but `"luong"` are this package's reading of the table.
        attention_regularization: the lambda of eq. 8, weight of the attention
            scores' variance in the loss.
        score_activation: f of `"luong"`, `"self"` and `"cross"`, see
            `keras_pamunet.ops.attention_scores`. Defaults to softmax of `"self"` and
            `"cross"`, and of `"luong"` to `"first_order"`, which is close to the
            paper's `"sigmoid"` where the scores stay below about 1; see
            `keras_pamunet.layers.ProgressiveLuongAttention`.
        key_stride: of the same three, see
            `keras_pamunet.layers.ProgressiveLuongAttention`. With 2, attention other
            than of first order costs a quarter.
        encoder_weights: `None`, `"imagenet"` (downloaded by Keras Applications) or
            the path of a `.weights.h5` file of
            `keras.applications.MobileNetV2(include_top=False)`. With other than 3
            channels the stem's kernel is the mean of the three, scaled so that a
            grey image gives the same features as its RGB copy.
        masks: `"exclusive"`: a pixel belongs to one class; of several, the first is
            the background. `"overlapping"`: a pixel may belong to several, and the
            background is none of them; in masks of labels what has a label belongs to
            the classes before it, too, as a tumour (2) to its liver (1).
        class_names: names of the classes other than the background, which are labels
            1, 2, ... in masks.
        input_range: `(lowest, highest)` value of the images: `(0, 255)` for 8-bit
            images; for CT the window, in HU, such as `(-200, 250)` for the liver.
            Values are clipped to it and mapped to [-1, 1] in the network.
        mirror_axes: of the batch, along which images may be mirrored, in training and
            for the mean over flips: 1 for top to bottom, 2 for left to right. `()`
            where sides matter, as in CT of the abdomen.
        batch_norm_momentum: momentum of the moving statistics.
        dtype: dtype or dtype policy, as of any Keras layer. The output is always
            float32.

    Input shape:
        `(batch, height, width, channels)`, raw values.

    Output shape:
        `(batch, height, width, num_classes)`, probabilities.

    Raises:
        ValueError: for an argument out of its domain, images below 17 x 17 pixels
            and encoder weights that do not fit. `fit`, `evaluate` and the others: for
            masks of other values than 0 to 1 in the first batch.

    Warns:
        UserWarning: if the first images all lie in 0 to 1, and the `input_range` is
            as that of 8-bit images.

    Example:

    >>> model = keras_pamunet.PAMUNet(input_shape=(128, 128, 3))
    >>> history = model.fit(images, masks, batch_size=8, epochs=10)
    >>> masks = model.predict(images) > 0.5

    Reference:
        - PAM-UNet: Shifting Attention on Region of Interest in Medical Images,
          arXiv 2405.01503, Fig. 2 and eqs. 1-8.
    """

    network = "pamunet"
    search_space = {
        "expansion": lambda hp, name: hp.Int(name, 1, 8, default=6),
        "attention_regularization": lambda hp, name: hp.Float(
            name, 1e-4, 1.0, sampling="log", default=0.01
        ),
        "score_activation": lambda hp, name: hp.Choice(
            name, list(SCORE_ACTIVATIONS), default="first_order", ordered=False
        ),
        "attention": lambda hp, name: hp.Choice(
            name, [x or "none" for x in ATTENTIONS], ordered=False
        ),
    }

    def __init__(
        self,
        input_shape: tuple[int | None, int | None, int] = (128, 128, 3),
        num_classes: int = 1,
        expansion: int = 6,
        attention: str | None = "luong",
        attention_regularization: float = 0.01,
        score_activation: str | None = None,
        key_stride: int = 1,
        encoder_weights: str | Path | None = None,
        masks: str = "exclusive",
        class_names: Sequence[str] | None = None,
        input_range: tuple[float, float] = (0, 255),
        mirror_axes: Sequence[int] = (1, 2),
        batch_norm_momentum: float = 0.9,
        name: str = "pam_unet",
        trainable: bool = True,
        dtype: Any = None,
    ):
        task = Task(
            input_shape=input_shape,
            num_classes=num_classes,
            masks=masks,
            class_names=class_names,
            input_range=input_range,
            mirror_axes=mirror_axes,
            encoder_weights=encoder_weights,
            batch_norm_momentum=batch_norm_momentum,
            name=name,
            trainable=trainable,
            dtype=dtype,
        )
        check_choice("attention", attention, ATTENTIONS)
        activations = (None, *SCORE_ACTIVATIONS)
        check_choice("score_activation", score_activation, activations)
        has_scores = attention in DEFAULT_SCORES
        if not has_scores and (score_activation is not None or key_stride != 1):
            raise ValueError(
                "Expected `score_activation` and `key_stride` only with one of "
                f"attention={tuple(DEFAULT_SCORES)}. Received: attention="
                f"{attention!r}, score_activation={score_activation!r}, "
                f"key_stride={key_stride!r}"
            )
        score_activation = score_activation or DEFAULT_SCORES.get(attention)
        expansion = to_integer("expansion", expansion, MAX_EXPANSION)
        key_stride = to_integer("key_stride", key_stride, MAX_SIDE)
        check_number("attention_regularization", attention_regularization)
        if encoder_weights is not None and expansion != 6:
            raise ValueError(
                "`encoder_weights` were trained with an expansion factor of 6. "
                f"Received: expansion={expansion}. Leave `encoder_weights` out."
            )

        def up(x, filters, name):
            return Conv2DTranspose(
                filters,
                3,
                2,
                padding="same",
                use_bias=False,
                data_format="channels_last",
                dtype=task.dtype,
                name=name,
            )(x)

        def gate(skip, x, index):
            common = {
                "attention_regularizer": AttentionVariance(attention_regularization),
                "dtype": task.dtype,
                "name": f"attention_{index}",
            }
            if has_scores:
                return ProgressiveLuongAttention(
                    score_activation, key_stride=key_stride, **common
                )(skip, skip if attention == "self" else x)
            if attention == "additive":
                return AdditiveAttention(**common)(skip, x)
            return skip

        # === Functional model ===
        inputs, x = task.prepare()
        skips, x = mobilenet_v2(x, expansion, batch_norm_momentum, task.dtype)
        for index, skip in reversed(list(enumerate(skips))):
            filters = skip.shape[-1]
            x = up(x, filters, f"up_{index}")
            skip = gate(skip, x, index)
            x = layers.Concatenate(dtype=task.dtype, name=f"join_{index}")([skip, x])
            x = InvertedResidual(
                filters,
                expansion=expansion,
                batch_norm_momentum=batch_norm_momentum,
                dtype=task.dtype,
                name=f"decoder_{index}",
            )(x)
        x = up(x, 16, "up_head")
        x = batch_norm_relu(x, "up_head_bn", batch_norm_momentum, task.dtype)
        logits = Conv2D(
            task.num_classes,
            3,
            padding="same",
            data_format="channels_last",
            dtype="float32",
            name="logits",
        )(x)
        super().__init__(inputs, task.head(logits, inputs), task)

        # === Config ===
        self.expansion = expansion
        self.attention = attention
        self.attention_regularization = attention_regularization
        self.score_activation = score_activation
        self.key_stride = key_stride

        if encoder_weights is not None:
            load_mobilenet_v2(self, encoder_weights)

    @classmethod
    def settle(cls, values: dict[str, Any]) -> dict[str, Any]:
        if values.get("attention") == "none":
            values = {**values, "attention": None}
        if "attention" in values and values["attention"] not in DEFAULT_SCORES:
            # "additive" and None have no scores and no keys.
            values = {**values, "score_activation": None, "key_stride": 1}
        return values

    @classmethod
    def with_scores(
        cls, score_activation: str, arguments: dict[str, Any]
    ) -> dict[str, Any]:
        if arguments.get("attention", "luong") != "luong":
            return arguments
        return {"score_activation": score_activation, **arguments}

    def changed_config(self, arguments: dict[str, Any]) -> dict[str, Any]:
        if arguments.get("attention", self.attention) != self.attention:
            # That of the other attention, unless it is given.
            arguments = {"score_activation": None, **arguments}
        return super().changed_config(arguments)

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: dict | None = None
    ) -> "Segmenter":
        if config.get("score_activation") is None:
            former = FORMER_SCORES.get(config.get("attention", "luong"))
            config = {**config, "score_activation": former}
        return super().from_config(config, custom_objects)

    def architecture(self) -> dict[str, Any]:
        return {
            **super().architecture(),
            "expansion": self.expansion,
            "attention": self.attention,
            "score_activation": self.score_activation,
            "key_stride": self.key_stride,
        }

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "expansion": self.expansion,
            "attention": self.attention,
            "attention_regularization": self.attention_regularization,
            "score_activation": self.score_activation,
            "key_stride": self.key_stride,
        }
