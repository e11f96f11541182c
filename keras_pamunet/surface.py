"""Distances in millimetres between the surfaces of two masks, 2-D or 3-D.

The surface of a mask is its pixels (voxels) that have a neighbour outside; the edge of
the image counts as outside. Two empty masks agree: 0 mm. If only one is empty all
distances are infinite, so that no mean hides the missed case; see `summary`.
"""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage


def surface_distances(
    truth: np.ndarray, prediction: np.ndarray, spacing: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """Distance from each surface voxel of a mask to the surface of the other.

    Args:
        truth: mask, 0 outside, of two or three axes.
        prediction: mask of the same shape.
        spacing: mm, one for each axis of the masks. For masks `(slices, rows,
            columns)` of a `Volume` this is `volume.spacing[::-1]`.

    Returns:
        mm, of the truth's surface voxels and of the prediction's, in no special order.

    Raises:
        ValueError: if the shapes differ, or the spacing does not fit them.
    """
    truth, prediction = np.asarray(truth) != 0, np.asarray(prediction) != 0
    if truth.shape != prediction.shape:
        raise ValueError(
            f"Expected masks of one shape. Received: {truth.shape} and "
            f"{prediction.shape}"
        )
    mm = np.asarray(spacing, float)
    if mm.shape != (truth.ndim,) or not ((mm > 0) & (mm < np.inf)).all():
        raise ValueError(
            f"Expected a spacing above 0 mm for each of {truth.ndim} axes. Received: "
            f"{mm.tolist()}"
        )
    # Nothing outside the box of both masks matters, and it is most of a CT.
    box = next(iter(ndimage.find_objects((truth | prediction).astype("uint8"))), ...)
    one, other = (
        mask[box] ^ ndimage.binary_erosion(mask[box]) for mask in (truth, prediction)
    )
    return _distances(one, other, mm), _distances(other, one, mm)


def surface_scores(
    truth: np.ndarray,
    prediction: np.ndarray,
    spacing: Sequence[float],
    tolerance: float,
) -> dict[str, float]:
    """`hd95`, `assd`, `mssd` and `nsd` at the price of one of them.

    Arguments and errors: see `nsd`.
    """
    if not tolerance >= 0:
        raise ValueError(f"Expected a tolerance of 0 mm or more. Received: {tolerance}")
    directions = surface_distances(truth, prediction, spacing)
    both = np.concatenate(directions)
    if not both.size:
        return {"hd95": 0.0, "assd": 0.0, "mssd": 0.0, "nsd": 1.0}
    far = np.isinf(both).any()  # One mask is empty, and has no percentile.
    percentiles = [np.inf if far else np.percentile(d, 95) for d in directions]
    return {
        "hd95": float(max(percentiles)),
        "assd": float(both.mean()),
        "mssd": float(both.max()),
        "nsd": float(np.mean(both <= tolerance)),
    }


def hd95(truth: np.ndarray, prediction: np.ndarray, spacing: Sequence[float]) -> float:
    """95 % Hausdorff distance in mm: the larger of both directions' 95th percentiles.

    This is the definition of MONAI and DeepMind; medpy takes the percentile of both
    directions together. Arguments and errors: see `surface_distances`.
    """
    return surface_scores(truth, prediction, spacing, 0)["hd95"]


def assd(truth: np.ndarray, prediction: np.ndarray, spacing: Sequence[float]) -> float:
    """Average symmetric surface distance in mm, over the voxels of both surfaces.

    Arguments and errors: see `surface_distances`.
    """
    return surface_scores(truth, prediction, spacing, 0)["assd"]


def mssd(truth: np.ndarray, prediction: np.ndarray, spacing: Sequence[float]) -> float:
    """Maximum symmetric surface distance in mm, the Hausdorff distance.

    Arguments and errors: see `surface_distances`.
    """
    return surface_scores(truth, prediction, spacing, 0)["mssd"]


def nsd(
    truth: np.ndarray,
    prediction: np.ndarray,
    spacing: Sequence[float],
    tolerance: float,
) -> float:
    """Normalized surface Dice: share of both surfaces within `tolerance` mm.

    Counts voxels, as MONAI does, not their areas. 1 for two empty masks, 0 if only
    one is empty. Other arguments and errors: see `surface_distances`.

    Raises:
        ValueError: also if the tolerance is negative or NaN.
    """
    return surface_scores(truth, prediction, spacing, tolerance)["nsd"]


def summary(scores: Sequence[float]) -> dict[str, float | int | None]:
    """Mean of distances over cases, without hiding those that were missed.

    Args:
        scores: mm, one distance for each case; infinite for a missed one.

    Returns:
        `{"mean": ..., "n": ..., "n_missed": ...}`: the mean in mm over the cases that
        have a distance, `None` if there are none, the number of all cases and that of
        those where only one mask was empty.

    Raises:
        ValueError: if a score is NaN.
    """
    mm = np.asarray(scores, float)
    if np.isnan(mm).any():
        raise ValueError(f"Expected distances. Received: {mm.tolist()}")
    found = mm[np.isfinite(mm)]
    return {
        "mean": float(found.mean()) if found.size else None,
        "n": mm.size,
        "n_missed": mm.size - found.size,
    }


def _distances(surface, other, spacing):
    if not other.any():
        return np.full(np.count_nonzero(surface), np.inf)
    return ndimage.distance_transform_edt(~other, sampling=spacing)[surface]
