import errno
import gzip
import io
import shutil
import tempfile
import threading
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import nibabel
import numpy as np
from nibabel import orientations
from nibabel.affines import from_matvec, voxel_sizes
from nibabel.filebasedimages import ImageFileError
from nibabel.openers import ImageOpener
from nibabel.processing import resample_from_to
from nibabel.spatialimages import HeaderDataError

LPS = orientations.axcodes2ornt("LPS")


class Volume:
    """A CT volume in a NIfTI file, as a stack of axial slices.

    Whatever the order of the file's axes, the slices are as radiologists look at
    them: rows run from anterior to posterior, columns from the patient's right to the
    left, slices from the feet up (the axes "LPS" of DICOM). Oblique volumes are not
    resampled: each axis is named after the closest one of the body.

    Opening reads the header. The voxels stay in the file's type and on the disk: a
    `.nii` file is mapped to memory and read slice by slice, a `.nii.gz` file is
    decompressed for the first slice, to a file without a name in the folder for
    temporary files (`TMPDIR`).

    Args:
        source: path of a `.nii` or `.nii.gz` file, its content as bytes, or a
            `nibabel.Nifti1Image` or `Nifti2Image`. Axes behind the third must have
            length 1.
        name: what errors call the volume. Defaults to the path.

    Attributes:
        shape: `(columns, rows, slices)`.
        spacing: size of a voxel in mm, in the order of `shape`.
        affine: from the indices of `shape` to the NIfTI's millimetres.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no NIfTI file, has several volumes, colours or complex
            numbers, or if its spacing or its affine makes no sense. Reading slices
            raises it if the file is truncated or has NaN or infinite voxels.

    Example:

    >>> from keras_pamunet.data import Volume
    >>> volume = Volume("volume-0.nii.gz")
    >>> labels = np.stack([volume.slice(z) > 100 for z in range(len(volume))])
    >>> volume.to_nifti(labels).to_filename("bright.nii.gz")
    """

    def __init__(
        self,
        source: str | Path | bytes | nibabel.Nifti1Image,
        name: str | None = None,
    ):
        self.name = name or _name(source)
        self._image, pixdim = _open(source, self.name)
        _check(self._image, pixdim, self.name)
        own = orientations.io_orientation(self._image.affine)
        self._to_lps = orientations.ornt_transform(own, LPS)
        self._from_lps = orientations.ornt_transform(LPS, own)
        stored = self._image.shape[:3]
        self.shape = tuple(stored[int(axis)] for axis in np.argsort(self._to_lps[:, 0]))
        self.affine = self._image.affine @ orientations.inv_ornt_aff(
            self._to_lps, stored
        )
        self.spacing = tuple(voxel_sizes(self.affine).tolist())
        self._stored = None
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self.shape[2]

    def slice(self, z: int) -> np.ndarray:
        """Reads an axial slice.

        Args:
            z: number of the slice, 0 for the lowest.

        Returns:
            `(rows, columns)` array in HU, in the file's type if that is an integer
            without scaling, otherwise float32.

        Raises:
            ValueError: if the file is truncated or the slice has NaN or infinite
                voxels.
        """
        with _named_errors(self.name):
            pixels = self._scale(self._voxels()[:, :, z].T)
        if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
            raise ValueError(
                f"Expected finite voxels. Received: {np.sum(~np.isfinite(pixels))} NaN "
                f"or infinite voxels in slice {z} of {self.name}"
            )
        return pixels

    def to_nifti(self, labels: np.ndarray) -> nibabel.Nifti1Image:
        """Labels of the slices as an image that lies on the volume's own.

        Args:
            labels: `(slices, rows, columns)` booleans or integers from 0 to 255.

        Returns:
            uint8 image with the shape, the affine, the codes of both transforms and
            the units of the image that was opened, bit for bit.

        Raises:
            ValueError: if the labels have another shape or other values.
        """
        labels = np.asarray(labels)
        if labels.shape != self.shape[::-1]:
            raise ValueError(
                "Expected labels of shape (slices, rows, columns) = "
                f"{self.shape[::-1]} for {self.name}. Received: {labels.shape}"
            )
        if labels.dtype.kind not in "biu" or labels.min() < 0 or labels.max() > 255:
            raise ValueError(
                "Expected booleans or integers from 0 to 255 as labels. Received: "
                f"{labels.dtype} from {labels.min()} to {labels.max()}"
            )
        stored = orientations.apply_orientation(
            labels.astype("uint8", copy=False).T, self._from_lps
        ).reshape(self._image.shape)
        header = self._image.header.copy()
        header.set_data_dtype("uint8")
        header["cal_min"] = header["cal_max"] = 0  # The CT's window would hide labels.
        return type(self._image)(stored, self._image.affine, header)

    def resample(self, spacing: float | Sequence[float], order: int = 1) -> "Volume":
        """The same part of the body with voxels of another size.

        Takes the memory of three copies of the volume and one of the new one, at 2
        bytes a voxel for an int16 file and 4 for one with a scaling.

        Args:
            spacing: mm, one for all axes or three in the order of `shape`.
            order: of the interpolation: 1 for images, 0 for labels. The outermost
                voxels are repeated to the edge of the new grid.

        Raises:
            ValueError: if the spacing is not positive, or as `slice` does.
        """
        spacing = np.broadcast_to(np.asarray(spacing, float), 3)
        if not (np.isfinite(spacing) & (spacing > 0)).all():
            raise ValueError(f"Expected a spacing above 0 mm. Received: {spacing}")
        voxels = np.stack([self.slice(z) for z in range(len(self))]).T
        scale = spacing / self.spacing
        shape = np.maximum(np.rint(self.shape / scale), 1).astype(int)
        # The outer faces of the first voxels coincide, not their centres.
        affine = self.affine @ from_matvec(np.diag(scale), (scale - 1) / 2)
        image = nibabel.Nifti1Image(voxels, self.affine, self._image.header)
        return Volume(
            resample_from_to(image, (shape, affine), order, mode="nearest"), self.name
        )

    def _voxels(self):
        """The file's numbers, in the order of `shape`: a view of data or file."""
        with self._lock:  # Two threads must not decompress the same file.
            if self._stored is None:
                data = _stored(self._image)
                self._stored = orientations.apply_orientation(
                    data.reshape(data.shape[:3]), self._to_lps
                )
        return self._stored

    def _scale(self, pixels):
        data = self._image.dataobj
        slope, inter = getattr(data, "slope", 1), getattr(data, "inter", 0)
        if (slope, inter) != (1, 0):
            return pixels.astype("float32") * np.float32(slope) + np.float32(inter)
        if pixels.dtype.kind == "f":
            return pixels.astype("float32")
        return pixels.astype(pixels.dtype.newbyteorder("="))


