import numpy as np
import pytest
from PIL import Image

from keras_pamunet.data import Folder, MaskFolder
from keras_pamunet.drawing import write_labels
from keras_pamunet.evaluation import evaluate
from keras_pamunet.predicted_masks import PredictedMasks


@pytest.fixture
def found(folder, rng):
    """Masks for the folder's images: half of its own, moved; one empty, one false."""
    root = folder.with_name("found")
    root.mkdir()
    for index, (_, mask) in enumerate(Folder(folder)):
        moved = np.roll(mask, 3 + index, axis=1)
        moved[::2] = 0
        if index == 4:
            moved = 0 * moved
        Image.fromarray(255 * moved).save(root / f"case {index:02}.png")
    Image.new("L", (40, 39)).save(folder / "masks" / "case 07.png")
    return root


def test_scores(folder, found, tmp_path):
    """As the formulas have them."""
    source = Folder(folder)
    result = evaluate(PredictedMasks(found, source), source, tmp_path, progress=False)
    assert result.flips is None
    both = sizes = 0
    for name, (_, truth), row in zip(source.names, source, result.images):
        mask = np.asarray(Image.open(found / f"{name}.png")) > 0
        truth = truth > 0
        hit = (mask & truth).sum()
        both, sizes = both + hit, sizes + mask.sum() + truth.sum()
        assert row["dice"] == pytest.approx(2 * hit / (mask.sum() + truth.sum()))
        assert row["iou"] == pytest.approx(hit / (mask | truth).sum())
        assert row["recall"] == pytest.approx(hit / truth.sum() if hit else 0)
        assert row["precision"] == pytest.approx(hit / mask.sum() if hit else 0)
    summary = result.summary
    assert summary["pooled_dice"] == pytest.approx(2 * both / sizes)
    missed = sum(row["dice"] == 0 for row in result.images) - 1
    assert summary["n_missed"] == missed >= 1 and summary["n_false"] == 1
    assert (tmp_path / "metrics.json").exists()
    assert len(list((tmp_path / "pictures").iterdir())) == 8
    # The images have no part in it.
    plain = MaskFolder(folder / "masks")
    again = evaluate(PredictedMasks(found, plain), plain, progress=False)
    assert again == result


def test_labels(tmp_path, rng):
    truth, found = rng.integers(0, 3, (2, 20, 30), "uint8")
    write_labels(truth, tmp_path / "truth" / "a.png")
    write_labels(found, tmp_path / "found" / "a.png")
    source = MaskFolder(tmp_path / "truth", num_classes=3)
    masks = PredictedMasks(tmp_path / "found", source)
    result = evaluate(masks, source, progress=False)
    for label, row in zip((1, 2), result.summary["classes"]):
        hit = ((truth == label) & (found == label)).sum()
        sizes = (truth == label).sum() + (found == label).sum()
        assert row["class"] == label and row["dice"] == pytest.approx(2 * hit / sizes)


def test_names(folder, found):
    source = Folder(folder)
    (found / "case 03.png").rename(found / "case 99.png")
    with pytest.raises(
        ValueError, match="1 missing: case 03. 1 without a true mask: c"
    ):
        PredictedMasks(found, source)
    with pytest.raises(ValueError, match="1 missing: case 03$"):
        PredictedMasks(found, source, others=True)
    part = source.select(["case 01", "case 02"])
    with pytest.raises(ValueError, match="10 without a true mask: .* and 5 more"):
        PredictedMasks(found, part)
    masks = PredictedMasks(found, part, others=True)
    assert evaluate(masks, part, progress=False).summary["n"] == 2


def test_other_sizes(folder, found):
    source = Folder(folder)
    Image.new("L", (39, 40)).save(found / "case 05.png")
    message = r"case 05.png to have .* 40 x 39 pixels. Received: 39 x 40"
    with pytest.raises(ValueError, match=message):
        evaluate(PredictedMasks(found, source), source, progress=False)


def test_deep_images_are_shown(tmp_path):
    """In the range of their own values."""
    for part in ("images", "masks", "found"):
        (tmp_path / part).mkdir()
        mask = np.eye(20, dtype="uint8")
        Image.fromarray(mask).save(tmp_path / part / "a.png")
    ramp = np.linspace(1000, 3000, 400).astype("uint16").reshape(20, 20)
    Image.fromarray(ramp).save(tmp_path / "images" / "a.png")
    masks = PredictedMasks(tmp_path / "found", Folder(tmp_path))
    assert masks.input_range == (1000, 3000)
