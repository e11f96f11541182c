"""Gives the presets for Kvasir-SEG first-order gates in place of the sigmoid's.

Run it with

    python examples/publish_first_order.py kvasir-seg

Weights stay as they are. `benchmarks/results/protocol.md` has the rule that it follows:
what must hold on the validation images, and that the test images are scored then.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from publish_kvasir import SPLIT, card_of, on_phantom, score

from keras_pamunet import PAMUNet
from keras_pamunet.data import Resized, open_splits
from keras_pamunet.evaluation import evaluate
from keras_pamunet.inference.predictor import predict_batch

NAMES = ("pamunet_kvasir_seg", "pamunet_kvasir_seg_256")
VERSION, CHANGE = "1.3.0", "First-order gates, several times faster; the same weights."
MOST_DICE, MOST_PIXELS = 0.0005, 0.002
SWITCHED = """

The gates were trained with the sigmoid and use its tangent at 0 (`"first_order"`). On
the validation images that changes the Dice by {dice:+.5f} and {pixels:.3%} of the
pixels."""


def switch(name: str, data: str, hub: Path, pictures: Path) -> None:
    """Writes a preset's next version, if the rule lets it."""
    before = PAMUNet.from_preset(hub / name)
    after = before.clone(score_activation="first_order", class_names=("polyp",))
    subsets = open_splits(data, SPLIT)
    sizes = before.input_shape[1:3]
    validation, test = (Resized(subsets[x], sizes) for x in ("validation", "test"))
    dice = [evaluate(model, validation).dice for model in (before, after)]
    pixels = changed_pixels(before, after, validation)
    print(f"{name}: validation Dice {dice[0]:.5f}, {dice[1]:.5f}; {pixels:.3%} changed")
    if dice[0] - dice[1] >= MOST_DICE or pixels >= MOST_PIXELS:
        raise SystemExit(f"{name} stays as it is.")
    metadata = json.loads((hub / name / "metadata.json").read_text("utf-8"))
    metadata |= score(after, subsets["test"], test, validation, pictures / name)
    metadata.pop("external", None)  # Scores of the gates before.
    metadata["version"] = VERSION
    metadata["changelog"] |= {VERSION: CHANGE}
    metadata["switched"] = SWITCHED.format(dice=dice[1] - dice[0], pixels=pixels)
    metadata["on_phantom"] = on_phantom(after)
    after.save_to_preset(hub / name, metadata, card_of(metadata), half=True)


def changed_pixels(one: PAMUNet, other: PAMUNet, pairs: Resized) -> float:
    """Share of the pixels of which two models find another mask."""
    shares = []
    for image, _ in pairs:
        found = [predict_batch(x, image[np.newaxis]) > 0.5 for x in (one, other)]
        shares.append(np.mean(found[0] != found[1]))
    return float(np.mean(shares))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", help="the folder of Kvasir-SEG, or tfds:kvasir_seg")
    parser.add_argument("--presets", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--hub", type=Path, default="hub")
    parser.add_argument("--pictures", type=Path, default="runs/first_order")
    given = parser.parse_args()
    for chosen in given.presets:
        switch(chosen, given.data, given.hub, given.pictures)
