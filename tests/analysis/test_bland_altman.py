import numpy as np
import pytest
from PIL import Image

from keras_pamunet.analysis.bland_altman import (
    limits_of_agreement,
    write_bland_altman,
)


def test_limits(rng):
    """They hold 95 % of normal differences."""
    truth = rng.uniform(500, 2000, 20_000)
    found = truth + rng.normal(-20, 50, truth.shape)
    mean, low, high = limits_of_agreement(truth, found)
    assert mean == pytest.approx(-20, abs=2)
    assert np.mean((found - truth > low) & (found - truth < high)) == pytest.approx(
        0.95, abs=0.01
    )
    mean, low, high = limits_of_agreement(np.array([1]), np.array([3]))
    assert mean == 2 and np.isnan([low, high]).all()


@pytest.mark.parametrize("count", [1, 5])
def test_picture(rng, tmp_path, count):
    def row(name):
        truth, found = rng.uniform(500, 2000, 2)
        return {"name": name, "truth_ml": truth, "found_ml": found}

    cases = [{"classes": [row("liver"), row("tumour")]} for _ in range(count)]
    write_bland_altman(cases, tmp_path / "x.png")
    with Image.open(tmp_path / "x.png") as picture:
        assert picture.width > 2 * picture.height
        assert len(np.unique(np.asarray(picture).reshape(-1, 4), axis=0)) > 20
