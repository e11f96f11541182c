from statistics import NormalDist

import numpy as np
import pytest

from keras_pamunet import bootstrap
from keras_pamunet.bootstrap import mean_interval


def bca(values, count=40000):
    """Efron's interval of the mean, by the formulas of his paper."""
    values = np.asarray(values)
    rng = np.random.default_rng(7)
    drawn = rng.choice(values, (count, len(values))).mean(axis=1)
    normal = NormalDist()
    bias = normal.inv_cdf(np.mean(drawn < values.mean()))
    left_out = (values.sum() - values) / (len(values) - 1)
    off = left_out.mean() - left_out
    acceleration = (off**3).sum() / (6 * (off**2).sum() ** 1.5)
    quantiles = []
    for tail in (0.025, 0.975):
        shifted = bias + normal.inv_cdf(tail)
        quantiles.append(normal.cdf(bias + shifted / (1 - acceleration * shifted)))
    return np.quantile(drawn, quantiles)


def test_mean_interval(rng):
    values = 1 - rng.exponential(0.2, 30)  # Skewed, as Dice is.
    found = mean_interval(values)
    np.testing.assert_allclose(found, bca(values), atol=0.004)
    percentiles = np.quantile(rng.choice(values, (40000, 30)).mean(1), (0.025, 0.975))
    assert np.abs(found - percentiles).max() > 0.008  # That it is BCa can be told.
    assert found == mean_interval(values)
    assert found[0] < values.mean() < found[1]


def test_groups_are_drawn_whole(rng):
    means = rng.uniform(0, 1, 8)
    values, groups = np.repeat(means, 20), np.repeat([*"abcdefgh"], 20)
    expected = mean_interval(means)
    np.testing.assert_allclose(mean_interval(values, groups), expected, atol=0.005)
    low, high = mean_interval(values)
    assert high - low < 0.5 * np.ptp(expected)
    # A group counts as often as it has images.
    sizes = rng.integers(1, 30, 8)
    values, groups = np.repeat(means, sizes), np.repeat([*"abcdefgh"], sizes)
    drawn = rng.integers(0, 8, (40000, 8))
    ratios = (means * sizes)[drawn].sum(1) / sizes[drawn].sum(1)
    found = mean_interval(values, groups)
    np.testing.assert_allclose(found, np.quantile(ratios, (0.025, 0.975)), atol=0.06)


@pytest.mark.parametrize(
    ("values", "groups", "expected"),
    [
        ([], None, None),
        ([0.5], None, None),
        ([0.5, 0.7, 0.9], ["a"] * 3, None),
        ([0.3] * 6, None, [0.3, 0.3]),
        ([0.1 + 0.2, 0.3, 0.3], None, [0.3, 0.3]),
        ([0, 1, 0, 1], [*"aabb"], [0.5, 0.5]),
    ],
)
def test_too_little_to_tell(values, groups, expected):
    found = mean_interval(values, groups)
    assert found == (None if expected is None else pytest.approx(expected))


def test_small_samples_have_intervals(rng):
    """Without a warning, which would be an error here."""
    for count in range(2, 12):
        for values in (rng.integers(0, 2, count), rng.beta(20, 1, count)):
            low, high = mean_interval(values, rng.permutation(count))
            assert 0 <= low <= values.mean() <= high <= 1


def test_many_images(rng):
    values = rng.uniform(0, 1, 3000)
    margin = 1.96 * values.std() / 3000**0.5
    expected = values.mean() - margin, values.mean() + margin
    np.testing.assert_allclose(mean_interval(values), expected, atol=0.001)
    methods = [bootstrap.settings(count, False)["method"] for count in (2000, 2001)]
    assert methods == ["BCa", "percentile"]


def test_errors():
    with pytest.raises(ValueError, match=r"finite values. Received: \[1.0, nan\]"):
        mean_interval([1, np.nan])
    with pytest.raises(ValueError, match="each of 2 values. Received: 1"):
        mean_interval([1, 2], ["a"])
