import csv

import keras
import pytest

from keras_pamunet import PAMUNet
from keras_pamunet.inference.volumes import predict_volumes
from tests.helpers import once, write_lits

pytest.importorskip("apache_beam")
pytestmark = [once, pytest.mark.filterwarnings("ignore")]


@pytest.fixture
def model(tmp_path):
    keras.utils.set_random_seed(0)
    made = PAMUNet((32, 32, 1), expansion=1, attention=None, input_range=(-200, 250))
    made.save(tmp_path / "m.keras")
    return str(tmp_path / "m.keras")


def test_one_of_twenty_is_broken(tmp_path, model):
    from keras_pamunet.beam import main

    scans = tmp_path / "scans"
    write_lits(scans, map(str, range(20)))
    for path in scans.glob("segmentation*"):
        path.unlink()
    broken = scans / "volume-7.nii.gz"
    broken.write_bytes(broken.read_bytes()[:300])
    call = [str(scans), "--model", model, "--output", str(tmp_path / "a")]
    call.append("--runner=DirectRunner")
    main(call)
    with (tmp_path / "a/dead_letters.csv").open(newline="") as file:
        (dead,) = csv.DictReader(file)
    assert dead["scan"] == str(broken) and "Cannot read" in dead["error"]
    with pytest.raises(ValueError, match="1 of 20 volumes"):
        predict_volumes(
            keras.models.load_model(model), scans, tmp_path / "b", progress=False
        )
    masks = sorted(path.name for path in (tmp_path / "b").glob("*.nii.gz"))
    assert len(masks) == 19
    assert masks == sorted(path.name for path in (tmp_path / "a").glob("*.nii.gz"))
    for name in [*masks, "results.csv"]:
        pair = [(tmp_path / x / name).read_bytes() for x in "ab"]
        assert pair[0] == pair[1]
    times = {name: (tmp_path / "a" / name).stat().st_mtime_ns for name in masks}
    main(call)
    assert times == {x: (tmp_path / "a" / x).stat().st_mtime_ns for x in masks}
