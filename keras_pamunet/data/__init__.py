from keras_pamunet.data.augment import Augment
from keras_pamunet.data.cache import Cache
from keras_pamunet.data.check import check
from keras_pamunet.data.folder import Folder
from keras_pamunet.data.phantom import Phantom
from keras_pamunet.data.pipeline import pipeline
from keras_pamunet.data.splits import open_splits

__all__ = ["Augment", "Cache", "Folder", "Phantom", "check", "open_splits", "pipeline"]
