"""Trains the presets for Kvasir-SEG, scores them and writes them with their cards.

Run it with

    python examples/publish_kvasir.py kvasir-seg --encoder-weights imagenet

Seeds that were trained before are not trained again, and an interrupted one goes on
where it was. The seed with the best validation Dice (mean of flips) is published; the
test images are not used for any choice here. `--add` counts the seeds of the preset in
`--hub` as well, without training them, so that several machines can train one seed
each, one after the other. `--external` names a folder with `images/` and `masks/` of
another data set, which the model that is published is scored on, once.
"""

import argparse
import itertools
import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from keras_pamunet.analysis.attention_maps import close_gates, gate_effects
from keras_pamunet.data import Folder, Phantom, Resized, open_splits, pipeline
from keras_pamunet.evaluation import evaluate
from keras_pamunet.models import PAMUNet, load_model
from keras_pamunet.run_folder import replace_model
from keras_pamunet.saving import to_keras_file
from keras_pamunet.training import RECIPES, estimate_batch_statistics, train

SPLIT = "effisegnet"
# What `train` is told for each preset.
PRESETS = {
    "pamunet_kvasir_seg": {
        "size": 128,
        "score_activation": "sigmoid",  # See publish_first_order.py.
        "key_stride": 2,
    },
    "pamunet_kvasir_seg_256": {
        "size": 256,
        "key_stride": 4,
        "weights": "pamunet_kvasir_seg_256",  # The version before.
        "epochs": 12,
        "learning_rate": 5e-4,
    },
    "pamunet_kvasir_seg_352": {
        "size": 352,
        "weights": "pamunet_kvasir_seg_256",
        "epochs": 8,
        "learning_rate": 3e-4,
    },
    "pamunet_kvasir_seg_paper": {"size": 128, "recipe": "paper"},
}
# Those whose weights are averaged with the ones they were trained from (WiSE-FT,
# Wortsman et al., 2022).
AVERAGED = {"pamunet_kvasir_seg_256", "pamunet_kvasir_seg_352"}
# The preset whose validation Dice, each in its own size, one must exceed. Else it is
# neither scored on the test images nor published.
EXCEEDED = {"pamunet_kvasir_seg_352": "pamunet_kvasir_seg_256"}
# What is new in each version; the last one is what this program makes.
CHANGES = {
    "pamunet_kvasir_seg": {
        "1.0.0": "First release: 10 epochs.",
        "1.1.0": "60 epochs with stronger augmentation, and a key stride of 2.",
        "1.2.0": "Batch statistics of images that are not augmented.",
    },
    "pamunet_kvasir_seg_256": {
        "1.0.0": "First release.",
        "1.1.0": "Batch statistics of images that are not augmented.",
        "1.2.0": "Trained on for 12 epochs, and averaged with the weights before.",
    },
}
BATCH_SIZE = 16
NUMBERS = ("size", "recipe", "epochs", "learning_rate")
HALF_TOLERANCE = 0.0005
SCORES = ("dice", "iou", "recall", "precision")
CARD = """# {name}

PAM-UNet for polyps in colonoscopy images, {size} x {size} pixels.

```python
from keras_pamunet import PAMUNet

model = PAMUNet.from_preset("{name}")
masks = model.predict(images) > 0.5  # images (n, {size}, {size}, 3), raw 8-bit values
```

## Training

Kvasir-SEG, the split of EffiSegNet: 800 images to train, 100 to validate, 100 to test.
Recipe `{recipe}`, {epochs} epochs, highest learning rate {learning_rate}, from
{start}. Of {n} seed(s) the one with the best validation Dice is
published.{switched}

## Scores

Mean over the 100 test images.

| | Dice | IoU | recall | precision |
|---|---|---|---|---|
{rows}

{duplicates}
{external}
## What the gates do

On the validation images the published model has a Dice of {dice[open]:.4f} (mean of
flips), and {dice[closed]:.4f} with its gates closed (gamma = 0). How much each gate
adds to its skip, and the share of that which is the same at all places of an image,
that is, prefers no region:

| gate at | added, of the skip's norm | the same everywhere |
|---|---|---|
{gates}

## Use and limits

For research on and teaching of segmentation. Not a medical device: it has seen images
of one source, each with a polyp, and was tested on images of the same source{also}.
{untried}Nobody has tested it on images without a polyp.

## Terms

The weights are published under Apache-2.0. The images they were trained on are for
research and education only; commercial use needs the permission of their authors. Cite
Jha et al., Kvasir-SEG: A Segmented Polyp Dataset, MMM 2020.
"""
EXTERNAL = """
## Scores on another data set

Mean over the {n} images of the folder `{folder}`, with 95 % bootstrap intervals
(network size, mean of flips). They were scored once, when this version was published.

| Dice | IoU | recall |
|---|---|---|
| {dice} | {iou} | {recall} |
"""
DUPLICATES = (
    "One test image, cju77k828z46w0871r0avuoo9, nearly is one of the training images."
)


