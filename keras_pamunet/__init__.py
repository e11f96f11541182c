"""PAM-UNet: light medical image segmentation with Keras 3.

Public names are imported once they are used: `OnnxModel`, `LiteRTModel` and what
prediction with them needs do without Keras.
"""

import sys
from contextlib import suppress
from importlib import import_module
from typing import Any

from keras_pamunet.backend_choice import choose_backend

__version__ = "0.1.0"

# Where each name comes from: those of this package itself are modules.
_WITHOUT_KERAS = {
    "LiteRTModel": "keras_pamunet.inference.litert_model",
    "OnnxModel": "keras_pamunet.inference.onnx_model",
    "data": "keras_pamunet",
    "predict_images": "keras_pamunet.inference.images",
    "predict_volume": "keras_pamunet.inference.volumes",
    "predict_volumes": "keras_pamunet.inference.volumes",
    "presets": "keras_pamunet.hub",
}
_WITH_KERAS = {
    "AttUNet": "keras_pamunet.models",
    "DeepLabV3Plus": "keras_pamunet.models",
    "FCN8": "keras_pamunet.models",
    "HRNet": "keras_pamunet.models",
    "MobileEncoder": "keras_pamunet.models",
    "MobileUNet": "keras_pamunet.models",
    "PAMUNet": "keras_pamunet.models",
    "Recipe": "keras_pamunet.training",
    "ResUNet": "keras_pamunet.models",
    "Segmenter": "keras_pamunet.models",
    "UNet": "keras_pamunet.models",
    "evaluate": "keras_pamunet.evaluation",
    "export": "keras_pamunet.exporting",
    "layers": "keras_pamunet",
    "list_models": "keras_pamunet.models",
    "load_model": "keras_pamunet.models",
    "losses": "keras_pamunet",
    "metrics": "keras_pamunet",
    "models": "keras_pamunet",
    "ops": "keras_pamunet",
    "regularizers": "keras_pamunet",
    "train": "keras_pamunet.training",
    "tune": "keras_pamunet.tuning",
}

__all__ = [*_WITHOUT_KERAS, *_WITH_KERAS]


def __getattr__(name: str) -> Any:
    if name in _WITH_KERAS:
        choose_backend()
    elif name not in _WITHOUT_KERAS:
        raise AttributeError(f"module 'keras_pamunet' has no attribute {name!r}")
    module = {**_WITHOUT_KERAS, **_WITH_KERAS}[name]
    if module == "keras_pamunet":
        return import_module(f"keras_pamunet.{name}")
    return getattr(import_module(module), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


# For who imports Keras next. Without any back end, OnnxModel still works.
with suppress(ImportError):
    choose_backend()
# keras.saving.load_model finds what is imported.
if "keras" in sys.modules:
    for _name in ("layers", "losses", "metrics", "models", "regularizers"):
        import_module(f"keras_pamunet.{_name}")
