from keras_pamunet.data.augment import Augment
from keras_pamunet.data.cache import Cache
from keras_pamunet.data.check import check
from keras_pamunet.data.folder import Folder
from keras_pamunet.data.phantom import Phantom
from keras_pamunet.data.pipeline import pipeline
from keras_pamunet.data.splits import open_splits
from keras_pamunet.data.volume import Volume
from keras_pamunet.data.volumes import Volumes
from keras_pamunet.data.windows import WINDOWS, apply_window

__all__ = [
    "WINDOWS",
    "Augment",
    "Cache",
    "Folder",
    "Phantom",
    "Volume",
    "Volumes",
    "apply_window",
    "check",
    "open_splits",
    "pipeline",
]
