"""Chooses the pairs that models are scored on."""

import warnings
from collections.abc import Mapping
from itertools import chain
from pathlib import Path

from keras_pamunet import hub
from keras_pamunet.data import MaskFolder, open_source, open_splits
from keras_pamunet.data.image_file import is_image
from keras_pamunet.data.pairs import Pairs, some
from keras_pamunet.data.windows import takes_hu
from keras_pamunet.files import is_split
from keras_pamunet.inference.predictor import Predictor
from keras_pamunet.run_folder import read_config, run_of
from keras_pamunet.targets import label_count

ALL = "all"


def open_pairs(
    models: Mapping[str, Predictor],
    data: str | Path | None = None,
    split: str | Path | None = None,
    subset: str | None = None,
    seed: int = 0,
    num_classes: int = 1,
) -> tuple[str, Pairs]:
    """Opens the pairs to score models on.

    Args:
        models: each model by the path it was loaded from. If that is a run folder, the
            pairs are by default those of the run, by the names that it has kept; of
            several runs those of the first.
        data: see `keras_pamunet.data.open_splits`. Without models also a folder of
            masks only.
        split: see `keras_pamunet.data.open_splits`.
        subset: `"train"`, `"validation"`, `"test"`, or `"all"` for every pair of the
            data or of the split. Defaults to `"test"` of a run's own data and of a
            split, and to `"all"` of other data.
        seed: of a drawn split.
        num_classes: of the masks, if there are no models.

    Returns:
        The name of the subset, and its pairs.

    Raises:
        ValueError: if there is no such subset, all its pairs are gone, no data are
            known or the models have different numbers of classes.

    Warns:
        UserWarning: names pairs that are gone or new since the run, and says how many
            of the pairs a model was trained on.
    """
    runs = {path: _read_run(path) for path in models}
    own = next((run for run in runs.values() if _is_of(run, data)), None)
    if data is None:
        if own is None:
            hint = f" No run folder: {', '.join(models)}" if models else ""
            raise ValueError(f"Expected --data to score on.{hint}")
        data = own["settings"]["data"]
    if subset is None:
        subset = ALL if own is None and split is None else "test"
    source = _open_source(list(models.values()), data, num_classes)
    if split is None and subset == ALL:
        names = source.names
    elif split is None and own is not None:
        names = _names_of_run(source, own, subset)
    else:
        names = _names_of_split(source, data, split, subset, seed)
    for path in models:
        known = trained_on(path) & set(names)
        if known and subset != "train":
            warnings.warn(
                f"{path} was trained on {len(known)} of these {len(names)} pairs, or "
                f"on others of their names: {some(sorted(known))}. Its scores on what "
                "it has seen are too high.",
                stacklevel=2,
            )
    return subset, source.select(names)


def check_kind(model: Predictor, source: Pairs) -> None:
    """Makes sure that a model of pictures gets no CT in HU.

    Raises:
        ValueError: if it does.
    """
    if source.in_hu and not takes_hu(model.input_range):
        raise ValueError(
            f"Expected a model of CT, whose input_range is a window of HU. Received: "
            f"{model.origin}, for values of {model.input_range}"
        )


def _read_run(path):
    folder = run_of(Path(path))
    return folder and read_config(folder)


def _is_of(run, data):
    """Whether this is a run on these data; on any, if none are given."""
    own = run and run["settings"].get("data")
    if own is None or data is None:
        return own is not None
    return own == str(data) or Path(own).resolve() == Path(data).resolve()


def _open_source(models, data, num_classes):
    """The data, which all the models take."""
    if len({(model.num_classes, model.masks) for model in models}) > 1:
        classes = (f"{x.origin} has {x.num_classes} {x.masks}" for x in models)
        raise ValueError(
            "Expected models of one number of classes, or their scores say nothing "
            f"about each other. Received: {', '.join(classes)}"
        )
    if not models:
        if _is_folder_of_masks(data):
            return MaskFolder(data, num_classes)
        return open_source(data, num_classes)
    source = open_source(data, label_count(models[0].num_classes, models[0].masks))
    for model in models:
        check_kind(model, source)
    return source


def _is_folder_of_masks(data):
    folder = Path(data)
    return (
        folder.is_dir()
        and not (folder / "images").exists()
        and any(map(is_image, folder.iterdir()))
    )


def _names_of_split(source, data, split, subset, seed):
    subsets = open_splits(data, split, source.num_classes, seed)
    if subset == ALL:
        return [*chain(*(pairs.names for pairs in subsets.values()))]
    if subset not in subsets:
        raise ValueError(
            f"Expected one of {(*subsets, ALL)}. Received: --subset {subset}"
        )
    return subsets[subset].names


def _names_of_run(source, run, subset):
    """Names of a subset of a run; says what has changed since."""
    if subset not in run["split"]:
        raise ValueError(
            f"Expected one of {(*run['split'], ALL)}. Received: --subset {subset}"
        )
    there, names = set(source.names), run["split"][subset]
    gone = [name for name in names if name not in there]
    new = sorted(there.difference(*run["split"].values()))
    changes = {"gone and left out": gone, "new and left out": new}
    for what, some_names in changes.items():
        if some_names:
            warnings.warn(
                f"Since the run was begun {len(some_names)} pairs of "
                f"{run['settings']['data']} are {what}: {some(some_names)}",
                stacklevel=3,
            )
    if len(gone) == len(names):
        raise ValueError(
            f"Expected the {len(names)} pairs of the run's subset {subset!r} in "
            f"{run['settings']['data']}. None of them is there any more."
        )
    return [name for name in names if name in there]


def trained_on(path: str | Path) -> set[str]:
    """Names of the pairs that a run or preset was trained on, if it says so."""
    run = _read_run(path)
    if run is None:
        try:
            _, metadata = hub.read(hub.find(path))
            split = metadata["data"]["split"]
        except (ValueError, KeyError, TypeError):
            return set()
    else:
        split = run["split"]
    return set(split.get("train", ())) if is_split(split) else set()
