import copy
import threading
import warnings
from collections.abc import Sequence
from pathlib import Path

import nibabel
import numpy as np
from nibabel import orientations
from nibabel.affines import from_matvec, voxel_sizes
from nibabel.processing import resample_from_to

from keras_pamunet.data.label_table import label_table
from keras_pamunet.data.nifti import (
    MAX_SLICE,
    UnfitVolume,
    let_go,
    named_errors,
    open_nifti,
)

LPS = orientations.axcodes2ornt("LPS")


class Volume:
    """A CT volume in a NIfTI file, as a stack of axial slices.

    Whatever the order of the file's axes, the slices are as radiologists look at
    them: rows run from anterior to posterior, columns from the patient's right to the
    left, slices from the feet up (the axes "LPS" of DICOM). Oblique volumes are not
    resampled: each axis is named after the closest one of the body.

    Opening reads the header. The voxels stay in the file's type and on the disk: a
    plain file is mapped to memory and read slice by slice, one packed by gzip is
    unpacked for the first slice, to a file without a name in the folder for temporary
    files (`TMPDIR`). Neither takes more than the header claims, and that is compared
    with the size of the file before.

    Args:
        source: path of a NIfTI file (`.nii` or `.nii.gz`; what is in it tells whether
            it is packed), its content as bytes, or a `nibabel.Nifti1Image` or
            `Nifti2Image`. Axes behind the third must have length 1.
        name: what errors call the volume. Defaults to the path.

    Attributes:
        shape: `(columns, rows, slices)`.
        spacing: size of a voxel in mm, in the order of `shape`. Files in metres or
            micrometres are converted; an unknown unit is taken as mm.
        affine: from the indices of `shape` to the NIfTI's axes, in mm.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no NIfTI file or shorter than its header claims, has
            several volumes, colours or complex numbers, or if its spacing or its
            affine makes no sense. Reading slices raises it if the file is damaged or
            has NaN or infinite voxels.

    Warns:
        UserWarning: if the header contradicts itself in sform and qform, spacing,
            type or unit, or does not tell left from right.

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
        self._nifti = open_nifti(source, self.name)
        _check(self._nifti, self.name)
        for contradiction in self._nifti.contradictions():
            warnings.warn(f"{self.name}: {contradiction}", stacklevel=2)
        self._place(self._nifti.affine, self._nifti.millimetres)

    def _place(self, affine, millimetres):
        """Derives all that depends on where the stored voxels lie."""
        stored = self._nifti.shape[:3]
        own = orientations.io_orientation(affine)
        self._to_lps = orientations.ornt_transform(own, LPS)
        self._from_lps = orientations.ornt_transform(LPS, own)
        self.shape = tuple(stored[int(axis)] for axis in np.argsort(self._to_lps[:, 0]))
        if self.shape[0] * self.shape[1] > MAX_SLICE:
            raise UnfitVolume(
                f"Expected slices of at most {MAX_SLICE:,} voxels. Received: "
                f"{self.shape[0]} x {self.shape[1]} in {self.name}"
            )
        self.affine = affine @ orientations.inv_ornt_aff(self._to_lps, stored)
        self.affine[:3] *= millimetres
        self.spacing = tuple(voxel_sizes(self.affine).tolist())
        self._stored = self._mapping = None
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
        with named_errors(self.name), np.errstate(over="ignore"):
            pixels = self._scale(self._voxels()[:, :, z].T)
            let_go(self._mapping)
        if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
            raise UnfitVolume(
                f"Expected finite voxels. Received: {np.sum(~np.isfinite(pixels))} NaN "
                f"or infinite voxels in slice {z} of {self.name}"
            )
        return pixels

    def to_nifti(
        self, labels: np.ndarray, class_names: Sequence[str] = ()
    ) -> nibabel.Nifti1Image:
        """Labels of the slices as an image that lies on the volume's own.

        Args:
            labels: `(slices, rows, columns)` booleans or integers from 0 to 255.
            class_names: of the labels 1, 2, ..., for the header, see
                `keras_pamunet.data.label_table`.

        Returns:
            uint8 image with the shape, the affine, the codes of both transforms and
            the units of the image that was opened, bit for bit. Nothing else of its
            header goes over: texts and extensions may name the patient.

        Raises:
            ValueError: if the labels have another shape or other values.
        """
        labels = np.asarray(labels)
        if labels.shape != self.shape[::-1]:
            raise ValueError(
                "Expected labels of shape (slices, rows, columns) = "
                f"{self.shape[::-1]} for {self.name}. Received: {labels.shape}"
            )
        fits = labels.dtype in ("bool", "uint8")  # Of a file, that need not be read.
        if not fits and (
            labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() > 255
        ):
            raise ValueError(
                "Expected booleans or integers from 0 to 255 as labels. Received: "
                f"{labels.dtype} from {labels.min()} to {labels.max()}"
            )
        image = self._laid_down(labels.astype("uint8", copy=False))
        if class_names:
            image.header.extensions.append(label_table(class_names))
        return image

    def to_probabilities(self, shares: np.ndarray) -> nibabel.Nifti1Image:
        """Probabilities of the slices as an image that lies on the volume's own.

        Args:
            shares: `(slices, rows, columns)` uint16, 65535 for a probability of 1.

        Returns:
            An image as of `to_nifti`, with a scaling to 0 to 1.
        """
        image = self._laid_down(shares)
        image.header.set_slope_inter(1 / 65535, 0)
        return image

    def _laid_down(self, pixels):
        stored = orientations.apply_orientation(pixels.T, self._from_lps)
        stored = stored.reshape(self._nifti.shape)
        image = self._nifti.kind(stored, self._nifti.affine, self._nifti.geometry())
        image.set_data_dtype(pixels.dtype)
        return image

    def laid_on(self, other: "Volume") -> "Volume":
        """The same voxels, with the affine of a volume that is stored in this shape.

        Raises:
            ValueError: if that is stored in another shape.
        """
        if self._nifti.shape[:3] != other._nifti.shape[:3]:
            raise UnfitVolume(
                f"Expected {self.name} to lie on {other.name}, or to be stored in its "
                f"shape, {other._nifti.shape}. Received: {self._nifti.shape}"
            )
        moved = copy.copy(self)
        moved._place(other._nifti.affine, other._nifti.millimetres)
        return moved

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
        mm = np.broadcast_to(np.asarray(spacing, float), 3)
        if not (np.isfinite(mm) & (mm > 0)).all():
            raise ValueError(f"Expected a spacing above 0 mm. Received: {mm}")
        voxels = np.stack([self.slice(z) for z in range(len(self))]).T
        scale = mm / self.spacing
        shape = np.maximum(np.rint(self.shape / scale), 1).astype(int)
        # The outer faces of the first voxels coincide, not their centres.
        affine = self.affine @ from_matvec(np.diag(scale), (scale - 1) / 2)
        image = nibabel.Nifti1Image(voxels, self.affine)
        image.header.set_xyzt_units("mm")
        return Volume(
            resample_from_to(image, (shape, affine), order, mode="nearest"), self.name
        )

    def _voxels(self):
        """The file's numbers, in the order of `shape`: a view of data or file."""
        with self._lock:  # Two threads must not decompress the same file.
            if self._stored is None:
                data, self._mapping = self._nifti.read()
                self._stored = orientations.apply_orientation(
                    data.reshape(data.shape[:3]), self._to_lps
                )
        return self._stored

    def _scale(self, pixels):
        slope, inter = self._nifti.scaling
        if (slope, inter) != (1, 0):
            # In float64, as slope and intercept may cancel large integers.
            return (pixels.astype("float64") * slope + inter).astype("float32")
        if pixels.dtype.kind == "f":
            return pixels.astype("float32")
        return pixels.astype(pixels.dtype.newbyteorder("="))


