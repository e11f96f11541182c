import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scores:
    """What `keras_pamunet.evaluation.evaluate` found of a model.

    Args:
        subset: name of what was scored.
        flips: whether predictions were the mean over mirror images; `None` of masks in
            files.
        summary: the mean over images and classes of Dice, IoU, recall and precision,
            in which an image without a class scores 1 if none is found there;
            `pooled_dice`, of all pixels together; `n`, the number of images;
            `n_missed`, those with a class of which nothing was found, and `n_false`,
            those with a found class that is not there; `intervals`, the 95 % bootstrap
            interval of each of the four means, see
            `keras_pamunet.bootstrap.mean_interval`. Its `classes` have a row for each
            class: `class` (the label), `name`, the same means over the images that
            have the class (`None` if there are none), `n_with_truth`, `n_missed` and
            `n_false`. If the images come in groups, also `n_groups` and `cases`, see
            `keras_pamunet.cases.CaseScores.summary`.
        images: a row for each image: `name`, `group` if there are groups, the four
            scores, and `classes` with those of each class.
        cases: a row for each group, such as the volume of slices, with volumes in ml
            and distances in mm where the spacing is known; `None` without groups.
    """

    subset: str
    flips: bool | None
    summary: dict[str, Any]
    images: list[dict[str, Any]]
    cases: list[dict[str, Any]] | None = None

    @property
    def dice(self) -> float:
        """Mean Dice over images and classes."""
        return self.summary["dice"]

    @property
    def iou(self) -> float:
        """Mean IoU over images and classes."""
        return self.summary["iou"]

    @property
    def recall(self) -> float:
        """Mean recall over images and classes."""
        return self.summary["recall"]

    @property
    def precision(self) -> float:
        """Mean precision over images and classes."""
        return self.summary["precision"]

    def to_json(self) -> dict[str, Any]:
        """What `metrics.json` holds."""
        found = dataclasses.asdict(self)
        if self.cases is None:
            del found["cases"]
        return found
