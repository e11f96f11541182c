"""Trains the preset for the liver in CT, scores it and writes it with its card.

Run it with

    python examples/publish_liver_ct.py liver-ct --encoder-weights imagenet

The folder holds `lits-slices-256` (slices of 8 bits, HU clipped to 0 to 255, laid as
NIfTI stores them), `ircad-slices-hu/slices.npz` and `ircad-volume-17`. The seed with
the best validation Dice is published, by the rule in `benchmarks/results/protocol.md`;
seeds that were trained before are not trained again.
"""

import argparse
import csv
import dataclasses
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from publish_kvasir import on_phantom, row, settings_of, spread

from keras_pamunet import PAMUNet
from keras_pamunet.analysis.attention_maps import close_gates, gate_effects
from keras_pamunet.data import Resized, Volumes, open_splits
from keras_pamunet.data.pairs import Pairs
from keras_pamunet.evaluation import evaluate
from keras_pamunet.inference.volumes import predict_volumes
from keras_pamunet.models import load_model
from keras_pamunet.predicted_volumes import PredictedVolumes
from keras_pamunet.training import RECIPES, train

NAME = "pamunet_liver_ct"
# Mean over the validation volumes, see `benchmarks/results/protocol.md`.
LEAST_DICE = 0.93
SIZE = 128
# HU. It begins below 0, though the slices do not: of such a window a volume that cannot
# be in HU is refused.
WINDOW = (-1, 250)
RECIPE = dataclasses.replace(
    RECIPES["default"], name="liver_ct_128", epochs=25, batch_size=8
)
NETWORK = {
    "score_activation": "first_order",
    "key_stride": 4,
    "input_range": WINDOW,
    "mirror_axes": (),
    "class_names": ("liver",),
}
# Of the pixels of a slice. Less of a body is no piece to learn from.
LEAST_PIECE = 0.03
CARD = """# {name}

PAM-UNet for the liver, with its tumours, in axial slices of CT, 128 x 128 pixels.

    keras-pamunet predict ct.nii.gz --model {name} --largest -o mask.nii.gz

or, in Python:

```python
from keras_pamunet import load_model, predict_volume

mask = predict_volume(load_model("{name}"), "ct.nii.gz")
```

`--largest` keeps the largest object alone: a liver is in one piece.

## Training

{n[train]} slices of the training part of LiTS 2017 (Task03_Liver of the Medical
Segmentation Decathlon), {n[pieces]} of which are pieces of slices without the liver:
{epochs} epochs from ImageNet weights of the encoder, rotated by up to 15 degrees and
never mirrored. The network looks at 0 to 250 HU. Of {seeds} seed(s) the one with the
best mean Dice over the volumes of {n[validation]} validation slices is published.

    python examples/publish_liver_ct.py liver-ct --encoder-weights {encoder}

The SHA-256 of those weights is
{sha256}.

## Scores

Each was scored once, after that choice. The rule (`benchmarks/results/protocol.md`) was
written before; it was changed in sight of the validation scores, which the first one
would not have let pass, and before any of these was scored.

| | Dice | IoU | recall | precision |
|---|---|---|---|---|
{rows}

{intervals}
In `ircad-volume-17` the largest object has a volume of {volume[found_ml]:.0f} ml, the
liver one of {volume[truth_ml]:.0f} ml. HD95 is {volume[hd95]:.1f} mm, ASSD
{volume[assd]:.1f} mm, and a share of {volume[nsd]:.3f} of the surface lies within 2 mm.

The paper has a Dice of .8287 on LiTS, of slices of 128 x 128 pixels, by a division that
it does not publish. So low a figure is plausible only if tumours are a class of their
own there, so the two cannot be compared.

## What the gates do

On the validation slices the published model has a Dice of {open:.4f}, and {closed:.4f}
with its gates closed (gamma = 0).

## Use and limits

For research on and teaching of segmentation. Not a medical device. All whole slices
that it was trained on hold a liver, and are of 8 bits with the noise of JPEG. It has
seen neither chest nor pelvis, nor whole slices without a liver: in those it may find
one, which is why `--largest` is there. The patients of 3D-IRCADb are probably among
those of LiTS, so `ircad-slices-hu` and `ircad-volume-17` test another scale of values
and another preparation, not other patients. It knows no mirror image of a patient: the
affine of a NIfTI file must be right.

## Terms

The weights are published under CC BY-SA 4.0, as the slices that they were trained on
(Medical Segmentation Decathlon, Antonelli et al., 2022; LiTS, Bilic et al., 2023).
"""


