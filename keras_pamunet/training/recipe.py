import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import keras

from keras_pamunet.data import Augment
from keras_pamunet.losses import DiceBCE
from keras_pamunet.models import Segmenter

OPTIMIZERS = ("adamw", "sgd")
SCHEDULES = ("cosine", "constant")
LOSSES = ("dice_bce", "cross_entropy", "dice")
# Degrees by which patients may lie aslant.
SLANT = 15.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """All that decides how a network is trained.

    Args:
        name: for records and messages.
        epochs: passes through the training pairs.
        batch_size: pairs in a step.
        accumulate: parts of a batch that are computed one after another, for one that
            does not fit the memory: Keras' `gradient_accumulation_steps`. Batch
            normalisation sees the parts. `None`: the whole at once.
        learning_rate: the highest of the schedule.
        optimizer: `"adamw"`, or `"sgd"` with a momentum of 0.9.
        weight_decay: of the optimizer.
        schedule: `"cosine"`: the learning rate rises from 0 over a tenth of the
            epochs, 5 at most, and falls back to 0 along a cosine. `"constant"`: it
            stays, so that a run can go on to more epochs.
        ema_momentum: of the moving average of the weights, which is what is kept;
            `None` keeps the weights themselves.
        loss: `"dice_bce"`, see `keras_pamunet.losses.DiceBCE`; `"cross_entropy"`,
            binary or of classes that exclude each other; or `"dice"`, of each image.
        augment: what is done to the pairs. Its `value_range` and `mirror_axes` follow
            the network. For one without mirror axes, which knows how a patient lies,
            nothing is turned, and rotated by 15 degrees at most.
        batch_statistics: whether batch normalisation gets the statistics of images
            that are not augmented in the end.
        flips: whether models are scored by the mean over their mirror images.
        run_eagerly: as `keras.Model.compile` takes it.
        score_activation: of the Luong attention of a new network, unless that is given.
            `None`: the network's default.

    Raises:
        ValueError: for a value out of its domain.

    Example:

    >>> from dataclasses import replace
    >>> recipe = replace(RECIPES["default"], loss="dice")
    >>> recipe.loss, recipe.epochs
    ('dice', 60)
    """

    name: str
    epochs: int = 60
    batch_size: int = 16
    accumulate: int | None = None
    learning_rate: float = 1e-3
    optimizer: str = "adamw"
    weight_decay: float = 1e-3
    schedule: str = "cosine"
    ema_momentum: float | None = 0.98
    loss: str = "dice_bce"
    augment: Augment = Augment(rotation=180, zoom=(0.75, 1.3), shift=0.1)
    batch_statistics: bool = True
    flips: bool = True
    run_eagerly: bool = False
    score_activation: str | None = None

    def __post_init__(self):
        choices = {"optimizer": OPTIMIZERS, "schedule": SCHEDULES, "loss": LOSSES}
        for name, expected in choices.items():
            if getattr(self, name) not in expected:
                raise ValueError(
                    f"Expected one of {expected} as `{name}` of a recipe. Received: "
                    f"{name}={getattr(self, name)!r}"
                )
        for name in ("epochs", "batch_size", "learning_rate"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(
                    f"Invalid value for argument `{name}`. Expected a positive number. "
                    f"Received: {name}={getattr(self, name)!r}"
                )

        if self.parts < 1 or self.batch_size % self.parts:
            raise ValueError(
                "Expected a positive number as `accumulate` that the batch size "
                f"divides by. Received: accumulate={self.accumulate}, batch_size="
                f"{self.batch_size}"
            )

    @property
    def parts(self) -> int:
        """Number of parts of a batch."""
        return 1 if self.accumulate is None else self.accumulate

    def compile(self, model: Segmenter, steps: int) -> None:
        """Sets a network up for training.

        Args:
            model: the network.
            steps: of an epoch, as Keras counts them: each part of a batch is one.
        """
        rate = self.learning_rate
        if self.schedule == "cosine":
            warm_up = min(5, self.epochs / 10) * steps
            rate = keras.optimizers.schedules.CosineDecay(
                0.0,
                steps * self.epochs - warm_up,
                warmup_target=rate,
                warmup_steps=warm_up,
            )
        arguments: dict[str, Any] = {"weight_decay": self.weight_decay}
        if self.ema_momentum is not None:
            # Keras goes on with the average in each part of a batch.
            momentum = self.ema_momentum ** (1 / self.parts)
            arguments |= {"use_ema": True, "ema_momentum": momentum}
        if self.parts > 1:
            arguments["gradient_accumulation_steps"] = self.parts
        if self.optimizer == "sgd":
            optimizer = keras.optimizers.SGD(rate, momentum=0.9, **arguments)
        else:
            optimizer = keras.optimizers.AdamW(rate, **arguments)
        # Weighted ones leave out what fills up the last batch of several devices.
        model.compile(
            optimizer,
            self._loss(model),
            metrics=None,
            weighted_metrics=model.own_metrics(),
            run_eagerly=self.run_eagerly,
        )

    def _loss(self, model):
        if self.loss == "dice_bce":
            return DiceBCE()
        if self.loss == "dice":
            return keras.losses.Dice(axis=(1, 2, 3))
        kind = "categorical" if model.activation == "softmax" else "binary"
        return f"{kind}_crossentropy"

    def suited_to(
        self, input_range: tuple[float, float], mirror_axes: Sequence[int]
    ) -> "Recipe":
        """The recipe, with the augmentation that a network's images allow.

        Args:
            input_range: of the network.
            mirror_axes: of the network. Without any, images are neither turned nor
                rotated by more than 15 degrees: the way that a patient lies is known.
        """
        augment = dataclasses.replace(
            self.augment,
            value_range=input_range,
            mirror_axes=tuple(mirror_axes),
        )
        if not mirror_axes:
            rotation = min(augment.rotation, SLANT)
            augment = dataclasses.replace(augment, turn=False, rotation=rotation)
        return dataclasses.replace(self, augment=augment)


RECIPES = {
    "default": Recipe(name="default"),
    # Section IV of the paper.
    "paper": Recipe(
        name="paper",
        epochs=100,
        batch_size=8,
        learning_rate=1e-2,
        optimizer="sgd",
        weight_decay=1e-4,
        schedule="constant",
        ema_momentum=None,
        loss="cross_entropy",
        augment=Augment(
            rotation=180, zoom=(1, 1), shift=0, contrast=0, brightness=0, tint=0
        ),
        batch_statistics=False,
        flips=False,
        score_activation="sigmoid",
    ),
}


def find_recipe(recipe: str | Recipe, **changes: Any) -> Recipe:
    """A recipe by its name, with changes.

    Args:
        recipe: a name in `RECIPES`, or a recipe.
        **changes: fields of `Recipe`. `None` leaves one as it is.

    Raises:
        ValueError: if there is no such recipe, or a value is out of its domain.
    """
    if not isinstance(recipe, Recipe):
        if recipe not in RECIPES:
            raise ValueError(
                "Invalid value for argument `recipe`. Expected a Recipe or one of "
                f"{tuple(RECIPES)}. Received: recipe={recipe!r}"
            )
        recipe = RECIPES[recipe]
    changes = {name: value for name, value in changes.items() if value is not None}
    return dataclasses.replace(recipe, **changes)