def publish(
    name: str,
    data: str,
    encoder_weights: str,
    epochs: int | None,
    seeds: list[int],
    runs: Path,
    hub: Path,
    compare: bool = False,
    add: bool = False,
    external: Path | None = None,
) -> None:
    """Trains a preset's seeds, as far as that is still to do, and writes the preset."""
    arguments = dict(PRESETS[name])
    others = external and Folder(external)  # Unfit ones are known before it trains.
    if epochs is not None:
        arguments["epochs"] = epochs
    if arguments.get("recipe") != "paper" and "weights" not in arguments:
        arguments["encoder_weights"] = encoder_weights
    subsets = open_splits(data, SPLIT)
    sizes = (arguments["size"],) * 2
    validation, test = (
        Resized(subsets[subset], sizes) for subset in ("validation", "test")
    )
    folders, trained, earlier = {}, {}, {}

    def train_seeds(kind, **changes):
        for seed in seeds:
            folder = runs / f"{kind}-{seed}"
            if folder.name in earlier:
                continue
            settings = arguments | changes
            if name in AVERAGED:  # Only the average is scored on the test images.
                settings["subset"] = "validation"
            train(data, folder, split=SPLIT, seed=seed, **settings)
            run = folder.name
            if name in AVERAGED:
                pairs = Resized(subsets["train"], sizes)
                folder = average(folder, arguments["weights"], pairs)
                check_exceeds(name, folder, subsets["validation"])
                if not (folder / "metrics.json").exists():
                    evaluate(load_model(folder), test, folder)
            folders[run] = folder
            trained[run] = scores_of(folder, validation)

    if add:
        metadata = json.loads((hub / name / "metadata.json").read_text("utf-8"))
        check_recipe(arguments, metadata["training"])
        earlier = metadata["seeds"]
    train_seeds(name)
    if compare:
        plain = {"attention": None, "score_activation": None, "key_stride": 1}
        train_seeds(f"{name}_plain", **plain)
    reached = earlier | trained
    best = max(of_kind(reached, name), key=lambda x: reached[x]["validation_dice"])
    if best in trained:
        model = load_model(folders[best])
        metadata = measure(model, folders[best], subsets["test"], test, validation)
        metadata["training"]["averaged"] = name in AVERAGED
    else:
        model = PAMUNet.from_preset(hub / name)
    changes = CHANGES.get(name, {"1.0.0": "First release."})
    metadata |= {"name": name, "version": list(changes)[-1], "changelog": changes}
    metadata["seeds"] = reached
    if others:
        summary = evaluate(model, others).summary
        metadata["external"] = {"folder": external.resolve().name, **summary}
    card = card_of(metadata)
    halved = runs / f"{name}_half"
    model.save_to_preset(halved, metadata, card, half=True)
    # A preset that does not stand this shall not take the place of the old one.
    check_half(halved, test, metadata["metrics"])
    metadata["on_phantom"] = on_phantom(PAMUNet.from_preset(halved))
    model.save_to_preset(hub / name, metadata, card, half=True)


