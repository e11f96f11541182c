import warnings
from pathlib import Path

import numpy as np

from keras_pamunet.data.groups import read_groups
from keras_pamunet.data.image_file import (
    count_channels,
    fit_channels,
    image_files,
    read_image,
    read_mask,
)
from keras_pamunet.data.pairs import Pairs, check_num_classes, some, to_nfc

# So many images say how many channels those of a folder have.
SAMPLE = 8


class Folder(Pairs):
    """Images and masks in two folders, paired by file stem.

    Args:
        root: folder that holds the two.
        channels: channels to bring the images to. Defaults to the most that one of
            eight images has, opacity not counted.
        num_classes: 1 for masks of one object (0 and 1, or dark and bright; JPEG
            noise is removed), otherwise masks hold the labels 0 to num_classes - 1,
            256 at most.
        images: name of the folder of images.
        masks: name of the folder of masks.

    Attributes:
        names: the file stems in Unicode's form NFC, sorted.
        groups: the patient or volume of each, if `index.csv` beside the two folders
            tells, see `keras_pamunet.data.groups.read_groups`.

    Raises:
        FileNotFoundError: if a folder or the partner of a file is missing.
        ValueError: if there are no images or none that can be read, two files have the
            same stem, or for a wrong `num_classes`.

    Warns:
        UserWarning: names the first image whose channels are changed.

    Example:

    >>> from keras_pamunet.data import Folder
    >>> pairs = Folder("kvasir-seg")
    >>> image, mask = pairs[0]  # (height, width, 3) uint8, (height, width) uint8
    """

    def __init__(
        self,
        root: str | Path,
        channels: int | None = None,
        num_classes: int = 1,
        images: str = "images",
        masks: str = "masks",
    ):
        self.root = Path(root)
        self.num_classes = check_num_classes(num_classes)
        self._images = files_by_stem(self.root / images)
        self._masks = files_by_stem(self.root / masks)
        for files, partners, kind in (
            (self._images, self._masks, "mask"),
            (self._masks, self._images, "image"),
        ):
            missing = [path for stem, path in files.items() if stem not in partners]
            if missing:
                raise FileNotFoundError(
                    f"Expected one {kind} for each of the {len(files)} files like "
                    f"{missing[0]}. Missing for {len(missing)}: "
                    f"{some([path.name for path in missing])}"
                )
        self.names = sorted(self._images)
        self.groups = read_groups(self.root, self.names)
        self.channels = channels or _most_channels(
            [self._images[name] for name in self.names]
        )
        self._told = set()  # One for all subsets: what is said, is said once.

    @property
    def files(self) -> list[Path]:
        """The files of the images and of the masks."""
        return [
            files[name] for files in (self._images, self._masks) for name in self.names
        ]

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Reads one pair.

        Args:
            index: number of the pair.

        Returns:
            The image, `(height, width, channels)` in the file's dtype, and the mask,
            `(height, width)` uint8 labels, in the file's full size.

        Raises:
            ValueError: names the file, if one cannot be read, the sizes differ, the
                image cannot be brought to the channels (see
                `keras_pamunet.data.image_file.fit_channels`) or has NaN pixels, or the
                mask is not one.
        """
        name = self.names[index]
        image_path, mask_path = self._images[name], self._masks[name]
        mask = read_mask(mask_path, self.num_classes)
        image = read_image(image_path)
        if image.shape[:2] != mask.shape:
            raise ValueError(
                f"Expected {image_path} to have its mask's size, "
                f"{mask.shape[1]} x {mask.shape[0]} pixels. Received: "
                f"{image.shape[1]} x {image.shape[0]} pixels"
            )
        try:
            fitted = fit_channels(image, self.channels)
        except ValueError as error:
            raise ValueError(
                f"Expected images of {self.channels} channels. Received: "
                f"{image.shape[2]} channels in {image_path}"
            ) from error
        if fitted is not image and not self._told:
            self._told.add(image_path)
            warnings.warn(
                f"Expected images of {self.channels} channels. Received: "
                f"{image.shape[2]} channels in {image_path}. It is brought to "
                f"{self.channels}, as are all others like it: grey is repeated, "
                "opacity left out.",
                stacklevel=2,
            )
        return fitted, mask


def _most_channels(paths):
    """Most channels of some of the images, those left aside that cannot be read."""
    step = -(-len(paths) // SAMPLE)
    found, first_error = [], None
    for path in paths[::step] + paths:
        try:
            found.append(count_channels(path))
        except ValueError as error:
            first_error = first_error or error
        if len(found) == len(paths[::step]):
            break
    if not found:
        raise first_error
    return max(found)


def files_by_stem(folder: Path) -> dict[str, Path]:
    """The image files in a folder by their stem in Unicode's form NFC.

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: if it holds no image, or two files have the same stem.
    """
    files = {}
    for path in image_files(folder):
        stem = to_nfc(path.stem)
        if stem in files:
            raise ValueError(
                f"Expected one file for each stem in {folder}. Received: "
                f"{files[stem].name} and {path.name}"
            )
        files[stem] = path
    return files
