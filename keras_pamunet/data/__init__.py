from keras_pamunet.data.augment import Augment
from keras_pamunet.data.check import check, examine
from keras_pamunet.data.folder import Folder
from keras_pamunet.data.mask_folder import MaskFolder
from keras_pamunet.data.phantom import Phantom
from keras_pamunet.data.pipeline import pipeline
from keras_pamunet.data.resized import Resized
from keras_pamunet.data.source import is_volumes, open_source
from keras_pamunet.data.splits import (
    k_fold_split,
    load_split,
    open_splits,
    ratio_split,
    save_split,
)
from keras_pamunet.data.tfds_source import TfdsSource
from keras_pamunet.data.volume import Volume
from keras_pamunet.data.volumes import Volumes
from keras_pamunet.data.windows import WINDOWS

__all__ = [
    "WINDOWS",
    "Augment",
    "Folder",
    "MaskFolder",
    "Phantom",
    "Resized",
    "TfdsSource",
    "Volume",
    "Volumes",
    "check",
    "examine",
    "is_volumes",
    "k_fold_split",
    "load_split",
    "open_source",
    "open_splits",
    "pipeline",
    "ratio_split",
    "save_split",
]