def _name(source):
    if isinstance(source, nibabel.Nifti1Image):
        source = source.get_filename()  # None if it was made in memory.
    return "the volume" if source is None or isinstance(source, bytes) else str(source)


def _check(nifti, name):
    shape, affine = nifti.shape, nifti.affine
    if len(shape) < 3 or min(shape) < 1 or max(shape[3:], default=1) > 1:
        raise UnfitVolume(
            f"Expected a volume of three axes. Received: shape {shape} in "
            f"{name}. image.slicer[..., 0] of nibabel takes the first of several."
        )
    if nifti.dtype.kind not in "iuf":
        raise UnfitVolume(f"Expected grey values. Received: {nifti.dtype} in {name}")
    if affine is None or not np.isfinite(affine).all():
        raise UnfitVolume(f"Expected a finite affine in {name}. Received: {affine}")
    for spacing in (nifti.pixdim, voxel_sizes(affine)):
        if not (np.isfinite(spacing) & (spacing > 0)).all():
            raise UnfitVolume(
                f"Expected a spacing above 0 mm in {name}. Received: {spacing}"
            )
    if np.linalg.matrix_rank(affine[:3, :3]) < 3:
        raise UnfitVolume(
            f"Expected an affine with an inverse in {name}. Received: {affine.tolist()}"
        )
