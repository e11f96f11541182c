"""Trains PAM-UNet on drawn images for a minute and shows what it finds.

Run it with `python examples/quickstart.py`.
"""

import numpy as np

from keras_pamunet import PAMUNet
from keras_pamunet.data import Phantom

pairs = Phantom(count=200, size=32)
images = np.stack([image for image, _ in pairs])
masks = np.stack([mask for _, mask in pairs])[..., np.newaxis]

model = PAMUNet(input_shape=(32, 32, 3))
model.fit(images[:160], masks[:160], batch_size=8, epochs=15, verbose=2)
scores = model.evaluate(images[160:], masks[160:], verbose=0, return_dict=True)
print("Dice of the images kept for the test:", round(scores["dice"], 3))
