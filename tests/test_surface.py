import numpy as np
import pytest
from scipy.spatial.distance import cdist

from keras_pamunet.surface import assd, hd95, mssd, nsd, summary, surface_distances


def surface(mask):
    """Coordinates of the voxels with a neighbour outside, one by one."""
    found = []
    for place in np.argwhere(mask):
        steps = np.concatenate([np.eye(mask.ndim, dtype=int)] * 2)
        steps[mask.ndim :] *= -1
        around = place + steps
        inside = ((around >= 0) & (around < mask.shape)).all(axis=1)
        if not inside.all() or not mask[tuple(around.T)].all():
            found.append(place)
    return np.array(found)


@pytest.mark.parametrize("dtype", [bool, "uint8", "float32"])
@pytest.mark.parametrize(
    ("shape", "spacing"), [((14, 11), (0.7, 1.9)), ((6, 9, 8), (2.5, 0.8, 0.7))]
)
def test_against_all_pairs(rng, shape, spacing, dtype):
    for threshold in (0.1, 0.5, 0.9):
        truth, prediction = rng.random((2, *shape)) < threshold
        truth[tuple(size // 2 for size in shape)] = True
        prediction[0] = False
        prediction[tuple(size // 2 for size in shape)] = True
        masks = truth.astype(dtype), prediction.astype(dtype)
        pairs = cdist(surface(truth) * spacing, surface(prediction) * spacing)
        there, back = pairs.min(axis=1), pairs.min(axis=0)
        both = np.concatenate([there, back])
        for ours, expected in zip(
            surface_distances(*masks, spacing), (there, back), strict=True
        ):
            np.testing.assert_allclose(np.sort(ours), np.sort(expected), atol=1e-6)
        expected = max(np.percentile(there, 95), np.percentile(back, 95))
        assert hd95(*masks, spacing) == pytest.approx(expected, abs=1e-6)
        assert assd(*masks, spacing) == pytest.approx(both.mean(), abs=1e-6)
        assert mssd(*masks, spacing) == pytest.approx(both.max(), abs=1e-6)
        for tolerance in (0.0, 1.0, 2.2):
            expected = np.mean(both <= tolerance + 1e-9)
            score = nsd(*masks, spacing, tolerance + 1e-9)
            assert score == pytest.approx(expected)


@pytest.mark.parametrize(
    ("seed", "shape", "spacing", "expected"),
    [
        (0, (14, 11), (0.7, 1.9), (5.3363008, 2.4558358, 0.2121212)),
        (1, (6, 9, 8), (2.5, 0.8, 0.7), (2.6536739, 1.4883742, 0.2857143)),
        (2, (20, 24, 22), (1.5, 0.75, 0.75), (1.8371173, 1.1132785, 0.3827729)),
    ],
)
def test_against_monai(seed, shape, spacing, expected):
    # From MONAI 1.6.1, which needs PyTorch and is not installed for the tests.
    masks = np.random.default_rng(seed).random((2, *shape)) < 0.1
    scores = hd95(*masks, spacing), assd(*masks, spacing), nsd(*masks, spacing, 1.0)
    np.testing.assert_allclose(scores, expected, atol=1e-6)


def test_known_distance():
    truth, prediction = np.zeros((2, 20, 20, 9), "uint8")
    truth[2:6, 3:9, 4] = 1
    prediction[2:6, 3:9, 6] = 2
    for score in (hd95, assd, mssd):
        assert score(truth, prediction, (0.7, 0.7, 2.5)) == pytest.approx(5)
    assert nsd(truth, prediction, (0.7, 0.7, 2.5), 4.9) == 0
    assert nsd(truth, prediction, (0.7, 0.7, 2.5), 5.0) == 1


@pytest.mark.parametrize("shape", [(5, 4), (5, 4, 3)])
def test_empty_masks(shape):
    empty, full = np.zeros(shape, bool), np.ones(shape, bool)
    spacing = (1.5,) * len(shape)
    for masks, distance, share in (
        ((empty, empty), 0, 1),
        ((full, full), 0, 1),
        ((full, empty), np.inf, 0),
        ((empty, full), np.inf, 0),
    ):
        for score in (hd95, assd, mssd):
            assert score(*masks, spacing) == distance
        assert nsd(*masks, spacing, 1) == share
    assert summary([1, np.inf, 4]) == {"mean": 2.5, "n": 3, "n_missed": 1}
    assert summary([np.inf]) == {"mean": None, "n": 1, "n_missed": 1}
    with pytest.raises(ValueError, match="Received: .1.0, nan"):
        summary([1, np.nan])


def test_errors():
    with pytest.raises(ValueError, match=r"one shape. Received: \(3, 3\) and \(3, 4\)"):
        hd95(np.ones((3, 3)), np.ones((3, 4)), (1, 1))
    for spacing in ((1,), (1, 0), (1, np.nan), (1, np.inf)):
        with pytest.raises(ValueError, match="above 0 mm for each of 2 axes"):
            hd95(np.ones((3, 3)), np.ones((3, 3)), spacing)
    for tolerance in (-1, np.nan):
        with pytest.raises(ValueError, match="0 mm or more. Received: (-1|nan)"):
            nsd(np.ones((3, 3)), np.ones((3, 3)), (1, 1), tolerance)
