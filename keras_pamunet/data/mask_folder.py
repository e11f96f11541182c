from pathlib import Path

import numpy as np

from keras_pamunet.data.folder import files_by_stem
from keras_pamunet.data.image_file import read_mask
from keras_pamunet.data.pairs import Pairs, check_num_classes


class MaskFolder(Pairs):
    """Masks without their images, to score other masks against.

    Args:
        root: folder of the masks.
        num_classes: see `Folder`.

    Attributes:
        names: the file stems in Unicode's form NFC, sorted.

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: if it holds no masks, two files have the same stem, or for a wrong
            `num_classes`.
    """

    channels = 3

    def __init__(self, root: str | Path, num_classes: int = 1):
        self.num_classes = check_num_classes(num_classes)
        self._masks = files_by_stem(Path(root))
        self.names = sorted(self._masks)

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Reads one mask.

        Args:
            index: number of the mask.

        Returns:
            A black image, `(height, width, 3)` uint8, and the mask, `(height, width)`
            uint8 labels.

        Raises:
            ValueError: names the file, if it is no mask.
        """
        mask = read_mask(self._masks[self.names[index]], self.num_classes)
        return np.zeros((*mask.shape, 3), "uint8"), mask