class IrcadSlices(Pairs):
    """The slices of `ircad-slices-hu/slices.npz`, in HU, as radiologists see them."""

    channels = num_classes = 1
    in_hu = True
    class_names = ("liver",)

    def __init__(self, path: Path):
        slices = np.load(path)
        self._pairs = {
            f"{patient:02}/{z:03}": (hu[:, ::-1].T, liver[:, ::-1].T)
            for patient, z, hu, liver in zip(
                *(slices[name] for name in ("patient", "z", "hu", "liver"))
            )
        }
        self.names = sorted(self._pairs)
        self.groups = [name.partition("/")[0] for name in self.names]

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        image, mask = self._pairs[self.names[index]]
        return np.ascontiguousarray(image)[..., np.newaxis], np.ascontiguousarray(mask)


def prepare(source: Path, target: Path) -> None:
    """Writes the slices as radiologists see them, and pieces without the liver.

    A piece is what lies on one side of the liver, in its place on air. Every third
    training slice of a volume gives one.
    """
    for part in ("images", "masks", "splits"):
        (target / part).mkdir(parents=True, exist_ok=True)
    splits = {
        path.stem: path.read_text("utf-8").split()
        for path in (source / "splits").glob("*.txt")
    }
    rows, seen = [], defaultdict(int)
    with (source / "index.csv").open(encoding="utf-8", newline="") as file:
        volumes = {row["file"]: row["volume"] for row in csv.DictReader(file)}
    for name, volume in volumes.items():
        image, mask = (upright(source / part / name) for part in ("images", "masks"))
        mask = mask > 127
        write(target, name, image, mask)
        rows.append((name, volume))
        if name not in splits["train"]:
            continue
        seen[volume] += 1
        piece = beside(image, mask)
        if seen[volume] % 3 == 1 and np.mean(piece > 0) > LEAST_PIECE:
            name = f"piece_{name}"
            write(target, name, piece, np.zeros_like(mask))
            rows.append((name, volume))
            splits["train"].append(name)
    for subset, names in splits.items():
        (target / f"splits/{subset}.txt").write_text("\n".join(names) + "\n", "utf-8")
    with (target / "index.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("file", "volume"), *rows])


def upright(path: Path) -> np.ndarray:
    """A slice that lies on the side, with the front up and the patient's right left."""
    with Image.open(path) as image:
        return np.asarray(image.convert("L")).T[::-1, ::-1]


def write(target: Path, name: str, image: np.ndarray, mask: np.ndarray) -> None:
    """A pair as PNG, the image in 16 bits: those of 8 are refused as no HU."""
    Image.fromarray(image.astype("uint16")).save(target / "images" / name)
    Image.fromarray(mask.astype("uint8") * 255).save(target / "masks" / name)


def beside(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The image without the rows or columns of the mask and all on one side of them."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    sides = [
        np.s_[rows[0] :, :],
        np.s_[: rows[-1] + 1, :],
        np.s_[:, columns[0] :],
        np.s_[:, : columns[-1] + 1],
    ]
    pieces = [image.copy() for _ in sides]
    for piece, side in zip(pieces, sides):
        piece[side] = 0
    return max(pieces, key=np.count_nonzero)


def publish(
    data: Path, encoder_weights: str, seeds: list[int], runs: Path, hub: Path
) -> None:
    """Trains the seeds, as far as that is still to do, and writes the preset."""
    slices = runs / "slices"
    if not (slices / "index.csv").exists():
        prepare(data / "lits-slices-256", slices)
    subsets = open_splits(slices)
    validation, test = (
        Resized(subsets[name], (SIZE, SIZE)) for name in ("validation", "test")
    )
    reached = {}
    for seed in seeds:
        run = runs / f"{NAME}-{seed}"
        train(
            slices,
            run,
            size=SIZE,
            recipe=RECIPE,
            seed=seed,
            subset="validation",
            encoder_weights=encoder_weights,
            **NETWORK,
        )
        found = evaluate(load_model(run), validation).summary
        reached[run] = found["cases"][0]["dice"]
        print(
            f"seed {seed}: validation Dice {found['dice']:.4f} over slices, "
            f"{reached[run]:.4f} over volumes"
        )
    best = max(reached, key=lambda run: reached[run])
    if reached[best] < LEAST_DICE:
        raise SystemExit(f"Nothing is published: {reached[best]:.4f} < {LEAST_DICE}.")
    # What is scored is what is published, in half precision.
    halved = runs / f"{NAME}_half"
    load_model(best).save_to_preset(halved, half=True)
    model = PAMUNet.from_preset(halved)
    others = {"open": model, "closed": close_gates(model)}
    gates = {how: evaluate(x, validation).dice for how, x in others.items()}
    models = {run: load_model(run) for run in reached} | {best: model}
    tests = {run: {"test": evaluate(x, test).summary} for run, x in models.items()}
    slices = evaluate(
        model, IrcadSlices(data / "ircad-slices-hu/slices.npz"), full_size=True
    ).summary
    volume = score_volume(model, data / "ircad-volume-17", best / "volume-17")
    config = json.loads((best / "config.json").read_text("utf-8"))
    summary = tests[best]["test"]
    metrics = {
        "lits-slices-256, mean over slices": summary,
        "lits-slices-256, mean over volumes": summary["cases"][0],
        "ircad-slices-hu, mean over slices": slices,
        "ircad-volume-17, largest object": volume,
    }
    metadata = {
        "name": NAME,
        "version": "1.0.0",
        "changelog": {"1.0.0": "First release."},
        "task": "liver in CT",
        "data": {"name": "lits-slices-256", "split": config["split"]},
        "preprocessing": "Axial slices in HU, resized by area averages. No other step.",
        "training": {**settings_of(best), "data": "lits-slices-256"},
        "versions": config["versions"],
        "backend": config["backend"],
        "metrics": metrics,
        "seeds": {
            run.name: {"validation_dice": reached[run], **tests[run]} for run in reached
        },
        "validation_dice_with_gates": gates,
        "gates": gate_effects(model, np.stack([image for image, _ in validation])),
        "intended_use": "Research and teaching. Not a medical device.",
        "terms": "CC BY-SA 4.0 (Medical Segmentation Decathlon, LiTS).",
        "on_phantom": on_phantom(model),
    }
    model.save_to_preset(hub / NAME, metadata, card_of(metadata), half=True)


def score_volume(model: PAMUNet, source: Path, work: Path) -> dict[str, Any]:
    """Scores of the largest object that is found in a whole volume."""
    for kind, stem in (("ct", "volume"), ("label", "segmentation")):
        link = work / "truth" / f"{stem}-17.nii.gz"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to((source / f"{kind}_17.nii.gz").resolve())
    pairs = Volumes(work / "truth")
    found = work / "found"
    image = work / "truth/volume-17.nii.gz"
    predict_volumes(model, image, found, largest=True, overwrite=True)
    (case,) = evaluate(PredictedVolumes(found, pairs), pairs, full_size=True).cases
    return case["classes"][0]


def card_of(metadata: dict[str, Any]) -> str:
    metrics, training = metadata["metrics"], metadata["training"]
    rows = [row(how, scores) for how, scores in metrics.items()]
    seeds = metadata["seeds"].values()
    if len(seeds) > 1:
        rows += spread("lits-slices-256", seeds)
    split = metadata["data"]["split"]
    count = {name: len(names) for name, names in split.items()}
    pieces = sum(name.startswith("piece_") for name in split["train"])
    return CARD.format(
        name=NAME,
        n={**count, "pieces": pieces},
        epochs=training["epochs"],
        seeds=len(seeds),
        encoder=training["model"]["encoder_weights"],
        sha256=training["start_sha256"],
        rows="\n".join(rows),
        intervals=intervals(metrics),
        volume=metrics["ircad-volume-17, largest object"],
        **metadata["validation_dice_with_gates"],
    )


def intervals(metrics: dict[str, dict]) -> str:
    """Where the means of slices may lie, for patients were drawn, not slices."""
    lines = [
        f"{how}: {scores['intervals']['dice'][0]:.4f} to "
        f"{scores['intervals']['dice'][1]:.4f}"
        for how, scores in metrics.items()
        if scores.get("intervals", {}).get("dice")
    ]
    return f"95 % bootstrap intervals of the Dice: {'; '.join(lines)}.\n"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path, help="the folder of the sets named above")
    parser.add_argument(
        "--encoder-weights", default="imagenet", help="or a .weights.h5 file"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--runs", type=Path, default=Path("runs/liver_ct"))
    parser.add_argument("--hub", type=Path, default=Path("hub"))
    given = parser.parse_args()
    publish(given.data, given.encoder_weights, given.seeds, given.runs, given.hub)
