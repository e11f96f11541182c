"""Finds the files of images and of volumes that a user names."""

from collections.abc import Iterable
from pathlib import Path

from keras_pamunet.data.image_file import IMAGE_SUFFIXES, is_image
from keras_pamunet.data.nifti import is_nifti


def find_files(
    inputs: str | Path | Iterable[str | Path], recursive: bool = False
) -> dict[Path, Path]:
    """The files of images or of volumes that are named, or lie in named folders.

    Args:
        inputs: files and folders. Hidden files in folders are left out.
        recursive: whether to look into the folders of folders, too.

    Returns:
        Each file by its path below the folder that was named; that of a file which
        was named itself is its name.

    Raises:
        FileNotFoundError: names what is not there.
        ValueError: if there is neither an image nor a volume, both are there, or two
            files have the same path below their folders.
    """
    if isinstance(inputs, str | Path):
        inputs = [inputs]
    inputs = [Path(given) for given in inputs]
    found = {}
    for given in inputs:
        for name, path in _files(given, recursive):
            if name in found and found[name] != path:
                raise ValueError(
                    "Expected files of different names. Received: "
                    f"{found[name]} and {path}. Predict them into folders of their own."
                )
            found[name] = path
    if not found:
        hint = "" if recursive else " Folders in it are looked into with --recursive."
        raise ValueError(
            f"Expected images ({', '.join(IMAGE_SUFFIXES)}) or NIfTI volumes "
            f"(.nii, .nii.gz) in {', '.join(map(str, inputs))}. Found "
            f"none.{hint}"
        )
    volumes = [path for path in found.values() if is_nifti(path)]
    images = [path for path in found.values() if not is_nifti(path)]
    if volumes and images:
        raise ValueError(
            f"Expected images or NIfTI volumes. Received both: {images[0]} and "
            f"{volumes[0]}. Predict them one after the other."
        )
    return found


def _files(given, recursive):
    if given.is_file():
        return [(Path(given.name), given)]
    if not given.is_dir():
        raise FileNotFoundError(f"Expected a file or a folder. Not there: {given}")
    paths = sorted(given.rglob("*") if recursive else given.iterdir())
    names = [(path.relative_to(given), path) for path in paths]
    return [
        (name, path)
        for name, path in names
        if (is_image(path) or is_nifti(path))
        and not any(part.startswith(".") for part in name.parts)
    ]
