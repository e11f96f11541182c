"""Models in LiteRT, the former TensorFlow Lite. Needs no Keras."""

import hashlib
import io
import os
from pathlib import Path
from zipfile import BadZipFile, ZipFile, ZipInfo

import numpy as np

from keras_pamunet.inference.exported_model import ExportedModel, read_exported

# Member of the zip file behind the network, where TFLite Metadata has its files, too.
MEMBER = "keras_pamunet.json"
DIGITS = 64  # Of a SHA-256.


def seal(content: bytes, text: str) -> bytes:
    """A `.tflite` file with what it says of its model behind it, and its SHA-256.

    What is behind it is a zip file, as TFLite Metadata packs its associated files: any
    program for zip files reads it, and LiteRT does not look at it. The zip file's
    comment, the last of the file, is the SHA-256 of all before it.
    """
    file = io.BytesIO(content)
    with ZipFile(file, "a") as archive:
        archive.writestr(ZipInfo(MEMBER), text)
        archive.comment = bytes(DIGITS)
    content = file.getvalue()[:-DIGITS]
    return content + hashlib.sha256(content).hexdigest().encode()


class LiteRTModel(ExportedModel):
    """A LiteRT file that `keras_pamunet.export` wrote, for prediction.

    Attributes and methods are those of
    `keras_pamunet.inference.exported_model.ExportedModel`.

    Args:
        path: the `.tflite` file.
        threads: of LiteRT. By default as many as there are cores.

    Raises:
        FileNotFoundError: if there is no such file.
        ModuleNotFoundError: without `ai-edge-litert`.
        ValueError: if the file is damaged or altered, or another program wrote it.

    Example:

    >>> report = keras_pamunet.export(model, "polyps.tflite", progress=False)
    >>> probabilities = LiteRTModel("polyps.tflite").predict_on_batch(images)
    """

    program = "LiteRT"

    def __init__(self, path: str | Path, threads: int = 0):
        content = read_exported(path)
        text, fingerprint = _unseal(content, path)
        import ai_edge_litert
        from ai_edge_litert.interpreter import Interpreter

        self.runtime = {"ai-edge-litert": ai_edge_litert.__version__, "device": "CPU"}
        try:
            self._interpreter = Interpreter(
                model_content=content, num_threads=threads or os.cpu_count()
            )
            self._runner = self._interpreter.get_signature_runner()
            (details,) = self._runner.get_input_details().values()
        except Exception as error:  # LiteRT's have no other common base.
            raise ValueError(
                f"Cannot load {path}; LiteRT cannot run it: {error}"
            ) from error
        sides = (int(side) for side in details["shape_signature"])
        shape = [side if side > 0 else None for side in sides]
        dtype = np.dtype(details["dtype"]).name
        super().__init__(path, text, shape, dtype, fingerprint)

    def _run(self, images: np.ndarray) -> np.ndarray:
        return self._runner(image=images)["mask"]


def _unseal(content, path):
    """What a file says of its model, and its SHA-256."""
    digest = hashlib.sha256(content[:-DIGITS]).hexdigest()
    if digest.encode() != content[-DIGITS:]:
        raise ValueError(
            f"Expected a .tflite file as keras_pamunet exported it. Received: {path}, "
            "which was cut or altered since, or which another program wrote. Export "
            "the model anew."
        )
    try:
        with ZipFile(io.BytesIO(content)) as archive:
            return archive.read(MEMBER).decode(), digest
    except (BadZipFile, KeyError, ValueError, NotImplementedError) as error:
        raise ValueError(f"Cannot load {path}; it was altered: {error}") from error
