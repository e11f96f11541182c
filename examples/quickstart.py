"""Trains PAM-UNet on drawn images for a few steps and shows what it finds.

Run it with `python examples/quickstart.py`.
"""

import numpy as np

from keras_pamunet import PAMUNet
from keras_pamunet.data import Phantom

pairs = Phantom(count=64, size=32)
images = np.stack([image for image, _ in pairs])
masks = np.stack([mask for _, mask in pairs])[..., np.newaxis]

model = PAMUNet(input_shape=(32, 32, 3))
model.fit(images[:56], masks[:56], batch_size=8, epochs=3)
found = model.predict(images[56:]) > 0.5
print("Share of pixels in the mask:", masks[56:].mean(), "found:", found.mean())
