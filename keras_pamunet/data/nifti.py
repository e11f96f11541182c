"""NIfTI files: what their headers say, and their voxels, read within limits."""

import dataclasses
import errno
import gzip
import io
import logging
import math
import mmap
import re
import shutil
import struct
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import nibabel
import numpy as np
from nibabel.affines import apply_affine, voxel_sizes
from nibabel.arrayproxy import ArrayProxy
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from keras_pamunet.files import check_regular

SUFFIX = re.compile(r"\.nii(\.gz)?$", re.IGNORECASE)
GZIP = b"\x1f\x8b"
# What else a file may be packed by, by its first bytes.
PACKED = {
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "Zstandard",
    b"PK\x03\x04": "zip",
    b"7z\xbc\xaf": "7z",
    b"\x1f\x9d": "compress",
}
# Deflate makes 1032 bytes of one at most.
MAX_RATIO = 1100
# Bytes that may follow the voxels, and bytes unpacked at once.
SLACK = 2**16
# Voxels of an axis, as many as NIfTI-1 can claim, and of a slice, 4096 x 4096.
MAX_AXIS, MAX_SLICE = 2**15 - 1, 2**24
# Millimetres in a unit, by its code in `xyzt_units`. An unknown one (0) is mm, too.
MILLIMETRES = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
# Distance in mm by which sform and qform may lie apart, for they are rounded.
TOLERANCE = 0.1
# Spacing in mm beyond which the units of a CT are doubted.
PLAUSIBLE = (0.01, 100)
# What says where the voxels lie, in the headers of NIfTI-1 and NIfTI-2.
GEOMETRY = (
    *("pixdim", "xyzt_units", "qform_code", "sform_code"),
    *("quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z"),
    *("srow_x", "srow_y", "srow_z"),
)

_unheard = logging.Logger("unheard")
_unheard.addHandler(logging.NullHandler())


class UnfitVolume(ValueError):
    """A volume cannot be used, whatever is done with it; others may be fine."""


@dataclasses.dataclass
class Nifti:
    """An open NIfTI file or image.

    Attributes:
        kind: class of nibabel's image.
        header: as nibabel reads it; without extensions, if it is of a file.
        affine: from stored indices to the header's units.
        millimetres: of one such unit.
        pixdim: the spacing as it stands in the header, in its units.
        shape: of the stored array.
        dtype: of the stored array.
        scaling: `(slope, intercept)`, `(1, 0)` for none.
        read: returns the stored array without its scaling, and the mapping of the
            file that it lies in or `None`.
    """

    kind: type
    header: nibabel.Nifti1Header
    affine: np.ndarray
    millimetres: float
    pixdim: np.ndarray
    shape: tuple[int, ...]
    dtype: np.dtype
    scaling: tuple[float, float]
    read: Callable[[], tuple[np.ndarray, mmap.mmap | None]]

    def geometry(self) -> nibabel.Nifti1Header:
        """A new header of uint8 voxels that lie where these do, without any text."""
        header = type(self.header)()
        for field in GEOMETRY:
            header[field] = self.header[field]
        header.set_data_dtype("uint8")
        return header

    def contradictions(self) -> Iterator[str]:
        """What the header says in two ways, or not at all, in sentences."""
        header = self.header
        bits, used = int(header["bitpix"]), header.get_data_dtype()
        if bits != 8 * used.itemsize:
            yield f"bitpix {bits} is not that of its datatype {used}, which is used."
        sform, qform = int(header["sform_code"]), int(header["qform_code"])
        spacing = voxel_sizes(self.affine)
        if not sform and not qform:
            yield (
                "it says nothing of its orientation (sform_code and qform_code are 0): "
                "left and right are not known. The axes are taken as left, front, up."
            )
        if sform and qform:
            apart = corners_apart(header.get_sform(), _qform(header), self.shape[:3])
            if np.isnan(apart):
                yield "its qform is no rotation. The sform is used."
            elif apart * self.millimetres > TOLERANCE:
                yield (
                    f"its sform and its qform lie {apart * self.millimetres:.3g} mm "
                    "apart. The sform is used."
                )
        if not np.allclose(np.abs(self.pixdim), spacing, rtol=0.01):
            yield (
                f"pixdim {_short(self.pixdim)} is not the spacing of its affine, "
                f"{_short(spacing)}, which is used."
            )
        low, high = PLAUSIBLE
        spacing = spacing * self.millimetres
        if spacing.min() < low or spacing.max() > high:
            yield (
                f"its spacing would be {_short(spacing)} mm. Are its units right "
                f"(xyzt_units {int(header['xyzt_units'])})?"
            )


def nifti_stem(path: Any) -> str:
    """The file's name without `.nii` or `.nii.gz`, in any case; or all of it."""
    return SUFFIX.sub("", path.name)


