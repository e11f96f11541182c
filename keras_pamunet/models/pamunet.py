import hashlib
import json
import math
import numbers
import warnings
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import layers, ops

from keras_pamunet import hub, metrics
from keras_pamunet.backend import channels_last
from keras_pamunet.layers import (
    AdditiveAttention,
    Conv2D,
    Conv2DTranspose,
    CropLike,
    InvertedResidual,
    MBConv,
    PadToMultiple,
    ProgressiveLuongAttention,
)
from keras_pamunet.model_files import check_weights
from keras_pamunet.models import first_batch
from keras_pamunet.models.onnx_file import write_onnx
from keras_pamunet.regularizers import AttentionVariance
from keras_pamunet.saving import to_weights_file

if TYPE_CHECKING:
    from keras_pamunet.segmentation import Segmentation

# MobileNetV2's stages: filters, repeats, strides. The first has expansion 1.
STAGES = (
    (16, 1, 1),
    (24, 2, 2),
    (32, 3, 2),
    (64, 4, 2),
    (96, 3, 1),
    (160, 3, 2),
    (320, 1, 1),
)
SKIP_STAGES = (0, 1, 2, 4)
ATTENTIONS = ("luong", "self", "cross", "additive", None)
# Of the kinds that compare pixels with pixels: their score activation by default.
DEFAULT_SCORES = {"luong": "sigmoid", "self": "softmax", "cross": "softmax"}
# So that a file cannot claim memory. Labels are written as 8 bits.
MAX_CLASSES, MAX_EXPANSION, MAX_CHANNELS, MAX_SIDE = 256, 64, 4096, 2**16


