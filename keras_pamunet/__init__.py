"""PAM-UNet: light medical image segmentation with Keras 3."""

from keras_pamunet.backend_choice import choose_backend

choose_backend()

# Now, since each of these imports Keras.
from keras_pamunet import layers, losses, metrics, ops, regularizers  # noqa: E402
from keras_pamunet.models import PAMUNet  # noqa: E402

__version__ = "0.1.0"

__all__ = ["PAMUNet", "layers", "losses", "metrics", "ops", "regularizers"]
