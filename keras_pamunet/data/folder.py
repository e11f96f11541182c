from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps

from keras_pamunet.data.pairs import Pairs, some

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")


class Folder(Pairs):
    """Images and masks in two folders, paired by file stem.

    Args:
        root: folder that holds the two.
        channels: channels of the images. Defaults to those of the first image.
        num_classes: 1 for masks of one object (0 and 1, or dark and bright; JPEG
            noise is removed), otherwise masks hold the labels 0 to num_classes - 1.
        images: name of the folder of images.
        masks: name of the folder of masks.

    Attributes:
        names: the file stems, sorted.

    Raises:
        FileNotFoundError: if a folder or the partner of a file is missing.
        ValueError: if there are no images, or two files have the same stem.

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
        self.num_classes = num_classes
        self._images = _files(self.root / images)
        self._masks = _files(self.root / masks)
        for files, partners, kind in (
            (self._images, self._masks, "mask"),
            (self._masks, self._images, "image"),
        ):
            missing = [
                path.name for stem, path in files.items() if stem not in partners
            ]
            if missing:
                raise FileNotFoundError(
                    f"Expected one {kind} for each of the {len(files)} files like "
                    f"{files[Path(missing[0]).stem]}. Missing for {len(missing)}: "
                    f"{some(missing)}"
                )
        self.names = sorted(self._images)
        self.channels = channels or _decode(self._images[self.names[0]]).shape[2]

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Reads one pair.

        Args:
            index: number of the pair.

        Returns:
            The image, `(height, width, channels)` in the file's dtype, and the mask,
            `(height, width)` uint8 labels, in the file's full size.

        Raises:
            ValueError: if a file cannot be read, the sizes differ, the image has
                another number of channels or NaN pixels, or the mask is not one.
        """
        name = self.names[index]
        image_path, mask_path = self._images[name], self._masks[name]
        mask = _labels(mask_path, self.num_classes)
        image = _decode(image_path, mask.shape)
        if image.shape[2] != self.channels:
            raise ValueError(
                f"Expected images of {self.channels} channels. Received: "
                f"{image.shape[2]} channels in {image_path}"
            )
        return image, mask


def read_image(path: str | Path) -> np.ndarray:
    """Reads an image file, `(height, width, channels)` in the file's dtype.

    Raises:
        ValueError: if the file cannot be read or has NaN pixels.
    """
    return _decode(Path(path))


def image_files(folder: str | Path) -> list[Path]:
    """The image files in a folder, sorted.

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: if it holds no image.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"Expected a folder of images. Not there: {folder}")
    files = [
        path
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")
    ]
    if not files:
        raise ValueError(
            f"Expected images ({', '.join(IMAGE_SUFFIXES)}) in {folder}. Found none."
        )
    return files


def _files(folder):
    files = {}
    for path in image_files(folder):
        if path.stem in files:
            raise ValueError(
                f"Expected one file for each stem in {folder}. Received: "
                f"{files[path.stem].name} and {path.name}"
            )
        files[path.stem] = path
    return files


def _decode(path, expected_size=None):
    with _open(path) as image:
        if expected_size is not None and image.size[::-1] != expected_size:
            raise ValueError(
                f"Expected {path} to have its mask's size, "
                f"{expected_size[1]} x {expected_size[0]} pixels. Received: "
                f"{image.size[0]} x {image.size[1]} pixels"
            )
        if image.mode in ("P", "CMYK", "YCbCr"):
            image = image.convert("RGB")
        elif image.mode == "1":
            image = image.convert("L")
        pixels = np.asarray(image)
    pixels = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        raise ValueError(
            f"Expected finite pixels. Received: {np.sum(~np.isfinite(pixels))} NaN or "
            f"infinite pixels in {path}"
        )
    return pixels if pixels.ndim == 3 else pixels[..., np.newaxis]


def _labels(path, num_classes):
    with _open(path) as image:
        lossy = image.format == "JPEG"
        if lossy:
            image.draft("L", image.size)
        mask = np.asarray(image)
    if mask.ndim == 3:
        colours = mask[..., :3]
        if mask.shape[2] == 2:
            colours = mask[..., :1]
        mask = colours[..., 0]
        if (colours != mask[..., np.newaxis]).any():
            raise ValueError(
                f"Expected a grey mask. Received: a mask of several colours, {path}"
            )
    top = mask.max()
    if num_classes > 1:
        if top < num_classes and (mask >= 0).all() and (mask == np.rint(mask)).all():
            return mask.astype("uint8")
        expected = f"labels from 0 to {num_classes - 1}"
    else:
        if ((mask == 0) | (mask == 1)).all():
            return mask.astype("uint8")
        if lossy and top < 64:
            return np.zeros(mask.shape, "uint8")
        between = (mask != 0) & (mask != top)
        if lossy:  # Noise around both values.
            between = (mask >= 64) & (mask < 192)
        # A soft edge is no third value.
        if top >= 192 and np.mean(between) <= 0.01:
            return (mask > (127 if lossy else top / 2)).astype("uint8")
        expected = "two values (0 and 1, or 0 and 255)"
    values = np.unique(mask)
    raise ValueError(
        f"Expected a mask of {expected}. Received: {len(values)} values "
        f"({some(values.tolist())}) in {path}"
    )


@contextmanager
def _open(path):
    """Opens an image file, and says which one it is that cannot be read."""
    try:
        with Image.open(path) as image:
            if image.getexif().get(ExifTags.Base.Orientation, 1) != 1:
                ImageOps.exif_transpose(image, in_place=True)
            yield image
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"Cannot read {path}: {error}") from error