def _name(source):
    if isinstance(source, nibabel.Nifti1Image):
        source = source.get_filename()  # None if it was made in memory.
    return "the volume" if source is None or isinstance(source, bytes) else str(source)


def _open(source, name):
    """The image, and the spacing as it stands in the header.

    nibabel mends a zero or negative spacing on its own, so it must be read first.
    """
    if isinstance(source, nibabel.Nifti1Image):
        return source, source.header["pixdim"][1:4]
    if not isinstance(source, bytes):
        if Path(source).is_dir():
            raise ValueError(_not_nifti(f"the folder {name}"))
        if not Path(source).exists():
            raise FileNotFoundError(f"Expected a NIfTI file. Not there: {name}")
    with _named_errors(name):
        stream = None
        if isinstance(source, bytes):
            stream = io.BytesIO(source)
            if source.startswith(b"\x1f\x8b"):
                stream = gzip.GzipFile(fileobj=stream)
        with ImageOpener(source if stream is None else stream) as file:
            start = file.read(nibabel.Nifti2Header.sizeof_hdr)
        for kind in (nibabel.Nifti1Image, nibabel.Nifti2Image):
            if kind.header_class.may_contain_header(start):
                block = start[: kind.header_class.sizeof_hdr]
                pixdim = kind.header_class(block, check=False)["pixdim"][1:4]
                if stream is None:
                    return kind.from_filename(source), pixdim
                stream.seek(0)
                return kind.from_stream(stream), pixdim
    raise ValueError(_not_nifti(name))


def _stored(image):
    """The file's numbers without their scaling, mapped to memory if it has a name."""
    data = image.dataobj
    if not nibabel.is_proxy(data):
        return np.asarray(data)
    path = image.get_filename()
    if path is None or path.endswith(".nii"):
        return data.get_unscaled()
    with temporary_file() as file:
        with ImageOpener(path) as compressed:
            shutil.copyfileobj(compressed, file)
        file.seek(0)
        return type(image).from_stream(file).dataobj.get_unscaled()


@contextmanager
def temporary_file() -> Iterator[BinaryIO]:
    """A file without a name, in `TMPDIR`.

    Raises:
        OSError: says where that is, if it is full.
    """
    try:
        with tempfile.TemporaryFile() as file:
            yield file
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise OSError(
            f"The folder of temporary files is full: {tempfile.gettempdir()}. Name a "
            "larger one in TMPDIR."
        ) from error


def _not_nifti(received):
    return (
        f"Expected a NIfTI file (.nii or .nii.gz). Received: {received}. "
        "dcm2niix makes one of a DICOM series."
    )


def _check(image, pixdim, name):
    shape = image.shape
    if len(shape) < 3 or min(shape) < 1 or max(shape[3:], default=1) > 1:
        raise ValueError(
            f"Expected a volume of three axes. Received: shape {shape} in "
            f"{name}. image.slicer[..., 0] of nibabel takes the first of several."
        )
    dtype = image.get_data_dtype()
    if dtype.kind not in "iuf":
        raise ValueError(f"Expected grey values. Received: {dtype} in {name}")
    affine = image.affine
    if affine is None or not np.isfinite(affine).all():
        raise ValueError(f"Expected a finite affine in {name}. Received: {affine}")
    for spacing in (pixdim, voxel_sizes(affine)):
        if not (np.isfinite(spacing) & (spacing > 0)).all():
            raise ValueError(
                f"Expected a spacing above 0 mm in {name}. Received: {spacing}"
            )
    if np.linalg.matrix_rank(affine[:3, :3]) < 3:
        raise ValueError(
            f"Expected an affine with an inverse in {name}. Received: {affine.tolist()}"
        )


@contextmanager
def _named_errors(name):
    try:
        yield
    except (
        OSError,
        EOFError,
        OverflowError,
        ValueError,
        zlib.error,
        ImageFileError,
        HeaderDataError,
    ) as error:
        raise ValueError(f"Cannot read {name}: {error}") from error
