import functools
from pathlib import Path

import numpy as np

from keras_pamunet.data.pairs import Pairs
from keras_pamunet.data.volume import Volume
from keras_pamunet.data.volumes import Volumes, nifti_files, open_case, read_labels
from keras_pamunet.predicted_masks import PredictedMasks


class PredictedVolumes(PredictedMasks):
    """Masks of volumes in NIfTI files, which stand in the place of a model.

    Args:
        root: folder of the masks, `<case>.nii` or `<case>.nii.gz`, such as
            `keras_pamunet.inference.volumes` writes. Each lies on its image, in
            whatever order of the axes. The labels are those of the source; with one
            class all are one.
        source: the volumes with their true labels.
        others: whether there may be masks of other cases, too.

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: names the masks that are missing, and those that are not expected.
            Reading raises it for a mask that does not fit its image.
    """

    def __init__(self, root: str | Path, source: Volumes, others: bool = False):
        super().__init__(root, source, others)
        self.class_names = source.class_names or self.class_names
        self._source = source
        self._recent = functools.lru_cache(maxsize=1)(self._open)

    def read(self, name: str, size: tuple[int, int]) -> np.ndarray:
        """Reads the mask of a slice.

        Args:
            name: of the slice, as `volume-3/0042`.
            size: `(rows, columns)`.

        Returns:
            The labels, `size` uint8.

        Raises:
            ValueError: names the file, if it is damaged, does not lie on its image or
                has other labels.
        """
        case, _, z = name.rpartition("/")
        labels = read_labels(self._recent(case), int(z), self._source.label_names)
        return (labels > 0).astype("uint8") if self.num_classes == 1 else labels

    def _find(self, root: Path) -> dict[str, Path]:
        return nifti_files([root])

    def _expected(self, source: Pairs) -> set[str]:
        return set(source.groups or ())

    def _open(self, case: str) -> Volume:
        _, labels, wrong = open_case(
            self._source.image(case), Volume(self._files[case])
        )
        if wrong:
            raise ValueError(
                f"Expected a mask that lies on its image. Received: {wrong}"
            )
        return labels