def is_nifti(path: Any) -> bool:
    """Whether this is a NIfTI file, by its name. A hidden one is not."""
    stem = nifti_stem(path)
    return stem != path.name and not stem.startswith(".")


def open_nifti(source: str | Path | bytes | nibabel.Nifti1Image, name: str) -> "Nifti":
    """Reads the header of a file, or takes over an image of nibabel.

    Raises:
        FileNotFoundError: if there is no such file.
        UnfitVolume: if it is none, or claims what cannot be.
    """
    if not isinstance(source, bytes | nibabel.Nifti1Image):
        if Path(source).is_dir():
            raise UnfitVolume(_not_nifti(f"the folder {name}"))
        if not Path(source).exists():
            raise FileNotFoundError(f"Expected a NIfTI file. Not there: {name}")
    with named_errors(name), np.errstate(all="ignore"):
        if isinstance(source, nibabel.Nifti1Image):
            return _of_image(source)
        if not isinstance(source, bytes):
            check_regular(source)
        return _of_file(source, name)


def corners_apart(first: np.ndarray, other: np.ndarray, shape) -> float:
    """The largest distance that two affines put between the corners of a volume."""
    corners = np.array(list(np.ndindex(2, 2, 2))) * (np.array(shape) - 1)
    return float(np.linalg.norm(apply_affine(first - other, corners), axis=1).max())


@contextmanager
def temporary_file(size: int) -> Iterator[BinaryIO]:
    """A file without a name, in `TMPDIR`, for `size` bytes.

    Raises:
        OSError: says where that is, if it is full.
    """
    folder = tempfile.gettempdir()
    full = (
        f"The folder of temporary files is full: {folder} has no {size:,} bytes. Name "
        "a larger one in TMPDIR."
    )
    if shutil.disk_usage(folder).free < size:
        raise OSError(full)
    try:
        with tempfile.TemporaryFile() as file:
            yield file
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise OSError(full) from error


def let_go(mapping: mmap.mmap | None) -> None:
    """Takes what was read of a mapped file out of memory; all stays in the file."""
    if mapping is not None and hasattr(mmap, "MADV_DONTNEED"):
        mapping.madvise(mmap.MADV_DONTNEED)


@contextmanager
def named_errors(name: str) -> Iterator[None]:
    """Whatever damaged bytes may raise becomes `UnfitVolume`, with the file's name."""
    try:
        yield
    except UnfitVolume:
        raise
    except (
        ArithmeticError,
        EOFError,
        HeaderDataError,
        ImageFileError,
        KeyError,
        MemoryError,
        OSError,
        ValueError,
        WrapStructError,
        struct.error,
        zlib.error,
    ) as error:
        what = str(error) or type(error).__name__
        raise UnfitVolume(f"Cannot read {name}: {what}") from error


def _of_image(image):
    data = image.dataobj
    scaling, read = (1.0, 0.0), lambda: (np.asarray(data), None)
    if isinstance(data, ArrayProxy):
        scaling, read = (data.slope, data.inter), lambda: (data.get_unscaled(), None)
        source = data.file_like
        if isinstance(source, io.BytesIO):
            source = source.getvalue()
        # What else nibabel may have opened (bzip2, another format) it reads itself.
        kind = isinstance(source, str | bytes) and _kind(_first_bytes(source))
        if kind:
            # It takes an offset of 0 at its word, in a single file, too.
            offset = data.offset or kind.header_class.single_vox_offset
            read = _reader(source, offset, data.shape, data.dtype)
    return Nifti(
        type(image),
        image.header,
        image.affine,
        _millimetres(image.header),
        image.header["pixdim"][1:4],
        tuple(image.shape),
        np.dtype(data.dtype),
        scaling,
        read,
    )


def _of_file(source, name):
    start = _first_bytes(source)
    kind = _kind(start)
    if kind is None:
        packed = [what for magic, what in PACKED.items() if start.startswith(magic)]
        if packed:
            raise UnfitVolume(
                f"Expected a NIfTI file, plain or packed by gzip. Received: {name}, "
                f"packed by {packed[0]}. Unpack it."
            )
        raise UnfitVolume(_not_nifti(name))
    size = kind.header_class.sizeof_hdr
    header = kind.header_class(start[:size], check=False)
    extended = any(start[size : size + 1])
    offset = _checked_offset(header, extended)
    # nibabel mends a zero or negative spacing on its own, and these two.
    pixdim, bits = header["pixdim"][1:4].copy(), header["bitpix"].copy()
    header.check_fix(_unheard, 40)
    header["bitpix"] = bits
    shape, dtype = header.get_data_shape(), header.get_data_dtype()
    _check_shape(shape, name)
    if np.isinf(header["scl_slope"]):
        raise ValueError("Expected a finite scl_slope. Received: infinity")
    slope, inter = header.get_slope_inter()
    return Nifti(
        kind,
        header,
        header.get_best_affine(),
        _millimetres(header),
        pixdim,
        shape,
        dtype,
        (1.0, 0.0) if slope is None else (slope, inter),
        _reader(source, offset, shape, dtype),
    )


