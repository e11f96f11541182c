import hashlib
import json
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import keras
import numpy as np
from keras import ops

from keras_pamunet import hub, metrics
from keras_pamunet.backend import own_losses, runtime
from keras_pamunet.layers import InvertedResidual
from keras_pamunet.losses import DiceBCE
from keras_pamunet.model_files import check_weights
from keras_pamunet.models import first_batch
from keras_pamunet.models.litert_file import write_litert
from keras_pamunet.models.onnx_file import write_onnx
from keras_pamunet.models.task import Task
from keras_pamunet.saving import to_weights_file

if TYPE_CHECKING:
    from keras_pamunet.inference.segmentation import Segmentation

CONVOLUTIONS = (
    keras.layers.Conv2D,
    keras.layers.Conv2DTranspose,
    keras.layers.DepthwiseConv2D,
)


class Segmenter(keras.Model):
    """Base class of the networks: raw images in, probabilities of masks out.

    A network is a class of its own that makes its layers between `Task.prepare` and
    `Task.head`, calls this constructor, and gives `get_config` and, for what its
    weights depend on, `architecture` its own arguments. It is known by its
    `network`, the name for `list_models` and `--network`.

    The model is compiled with the default recipe, see `compile`.

    Args:
        inputs: the network's input, from `Task.prepare`.
        outputs: its output, from `Task.head`.
        task: what the network is for.

    Raises:
        ValueError: `fit`, `evaluate` and the others: for masks of other values than 0
            to 1 in the first batch.

    Warns:
        UserWarning: if the first images all lie in 0 to 1, and the `input_range` is
            as that of 8-bit images.
    """

    # Name of the network, for `list_models` and `--network`.
    network: ClassVar[str]
    # All networks by name.
    networks: ClassVar[dict[str, type["Segmenter"]]] = {}
    # How a search draws arguments of its own: by name, functions of KerasTuner's
    # hyperparameters and that name.
    search_space: ClassVar[dict[str, Callable[[Any, str], Any]]] = {}
    # Whether its encoder takes weights of Keras Applications, as `encoder_weights`.
    has_encoder_weights: ClassVar[bool] = True
    # The kind of its gates, of networks that have some.
    attention: str | None = None
    # Where it was loaded from, for messages and records.
    origin = "a model in memory"

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        if "network" in vars(cls):
            Segmenter.networks[cls.network] = cls

    def __init__(self, inputs: Any, outputs: Any, task: Task):
        super().__init__(inputs, outputs, name=task.name, trainable=task.trainable)
        self.dtype_policy = task.dtype
        self.num_classes = task.num_classes
        self.masks = task.masks
        self.class_names = task.class_names
        self.activation = task.activation
        self.input_range = task.input_range
        self.mirror_axes = task.mirror_axes
        self.batch_norm_momentum = task.batch_norm_momentum
        self.compile()

    def compile(
        self,
        optimizer: Any = "auto",
        loss: Any = "auto",
        *,
        metrics: Any = "auto",
        **kwargs: Any,
    ) -> None:
        """Sets the network up for training, see `keras.Model.compile`.

        Args:
            optimizer: `"auto"` is AdamW with a learning rate of 0.001 and a weight
                decay of 0.001.
            loss: `"auto"` is `keras_pamunet.losses.DiceBCE`.
            metrics: `"auto"` are those of `own_metrics`.
            **kwargs: as `keras.Model.compile` takes them.
        """
        if optimizer == "auto":
            optimizer = keras.optimizers.AdamW(1e-3, weight_decay=1e-3)
        if loss == "auto":
            loss = DiceBCE()
        if metrics == "auto":
            metrics = self.own_metrics()
        super().compile(optimizer, loss, metrics=metrics, **kwargs)

    @classmethod
    def settle(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Arguments that a search has drawn, as the constructor takes them."""
        return values

    @classmethod
    def with_scores(
        cls, score_activation: str, arguments: dict[str, Any]
    ) -> dict[str, Any]:
        """Arguments with this activation of Luong attention, where it is left open."""
        return arguments

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

    @property
    def losses(self) -> list[Any]:
        return own_losses(super().losses)

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
        >>> found.mask.shape, found.probabilities.shape
        ((300, 300), (300, 300, 1))
        """
        # Imported here: it brings OpenCV, Pillow and more.
        from keras_pamunet.inference import segment

        return segment(self, image, flips=flips, threshold=threshold, min_area=min_area)

    def make_train_function(self, force: bool = False) -> Any:
        self._build_optimizer()
        return super().make_train_function(force)

    def own_metrics(self) -> list[metrics.MaskMetric]:
        """New metrics that fit the output, see `keras_pamunet.metrics.fitting`."""
        return metrics.fitting(self.activation, self.num_classes)

    def _build_optimizer(self):
        """Makes the optimizer's variables now.

        TensorFlow would make them while it traces the first step, and trace that
        again. Keras warns when it loads a model that was saved without them.
        """
        if self.optimizer is not None and not self.optimizer.built:
            self.optimizer.build(self.trainable_variables)

    def conv_batch_norm_pairs(self) -> list[tuple[keras.Layer, keras.Layer]]:
        """Each convolution that a batch normalisation follows, with that layer."""
        pairs = []
        for layer in self._flatten_layers():
            if isinstance(layer, InvertedResidual):
                named = {step.name: step for step in layer.steps}
                pairs += [
                    (named[name.removesuffix("_bn")], step)
                    for name, step in named.items()
                    if isinstance(step, keras.layers.BatchNormalization)
                ]
        for layer in self.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                before = layer.input._keras_history.operation
                if isinstance(before, CONVOLUTIONS):
                    pairs.append((before, layer))
        return pairs

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
            format: `"onnx"` and `"litert"` as `keras_pamunet.exporting.export` writes
                them, which also compares; and what else `keras.Model.export` offers.
            verbose: as Keras takes it.
            input_signature: the same; with `"onnx"` and `"litert"` its dtype is
                `"float32"` or `"uint8"`.
            **kwargs: the same, other than with `"onnx"` and `"litert"`.

        Raises:
            ModuleNotFoundError: if a requirement is not installed.
            OSError: if the file cannot be written.
            ValueError: if the model cannot be converted, or for arguments that the
                format does not take.
        """
        writers: dict[str, Callable[..., None]] = {
            "onnx": write_onnx,
            "litert": write_litert,
        }
        if format not in writers:
            super().export(filepath, format, verbose, input_signature, **kwargs)
            return
        if kwargs:
            raise ValueError(
                f"Expected no other arguments with format={format!r}. Received: "
                f"{kwargs}"
            )
        # Neither has an operation for attention as it is trained.
        (image,) = input_signature or [keras.InputSpec("float32", self.input_shape)]
        writers[format](
            self.clone(input_shape=image.shape[1:]),
            filepath,
            image.shape[0],
            input_dtype=image.dtype or "float32",
        )

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
        # The same arrays may fit networks of several kinds, so the file says of which
        # its weights are.
        text = json.dumps(self.architecture())
        store["architecture"] = np.frombuffer(text.encode(), "uint8")

    def load_own_variables(self, store: Any) -> None:
        if "architecture" not in set(store.keys()):
            return  # Files of older versions have no such record.
        try:
            held = json.loads(np.asarray(store["architecture"]).tobytes())
        except (ValueError, RecursionError):
            held = None
        ours = json.loads(json.dumps(self.architecture()))
        if not isinstance(held, dict):
            raise ValueError("The file's record of its architecture was altered.")
        # Files of older versions have a `window`, which is not None in models of CT
        # only. Their input_range was that of the 8-bit slices.
        if held.pop("window", None) is not None:
            ours.pop("input_range"), held.pop("input_range")
        for name in sorted({*ours, *held}):
            if ours.get(name) != held.get(name):
                raise ValueError(
                    "Expected the weights of a model of the same architecture. "
                    f"Received: weights for {name}={held.get(name)!r}, and a model of "
                    f"{name}={ours.get(name)!r}"
                )

    def architecture(self) -> dict[str, Any]:
        """What the weights depend on: all but size, dtype, name and training."""
        return {
            "channels": self.input_shape[-1],
            "num_classes": self.num_classes,
            "activation": self.activation,
            "input_range": self.input_range,
        }

    @property
    def fingerprint(self) -> str:
        """SHA-256 of what the model predicts by: its configuration and weights."""
        config = {**self.architecture(), "shape": self.input_shape[1:]}
        config["dtype"] = self.dtype_policy.name
        digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode())
        for weight in self.weights:
            digest.update(ops.convert_to_numpy(weight).tobytes())
        return digest.hexdigest()

    @property
    def runtime(self) -> dict[str, str]:
        """What it runs on, see `keras_pamunet.backend.runtime`."""
        return runtime()

    def get_config(self) -> dict[str, Any]:
        # The encoder's weights come with the model's own from then on.
        encoder = {"encoder_weights": None} if self.has_encoder_weights else {}
        return {
            **encoder,
            "input_shape": self.input_shape[1:],
            "num_classes": self.num_classes,
            "masks": self.masks,
            "class_names": self.class_names,
            "input_range": self.input_range,
            "mirror_axes": self.mirror_axes,
            "batch_norm_momentum": self.batch_norm_momentum,
            "name": self.name,
            "trainable": self.trainable,
            "frozen": [x for x, layer in _parts(self) if not layer.trainable],
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
        }

    def changed_config(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """The configuration with other arguments, and default names of other classes.

        Args:
            arguments: of the network, those that shall differ.
        """
        config = self.get_config()
        changed = {**config, **arguments}
        names = {"num_classes", "masks"} & arguments.keys()
        if any(changed[name] != config[name] for name in names):
            changed["class_names"] = arguments.get("class_names")
        return changed

    @classmethod
    def from_config(
        cls, config: dict, custom_objects: dict | None = None
    ) -> "Segmenter":
        """Makes a model as `get_config` describes it. Reads no other file.

        Raises:
            ValueError: for arguments that are unknown or out of their domain.
        """
        # A file must not make this process read or download another file.
        config = _without_files(config)
        frozen = config.pop("frozen", [])
        # Files of older versions have `activation` in place of `masks`.
        activation, window = config.pop("activation", None), config.pop("window", None)
        if window is not None:  # Slices were mapped to 0 to 255 before the network.
            config["input_range"] = window
        if activation == "sigmoid" and config.get("num_classes", 1) != 1:
            config["masks"] = "overlapping"
        try:
            model = cls(**config)
        except TypeError as error:
            raise ValueError(f"Expected arguments of {cls.__name__}: {error}") from None
        model._freeze(frozen)
        return model

    def _freeze(self, names):
        """Sets `trainable` of all layers: False for these names, True for others."""
        if not isinstance(names, list | tuple):
            raise ValueError(f"Expected a list of names as `frozen`. Received: {names}")
        for name, layer in _parts(self):
            layer.trainable = name not in names

    def compile_from_config(self, config: dict) -> None:
        # Keras stores the resolved jit_compile. A model saved under TensorFlow says
        # False, and under JAX would then run nine times slower.
        config = keras.saving.deserialize_keras_object(config)
        self.compile(**{**config, "jit_compile": "auto"})
        self._build_optimizer()

    presets = staticmethod(hub.presets)

    @classmethod
    def from_preset(
        cls, preset: str | Path, load_weights: bool = True, **arguments: Any
    ) -> "Segmenter":
        """Makes a published model.

        Presets of format 1, which hold the arguments of a `PAMUNet` without its name,
        are read, too.

        Args:
            preset: name of a preset (see `Segmenter.presets()`), its folder, or
                `hf://<owner>/<repository>`.
            load_weights: whether to take the preset's weights, or random ones.
            **arguments: arguments of the network that shall differ from the preset's,
                say `num_classes`. What then does not fit starts at random, and a
                warning says so.

        Raises:
            ValueError: if there is no such preset, it was cut or altered, or it is of
                another network than the class that is asked.
            OSError: if a download fails.
            ImportError: for `hf://` without `huggingface_hub`.
        """
        folder = hub.find(preset)
        held, _ = hub.read(folder)
        try:
            network, config = hub.network_of(held)
            kind = cls._kind(network)
            published = kind.from_config(config)
            if load_weights:
                published.load_weights(folder / hub.WEIGHTS)
        except (TypeError, ValueError, KeyError, OSError) as error:
            raise ValueError(f"{folder} holds no {cls.__name__}: {error}") from error
        if not arguments:
            return published
        if not load_weights:
            config = published.changed_config(arguments)
            del config["frozen"]
            return kind(**config)
        return published.clone(**arguments)

    @classmethod
    def _kind(cls, class_name):
        """The network of this name, of the class that was asked for."""
        for kind in Segmenter.networks.values():
            if kind.__name__ == class_name and issubclass(kind, cls):
                return kind
        raise ValueError(f"it is of a {class_name}")

    def clone(self, **arguments: Any) -> "Segmenter":
        """A copy of the model with some arguments changed.

        Args:
            **arguments: arguments of the network that shall differ. Layers whose shapes
                they leave have the model's weights; the others start at random, and
                a warning names them. Layers that are frozen stay so. With another
                `num_classes` or `masks` the names of the classes are the default
                ones, unless `class_names` are given.

        Raises:
            ValueError: for an invalid argument.

        Warns:
            UserWarning: names the layers that start at random.
        """
        config = self.changed_config(arguments)
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
        held = {"format": 2, "class_name": type(self).__name__, "config": config}
        hub.write(Path(folder), held, weights, metadata, card, half)


def _without_files(config):
    """A configuration whose encoder's weights are not read from anywhere."""
    return {x: None if x == "encoder_weights" else y for x, y in config.items()}


def _parts(layer, prefix=""):
    """Name and layer of all layers with weights in a model, the outer ones first."""
    for inner in layer._flatten_layers(include_self=False, recursive=False):
        if inner.weights:
            yield prefix + inner.name, inner
            yield from _parts(inner, f"{prefix}{inner.name}/")
