import keras
import numpy as np
import pytest

from keras_pamunet.metrics import Dice, IoU, Precision, Recall

RATIOS = {
    Dice: lambda tp, fn, fp: 2 * tp / (2 * tp + fn + fp),
    IoU: lambda tp, fn, fp: tp / (tp + fn + fp),
    Recall: lambda tp, fn, fp: tp / (tp + fn),
    Precision: lambda tp, fn, fp: tp / (tp + fp),
}
METRICS = list(RATIOS)


def counts(truth, prediction, axis):
    return (
        (truth & prediction).sum(axis),
        (truth & ~prediction).sum(axis),
        (~truth & prediction).sum(axis),
    )


@pytest.fixture
def masks(rng):
    truth = rng.random((5, 6, 7, 2)) > 0.6
    probability = rng.random(truth.shape).astype("float32")
    return truth, probability


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "float32"])
def test_mean_over_images(metric, dtype, masks):
    truth, probability = masks
    expected = RATIOS[metric](*counts(truth, probability > 0.5, (1, 2)))
    ours = metric()
    ours.update_state(truth[:2].astype(dtype), probability[:2])
    ours.update_state(truth[2:].astype(dtype), probability[2:])
    np.testing.assert_allclose(ours.result(), expected.mean(), rtol=1e-5)
    np.testing.assert_allclose(
        ours.image_scores(truth.astype(dtype), probability), expected, rtol=1e-5
    )


def test_weights_of_the_masks_shape(rng, masks):
    truth, probability = masks
    weights = rng.integers(0, 2, truth.shape)
    both, only_true, only_pred = (
        (part * weights).sum((1, 2))[:, 1:]
        for part in (
            truth & (probability > 0.5),
            truth & (probability <= 0.5),
            ~truth & (probability > 0.5),
        )
    )
    expected = 2 * both / (2 * both + only_true + only_pred)
    ours = Dice(target_class_ids=[1])
    ours.update_state(truth, probability, sample_weight=weights)
    np.testing.assert_allclose(ours.result(), expected.mean(), rtol=1e-5)


@pytest.mark.parametrize("metric", METRICS)
def test_pooled(metric, masks):
    truth, probability = masks
    ours = metric(reduction="pooled", threshold=0.3)
    ours.update_state(truth[:2], probability[:2])
    ours.update_state(truth[2:], probability[2:])
    expected = RATIOS[metric](*counts(truth, probability > 0.3, None))
    np.testing.assert_allclose(ours.result(), expected, rtol=1e-5)


# Keras' own IoU asks JAX for 64 bits.
@pytest.mark.filterwarnings("ignore:Explicitly requested dtype int64:UserWarning")
def test_pooled_equals_keras(masks):
    truth, probability = masks
    for ours, theirs in (
        (IoU(reduction="pooled"), keras.metrics.BinaryIoU(target_class_ids=[1])),
        (Recall(reduction="pooled"), keras.metrics.Recall()),
        (Precision(reduction="pooled"), keras.metrics.Precision()),
    ):
        ours.update_state(truth, probability)
        theirs.update_state(truth.astype("float32"), probability)
        np.testing.assert_allclose(ours.result(), theirs.result(), rtol=1e-5)


@pytest.mark.parametrize("metric", METRICS)
def test_empty_masks(metric):
    empty, full = np.zeros((1, 4, 4, 1)), np.ones((1, 4, 4, 1))
    for truth, prediction, score in (
        (empty, empty, 1),
        (empty, full, 0),
        (full, empty, 0),
        (full, full, 1),
    ):
        for reduction in ("image", "pooled"):
            ours = metric(reduction=reduction)
            ours.update_state(truth, prediction)
            assert float(ours.result()) == score
    ours = metric(empty_score=None)
    ours.update_state(np.concatenate([empty, full]), np.concatenate([empty, full * 0]))
    assert float(ours.result()) == 0  # Of the second image alone.
    assert np.isnan(np.asarray(ours.image_scores(empty, empty))).all()