def _kind(start):
    """The class of image that a header's first bytes belong to, or None."""
    for kind in (nibabel.Nifti1Image, nibabel.Nifti2Image):
        if kind.header_class.may_contain_header(start):
            return kind
    return None


def _checked_offset(header, extended):
    """Where the voxels begin, of a header that makes sense up to there."""
    if header["magic"] != header.single_magic:
        raise ValueError(
            "Expected header and voxels in one file. Received: the header of a pair "
            "(.hdr and .img). nibabel.load and nibabel.save make one file of them."
        )
    if not 1 <= header["dim"][0] <= 7:
        raise ValueError(
            "Expected 1 to 7 axes, in one byte order or the other. Received: dim[0] "
            f"{header['dim'][0]}"
        )
    offset, least = float(header["vox_offset"]), header.single_vox_offset
    if offset == 0 and not extended:
        return least  # As nibabel writes it, and nothing else can be there.
    if not least <= offset < math.inf:
        raise ValueError(
            f"Expected the voxels to begin at byte {least} or later. Received: "
            f"vox_offset {offset:g}"
        )
    return int(offset)


def _check_shape(shape, name):
    if len(shape) < 3 or min(shape) < 1 or max(shape[3:], default=1) > 1:
        return  # Of that there is more to say than here.
    if max(shape) > MAX_AXIS:
        raise UnfitVolume(
            f"Expected axes of at most {MAX_AXIS} voxels. Received: {shape} in {name}"
        )


def _millimetres(header):
    code = int(header["xyzt_units"]) & 7
    if code not in MILLIMETRES:
        raise ValueError(
            "Expected a unit of length: 0 (unknown), 1 (m), 2 (mm) or 3 (micrometre). "
            f"Received: {code} in xyzt_units"
        )
    return MILLIMETRES[code]


def _reader(source, offset, shape, dtype):
    """Reads the voxels when called; what the file's size tells is checked now."""
    claimed = offset + math.prod(shape) * dtype.itemsize
    with _opened(source) as file:
        packed = file.read(2) == GZIP
        size = file.seek(0, io.SEEK_END)
    if claimed > (MAX_RATIO * size + 2**16 if packed else size):
        what = f"{size:,} bytes" + " packed by gzip" * packed
        raise ValueError(f"its header claims {claimed:,} bytes, it has {what}.")
    if not packed:
        _check_end(size - claimed)

    def read():
        with _opened(source) as file:
            if packed:
                with (
                    temporary_file(claimed) as plain,
                    gzip.GzipFile(fileobj=file) as gz,
                ):
                    _unpack(gz, plain, claimed)
                    mapping = _mapping(plain)
            else:
                mapping = None if isinstance(source, bytes) else _mapping(file)
        buffer = source if mapping is None else mapping
        return np.ndarray(shape, dtype, buffer, offset, order="F"), mapping

    return read


def _mapping(file):
    return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _unpack(packed, plain, size):
    """Writes `size` bytes, and reads on to the sum that stands at the end."""
    for start in range(0, size, SLACK):
        part = packed.read(min(SLACK, size - start))
        plain.write(part)
        if len(part) < min(SLACK, size - start):
            raise EOFError(f"it ends before the {size:,} bytes its header claims.")
    plain.flush()
    _check_end(len(packed.read(SLACK + 1)))


def _check_end(rest):
    if rest > SLACK:
        raise ValueError("it holds more voxels than its header claims.")


def _opened(source):
    return io.BytesIO(source) if isinstance(source, bytes) else Path(source).open("rb")


def _first_bytes(source):
    """Enough for a header and what follows it at once, unpacked."""
    length = nibabel.Nifti2Header.sizeof_hdr + 4
    with _opened(source) as file:
        start = file.read(length)
        if start.startswith(GZIP):
            file.seek(0)
            with gzip.GzipFile(fileobj=file) as packed:
                return packed.read(length)
    return start


def _qform(header):
    """The qform, of NaN where its quaternion is none."""
    try:
        return header.get_qform()
    except ValueError:
        return np.full((4, 4), np.nan)


def _short(numbers):
    return " x ".join(f"{number:g}" for number in numbers)


def _not_nifti(received):
    return (
        f"Expected a NIfTI file (.nii or .nii.gz). Received: {received}. "
        "dcm2niix makes one of a DICOM series."
    )