@keras.saving.register_keras_serializable(package="keras_pamunet")
class PAMUNet(keras.Model):
    """PAM-UNet: a mobile U-Net with Progressive Luong Attention on every skip.

    The encoder is MobileNetV2 (alpha 1.0); its features at 1/2, 1/4, 1/8 and 1/16
    of the image pass an attention gate each and join the decoder of transposed
    convolutions and inverted residual blocks. The model is compiled with
    the paper's settings: SGD with learning rate 0.01, momentum 0.9 and weight decay
    1e-4, cross-entropy (eq. 6) and the gates' variance (eq. 8) as loss. Call
    `compile` for others.

    Args:
        input_shape: `(height, width, channels)`. Height and width may be `None` and
            need not be multiples of anything, but 17 pixels or more.
        num_classes: number of output channels.
        expansion: expansion factor of the inverted residual blocks.
        attention: the gates of the skips, a row of the paper's Table II. With 1x1
            convolutions Q, K, V, skip x, the decoder's features g of the same c
            channels and n pixels, and MACs of a gate behind the formula:

            * `"luong"`: `x + gamma * f(Q(x) K(g)^T / sqrt(c)) V(g) / n`, f the
              sigmoid; `2 n^2 c + 3 n c^2`. Progressive Luong Attention, Fig. 2b.
            * `"cross"`: `x + gamma * softmax(Q(x) K(g)^T / sqrt(c)) V(g)`; the same
              cost. Encoder-decoder attention, Vaswani et al., arXiv 1706.03762; here
              as in eq. 3.
            * `"self"`: `x + gamma * softmax(Q(x) K(x)^T / sqrt(c)) V(x)`; the same
              cost. Non-local networks, Wang et al., arXiv 1711.07971.
            * `"additive"`: `x * sigmoid(psi(relu(W_x x + W_g g)))` with c / 2 hidden
              channels; `n c^2 + n c / 2`. Attention U-Net, arXiv 1804.03999.
            * `None`: `x`, the plain mobile encoder-decoder.

            All but `"luong"` are this package's reading of the table.
        attention_regularization: the lambda of eq. 8, weight of the attention
            scores' variance in the loss.
        score_activation: f of `"luong"`, `"self"` and `"cross"`, see
            `keras_pamunet.ops.attention_scores`. Defaults to that in the formula.
        key_stride: of the same three, see
            `keras_pamunet.layers.ProgressiveLuongAttention`. With 2, attention costs a
            quarter, which is worth having from 256 pixels on.
        encoder_weights: `None`, `"imagenet"` (downloaded by Keras Applications) or
            the path of a `.weights.h5` file of
            `keras.applications.MobileNetV2(include_top=False)`. With other than 3
            channels the stem's kernel is the mean of the three, scaled so that a
            grey image gives the same features as its RGB copy.
        activation: `"sigmoid"` for one mask or overlapping ones, `"softmax"` for
            classes that exclude each other.
        input_range: `(lowest, highest)` value of the images: `(0, 255)` for 8-bit
            images, say `(-200, 250)` for CT in HU. Values are clipped to it and
            mapped to [-1, 1] in the network.
        window: of CT, the `(lowest, highest)` HU that became 0 and 255 in the images
            the model is trained on. It changes nothing in the network, and goes with
            it, so that others can be windowed alike. Only with an `input_range` of
            `(0, 255)`.
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
    >>> model.fit(images, masks, batch_size=8, epochs=10)
    >>> masks = model.predict(images) > 0.5

    Reference:
        - PAM-UNet: Shifting Attention on Region of Interest in Medical Images,
          arXiv 2405.01503, Fig. 2 and eqs. 1-8.
    """

    # Where it was loaded from, for messages and records.
    origin = "a model in memory"

    def __init__(
        self,
        input_shape: tuple[int | None, int | None, int] = (128, 128, 3),
        num_classes: int = 1,
        expansion: int = 6,
        attention: str | None = "luong",
        attention_regularization: float = 0.01,
        score_activation: str | None = None,
        key_stride: int = 1,
        encoder_weights: str | None = None,
        activation: str = "sigmoid",
        input_range: tuple[float, float] = (0, 255),
        window: tuple[float, float] | None = None,
        batch_norm_momentum: float = 0.9,
        name: str = "pam_unet",
        trainable: bool = True,
        dtype: Any = None,
    ):
        _check("attention", attention, ATTENTIONS)
        compares = attention in DEFAULT_SCORES
        if not compares and (score_activation is not None or key_stride != 1):
            raise ValueError(
                "Expected `score_activation` and `key_stride` only with one of "
                f"attention={tuple(DEFAULT_SCORES)}. Received: attention="
                f"{attention!r}, score_activation={score_activation!r}, "
                f"key_stride={key_stride!r}"
            )
        _check("activation", activation, ("sigmoid", "softmax"))
        input_shape = _shape(input_shape)
        num_classes = _integer("num_classes", num_classes, MAX_CLASSES)
        expansion = _integer("expansion", expansion, MAX_EXPANSION)
        key_stride = _integer("key_stride", key_stride, MAX_SIDE)
        if activation == "softmax" and num_classes < 2:
            raise ValueError(
                "Expected `num_classes` of 2 or more with activation='softmax', the "
                f"background included. Received: num_classes={num_classes}"
            )
        low, high = _range("input_range", input_range)
        if window is not None:
            window = _range("window", window)
            if (low, high) != (0, 255):
                raise ValueError(
                    "Expected `window` only with input_range=(0, 255), which it maps "
                    f"to. Received: window={window}, input_range={(low, high)}"
                )
        _check_number("attention_regularization", attention_regularization)
        _check_number("batch_norm_momentum", batch_norm_momentum, 1)
        _check("trainable", trainable, (True, False))
        if not isinstance(name, str):
            raise ValueError(f"Expected a text as `name`. Received: name={name!r}")
        if not isinstance(encoder_weights, str | Path | None):
            raise ValueError(
                "Expected `encoder_weights` to be None, 'imagenet' or a path. "
                f"Received: encoder_weights={encoder_weights!r}"
            )
        if encoder_weights is not None and expansion != 6:
            raise ValueError(
                "`encoder_weights` were trained with an expansion factor of 6. "
                f"Received: expansion={expansion}. Leave `encoder_weights` out."
            )
        try:
            policy = keras.dtype_policies.get(dtype)
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise ValueError(
                f"Expected a dtype or dtype policy. Received: dtype={dtype!r} ({error})"
            ) from error
        block = {
            "expansion": expansion,
            "batch_norm_momentum": batch_norm_momentum,
            "dtype": policy,
        }

        def conv(kind, filters, kernel_size, strides, name):
            return kind(
                filters,
                kernel_size,
                strides,
                padding="same",
                use_bias=False,
                data_format="channels_last",
                dtype=policy,
                name=name,
            )

        def batch_norm_relu(x, name):
            x = layers.BatchNormalization(
                epsilon=1e-3, momentum=batch_norm_momentum, dtype=policy, name=name
            )(x)
            return layers.ReLU(6.0, dtype=policy)(x)

        # === Encoder ===
        inputs = keras.Input(input_shape, name="image")
        x = ops.clip(ops.cast(inputs, "float32"), low, high)
        scale, offset = 2 / (high - low), -(high + low) / (high - low)
        x = layers.Rescaling(scale, offset, dtype="float32")(x)
        x = PadToMultiple(32, dtype=policy, name="pad")(x)
        x = conv(Conv2D, 32, 3, 2, "stem")(x)
        x = batch_norm_relu(x, "stem_bn")
        skips = []
        for index, (filters, repeats, strides) in enumerate(STAGES):
            x = MBConv(
                filters,
                repeats,
                strides,
                **{**block, "expansion": expansion if index else 1},
                name=f"encoder_{index}",
            )(x)
            if index in SKIP_STAGES:
                skips.append(x)
        x = conv(Conv2D, 1280, 1, 1, "encoder_top")(x)
        x = batch_norm_relu(x, "encoder_top_bn")

        # === Decoder ===
        for index, skip in reversed(list(enumerate(skips))):
            filters = skip.shape[-1]
            up = conv(Conv2DTranspose, filters, 3, 2, f"up_{index}")(x)
            common = {
                "attention_regularizer": AttentionVariance(attention_regularization),
                "dtype": policy,
                "name": f"attention_{index}",
            }
            if compares:
                skip = ProgressiveLuongAttention(
                    score_activation or DEFAULT_SCORES[attention],
                    key_stride=key_stride,
                    **common,
                )(skip, skip if attention == "self" else up)
            elif attention == "additive":
                skip = AdditiveAttention(**common)(skip, up)
            x = layers.Concatenate(dtype=policy)([skip, up])
            x = InvertedResidual(filters, **block, name=f"decoder_{index}")(x)

        # === Head ===
        x = conv(Conv2DTranspose, 16, 3, 2, "up_head")(x)
        x = batch_norm_relu(x, "up_head_bn")
        x = Conv2D(
            num_classes,
            3,
            padding="same",
            data_format="channels_last",
            dtype="float32",
            name="logits",
        )(x)
        x = CropLike(dtype="float32", name="crop")(x, inputs)
        outputs = layers.Activation(activation, dtype="float32", name="mask")(x)

        super().__init__(inputs, outputs, name=name, trainable=trainable)

        # === Config ===
        self.dtype_policy = policy
        self.num_classes = num_classes
        self.expansion = expansion
        self.attention = attention
        self.attention_regularization = attention_regularization
        self.score_activation = score_activation
        self.key_stride = key_stride
        self.encoder_weights = encoder_weights
        self.activation = activation
        self.input_range = (low, high)
        self.window = window
        self.batch_norm_momentum = batch_norm_momentum

        if encoder_weights is not None:
            self._load_encoder(encoder_weights)
        loss = "binary" if activation == "sigmoid" else "categorical"
        self.compile(
            optimizer=keras.optimizers.SGD(0.01, momentum=0.9, weight_decay=1e-4),
            loss=f"{loss}_crossentropy",
            metrics=self.own_metrics(),
        )

    # === Training and prediction ===
    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: Any = "auto",
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        **kwargs: Any,
    ) -> keras.callbacks.History:
        with first_batch.checked(self) as watch:
            if isinstance(validation_data, tuple | list):
                watch(*validation_data[:2])
            else:
                validation_data = watch(validation_data)
            return super().fit(
                watch(x, y, batch_size),
                y,
                batch_size=batch_size,
                epochs=epochs,
                verbose=verbose,
                callbacks=callbacks,
                validation_split=validation_split,
                validation_data=validation_data,
                **kwargs,
            )

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        with first_batch.checked(self) as watch:
            x = watch(x, y, batch_size)
            return super().evaluate(x, y, batch_size, *args, **kwargs)

    def predict(
        self, x: Any, batch_size: int | None = None, *args: Any, **kwargs: Any
    ) -> Any:
        with first_batch.checked(self) as watch:
            x = watch(x, None, batch_size)
            return super().predict(x, batch_size, *args, **kwargs)

    def train_on_batch(self, x: Any, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        first_batch.check_batch(self, x, y)
        return super().train_on_batch(x, y, *args, **kwargs)

    def test_on_batch(self, x: Any, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        first_batch.check_batch(self, x, y)
        return super().test_on_batch(x, y, *args, **kwargs)

    def predict_on_batch(self, x: Any) -> Any:
        first_batch.check_batch(self, x)
        return super().predict_on_batch(x)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        # Keras' cross-entropies have a value for each pixel, and take no weight for
        # each image beside it.
        loss = self.loss
        name = loss if isinstance(loss, str) else getattr(loss, "name", "")
        if sample_weight is not None and str(name).endswith("crossentropy"):
            shape = sample_weight.shape
            if len(shape) == 1 or (len(shape) == 2 and shape[1] == 1):
                sample_weight = ops.reshape(sample_weight, (-1, 1, 1))
        return super().compute_loss(x, y, y_pred, sample_weight, training)

    def segment(
        self,
        image: str | Path | np.ndarray,
        *,
        flips: bool = True,
        threshold: float = 0.5,
        min_area: int = 0,
    ) -> "Segmentation":
        """Finds the objects in one image of any size.

        See `keras_pamunet.inference.segment` for arguments and errors.

        Example:

        >>> found = model.segment("photo.jpg")
        >>> found.mask.shape, [x.size for x in found.objects]
        """
        # Imported here: it brings OpenCV, Pillow and more.
        from keras_pamunet import inference

        return inference.segment(
            self, image, flips=flips, threshold=threshold, min_area=min_area
        )

    def make_train_function(self, force: bool = False) -> Any:
        self._build_optimizer()
        return super().make_train_function(force)

    def own_metrics(self) -> list[metrics.MaskMetric]:
        """New metrics that fit the output: Dice, IoU, recall and precision.

        With `"softmax"` they leave out class 0, the background.
        """
        kinds = (metrics.Dice, metrics.IoU, metrics.Recall, metrics.Precision)
        if self.activation == "sigmoid":
            return [kind() for kind in kinds]
        objects = list(range(1, self.num_classes))
        return [kind(threshold=None, target_class_ids=objects) for kind in kinds]

    def _build_optimizer(self):
        """Makes the optimizer's variables, before anyone is caught without them.

        Keras under TensorFlow makes them while it traces the first step, which it
        then traces again; and it warns when it loads a model saved without them.
        """
        if self.optimizer is not None and not self.optimizer.built:
            self.optimizer.build(self.trainable_variables)

    def _load_encoder(self, weights):
        """Copies the weights of Keras Applications' MobileNetV2."""
        try:
            if weights != "imagenet":
                check_weights(weights)
            with channels_last():
                source = keras.applications.MobileNetV2(
                    input_shape=(224, 224, 3), include_top=False, weights=weights
                )
        except Exception as error:  # Of a download there comes no other kind.
            raise ValueError(
                "Invalid value for argument `encoder_weights`. Expected 'imagenet' "
                "or the path of a .weights.h5 file of keras.applications."
                f"MobileNetV2(include_top=False). Received: {weights!r} ({error})"
            ) from error
        stages = [self.get_layer(f"encoder_{index}") for index in range(len(STAGES))]
        target = [
            self.get_layer("stem"),
            self.get_layer("stem_bn"),
            *(
                step
                for stage in stages
                for block in stage.blocks
                for step in block.steps
            ),
            self.get_layer("encoder_top"),
            self.get_layer("encoder_top_bn"),
        ]
        for ours, theirs in zip(
            (layer for layer in target if layer.weights),
            (layer for layer in source.layers if layer.weights),
            strict=True,
        ):
            values = theirs.get_weights()
            channels = self.input_shape[-1]
            if ours.name == "stem" and channels != 3:
                mean = values[0].mean(axis=2, keepdims=True)
                values = [(3 / channels * mean).repeat(channels, axis=2)]
            ours.set_weights(values)

    # === Files ===
    def save(self, *args: Any, **kwargs: Any) -> None:
        self._build_optimizer()
        super().save(*args, **kwargs)

    def export(
        self,
        filepath: str | Path,
        format: str = "tf_saved_model",
        verbose: bool | None = None,
        input_signature: Any = None,
        **kwargs: Any,
    ) -> None:
        """Writes the model for other programs.

        Args:
            filepath: the file or folder.
            format: `"onnx"` as `keras_pamunet.export.export` writes it, which also
                compares; and what else `keras.Model.export` offers.
            verbose: as Keras takes it.
            input_signature: the same. With `"onnx"` only its batch counts.
            **kwargs: the same, other than with `"onnx"`.

        Raises:
            ModuleNotFoundError: if a requirement is not installed.
            OSError: if the file cannot be written.
            ValueError: if the model cannot be converted, or for arguments that the
                format does not take.
        """
        if format != "onnx":
            super().export(filepath, format, verbose, input_signature, **kwargs)
            return
        if kwargs:
            raise ValueError(
                f"Expected no other arguments with format='onnx'. Received: {kwargs}"
            )
        # ONNX has no operation for attention as it is trained.
        shape = input_signature[0].shape if input_signature else self.input_shape
        write_onnx(self.adapted(input_shape=shape[1:]), filepath, shape[0])

    def load_weights(
        self, filepath: str | Path, skip_mismatch: bool = False, **kwargs: Any
    ) -> None:
        """Loads weights, of a model that differs in size, name or dtype at most.

        Args:
            filepath: a `.weights.h5` file, or another that Keras takes.
            skip_mismatch: whether to leave out what does not fit.
            **kwargs: as Keras takes them.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if the file is damaged, or of a model of another
                architecture: not even where all shapes fit.
        """
        if not str(filepath).endswith(".h5"):
            super().load_weights(filepath, skip_mismatch, **kwargs)
            return
        held = check_weights(filepath)
        if not skip_mismatch:
            self.check_fits(held["layers"], filepath)
        if "optimizer" not in held:
            kwargs.setdefault("objects_to_skip", [self.optimizer])
        super().load_weights(filepath, skip_mismatch, **kwargs)

    def check_fits(self, shapes: Counter, path: str | Path) -> None:
        """Makes sure that a file has the model's weights, and no others.

        Args:
            shapes: of the layers' arrays, see `keras_pamunet.model_files`.
            path: of the file, for the error.

        Raises:
            ValueError: if the shapes are not those of the model's weights.
        """
        ours = Counter(tuple(weight.shape) for weight in self.weights)
        if ours != shapes:
            raise ValueError(
                f"Expected the weights of this {type(self).__name__}, "
                f"{ours.total()} arrays. Received: {path} with {shapes.total()}, of "
                f"which {(shapes - ours).total()} have other shapes."
            )

    def save_own_variables(self, store: Any) -> None:
        # Weights fit networks of several kinds: what the file holds is said in it.
        text = json.dumps(self._architecture())
        store["architecture"] = np.frombuffer(text.encode(), "uint8")

    def load_own_variables(self, store: Any) -> None:
        if "architecture" not in set(store.keys()):
            return  # A file of before.
        try:
            held = json.loads(np.asarray(store["architecture"]).tobytes())
        except (ValueError, RecursionError):
            held = None
        ours = json.loads(json.dumps(self._architecture()))
        if not isinstance(held, dict):
            raise ValueError("The file's record of its architecture was altered.")
        for name in sorted({*ours, *held}):
            if ours.get(name) != held.get(name):
                raise ValueError(
                    "Expected the weights of a model of the same architecture. "
                    f"Received: weights for {name}={held.get(name)!r}, and a model of "
                    f"{name}={ours.get(name)!r}"
                )

    def _architecture(self):
        """What the weights depend on: all but size, dtype, name and training."""
        return {
            "channels": self.input_shape[-1],
            "num_classes": self.num_classes,
            "expansion": self.expansion,
            "attention": self.attention,
            "score_activation": self.score_activation
            or DEFAULT_SCORES.get(self.attention),
            "key_stride": self.key_stride,
            "activation": self.activation,
            "input_range": self.input_range,
            "window": self.window,
        }

    @property
    def fingerprint(self) -> str:
        """SHA-256 of what the model predicts by: its configuration and weights."""
        config = {**self._architecture(), "shape": self.input_shape[1:]}
        config["dtype"] = self.dtype_policy.name
        digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode())
        for weight in self.weights:
            digest.update(ops.convert_to_numpy(weight).tobytes())
        return digest.hexdigest()

    def get_config(self) -> dict:
        return {
            "input_shape": self.input_shape[1:],
            "num_classes": self.num_classes,
            "expansion": self.expansion,
            "attention": self.attention,
            "attention_regularization": self.attention_regularization,
            "score_activation": self.score_activation,
            "key_stride": self.key_stride,
            # The encoder's weights come with the model's own from then on.
            "encoder_weights": None,
            "activation": self.activation,
            "input_range": self.input_range,
            "window": self.window,
            "batch_norm_momentum": self.batch_norm_momentum,
            "name": self.name,
            "trainable": self.trainable,
            "frozen": [x for x, layer in _parts(self) if not layer.trainable],
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
        }

    @classmethod
    def from_config(cls, config: dict, custom_objects: dict | None = None) -> "PAMUNet":
        """Makes a model as `get_config` describes it. Reads no other file.

        Raises:
            ValueError: for arguments that are unknown or out of their domain.
        """
        # Whatever a file says: a model is made of itself alone.
        config = {**config, "encoder_weights": None}
        frozen = config.pop("frozen", [])
        try:
            model = cls(**config)
        except TypeError as error:
            raise ValueError(f"Expected arguments of {cls.__name__}: {error}") from None
        model._freeze(frozen)
        return model

    def _freeze(self, names):
        """Has these layers, and no others, keep their weights in training."""
        if not isinstance(names, list | tuple):
            raise ValueError(f"Expected a list of names as `frozen`. Received: {names}")
        for name, layer in _parts(self):
            layer.trainable = name not in names

    def compile_from_config(self, config: dict) -> None:
        # Keras saves what "auto" came to on the back end of then: without XLA on
        # TensorFlow, where JAX is nine times slower without.
        super().compile_from_config({**config, "jit_compile": "auto"})

    presets = staticmethod(hub.presets)

    @classmethod
    def from_preset(
        cls, preset: str | Path, load_weights: bool = True, **arguments: Any
    ) -> "PAMUNet":
        """Makes a published model.

        Args:
            preset: name of a preset (see `PAMUNet.presets()`), its folder, or
                `hf://<owner>/<repository>`.
            load_weights: whether to take the preset's weights, or random ones.
            **arguments: arguments of `PAMUNet` that shall differ from the preset's,
                say `num_classes`. What then does not fit starts at random, and a
                warning says so.

        Raises:
            ValueError: if there is no such preset, or it was cut or altered.
            OSError: if a download fails.
            ImportError: for `hf://` without `huggingface_hub`.
        """
        folder = hub.find(preset)
        config, _ = hub.read(folder)
        try:
            published = cls.from_config(config)
            if load_weights:
                published.load_weights(folder / hub.WEIGHTS)
        except (TypeError, ValueError, KeyError, OSError) as error:
            raise ValueError(f"{folder} holds no {cls.__name__}: {error}") from error
        if not arguments:
            return published
        if not load_weights:
            return cls(**{**config, "encoder_weights": None, **arguments})
        return published.adapted(**arguments)

    def adapted(self, **arguments: Any) -> "PAMUNet":
        """A copy of the model with some arguments changed.

        Args:
            **arguments: arguments of `PAMUNet` that shall differ. Layers whose shapes
                they leave have the model's weights; the others start at random, and
                a warning names them. Layers that are frozen stay so.

        Raises:
            ValueError: for an invalid argument, see `PAMUNet`.

        Warns:
            UserWarning: names the layers that start at random.
        """
        config = {**self.get_config(), **arguments}
        frozen = config.pop("frozen")
        model = type(self)(**config)
        model._freeze(frozen)
        ours = {layer.name: layer for layer in self.layers}
        anew = []
        for layer in model.layers:
            values = ours[layer.name].get_weights() if layer.name in ours else []
            if [w.shape for w in layer.weights] == [value.shape for value in values]:
                layer.set_weights(values)
            else:
                anew.append(layer.name)
        if anew:
            warnings.warn(
                f"These layers do not fit the given weights and start at random: "
                f"{', '.join(anew)}",
                stacklevel=2,
            )
        return model

    def save_to_preset(
        self,
        folder: str | Path,
        metadata: dict[str, Any] | None = None,
        card: str | None = None,
        half: bool = False,
    ) -> None:
        """Writes the model as a preset: configuration, weights and metadata.

        Args:
            folder: where to. A preset in its place is replaced, once the new one is
                written.
            metadata: what else `metadata.json` shall hold beside the files' hashes.
            card: text of the model card, `README.md`.
            half: whether to store kernels in half precision.

        Raises:
            ValueError: if the folder holds something else.
            OSError: if it cannot be written.
        """
        config = self.get_config()
        for name in ("name", "trainable", "frozen", "dtype"):
            del config[name]
        bare = type(self)(**config)
        bare.optimizer = None  # Its state is no part of the preset.
        bare.set_weights(self.get_weights())
        weights = to_weights_file(bare)
        hub.write(Path(folder), config, weights, metadata, card, half)


def _parts(layer, prefix=""):
    """All layers with weights in a model, the outer ones first, and their names."""
    for inner in layer._flatten_layers(include_self=False, recursive=False):
        if inner.weights:
            yield prefix + inner.name, inner
            yield from _parts(inner, f"{prefix}{inner.name}/")


def _check(name, value, expected):
    if value not in expected:
        raise ValueError(
            f"Invalid value for argument `{name}`. Expected one of {expected}. "
            f"Received: {name}={value!r}"
        )


def _shape(shape):
    """`(height, width, channels)` of plain numbers, height and width or None."""
    sides = list(shape) if isinstance(shape, tuple | list) else []
    sides = [-1 if x is not None and _plain(x) is None else x for x in sides]
    limits = (MAX_SIDE, MAX_SIDE, MAX_CHANNELS)
    if len(sides) != 3 or any(
        not (isinstance(side, numbers.Integral) and 0 < side <= limit)
        and not (side is None and limit == MAX_SIDE)
        for side, limit in zip(sides, limits)
    ):
        raise ValueError(
            "Invalid value for argument `input_shape`. Expected (height, width, "
            f"channels), at most {limits}; height and width may be None. Received: "
            f"input_shape={shape!r}"
        )
    return tuple(side if side is None else int(side) for side in sides)


def _integer(name, value, largest):
    plain = _plain(value)
    if not isinstance(plain, int) or not 1 <= plain <= largest:
        raise ValueError(
            f"Invalid value for argument `{name}`. Expected an integer from 1 to "
            f"{largest}. Received: {name}={value!r}"
        )
    return plain


def _range(name, limits):
    """`(lowest, highest)` in plain numbers: NumPy's wrap around, and are no JSON."""
    values = limits.tolist() if isinstance(limits, np.ndarray) else limits
    plain = [_plain(x) for x in values] if isinstance(values, tuple | list) else []
    if None in plain or len(plain) != 2 or not plain[0] < plain[1]:
        raise ValueError(
            f"Invalid value for argument `{name}`. Expected (lowest, highest), two "
            f"numbers. Received: {name}={limits!r}"
        )
    return tuple(plain)


def _check_number(name, value, largest=math.inf):
    plain = _plain(value)
    if plain is None or not 0 <= plain <= largest:
        raise ValueError(
            f"Invalid value for argument `{name}`. Expected a number from 0 to "
            f"{largest}. Received: {name}={value!r}"
        )


def _plain(value):
    """A finite number as an int or a float of Python, and None for all else."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real):
        return None
    plain = value.item() if isinstance(value, np.generic) else value
    try:
        return plain if math.isfinite(plain) else None
    except OverflowError:  # An integer of hundreds of digits.
        return None
