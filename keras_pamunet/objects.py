"""Scores by object, such as a lesion: how many were found, whatever their size."""

import numpy as np
from scipy import ndimage

# Share of an object's voxels that the other mask must hold for it to be found.
OVERLAP = 0.1


def count_objects(
    truth: np.ndarray, prediction: np.ndarray, overlap: float = OVERLAP
) -> dict[str, int]:
    """Counts the objects of two masks that the other mask holds, too.

    An object is a set of voxels that touch, at corners as well. It is held from 10 % of
    its voxels on: less is a chance touch.

    Args:
        truth: mask, 0 outside, of two or three axes.
        prediction: mask of the same shape.
        overlap: the smallest share.

    Returns:
        `n_truth`, the number of true objects, `n_hit`, of those that were found,
        `n_prediction`, of predicted objects, and `n_right`, of those that are on true
        ones.

    Raises:
        ValueError: if the shapes differ.
    """
    truth, prediction = np.asarray(truth) != 0, np.asarray(prediction) != 0
    if truth.shape != prediction.shape:
        raise ValueError(
            f"Expected masks of one shape. Received: {truth.shape} and "
            f"{prediction.shape}"
        )
    n_truth, n_hit = _covered(truth, prediction, overlap)
    n_prediction, n_right = _covered(prediction, truth, overlap)
    return {
        "n_truth": n_truth,
        "n_hit": n_hit,
        "n_prediction": n_prediction,
        "n_right": n_right,
    }


def object_scores(counts: dict[str, int]) -> dict[str, float | None]:
    """Recall, precision and F1 of counted objects.

    Args:
        counts: see `count_objects`, of a case or the sum over cases.

    Returns:
        `recall`, the share of true objects that were found, `precision`, the share of
        predicted ones that are right, and `f1`, their harmonic mean. `None` where there
        are no objects to divide by.
    """
    recall, precision = (
        counts[hit] / counts[all_] if counts[all_] else None
        for hit, all_ in (("n_hit", "n_truth"), ("n_right", "n_prediction"))
    )
    if recall is None and precision is None:
        f1 = None
    elif recall and precision:
        f1 = 2 * recall * precision / (recall + precision)
    else:
        f1 = 0.0
    return {"recall": recall, "precision": precision, "f1": f1}


def _covered(mask, other, overlap):
    """The objects of a mask, and those of which the other holds a share."""
    labels, count = ndimage.label(mask, np.ones((3,) * mask.ndim))
    if not count:
        return 0, 0
    shares = ndimage.mean(other, labels, range(1, count + 1))
    return count, int(np.count_nonzero(np.asarray(shares) >= overlap))
