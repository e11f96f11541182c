"""Masks as DICOM segmentations. Needs `highdicom`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import keras_pamunet
from keras_pamunet.data.dicom import choose_series, read_slice, unpacked
from keras_pamunet.data.mapped_slices import MappedSlices
from keras_pamunet.data.nifti import UnfitVolume
from keras_pamunet.data.volume import Volume
from keras_pamunet.files import unwritable, written_aside
from keras_pamunet.palette import COLOURS
from keras_pamunet.targets import is_class

NAME = "keras_pamunet"
# What classes are in SNOMED CT, by the names of their codes in pydicom: category and
# type. Others are tissue.
CODES = {
    "liver": ("AnatomicalStructure", "Liver"),
    "tumour": ("MorphologicallyAbnormalStructure", "Neoplasm"),
}
TISSUE = "Tissue", "Tissue"
# What DICOM lets be empty, and anonymized files may lack.
MAY_BE_EMPTY = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex"),
    *("StudyID", "StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName"),
)
# mm by which the volume, in single precision, may lie off the series.
TOLERANCE = 1e-2


def library() -> Any:
    """highdicom, imported.

    Raises:
        ImportError: without it.
    """
    try:
        import highdicom
    except ImportError as error:
        raise ImportError(
            "DICOM segmentations need highdicom, in a checkout: pip install '.[dicom]'"
        ) from error
    return highdicom


def write_dicom_seg(
    scan: Path,
    series: int | None,
    volume: Volume,
    layers: Sequence[np.ndarray | MappedSlices],
    class_names: Sequence[str],
    target: Path,
) -> None:
    """Writes a binary DICOM segmentation that lies on the slices of a CT series.

    As DICOM wants it, it names the patient and the study of the series. Memory holds
    the voxels of all classes.

    Args:
        scan: folder or zip file of the series.
        series: see `keras_pamunet.data.dicom.read_dicom`.
        volume: the series as a volume.
        layers: see `keras_pamunet.inference.statistics.measure`.
        class_names: of the labels 1, 2, ..., the segments of these numbers.
        target: where to.

    Raises:
        ImportError: without highdicom.
        OSError: if the file cannot be written.
        ValueError: names the scan, if its headers lack what a segmentation needs.
    """
    hd = library()
    with unpacked(scan) as folder:
        chosen = choose_series(folder, series, str(scan))
        slices = [_whole(read_slice(path)) for path in chosen.files]
    masks = np.empty((*volume.shape[::-1], len(class_names)), "uint8")
    for z in range(len(volume)):
        own = [layer[z] for layer in layers]
        for index in range(len(class_names)):
            masks[z, ..., index] = is_class(own, index + 1)
    try:
        segmentation = hd.seg.Segmentation(
            slices,
            _on_slices(hd, slices, volume, masks),
            "BINARY",
            [_describe(hd, number, name) for number, name in enumerate(class_names, 1)],
            series_instance_uid=hd.UID(),
            series_number=100 + (chosen.number or 0),
            sop_instance_uid=hd.UID(),
            instance_number=1,
            manufacturer=NAME,
            manufacturer_model_name=NAME,
            software_versions=keras_pamunet.__version__,
            device_serial_number="0",
        )
    except (AttributeError, RuntimeError, TypeError, ValueError) as error:
        raise UnfitVolume(
            f"Cannot make a DICOM segmentation of {chosen} in {scan}: {error}"
        ) from error
    try:
        with written_aside(target) as new:
            segmentation.save_as(new)
    except OSError as error:
        raise unwritable(target, error) from error


def _whole(scan):
    for keyword in MAY_BE_EMPTY:
        if keyword not in scan:
            setattr(scan, keyword, "")
    return scan


def _on_slices(hd, slices, volume, masks):
    """Masks `(slices, rows, columns, classes)` in the places of the series' voxels."""
    spacing, places = hd.spatial.get_series_volume_positions(slices)
    first = slices[places.index(0)]
    geometry = hd.VolumeGeometry.from_attributes(
        image_position=first.ImagePositionPatient,
        image_orientation=first.ImageOrientationPatient,
        rows=first.Rows,
        columns=first.Columns,
        pixel_spacing=first.PixelSpacing,
        spacing_between_slices=spacing,
        number_of_frames=len(slices),
        coordinate_system="PATIENT",
        frame_of_reference_uid=first.FrameOfReferenceUID,
    )
    numbers = range(1, masks.shape[-1] + 1)
    own = hd.Volume(
        masks,
        volume.affine[:, [2, 1, 0, 3]],
        "PATIENT",
        first.FrameOfReferenceUID,
        channels={"SegmentNumber": list(numbers)},
        from_reference_convention="RAS",
    )
    return own.match_geometry(geometry, tol=TOLERANCE)


def _describe(hd, number, name):
    from pydicom.sr.codedict import codes

    category, kind = CODES.get(name, TISSUE)
    return hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=name,
        segmented_property_category=getattr(codes.SCT, category),
        segmented_property_type=getattr(codes.SCT, kind),
        algorithm_type="AUTOMATIC",
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            NAME, codes.cid7162.ArtificialIntelligence, keras_pamunet.__version__
        ),
        display_color=hd.color.CIELabColor.from_rgb(*map(int, COLOURS[number])),
    )
