import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_pamunet.data.pairs import Pairs
from keras_pamunet.drawing import to_rgb
from keras_pamunet.evaluation import evaluate
from keras_pamunet.figures import Row
from keras_pamunet.inference.predictor import segment
from keras_pamunet.models import Segmenter, load_model
from keras_pamunet.scored_pairs import ALL, open_pairs, trained_on


class FigureImages:
    """The images that figures of some models are drawn of.

    Images that a model was trained on are left out, unless they are asked for or there
    are no others.

    Args:
        models: what `keras_pamunet.models.load_model` takes, each once.
        data: see `keras_pamunet.scored_pairs.open_pairs`, as the next three.
        split: names the pairs of each subset.
        subset: which of them.
        seed: of a drawn split, and of the images that `draw` picks.

    Attributes:
        models: the models by their paths.
        source: the pairs.
        known: the pairs of the data that a model was trained on.

    Raises:
        ValueError: see `open_pairs`.
    """

    def __init__(
        self,
        models: Sequence[str | Path],
        data: str | Path | None = None,
        split: str | Path | None = None,
        subset: str | None = None,
        seed: int = 0,
    ):
        self.models: dict[str, Segmenter] = {str(x): load_model(x) for x in models}
        self.seed = seed
        with warnings.catch_warnings():
            # It is no score that is shown, or not of those.
            warnings.filterwarnings("ignore", ".* was trained on")
            _, source = open_pairs(self.models, data, split, subset, seed)
            _, whole = open_pairs(self.models, data, None, ALL, seed)
        known = set().union(*map(trained_on, self.models))
        unseen = [name for name in source.names if name not in known]
        if subset is None and not unseen:
            warnings.warn(
                "All of these images are such as a model was trained on.", stacklevel=2
            )
        self.source = source.select(unseen) if unseen else source
        self.known = whole.select(name for name in whole.names if name in known)

    def draw(self, count: int, names: Sequence[str] = ()) -> Pairs:
        """Some of the pairs: those of the names, or drawn ones in their order."""
        if names:
            return self.source.select(names)
        rng = np.random.default_rng(self.seed)
        drawn = rng.permutation(len(self.source))[:count]
        return self.source.select(self.source.names[x] for x in sorted(drawn))

    def rows(self, pairs: Pairs, flips: bool, progress: bool) -> list[Row]:
        """What the models find in pairs, with its Dice, both in the images' sizes."""
        found: list[dict[str, np.ndarray]] = [{} for _ in pairs.names]
        for path, model in self.models.items():
            scores = evaluate(
                model, pairs, full_size=True, flips=flips, progress=progress
            )
            for index, (row, labels) in enumerate(zip(scores.images, found)):
                title = f"{Path(path).name}: Dice {row['dice']:.3f}"
                if title in labels:
                    title = f"{path}: Dice {row['dice']:.3f}"
                labels[title] = segment(model, pairs[index][0], flips=flips).mask
        rows = []
        for index, name in enumerate(pairs.names):
            image, truth = pairs[index]
            rows.append((name, self.picture(image), truth, found[index]))
        return rows

    def picture(self, image: np.ndarray) -> np.ndarray:
        """An image as the first model sees its values, in 8 bits."""
        return to_rgb(image, next(iter(self.models.values())).input_range)
