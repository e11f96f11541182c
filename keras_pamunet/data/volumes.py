import functools
import threading
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from keras_pamunet.data.dataset_json import read_label_names
from keras_pamunet.data.nifti import (
    UnfitVolume,
    corners_apart,
    is_nifti,
    nifti_stem,
)
from keras_pamunet.data.pairs import Pairs, some
from keras_pamunet.data.volume import Volume
from keras_pamunet.data.windows import check_hu, to_int16

# Distance in mm by which the corners of an image and its labels may lie apart: what
# the rounding of a quaternion in the header may do, and far below a voxel.
TOLERANCE = 0.1
# Labels 1 and 2 of LiTS.
LIVER = ("liver", "tumour")
# Folders of images and labels with names of their own, those of the Decathlon and of
# nnU-Net first.
LAYOUTS = (("imagesTr", "labelsTr"), ("images", "masks"))


class Volumes(Pairs):
    """The axial slices of CT volumes with labels, as pairs.

    Reads LiTS (`volume-N.nii[.gz]` and `segmentation-N.nii[.gz]`, in one folder or in
    folders below it), sets of the Medical Segmentation Decathlon and of nnU-Net (files
    of the same name in `imagesTr` and `labelsTr`, those of nnU-Net's images with
    `_0000` at their end), and NIfTI files of the same name in `images` and `masks`.
    `dataset.json` names the labels; without it they are 1 (liver) and 2 (tumour).

    Opening reads the headers. The two volumes read last stay open, decompressed on
    the disk, so going through the slices in order reads each file once. In random
    order each slice may decompress a whole file: train from a `Resized` of this source,
    or from `lits` as `tfds` has prepared it (see `keras_pamunet.data.lits`).

    Args:
        root: folder of the data set.
        num_classes: 1 for masks of all labels together, such as the liver with its
            tumours; or the number of all labels, the background's 0 counted, such as 3
            for background, liver and tumour.

    Attributes:
        label_names: of the labels 1, 2, ... in the files.
        names: a name a slice, as `volume-3/0042`, counted from the feet up.
        groups: the volume of each name, as `volume-3`, to divide the names by.

    Raises:
        FileNotFoundError: names the files whose partner is missing; or if there are no
            volumes.
        ValueError: names the files that are no volume (see `Volume`), and the labels
            that differ from their image in shape.

    Warns:
        UserWarning: names the labels that lie more than 0.1 mm off their image. Their
            own affine is taken as wrong, and they go by voxels.

    Example:

    >>> from keras_pamunet.data import Volumes
    >>> pairs = Volumes("Task03_Liver")
    >>> image, mask = pairs[0]  # (512, 512, 1) int16, (512, 512) uint8
    """

    channels = 1
    in_hu = True

    def __init__(self, root: str | Path, num_classes: int = 1):
        self.label_names = read_label_names(Path(root)) or LIVER
        count = len(self.label_names) + 1
        if num_classes not in (1, count):
            raise ValueError(
                f"Expected num_classes 1 or {count}, for the labels "
                f"{', '.join(self.label_names)}. Received: {num_classes}"
            )
        self.num_classes = num_classes
        self.class_names = (
            self.label_names if num_classes > 1 else (_common_name(self.label_names),)
        )
        self._files = case_files(Path(root))
        self._lock = threading.Lock()
        self._in_hu = set()
        self._recent = functools.lru_cache(maxsize=2)(_open)
        lengths = _lengths(self._files)
        self.names = [
            f"{case}/{z:04}" for case, length in lengths.items() for z in range(length)
        ]
        self.groups = [name.rpartition("/")[0] for name in self.names]

    def image(self, group: str) -> Volume:
        """The image of a case, of which only the header is read."""
        return Volume(self._files[group][0])

    def spacing(self, group: str) -> tuple[float, float, float]:
        return self.image(group).spacing[::-1]

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Reads one slice and its labels.

        Args:
            index: number of the pair.

        Returns:
            The image, `(rows, columns, 1)` int16 in HU, and the mask,
            `(rows, columns)` uint8 labels.

        Raises:
            ValueError: if a file is damaged, the image is not in HU, or the slice has
                NaN or infinite voxels or other labels than those with a name.
        """
        case, _, z = self.names[index].rpartition("/")
        with self._lock:
            image, labels = self._recent(self._files[case])
            if case not in self._in_hu:
                check_hu(image)
                self._in_hu.add(case)
        mask = read_labels(labels, int(z), self.label_names)
        if self.num_classes == 1:
            mask = (mask > 0).astype("uint8")
        return to_int16(image.slice(int(z)))[..., np.newaxis], mask


def _common_name(names):
    """What all labels together are called."""
    if len(names) == 1 or names[0] == LIVER[0]:
        return names[0]
    return "object"


def holds_volumes(root: str | Path) -> bool:
    """Whether a folder is laid out as `Volumes` takes it."""
    root = Path(root)
    volumes = (*root.glob("volume-*"), *root.glob("*/volume-*"))
    if (root / "images").exists():
        volumes = tuple(root.glob("images/*"))
    return (root / "imagesTr").exists() or any(map(is_nifti, volumes))


def case_files(root: Any) -> dict[str, tuple[Any, Any]]:
    """Image and labels of each case in a folder, see `Volumes`.

    Args:
        root: `pathlib.Path`, or an `epath.Path` of TFDS.

    Raises:
        FileNotFoundError: if there are no volumes, or names those whose partner is
            missing.
        ValueError: if two files have the same name.
    """
    layout = next((x for x in LAYOUTS if (root / x[0]).is_dir()), None)
    if layout:
        images, labels = (nifti_files([root / name]) for name in layout)
        images = {
            case if (case := name.removesuffix("_0000")) in labels else name: path
            for name, path in images.items()
        }
    else:
        folders = [root, *(path for path in sorted(root.glob("*")) if path.is_dir())]
        images = nifti_files(folders, "volume-")
        labels = nifti_files(folders, "segmentation-")
        labels = {
            name.replace("segmentation", "volume"): path
            for name, path in labels.items()
        }
    if not images:
        raise FileNotFoundError(
            "Expected volume-0.nii or volume-0.nii.gz and so on, or imagesTr and "
            f"labelsTr, or images and masks, in {root}. Found none."
        )
    alone = sorted(images.keys() ^ labels.keys())
    if alone:
        missing = [
            f"{'labels' if name in images else 'image'} of {(images | labels)[name]}"
            for name in alone
        ]
        raise FileNotFoundError(
            f"Expected an image and labels of each case in {root}. Missing for "
            f"{len(alone)} of {len(images | labels)}: {some(missing)}"
        )
    return {name: (images[name], labels[name]) for name in sorted(images)}


def open_case(image: Volume, labels: Volume) -> tuple[Volume, Volume, str | None]:
    """Lays labels on their image.

    Labels more than 0.1 mm off have a wrong affine, as those of case 53 of LiTS do,
    and go by voxels, in the order they are stored in.

    Returns:
        The image, labels that lie on it, and what is wrong with their affine, or
        `None`.

    Raises:
        ValueError: if they are neither on it nor stored in its shape.
    """
    wrong = "other axes"
    if image.shape == labels.shape:
        apart = corners_apart(image.affine, labels.affine, image.shape)
        if apart <= TOLERANCE:
            return image, labels, None
        wrong = f"corners up to {apart:.3g} mm apart"
    return image, labels.laid_on(image), f"{labels.name} ({wrong})"


def warn_of_affines(wrong: list[str]) -> None:
    """Names labels that `open_case` found wrong."""
    if wrong:
        warnings.warn(
            f"{len(wrong)} labels have another affine than their image and are laid on "
            f"it voxel by voxel: {', '.join(wrong)}",
            stacklevel=3,
        )


def read_labels(labels: Volume, z: int, names: tuple[str, ...] = LIVER) -> np.ndarray:
    """The labels of slice `z`, `(rows, columns)` uint8.

    Args:
        labels: the volume.
        z: number of the slice.
        names: of the labels 1, 2, ...

    Raises:
        ValueError: if there are others.
    """
    values = labels.slice(z)
    known = range(len(names) + 1)
    if not np.isin(values, known).all():
        others = np.setdiff1d(values, known)
        expected = [f"{label} ({name})" for label, name in enumerate(names, 1)]
        raise UnfitVolume(
            f"Expected labels 0 (background), {', '.join(expected)}. Received: "
            f"{', '.join(map(str, others[:5]))} in slice {z} of {labels.name}"
        )
    return values.astype("uint8")


def nifti_files(folders: Iterable[Any], prefix: str = "") -> dict[str, Any]:
    """The NIfTI files in folders whose names begin with `prefix`, by their stem.

    Raises:
        ValueError: if two files have the same stem.
    """
    files = {}
    for folder in folders:
        for path in sorted(folder.glob(f"{prefix}*")):
            if not is_nifti(path):
                continue
            stem = nifti_stem(path)
            if stem in files:
                raise ValueError(
                    f"Expected one file {stem}. Received: {files[stem]} and {path}"
                )
            files[stem] = path
    return files


def _open(paths):
    return open_case(*map(Volume, paths))[:2]


def _lengths(files):
    """The slices of each case, once all headers have been read."""
    lengths, wrong, problems = {}, [], []
    for case, paths in files.items():
        try:
            image, _, affine = open_case(*map(Volume, paths))
        except (FileNotFoundError, UnfitVolume) as error:
            problems.append(f"  {error}")
            continue
        lengths[case] = len(image)
        wrong += [affine] if affine else []
    if problems:
        raise UnfitVolume(
            f"{len(problems)} of {len(files)} cases cannot be used:\n"
            + "\n".join(problems)
        )
    warn_of_affines(wrong)
    return lengths
