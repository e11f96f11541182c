"""Scores of models on a few small images."""

import json
import tracemalloc
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from PIL import Image

from keras_pamunet import PAMUNet
from keras_pamunet.data import Folder, Phantom, Resized
from keras_pamunet.evaluation import evaluate
from keras_pamunet.inference.predictor import predict_flips, segment


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return PAMUNet((32, 32, 3), expansion=1)


def test_evaluate(folder, tmp_path, model):
    source = Resized(Folder(folder), (32, 32))
    source.names = [f"volume-0/{name}" for name in source.names]  # As slices have.
    result = evaluate(
        model,
        source,
        tmp_path,
        batch_size=5,
        pictures=3,
        progress=False,
        flips=False,
    )
    assert [row["name"] for row in result.images] == source.names
    for index, row in enumerate(result.images):
        image, truth = source[index]
        found = np.asarray(model(image[np.newaxis]))[0, ..., 0] > 0.5
        dice = 2 * (found & (truth > 0)).sum() / (found.sum() + truth.sum())
        np.testing.assert_allclose(row["dice"], dice, rtol=1e-5)
    (row,) = result.summary["classes"]
    assert row["class"] == 1 and row["n_with_truth"] == 12
    assert row["dice"] == pytest.approx(result.summary["dice"])
    scores = [row["dice"] for row in result.images]
    np.testing.assert_allclose(result.summary["dice"], np.mean(scores), rtol=1e-6)
    pictures = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    worst = source.names[int(np.argmin(scores))].replace("/", "_")
    assert len(pictures) == 3 and pictures[0] == f"001_{worst}.png"
    own = tmp_path / "pictures" / "2024_trip.png"
    own.touch()
    (tmp_path / "pictures" / f"1000_{worst}.png").touch()
    evaluate(model, source, tmp_path, pictures=1, progress=False)
    assert own.exists() and len(list(own.parent.iterdir())) == 2
    own.unlink()
    evaluate(model, source, tmp_path, pictures=3, progress=False, flips=False)
    panels = np.asarray(Image.open(tmp_path / "pictures" / pictures[0]))
    assert panels.shape == (320 + 22, 3 * (320 + 4) + 14, 3)


def test_flips(folder, model):
    """The mean over the mirror images does not change with them."""
    source = Resized(Folder(folder), (32, 32))
    image, _ = source[0]
    images = image[np.newaxis]
    expected = np.mean(
        [np.asarray(model(images))]
        + [np.flip(model(np.flip(images, a)), a) for a in (1, 2, (1, 2))],
        axis=0,
    )
    ours = predict_flips(model, images)
    np.testing.assert_allclose(ours, expected, rtol=1e-4)
    mirrored = predict_flips(model, images[:, :, ::-1])
    np.testing.assert_allclose(mirrored[:, :, ::-1], ours, rtol=1e-4)
    mask = segment(model, image).mask
    np.testing.assert_array_equal(mask, ours[0, ..., 0] > 0.5)
    assert (mask != segment(model, image, flips=False).mask).any()
    # The mask as its own truth.
    source._pairs[0] = image, mask
    result = evaluate(model, source, progress=False)
    assert result.flips and result.images[0]["dice"] == 1


def test_evaluate_full_size(folder, tmp_path, model):
    source = Folder(folder)
    result = evaluate(model, source, tmp_path, full_size=True, progress=False)
    for (image, truth), row in zip(source, result.images):
        found = segment(model, image).mask
        assert found.shape == truth.shape and truth.shape[0] in (39, 40)
        dice = 2 * (found & truth).sum() / (found.sum() + truth.sum())
        np.testing.assert_allclose(row["dice"], dice, rtol=1e-5)
    assert len(list((tmp_path / "pictures").iterdir())) == 8


def test_evaluate_holds_no_masks(tmp_path, model, monkeypatch):
    """Those of a large set, at full size, would not fit in memory."""
    side = 1000
    labels = np.eye(side, dtype="uint8")

    class Large(Phantom):
        def read(self, index):
            super().read(index)  # Which knows how many there are.
            return np.zeros((side, side, 3), "uint8"), labels

    def peak(count):
        tracemalloc.start()
        evaluate(
            model,
            Large(count),
            tmp_path,
            full_size=True,
            pictures=1,
            progress=False,
        )
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    monkeypatch.setattr(
        "keras_pamunet.evaluation.segment",
        lambda *_, **__: SimpleNamespace(mask=labels),
    )
    peak(1)
    assert peak(12) - peak(2) < 5 * side**2


def test_evaluate_other_channels(folder, model):
    source = Resized(Folder(folder, channels=1), (32, 32))
    with pytest.raises(ValueError, match="3 channels.*Received: 1 channels"):
        evaluate(model, source, progress=False)


def test_evaluate_deep_images(model):
    class Deep(Phantom):
        def read(self, index):
            return 16 * super().read(index)[0].astype("uint16"), None

    with pytest.raises(ValueError, match="8 bits.*Received: uint16 values up to"):
        evaluate(model, Deep(1), full_size=True, progress=False)


def test_evaluate_each_class(tmp_path):
    """What one class has is no part of what another lacks."""

    class Liver(Phantom):
        """Four slices: the first two with a tumour, which the model never finds."""

        num_classes = 3

        def read(self, index):
            mask = np.zeros((32, 32), "uint8")
            mask[8:24, 8:24] = 1
            if index < 2:
                mask[10:14, 10:14] = 2
            return mask[..., np.newaxis].repeat(3, -1), mask

    class Livers:
        """Takes tumours for liver, and in the last slice finds one where none is."""

        masks, activation, num_classes, attention = "exclusive", "softmax", 3, None
        class_names, mirror_axes = ("liver", "tumour"), (1, 2)
        input_shape, input_range = (None, 32, 32, 3), (0, 255)

        def predict_on_batch(self, images):
            labels = (images[..., 0] > 0).astype(int)
            labels[-1, :2, :2] = 2 if len(images) == 4 else 0
            return np.eye(3, dtype="float32")[labels]

    source = Resized(Liver(4), (32, 32))
    result = evaluate(Livers(), source, tmp_path, progress=False, flips=False)
    liver, tumour = result.summary["classes"]
    assert liver["class"] == 1 and tumour["class"] == 2
    found = 16 * 16
    dice = np.mean([2 * (found - 16) / (2 * found - 16)] * 2 + [1, 1])
    assert liver["dice"] == pytest.approx(dice) and liver["recall"] == 1
    assert liver["precision"] == pytest.approx(
        np.mean([(found - 16) / found] * 2 + [1, 1])
    )
    assert (liver["n_with_truth"], liver["n_missed"], liver["n_false"]) == (4, 0, 0)
    for name in ("dice", "iou", "recall", "precision"):
        assert tumour[name] == 0
    assert (tumour["n_with_truth"], tumour["n_missed"], tumour["n_false"]) == (2, 2, 1)
    summary = result.summary
    assert (summary["n"], summary["n_missed"], summary["n_false"]) == (4, 2, 1)
    rows = result.images[3]["classes"]
    assert [row["dice"] for row in rows] == [1, 0] and not rows[1]["truth"]
    assert json.loads((tmp_path / "metrics.json").read_text()) == result.to_json()
