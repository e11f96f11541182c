import cv2
import numpy as np

from keras_pamunet.data.pairs import Pairs


class Phantom(Pairs):
    """Drawn images that look a little like polyps, for demos and tests.

    Each image is a reddish, unevenly lit, textured background with one to three
    ellipses of another shade and texture, some of them faint; the mask is the
    ellipses. An image is a function of the seed and its index.

    Args:
        count: number of images.
        size: height and width in pixels.
        seed: of the drawing.

    Attributes:
        names: one name an image.

    Example:

    >>> from keras_pamunet.data import Phantom
    >>> image, mask = Phantom(10)[0]
    >>> image.shape, mask.shape
    ((64, 64, 3), (64, 64))
    """

    channels = 3
    num_classes = 1

    def __init__(self, count: int = 300, size: int = 64, seed: int = 0):
        self.size = size
        self.seed = seed
        self.names = [f"phantom_{index:04}" for index in range(count)]

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Draws one image, `(size, size, 3)` uint8, and its mask, `(size, size)`.

        Args:
            index: number of the image.
        """
        number = int(self.names[index].rpartition("_")[2])
        rng = np.random.default_rng((self.seed, number))
        side = self.size
        mask = np.zeros((side, side), "uint8")
        for _ in range(rng.integers(1, 4)):
            centre = rng.uniform(0.15, 0.85, 2) * side
            axes = rng.uniform(0.08, 0.25, 2) * side
            cv2.ellipse(
                mask, (tuple(centre), tuple(2 * axes), rng.uniform(0, 180)), 1, -1
            )
        soft = cv2.GaussianBlur(mask.astype("float32"), (0, 0), 1)[..., np.newaxis]
        tissue = rng.uniform((140, 60, 50), (200, 110, 90))
        shade = rng.uniform(35, 70) * rng.choice([-1, 1])
        polyp = tissue + shade * np.array([1, 0.8, 0.6])
        image = tissue + soft * (polyp - tissue)
        image = image + 25 * _texture(rng, side, 12) + 8 * _texture(rng, side, 2)
        image = image + soft * 12 * _texture(rng, side, 1)
        image = image + rng.normal(0, 4, image.shape)
        return np.clip(image, 0, 255).astype("uint8"), mask


def _texture(rng, side, scale):
    """Smooth noise of standard deviation 1, with one channel."""
    noise = cv2.GaussianBlur(rng.normal(size=(side, side)), (0, 0), scale)
    return ((noise - noise.mean()) / noise.std())[..., np.newaxis]
