"""Models in ONNX Runtime. Needs no Keras."""

import json
from pathlib import Path

import numpy as np

# Where an ONNX file tells what the network itself does not.
METADATA = "keras_pamunet"


class OnnxModel:
    """A model that `keras_pamunet.export.export` wrote, for prediction.

    Takes the place of a `PAMUNet` in `keras_pamunet.inference.predict` and
    `keras_pamunet.volume_inference.predict_volume`.

    Args:
        path: the `.onnx` file.
        threads: of ONNX Runtime. By default as many as there are cores.

    Attributes:
        input_shape: `(batch, height, width, channels)`, `None` where any will do.
        num_classes, activation, input_range: see `keras_pamunet.PAMUNet`.

    Raises:
        FileNotFoundError: if there is no such file.
        ModuleNotFoundError: without ONNX Runtime.
        ValueError: if the file is damaged, or another program wrote it.

    Example:

    >>> model = OnnxModel("polyps.onnx")
    >>> probabilities = model.predict_on_batch(images)
    """

    def __init__(self, path: str | Path, threads: int = 0):
        if not Path(path).is_file():
            raise FileNotFoundError(f"Expected an ONNX file. Not there: {path}")
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 4  # The exception says it all.
        try:
            self._session = onnxruntime.InferenceSession(
                path, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime's have no other common base.
            raise ValueError(
                f"Cannot load {path}. It was cut, or this is no ONNX file that ONNX "
                f"Runtime {onnxruntime.__version__} can run: {error}"
            ) from error
        held = self._session.get_modelmeta().custom_metadata_map.get(METADATA)
        if held is None:
            raise ValueError(
                f"Expected a model exported by keras_pamunet. Received: {path}"
            )
        try:
            held = json.loads(held)
            self.num_classes = held["num_classes"]
            self.activation = held["activation"]
            self.input_range = tuple(held["input_range"])
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(
                f"Cannot load {path}; what it says of its model was altered: {error!r}"
            ) from error
        (self._input,) = self._session.get_inputs()
        self.input_shape = tuple(
            side if isinstance(side, int) else None for side in self._input.shape
        )

    def predict_on_batch(self, images: np.ndarray) -> np.ndarray:
        """Probabilities, `(batch, height, width, num_classes)`, of raw images.

        Args:
            images: `(batch, height, width, channels)`. A model exported for a fixed
                batch is run as often as needed.

        Raises:
            ValueError: for images of another shape than the model takes.
        """
        images = np.asarray(images, "float32")
        count = len(images)
        size = self.input_shape[0] or count
        images = np.pad(images, [(0, -count % size), (0, 0), (0, 0), (0, 0)])
        try:
            found = [
                self._session.run(
                    None, {self._input.name: images[start : start + size]}
                )[0]
                for start in range(0, count, size)
            ]
        except Exception as error:  # As above.
            raise ValueError(
                f"ONNX Runtime cannot predict images of shape {images.shape[1:]}; the "
                f"model takes {self.input_shape[1:]}, from 17 pixels up: {error}"
            ) from error
        return np.concatenate(found)[:count]
