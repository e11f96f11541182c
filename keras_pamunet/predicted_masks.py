from pathlib import Path

import numpy as np

from keras_pamunet.data.folder import files_by_stem
from keras_pamunet.data.image_file import read_mask
from keras_pamunet.data.pairs import Pairs, some, to_nfc
from keras_pamunet.drawing import own_range
from keras_pamunet.targets import default_names


class PredictedMasks:
    """Masks in files, which stand in the place of a model when they are scored.

    They may come from `keras_pamunet.inference.images.predict_images` or from any
    other program.

    Args:
        root: folder of the masks, in the sizes of their images.
        source: the pairs with the true masks. Each needs a mask with its name for a
            stem, and of its number of classes.
        others: whether there may be masks of other names, too.

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: names the masks that are missing, and those that are not expected;
            or if the folder holds none.
    """

    attention = None
    masks = "exclusive"

    def __init__(self, root: str | Path, source: Pairs, others: bool = False):
        root = Path(root)
        self.origin = str(root)
        self.num_classes = source.num_classes
        self.activation = "sigmoid" if source.num_classes == 1 else "softmax"
        self.class_names = default_names(max(source.num_classes - 1, 1))
        self._files = self._find(root)
        names = self._expected(source)
        missing = sorted(names - self._files.keys())
        extra = [] if others else sorted(self._files.keys() - names)
        if missing or extra:
            found = {"missing": missing, "without a true mask": extra}
            raise ValueError(
                f"Expected a mask in {root} for each of the {len(names)} true masks, "
                "of the same file name without its ending. "
                + ". ".join(
                    f"{len(some_names)} {what}: {some(some_names)}".capitalize()
                    for what, some_names in found.items()
                    if some_names
                )
            )

        self.input_range = own_range(source[0][0])  # To show the images in.

    def _find(self, root: Path) -> dict[str, Path]:
        return files_by_stem(root)

    def _expected(self, source: Pairs) -> set[str]:
        return {to_nfc(name) for name in source.names}

    def read(self, name: str, size: tuple[int, int]) -> np.ndarray:
        """Reads a mask.

        Args:
            name: of the pair.
            size: `(height, width)` that the mask must have.

        Returns:
            The labels, `size` uint8.

        Raises:
            ValueError: names the file, if it is no mask or has another size.
        """
        path = self._files[to_nfc(name)]
        mask = read_mask(path, self.num_classes)
        if mask.shape != tuple(size):
            raise ValueError(
                f"Expected {path} to have the true mask's size, {size[1]} x {size[0]} "
                f"pixels. Received: {mask.shape[1]} x {mask.shape[0]} pixels"
            )
        return mask
