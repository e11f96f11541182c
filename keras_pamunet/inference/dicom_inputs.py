"""DICOM among what is to be predicted: each series becomes a NIfTI file first."""

from collections.abc import Iterable
from pathlib import Path

from keras_pamunet.data.dicom import is_dicom, read_dicom, unpacked
from keras_pamunet.data.nifti import UnfitVolume
from keras_pamunet.inference.volumes import write_nifti
from keras_pamunet.progress import track


def holds_dicom(path: Path) -> bool:
    """Whether this is a folder with DICOM files in it, or a zip file."""
    if path.is_file():
        return _is_zip(path)
    return path.is_dir() and any(is_dicom(x) for x in path.iterdir() if x.is_file())


def _is_zip(path):
    return path.suffix.lower() == ".zip"


def convert(
    inputs: Iterable[Path],
    folder: Path,
    recursive: bool = False,
    series: int | None = None,
    shard: tuple[int, int] = (1, 1),
    progress: bool = False,
) -> tuple[list[Path], list[str], dict[Path, Path]]:
    """Writes the DICOM series among the inputs as NIfTI files.

    Args:
        inputs: files and folders. A folder that holds DICOM files, and a zip file, is
            one scan.
        folder: for the NIfTI files, each with the name of its folder or zip file.
        recursive: whether each folder below an input may be a scan of its own.
        series: see `keras_pamunet.data.dicom.read_dicom`.
        shard: see `keras_pamunet.inference.images.predict_images`; of the scans.
        progress: whether to show a progress bar.

    Returns:
        The inputs, with NIfTI files in the place of DICOM, what is wrong with scans
        that cannot be used, and of which scan each NIfTI file is.

    Raises:
        ImportError: without pydicom and dicom2nifti.
        OSError: if a file cannot be written.
        ValueError: if two scans have the same name.
    """
    others: list[Path] = []
    scans: dict[Path, Path] = {}
    for given in inputs:
        found = _scans(given, recursive)
        others += [] if found else [given]
        for scan in found:
            parts = scan.resolve().relative_to(given.resolve()).parts
            stem = "_".join(parts) or given.resolve().name
            target = folder / f"{stem.removesuffix('.zip')}.nii.gz"
            if target in scans:
                raise ValueError(
                    "Expected scans of different names. Received: "
                    f"{scans[target]} and {scan}"
                )
            scans[target] = scan
    written, problems = {}, []
    own = list(scans.items())[shard[0] - 1 :: shard[1]]
    for target, scan in track(own, "Reading DICOM", shown=progress):
        try:
            with unpacked(scan) as files:
                image = read_dicom(files, series, str(scan))
        except (UnfitVolume, FileNotFoundError) as error:
            problems.append(str(error))
            continue
        folder.mkdir(parents=True, exist_ok=True)
        write_nifti(image, target)
        written[target] = scan
    return [*others, *written], problems, written


def _scans(given, recursive):
    folders = [given]
    if recursive and given.is_dir():
        folders += [x for x in sorted(given.rglob("*")) if x.is_dir() or _is_zip(x)]
    return [x for x in folders if holds_dicom(x)]