def average(folder: Path, start: str, pairs: Resized) -> Path:
    """A folder in that of a run, of its weights averaged with those it started from."""
    averaged = folder / "averaged"
    if not averaged.exists():
        model = load_model(folder)
        before = load_model(start).clone(input_shape=model.input_shape[1:])
        model.set_weights(
            [
                (one + other) / 2
                for one, other in zip(before.get_weights(), model.get_weights())
            ]
        )
        batches = pipeline(pairs, BATCH_SIZE, shuffle=True, repeat=True)
        count = max(len(pairs) // BATCH_SIZE, 1)
        estimate_batch_statistics(
            model, (images for images, _ in itertools.islice(batches, count))
        )
        new = folder / "averaged.part"
        new.mkdir(exist_ok=True)
        shutil.copy(folder / "config.json", new)
        replace_model(new, to_keras_file(model))
        new.rename(averaged)
    return averaged


def check_exceeds(name: str, folder: Path, pairs: Any) -> None:
    """Makes sure that a model beats the preset that it must, by validation Dice."""
    if name not in EXCEEDED:
        return
    dice = []
    for found in (EXCEEDED[name], folder):
        model = load_model(found)
        resized = Resized(pairs, model.input_shape[1:3])
        dice.append(evaluate(model, resized).dice)
    least, reached = dice
    if reached <= least:
        raise SystemExit(
            f"Expected a higher validation Dice than that of {EXCEEDED[name]}, "
            f"{least:.4f}. Received: {reached:.4f}. {name} is neither scored on the "
            "test images nor published."
        )


def measure(
    model: PAMUNet, folder: Path, images: Any, pairs: Resized, validation: Resized
) -> dict:
    """What is to be known about the model of a run folder."""
    config = json.loads((folder / "config.json").read_text("utf-8"))
    # The run has its own pictures, and its own metrics.
    scores = score(model, images, pairs, validation, folder / "published")
    return {
        "task": "polyps in colonoscopy images",
        "data": {"name": "Kvasir-SEG", "split": config["split"]},
        "preprocessing": "Raw 8-bit RGB, resized by area averages. No other step.",
        "training": settings_of(folder),
        "versions": config["versions"],
        "backend": config["backend"],
        "definition": "Mean over the test images of each one's score, threshold 0.5; 1 "
        "where both masks are empty, 0 where one is.",
        **scores,
        "intended_use": "Research and teaching. Not a medical device.",
        "terms": "Training images: research and education only (Kvasir-SEG).",
    }


def score(
    model: PAMUNet, images: Any, pairs: Resized, validation: Resized, pictures: Path
) -> dict:
    """Scores on the test images, and what the gates do on the validation images."""
    results = {
        "network size, mean of flips": evaluate(model, pairs, pictures, pictures=100),
        "network size": evaluate(model, pairs, flips=False),
        "image size, mean of flips": evaluate(model, images, full_size=True),
        "image size": evaluate(model, images, full_size=True, flips=False),
    }
    models = {"open": model, "closed": close_gates(model)}
    return {
        "metrics": {how: result.summary for how, result in results.items()},
        "validation_dice_with_gates": {
            state: evaluate(model, validation).dice for state, model in models.items()
        },
        "gates": gate_effects(model, np.stack([image for image, _ in validation])),
        "images": {
            how: [{key: x[key] for key in ("name", *SCORES)} for x in result.images]
            for how, result in results.items()
        },
    }


def on_phantom(model: PAMUNet) -> dict:
    """What a model makes of a drawn image, for others to compare with.

    The mean of its probabilities, and eight of them from low to high.
    """
    image, _ = Resized(Phantom(1), model.input_shape[1:3])[0]
    image = image[..., : model.input_shape[-1]]
    found = np.asarray(model.predict_on_batch(image[np.newaxis]))[0, ..., 0]
    order = found.argsort(axis=None)
    levels = np.linspace(found.min(), found.max(), 10)[1:-1]
    chosen = order[np.searchsorted(found.flat[order], levels)]
    pixels = np.stack(np.unravel_index(chosen, found.shape), axis=1)
    return {
        "mean": float(found.mean(dtype="float64")),
        "pixels": pixels.tolist(),
        "probabilities": [float(found[tuple(pixel)]) for pixel in pixels],
    }


def settings_of(folder: Path) -> dict:
    """Those of a run, with names of files in place of paths."""
    settings = json.loads((folder / "config.json").read_text("utf-8"))["settings"]
    model = settings["model"]
    if "encoder_weights" in model:
        model["encoder_weights"] = Path(model["encoder_weights"]).name
    recipe = settings["recipe"]
    return {**settings, **recipe, "recipe": recipe["name"], "data": "kvasir-seg"}


def check_recipe(arguments: dict, published: dict) -> None:
    """Makes sure that other seeds will be trained as the published ones were."""
    recipe = RECIPES[arguments.get("recipe", "default")]
    numbers = ("epochs", "batch_size", "learning_rate")
    arguments = {name: getattr(recipe, name) for name in numbers} | arguments
    if "encoder_weights" in arguments:
        arguments["encoder_weights"] = Path(arguments["encoder_weights"]).name
    # Older records leave the gates open, which were the paper's then.
    published = {"score_activation": "sigmoid"} | published | published["model"]
    other = [
        f"{key}={value!r}, not {published.get(key)!r}"
        for key, value in arguments.items()
        if value != published.get(key)
    ]
    if other:
        raise SystemExit(
            f"Expected the recipe that was published. Other: {', '.join(other)}"
        )


def card_of(metadata: dict) -> str:
    name, settings = metadata["name"], metadata["training"]
    start = "random weights"
    if settings["weights"]:
        start = f"the weights of `{settings['weights']}`"
        if settings["weights"] == name:
            start += ", the version before"
        if settings["averaged"]:
            start += ", and averaged with them"
    elif "encoder_weights" in settings["model"]:
        start = "ImageNet weights of the encoder"
    rows = [row(how, summary) for how, summary in metadata["metrics"].items()]
    published = of_kind(metadata["seeds"], name)
    if len(published) > 1:
        rows += spread("as published", published.values())
    plain = of_kind(metadata["seeds"], f"{name}_plain")
    if plain:
        rows += spread("without attention", plain.values())
    external = also = ""
    untried = "Images of other hospitals were not tried. "
    if others := metadata.get("external"):
        external = EXTERNAL.format(
            n=others["n"],
            folder=others["folder"],
            **{name: with_interval(others, name) for name in ("dice", "iou", "recall")},
        )
        also, untried = f" and on\nthose of `{others['folder']}`", ""
    return CARD.format(
        name=name,
        n=len(published),
        rows="\n".join(rows),
        duplicates=DUPLICATES,
        external=external,
        also=also,
        untried=untried,
        dice=metadata["validation_dice_with_gates"],
        gates="\n".join(
            f"| 1/{2 ** (level + 1)} | {gate['change']:.1%} | {gate['uniform']:.0%} |"
            for level, gate in enumerate(metadata["gates"])
        ),
        start=start,
        switched=metadata.get("switched", ""),
        **{key: settings[key] for key in NUMBERS},
    )


def of_kind(reached: dict[str, dict], kind: str) -> dict[str, dict]:
    """The scores of the seeds of one kind of network."""
    return {run: x for run, x in reached.items() if run.rpartition("-")[0] == kind}


def scores_of(folder: Path, validation: Resized) -> dict:
    test = json.loads((folder / "metrics.json").read_text("utf-8"))
    found = evaluate(load_model(folder), validation, flips=test["flips"]).summary
    return {"validation_dice": found["dice"], "test": test["summary"]}


def spread(kind: str, seeds: Iterable[dict]) -> list[str]:
    """Rows of what the seeds of a kind have reached."""
    tests = [seed["test"] for seed in seeds]
    mean = {score: np.mean([test[score] for test in tests]) for score in SCORES}
    title = f"{kind}, as `train` scores it, {len(tests)} seed(s): mean"
    if len(tests) == 1:
        return [row(title, mean)]
    deviation = {s: np.std([test[s] for test in tests], ddof=1) for s in SCORES}
    return [row(title, mean), row("the same: standard deviation", deviation)]


def row(title: str, scores: dict) -> str:
    figures = " | ".join(f"{scores[name]:.4f}" for name in SCORES)
    return f"| {title} | {figures} |"


def with_interval(summary: dict, name: str) -> str:
    """A mean, and its interval unless it is of a single image."""
    interval = summary["intervals"][name]
    shown = f" ({interval[0]:.4f} to {interval[1]:.4f})" if interval else ""
    return f"{summary[name]:.4f}{shown}"


def check_half(folder: Path, pairs: Resized, scores: dict) -> None:
    """Makes sure that half precision has not changed the scores."""
    model = PAMUNet.from_preset(folder)
    for how in ("network size", "network size, mean of flips"):
        stored = evaluate(model, pairs, flips="flips" in how).summary
        for name in SCORES:
            change = abs(stored[name] - scores[how][name])
            if change > HALF_TOLERANCE:
                raise SystemExit(f"{name} has changed by {change} in half precision")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", help="the folder of Kvasir-SEG, or tfds:kvasir_seg")
    parser.add_argument("--preset", choices=PRESETS, default="pamunet_kvasir_seg")
    parser.add_argument(
        "--compare", action="store_true", help="train without attention beside it"
    )
    parser.add_argument(
        "--encoder-weights", default="imagenet", help="or a .weights.h5 file"
    )
    parser.add_argument(
        "--add",
        action="store_true",
        help="count the seeds of the preset in --hub, whose runs may be elsewhere",
    )
    parser.add_argument(
        "--external",
        type=Path,
        metavar="DIR",
        help="a folder with images/ and masks/ of another data set, to score once",
    )
    parser.add_argument("--epochs", type=int, help="default: the recipe's")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--runs", type=Path, default="runs")
    parser.add_argument("--hub", type=Path, default="hub")
    given = parser.parse_args()
    publish(
        given.preset,
        given.data,
        given.encoder_weights,
        given.epochs,
        given.seeds,
        given.runs,
        given.hub,
        given.compare,
        given.add,
        given.external,
    )