def test_image_weights(masks):
    truth, probability = masks
    scores = RATIOS[Dice](*counts(truth, probability > 0.5, (1, 2)))
    weights = np.array([1, 0, 2, 0, 5.0])
    ours = Dice()
    ours.update_state(truth, probability, sample_weight=weights)
    expected = (scores * weights[:, np.newaxis]).sum() / (2 * weights.sum())
    np.testing.assert_allclose(ours.result(), expected, rtol=1e-5)


def test_pixel_weights(masks):
    truth, probability = masks
    weights = np.zeros(truth.shape[:3])
    weights[:, 2:, 3:] = 1
    ours, cut = Dice(), Dice()
    ours.update_state(truth, probability, sample_weight=weights)
    cut.update_state(truth[:, 2:, 3:], probability[:, 2:, 3:])
    np.testing.assert_allclose(ours.result(), cut.result(), rtol=1e-6)
    # An image without any weight does not count as one that is empty.
    ours.update_state(truth, probability, sample_weight=0 * weights)
    np.testing.assert_allclose(ours.result(), cut.result(), rtol=1e-6)


def test_pixel_weights_in_evaluate(masks):
    truth, probability = masks
    model = keras.Sequential(
        [keras.Input(probability.shape[1:]), keras.layers.Identity()]
    )
    model.compile(loss="mse", weighted_metrics=[Dice()])
    weights = np.ones(truth.shape[:3], "float32")
    scores = model.evaluate(
        probability, truth, 2, 0, sample_weight=weights, return_dict=True
    )
    expected = RATIOS[Dice](*counts(truth, probability > 0.5, (1, 2))).mean()
    np.testing.assert_allclose(scores["dice"], expected, rtol=1e-5)


def test_classes(rng):
    labels = rng.integers(0, 3, (2, 5, 5))
    probability = rng.random((2, 5, 5, 3)).astype("float32")
    winner = np.eye(3, dtype=bool)[probability.argmax(-1)]
    truth = np.eye(3, dtype=bool)[labels]
    expected = RATIOS[Dice](*counts(truth[..., 1:], winner[..., 1:], (1, 2))).mean()
    ours = Dice(threshold=None, target_class_ids=[1, 2])
    ours.update_state(truth, probability)
    np.testing.assert_allclose(ours.result(), expected, rtol=1e-5)


def test_config(masks):
    ours = IoU(0.3, "pooled", None, [1], name="liver")
    copy = keras.metrics.deserialize(keras.metrics.serialize(ours))
    assert copy.get_config() == ours.get_config()


def test_errors():
    with pytest.raises(ValueError, match="reduction='volume'"):
        Dice(reduction="volume")
    with pytest.raises(ValueError, match=r"y_true of shape \(2, 4, 4\)"):
        Dice().update_state(np.ones((2, 4, 4)), np.ones((2, 4, 4, 1)))
    with pytest.raises(ValueError, match="values from 0.0 to 255.0. Divide"):
        Dice()(255 * np.eye(4)[None, ..., None], np.eye(4)[None, ..., None])


@pytest.mark.parametrize("metric", METRICS)
def test_direction(metric):
    """Callbacks tell from it that a higher score is better, as of Keras' own."""
    model = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Dense(1)])
    model.compile(loss="mse", metrics=[metric()])
    masks = np.eye(4, dtype="float32")[None, ..., None]
    stop = keras.callbacks.EarlyStopping(f"val_{metric().name}", patience=9)
    model.fit(
        masks,
        masks,
        validation_data=(masks, masks),
        epochs=2,
        verbose=0,
        callbacks=[stop],
    )
    assert stop.monitor_op(1.0, 0.0) and not stop.monitor_op(0.0, 1.0)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("weighted", [False, True])
def test_volumes(metric, weighted, rng, masks):
    """A volume is one image, whose slices are more of its pixels."""
    truth, probability = (x.reshape(1, 5, 6, 7, 2) for x in masks)
    weights = rng.integers(0, 2, (1, 5, 6, 7)) if weighted else None
    flat = [x.reshape(1, 30, 7, 2) for x in (truth, probability)]
    ours, theirs = metric(), metric()
    ours.update_state(truth, probability, weights)
    theirs.update_state(
        *flat, weights if weights is None else weights.reshape(1, 30, 7)
    )
    np.testing.assert_allclose(ours.result(), theirs.result(), rtol=1e-6)
