"""Opens the file of an exported model, by its ending."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from keras_pamunet.inference.exported_model import ExportedModel

# The formats, and which extra of the package holds their runtime.
RUNTIMES = {".onnx": "export", ".tflite": "litert"}


def is_exported(model: str | Path) -> bool:
    """Whether this names the file of an exported model."""
    return Path(model).suffix in RUNTIMES


def open_exported(path: str | Path, threads: int = 0) -> "ExportedModel":
    """Opens the file of an exported model in its runtime.

    Args:
        path: an `.onnx` or a `.tflite` file.
        threads: of the runtime. By default as many as there are cores.

    Raises:
        As `OnnxModel` or `LiteRTModel`.
    """
    # Imported here: a computer that predicts has one of the two at most.
    if Path(path).suffix == ".onnx":
        from keras_pamunet.inference.onnx_model import OnnxModel

        return OnnxModel(path, threads)
    from keras_pamunet.inference.litert_model import LiteRTModel

    return LiteRTModel(path, threads)
