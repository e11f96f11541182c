import copy
from collections.abc import Iterable, Sequence

import numpy as np


class Pairs:
    """Base of the sources of images and masks. A source has its own `read`.

    Attributes:
        names: one name a pair.
        channels: channels of the images.
        num_classes: 1 for masks of one object.
        groups: what pair of `names` comes from (a volume, a patient), so that no group
            is divided between training and test; or `None`.
        window: `(lowest, highest)` HU that became 0 and 255 in the images of a CT; or
            `None`.
    """

    names: list[str]
    channels: int
    num_classes: int
    groups: list[str] | None = None
    window: tuple[float, float] | None = None

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return self.read(index)

    def subset(self, names: Iterable[str]) -> "Pairs":
        """The pairs of these names only, in their order.

        Raises:
            ValueError: if there is no pair of a name.
        """
        part = copy.copy(self)
        part.names = list(names)
        known = set(self.names)
        unknown = [name for name in part.names if name not in known]
        if unknown:
            raise ValueError(
                f"Expected names of pairs, like {some(self.names, 2)}. Not there: "
                f"{some(unknown)}"
            )
        return part


def some(items: Sequence, most: int = 5) -> str:
    """The first items, and how many more there are."""
    text = ", ".join(map(str, items[:most]))
    return text + (f" and {len(items) - most} more" if len(items) > most else "")
