"""How far a mean over images would move with other images: bootstrap intervals."""

from collections.abc import Sequence

import numpy as np

LEVEL = 0.95
RESAMPLES = 9999
SEED = 0
# BCa leaves out each image in turn, so its work grows with the square of their
# number. Of so many images its correction is too small to see.
MOST_FOR_BCA = 2000
# Numbers in memory at once.
BATCH = 2**20


def mean_interval(
    values: Sequence[float], groups: Sequence[str] | None = None
) -> list[float] | None:
    """95 % bootstrap interval of a mean over images.

    The images are drawn anew 9999 times with replacement, always by the same seed. If
    they come in groups (the slices of a volume), whole groups are drawn: slices of one
    volume are alike, and to draw them one by one would make the interval too narrow.
    The interval is the bias-corrected and accelerated one (BCa) of Efron, "Better
    bootstrap confidence intervals", JASA 82 (1987), as `scipy.stats.bootstrap` has
    it; of more than 2000 images or groups that of the percentiles.

    Of fewer than about 20 images or groups, bootstrap intervals are too narrow.

    Args:
        values: a number for each image.
        groups: the group of each image.

    Returns:
        `[lowest, highest]`, or `None` for fewer than two images or groups.

    Raises:
        ValueError: if a value is NaN or infinite, or the groups are not as many.
    """
    from scipy import stats  # Takes a second to import.

    numbers = np.asarray(values, float)
    if not np.isfinite(numbers).all():
        raise ValueError(f"Expected finite values. Received: {numbers.tolist()}")
    drawn = range(len(numbers)) if groups is None else groups
    if len(drawn) != len(numbers):
        raise ValueError(
            f"Expected a group for each of {len(numbers)} values. Received: "
            f"{len(drawn)} groups"
        )
    _, index = np.unique(np.asarray(drawn), return_inverse=True)
    counts = np.bincount(index).astype(float)
    sums = np.bincount(index, weights=numbers)
    if len(counts) < 2:
        return None
    means = sums / counts
    if np.ptp(means) < 1e-9:  # Whatever is drawn has this mean.
        return [float(numbers.mean())] * 2
    result = stats.bootstrap(
        (sums, counts),
        _mean,
        paired=True,
        vectorized=True,
        confidence_level=LEVEL,
        n_resamples=RESAMPLES,
        batch=max(BATCH // len(counts), 1),
        method=_method(len(counts)),
        rng=np.random.default_rng(SEED),
    )
    return [*map(float, result.confidence_interval)]


def _mean(sums, counts, axis=-1):
    return sums.sum(axis=axis) / counts.sum(axis=axis)


def settings(count: int, are_groups: bool) -> dict[str, object]:
    """How the interval over so many images, or groups of them, is made."""
    return {
        "level": LEVEL,
        "method": _method(count),
        "resamples": RESAMPLES,
        "seed": SEED,
        "resampled": "groups" if are_groups else "images",
        "n_resampled": count,
    }


def _method(count):
    return "BCa" if count <= MOST_FOR_BCA else "percentile"
