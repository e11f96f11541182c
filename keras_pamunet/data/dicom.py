"""CT series in DICOM files, as NIfTI images. Needs `pydicom` and `dicom2nifti`."""

import dataclasses
import logging
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import nibabel

from keras_pamunet.data.nifti import UnfitVolume
from keras_pamunet.data.pairs import printable

PREAMBLE, MAGIC = 128, b"DICM"
# A data set without both begins with an element of group 2 or 8, and among the first is
# the class of what it is, below DICOM's own root of identifiers.
GROUPS, ROOT, FIRST_BYTES = (b"\x02\x00", b"\x08\x00"), b"1.2.840.10008.", 1024
NEEDED = (
    "SeriesInstanceUID",
    "SeriesNumber",
    "SeriesDescription",
    "Modality",
)
DIRECTORY = "1.2.840.10008.1.3.10"  # The class of a DICOMDIR, a table of contents.
# What dicom2nifti finds wrong, and what that means.
FAULTS = {
    "NON_CUBICAL_IMAGE/GANTRY_TILT": "The slices are shifted against each other "
    "(gantry tilt). Resample the series to straight ones.",
    "SLICE_INCREMENT_INCONSISTENT": "The distances between slices differ: some are "
    "missing.",
    "TOO_FEW_SLICES/LOCALIZER": "It has fewer than 4 slices.",
    "IMAGE_ORIENTATION_INCONSISTENT": "Its slices lie in several planes.",
    "NOT_A_VOLUME": "Its slices are no volume.",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Series:
    """A series of a DICOM study.

    Args:
        number: as the scanner counted it.
        description: as the scanner or its user named it.
        modality: such as `"CT"`.
        files: in no special order.
    """

    number: int | None
    description: str
    modality: str
    files: tuple[Path, ...]

    def __str__(self) -> str:
        name = f" ({self.description})" if self.description else ""
        count = len(self.files)
        return f"series {self.number}{name}, {count} {self.modality} file(s)"


def is_dicom(path: Path) -> bool:
    """Whether this is a DICOM file, with or without a preamble, by its content."""
    try:
        with path.open("rb") as file:
            start = file.read(FIRST_BYTES)
    except OSError:
        return False
    return start[PREAMBLE:].startswith(MAGIC) or (
        start.startswith(GROUPS) and ROOT in start
    )


def dicom_files(folder: Path) -> list[Path]:
    """The DICOM files in a folder and the folders below it."""
    return [
        path for path in sorted(folder.rglob("*")) if path.is_file() and is_dicom(path)
    ]


def find_series(files: Iterable[Path]) -> list[Series]:
    """The series that DICOM files belong to, by their number.

    A DICOMDIR belongs to none.

    Raises:
        ImportError: without pydicom.
        ValueError: names a file that cannot be read.
    """
    pydicom, _ = _libraries()
    groups: dict[str, list] = {}
    for path in files:
        try:
            header = pydicom.dcmread(path, force=True, specific_tags=list(NEEDED))
        except Exception as error:  # Of many kinds, for damaged files.
            raise UnfitVolume(f"Cannot read {path}: {error}") from error
        if header.file_meta.get("MediaStorageSOPClassUID") == DIRECTORY:
            continue
        if not {"SeriesInstanceUID", "Modality"} <= set(header.dir()):
            raise UnfitVolume(f"Cannot read {path}: it tells no series. Is it damaged?")
        groups.setdefault(str(header.SeriesInstanceUID), []).append((path, header))
    found = []
    for members in groups.values():
        _, header = members[0]
        number = header.get("SeriesNumber")
        found.append(
            Series(
                number=None if number is None else int(number),
                description=printable(str(header.get("SeriesDescription", ""))),
                modality=str(header.Modality),
                files=tuple(path for path, _ in members),
            )
        )
    return sorted(found, key=lambda x: (x.number is None, x.number or 0))


def read_dicom(
    folder: str | Path, series: int | None = None, name: str | None = None
) -> nibabel.Nifti1Image:
    """Reads a CT series as a NIfTI image in HU.

    Slices that are missing, lie aslant (gantry tilt) or in several planes are errors:
    nothing is filled in or resampled, as `dcm2niix` would do.

    Args:
        folder: of the DICOM files. Those in folders below it count, too.
        series: number of the series, where there are several of CT.
        name: what errors call the folder. Defaults to its path.

    Returns:
        The image, in memory; `keras_pamunet.data.Volume` and
        `keras_pamunet.predict_volume` take it.

    Raises:
        FileNotFoundError: if there are no DICOM files.
        ImportError: without pydicom and dicom2nifti.
        ValueError: names the series, if there are several and none is chosen, there is
            none of CT, or none of that number; or says what is wrong with it.

    Example:

    >>> from keras_pamunet.data import Volume
    >>> volume = Volume(read_dicom("study", series=3))
    >>> volume.slice(0)  # (rows, columns), HU
    array([[...
    """
    name = name or str(folder)
    return _convert(choose_series(folder, series, name), name)


def choose_series(folder: str | Path, number: int | None, name: str) -> Series:
    """The series of CT in a folder; see `read_dicom` for arguments and errors."""
    files = dicom_files(Path(folder))
    if not files:
        raise FileNotFoundError(f"Expected DICOM files in {name}. Found none.")
    found = find_series(files)
    of_ct = [x for x in found if x.modality == "CT"]
    if number is not None:
        of_ct = [x for x in of_ct if x.number == number]
    if len(of_ct) != 1:
        listed = "; ".join(map(str, found)) or "no series"
        which = "of CT" if number is None else f"of CT with the number {number}"
        raise UnfitVolume(
            f"Expected one series {which} in {name}. Found: {listed}. Name a folder "
            "of one, or the number of one (--series)."
        )
    return of_ct[0]


@contextmanager
def unpacked(scan: Path) -> Iterator[Path]:
    """A folder of DICOM files as it is; a zip file unpacked to a temporary folder.

    Raises:
        ValueError: names the zip file, if it is damaged.
    """
    if scan.is_dir():
        yield scan
        return
    with tempfile.TemporaryDirectory() as folder:
        try:
            with ZipFile(scan) as archive:
                archive.extractall(folder)
        except (BadZipFile, RuntimeError, NotImplementedError) as error:
            raise UnfitVolume(f"Cannot read {scan}: {error}") from error
        yield Path(folder)


def _convert(series, name):
    pydicom, dicom2nifti = _libraries()
    try:
        slices = [read_slice(path) for path in series.files]
        image = dicom2nifti.convert_generic.dicom_to_nifti(slices, None)["NII"]
    except dicom2nifti.exceptions.ConversionValidationError as error:
        fault = FAULTS.get(str(error), str(error))
        raise UnfitVolume(f"Cannot use {series} in {name}. {fault}") from error
    except Exception as error:  # Of many kinds, for damaged files.
        raise UnfitVolume(f"Cannot read {series} in {name}: {error}") from error
    if len(image.shape) != 3:
        raise UnfitVolume(
            f"Expected slices of one time. Received: {series} in {name}, of shape "
            f"{image.shape}"
        )
    image.header.set_xyzt_units("mm")
    return image


def read_slice(path: Path) -> Any:
    """A data set of pydicom, that knows how its pixels are stored."""
    pydicom, _ = _libraries()
    scan = pydicom.dcmread(path, force=True)
    if "TransferSyntaxUID" not in scan.file_meta:  # Its pixels are plain, then.
        implicit, _ = scan.original_encoding
        scan.file_meta.TransferSyntaxUID = (
            pydicom.uid.ImplicitVRLittleEndian
            if implicit
            else pydicom.uid.ExplicitVRLittleEndian
        )
    return scan


def _libraries():
    try:
        import dicom2nifti
        import dicom2nifti.convert_generic
        import dicom2nifti.exceptions
        import pydicom
    except ImportError as error:
        raise ImportError(
            "DICOM needs pydicom and dicom2nifti, in a checkout: pip install '.[dicom]'"
        ) from error
    # What it logs, its exceptions say, too.
    logging.getLogger("dicom2nifti").addHandler(logging.NullHandler())
    return pydicom, dicom2nifti
