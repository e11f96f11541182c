"""What every network must keep to. A test class for each network inherits it."""

import inspect
import json
from types import ModuleType
from typing import Any

import keras
import numpy as np
import pytest

from keras_pamunet import OnnxModel, export
from keras_pamunet.analysis.complexity import count
from keras_pamunet.backend import run_once
from keras_pamunet.models import PAMUNet, Segmenter, find_network
from keras_pamunet.models.task import checks_only
from tests.helpers import once

TENSORFLOW = keras.backend.backend() == "tensorflow"
# For the arguments that all networks have, other values than their defaults.
OTHER = {
    "input_shape": (48, 40, 4),
    "num_classes": 2,
    "masks": "overlapping",
    "class_names": ("liver", "tumour"),
    "input_range": (-200, 250),
    "mirror_axes": (2,),
    "batch_norm_momentum": 0.5,
    "name": "another",
    "trainable": False,
    "dtype": "mixed_bfloat16",
}


def draw(rng, height, width, count=2):
    """Images of noise, each of another colour, which the coarsest network sees."""
    colours = rng.integers(0, 256, (count, 1, 1, 3))
    noise = rng.integers(0, 256, (count, height, width, 3))
    return ((colours + noise) / 2).astype("uint8")


class SegmenterContract:
    """Tests of a network; a subclass says which, and what is to be expected of it.

    Attributes:
        network: the class.
        small: arguments that make it small.
        constants: the same of constants, as `{(module, name): value}`.
        other: for each argument of its own, another value than the default.
        head: the layers that depend on the number of classes.
        unfolded: batch normalisations that follow no convolution.
    """

    network: type[Segmenter]
    small: dict[str, Any] = {}
    constants: dict[tuple[ModuleType, str], Any] = {}
    other: dict[str, Any] = {}
    head: tuple[str, ...] = ("logits",)
    unfolded = 0

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def small_constants(cls):
        with pytest.MonkeyPatch.context() as patch:
            for (module, name), value in cls.constants.items():
                patch.setattr(module, name, value)
            yield

    @classmethod
    def make(cls, input_shape=(32, 32, 3), **arguments):
        return cls.network(input_shape, **{**cls.small, **arguments})

    @classmethod
    def settle(cls, model, rng):
        """What a network needs, beside random numbers, for images to differ."""

    @pytest.fixture(scope="class")
    @classmethod
    def model(cls, small_constants):
        """A small one, shared: no test may change it.

        Unlike in a new one, statistics and gates do something, and the masks have
        a standard deviation of 0.2, so that errors before them can be seen.
        """
        keras.utils.set_random_seed(0)
        rng = np.random.default_rng(0)
        images = draw(rng, 32, 32)
        model = cls.make()
        for variable in model.variables:
            if variable.name not in ("kernel", "bias"):
                variable.assign(rng.uniform(0.7, 1.3, variable.shape))
        cls.settle(model, rng)
        masks = np.float64(run_once(model, images))
        logits = np.log(masks / (1 - masks))
        kernel, bias = (np.array(x) for x in model.get_layer("logits").get_weights())
        scale = 1 / logits.std()
        model.get_layer("logits").set_weights(
            [scale * kernel, scale * (bias - logits.mean())]
        )
        return model

    @pytest.fixture
    def images(self, rng):
        return draw(rng, 32, 32)

    @pytest.fixture
    def thorough(self):
        """For what depends on layers that PAM-UNet has, too.

        Under JAX each network that is made compiles for seconds.
        """
        if not TENSORFLOW and self.network is not PAMUNet:
            pytest.skip("PAM-UNet stands for all networks, as TensorFlow does here")

    @pytest.fixture(scope="class")
    @classmethod
    def frozen(cls, model):
        """A copy, the first layers of which are not trained."""
        copy = model.clone()
        for layer in [x for x in copy.layers if x.weights][:3]:
            layer.trainable = False
        return copy

    # === What it is ===
    def test_name(self):
        assert find_network(self.network.network) is self.network

    @once
    def test_counts_by_any_name(self, model):
        """Of the network, and of layers that Keras numbers."""
        counts = []
        for counted in (model, self.make(name="another")):
            counts.append(count(counted))
            for row in counts[-1]["layers"]:
                del row["name"]
        assert counts[0] == counts[1]

    def test_batch_normalisations(self, model):
        """Each behind a convolution is found once, and no other's convolution."""
        pairs = model.conv_batch_norm_pairs()
        found = [norm.moving_mean.path for _, norm in pairs]
        paths = [x.path for x in model.variables if x.name == "moving_mean"]
        assert set(found) <= set(paths) and len(found) == len(set(found))
        assert len(paths) - len(found) == self.unfolded
        assert len({conv.kernel.path for conv, _ in pairs}) == len(pairs)

    # === What it finds ===
    @pytest.mark.parametrize("size", [(17, 17), (33, 47)])
    def test_any_size(self, rng, model, size):
        """The mask is that of the image continued by its mirror image, cropped."""
        free = model.clone(input_shape=(None, None, 3))
        images = draw(rng, *size)
        masks = np.asarray(run_once(free, images))
        assert masks.shape == (2, *size, 1) and masks.std() > 0.01
        beyond = ((0, 0), *((0, -side % 32) for side in size), (0, 0))
        padded = np.asarray(run_once(free, np.pad(images, beyond, "reflect")))
        np.testing.assert_allclose(masks, padded[:, : size[0], : size[1]], atol=1e-5)

    @pytest.mark.usefixtures("thorough")
    @pytest.mark.parametrize(
        ("channels", "num_classes", "masks"),
        [(1, 3, "exclusive"), (3, 1, "exclusive"), (4, 2, "overlapping")],
    )
    def test_channels_and_classes(self, rng, channels, num_classes, masks):
        model = self.make((32, 32, channels), num_classes=num_classes, masks=masks)
        model.get_layer("logits").bias.assign(np.linspace(0.5, 1, num_classes))
        images = rng.uniform(0, 255, (1, 32, 32, channels))
        found = np.asarray(run_once(model, images))
        assert found.shape == (1, 32, 32, num_classes)
        assert (found > 0).all() and (found < 1).all()
        one = num_classes == 3
        assert np.allclose(found.sum(axis=-1), 1, rtol=1e-5) == one
        # Without the background.
        ids = {str(metric.target_class_ids) for metric in model.own_metrics()}
        assert (ids == {"[1, 2]"}) == one

    @pytest.mark.usefixtures("thorough")
    @pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16", "bfloat16"])
    def test_half_precision(self, model, images, dtype):
        half = model.clone(dtype=dtype)
        computed = {x.compute_dtype for x in half.layers if x.weights}
        assert dtype.removeprefix("mixed_") in computed
        stored = {x.dtype for x in half.weights}
        assert (stored == {"float32"}) == dtype.startswith("mixed_")
        masks = run_once(half, images)
        promised = half.compute_output_spec(keras.KerasTensor(images.shape))
        assert keras.backend.standardize_dtype(masks.dtype) == promised.dtype
        assert promised.dtype == "float32" and promised.shape == tuple(masks.shape)
        # Weights of 8 bits, in networks of some fifty layers.
        tolerance = 0.1 if dtype == "bfloat16" else 0.05
        np.testing.assert_allclose(masks, run_once(model, images), atol=tolerance)

    @pytest.mark.usefixtures("thorough")
    def test_channels_are_last(self, model, images):
        """Also where Keras is set to have them first."""
        expected = np.asarray(run_once(model, images))
        keras.config.set_image_data_format("channels_first")
        try:
            found = run_once(model.clone(), images)
        finally:
            keras.config.set_image_data_format("channels_last")
        np.testing.assert_allclose(found, expected, atol=1e-6)

    # === Files and copies ===
    def test_saved_and_loaded(self, tmp_path, model, images):
        model.save(tmp_path / "model.keras")
        loaded = keras.saving.load_model(tmp_path / "model.keras")
        assert type(loaded) is self.network and loaded.compiled
        assert loaded.get_config() == model.get_config()
        expected = np.asarray(run_once(model, images))
        assert expected.std() > 0.05
        np.testing.assert_allclose(run_once(loaded, images), expected, atol=1e-6)

    @once
    def test_configuration(self):
        """It holds every argument, as it was given, also after JSON."""
        other = {**OTHER, **self.other}
        taken = inspect.signature(self.network).parameters
        assert {*other} == {*taken} - {"encoder_weights"}
        for name, value in other.items():
            assert value != taken[name].default, name
        model = self.network(**other)
        config = model.get_config()
        assert {*config} == {*taken, "frozen"}
        for name, value in other.items():
            expected = "mixed_bfloat16" if name == "dtype" else value
            found = model.dtype_policy.name if name == "dtype" else config[name]
            assert found == expected, name
        read = json.loads(json.dumps(config))
        for held in (config, read):
            assert self.network.from_config(held).get_config() == config

    def test_preset(self, tmp_path, model):
        model.save_to_preset(tmp_path / "preset")
        loaded = Segmenter.from_preset(tmp_path / "preset")
        assert type(loaded) is self.network
        config, expected = loaded.get_config(), model.get_config()
        assert config == expected
        for one, other in zip(loaded.get_weights(), model.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)
        for network in Segmenter.networks.values():
            if network is not self.network:
                with pytest.raises(ValueError, match=f"a {self.network.__name__}"):
                    network.from_preset(tmp_path / "preset")
        head = ", ".join(self.head)
        with pytest.warns(UserWarning, match=f"start at random: {head}$"):
            other = Segmenter.from_preset(tmp_path / "preset", num_classes=3)
        assert other.output_shape == (None, 32, 32, 3)
        self.assert_same_layers(other, model, self.head)

    @staticmethod
    def assert_same_layers(one, other, but):
        """Makes sure that all layers with weights, but some, have the same."""
        names = [x.name for x in other.layers if x.weights and x.name not in but]
        assert len(names) > 5
        for name in names:
            pair = (x.get_layer(name).get_weights() for x in (one, other))
            for ours, theirs in zip(*pair, strict=True):
                np.testing.assert_array_equal(ours, theirs)

    def test_clone(self, frozen):
        copy = frozen.clone(input_shape=(None, 64, 3), name="copy")
        assert copy.input_shape == (None, None, 64, 3) and copy.name == "copy"
        self.assert_same_layers(copy, frozen, ())
        held = frozen.get_config()["frozen"]
        assert len(held) >= 3 and copy.get_config()["frozen"] == held
        first = next(x for x in copy.layers if x.weights)
        assert not first.trainable

    def test_frozen_layers_stay(self, tmp_path, frozen, images):
        """Saved, loaded and trained by one batch, in which all others change."""
        frozen.save(tmp_path / "model.keras")
        model = keras.saving.load_model(tmp_path / "model.keras")
        assert model.get_config()["frozen"] == frozen.get_config()["frozen"]
        # Without graphs, which take longer to make than a step.
        model.compile(run_eagerly=TENSORFLOW)
        before = {x.name: x.get_weights() for x in model.layers if x.weights}
        model.train_on_batch(images, images[..., :1] > 127)
        same = {
            name: all(map(np.array_equal, model.get_layer(name).get_weights(), weights))
            for name, weights in before.items()
        }
        assert [name for name, kept in same.items() if kept] == list(same)[:3]

    @pytest.mark.skipif(not TENSORFLOW, reason="the conversion is TensorFlow's")
    @pytest.mark.xdist_group("export")
    def test_onnx(self, rng, tmp_path, model):
        model = model.clone(input_shape=(None, None, 3))
        report = export(model, tmp_path / "model.onnx", progress=False)
        # Weights at random make many a probability of nearly 0.5.
        assert report.largest_difference <= 1e-5
        assert report.changed_pixels <= 1e-4 * report.pixels
        images = rng.uniform(0, 255, (3, 33, 47, 3)).astype("float32")
        found = OnnxModel(tmp_path / "model.onnx").predict_on_batch(images)
        expected = np.asarray(run_once(model, images))
        np.testing.assert_allclose(found, expected, atol=1e-5)

    # === What it refuses ===
    @once
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"input_shape": (128, 128)}, r"\(height, width, channels\)"),
            ({"input_shape": (16, 32, 3)}, "at least 17 x 17 pixels"),
            ({"input_shape": (32, 32, 4097)}, "input_shape="),
            ({"input_shape": (32, 2**17, 3)}, "input_shape="),
            ({"input_shape": (32, 32, None)}, "input_shape="),
            ({"input_shape": (32, True, 3)}, "input_shape="),
            ({"input_shape": "abc"}, "input_shape='abc'"),
            ({"input_shape": None}, "input_shape=None"),
            ({"masks": "both"}, "masks='both'"),
            ({"class_names": ("a", "b")}, "1 different name"),
            ({"class_names": ("a/b",)}, "class_names="),
            ({"class_names": "polyp"}, "class_names="),
            ({"num_classes": 3, "class_names": ("a", "a")}, "2 different name"),
            ({"mirror_axes": (0,)}, "mirror_axes="),
            ({"mirror_axes": (1, 1)}, "mirror_axes="),
            ({"mirror_axes": 1}, "mirror_axes=1"),
            ({"input_range": (255, 0)}, r"input_range=\(255, 0\)"),
            ({"input_range": (0, 1, 2)}, "input_range="),
            ({"input_range": (0, float("nan"))}, "input_range="),
            ({"input_range": ("0", "1")}, "input_range="),
            ({"input_range": (False, True)}, "input_range="),
            ({"input_range": 255}, "input_range=255"),
            ({"input_range": (0, 10**400)}, "input_range="),
            ({"num_classes": 257}, "num_classes=257"),
            ({"num_classes": 0}, "num_classes=0"),
            ({"num_classes": True}, "num_classes=True"),
            ({"num_classes": 2.0}, "num_classes=2.0"),
            ({"num_classes": None}, "num_classes=None"),
            ({"num_classes": [1]}, "num_classes="),
            ({"encoder_weights": "none.weights.h5"}, "none.weights.h5"),
            ({"encoder_weights": 1}, "encoder_weights=1"),
            ({"batch_norm_momentum": 1.5}, "batch_norm_momentum=1.5"),
            ({"batch_norm_momentum": "0"}, "batch_norm_momentum='0'"),
            ({"batch_norm_momentum": float("nan")}, "batch_norm_momentum=nan"),
            ({"name": 3}, "name=3"),
            ({"name": "a/b"}, "name='a/b'"),
            ({"trainable": "no"}, "trainable='no'"),
            ({"dtype": "float31"}, "dtype='float31'"),
            ({"dtype": ["float32"]}, "dtype="),
        ],
    )
    def test_arguments(self, arguments, message):
        """Before any weights are made."""
        if not {*arguments} <= {*inspect.signature(self.network).parameters}:
            pytest.skip("has no encoder with weights of its own")
        with pytest.raises(ValueError, match=message), checks_only():
            self.make(**arguments)

    def test_unknown_argument(self):
        with pytest.raises(ValueError, match=f"{self.network.__name__}: .*'nosuch'"):
            self.network.from_config({**self.small, "nosuch": 1})
