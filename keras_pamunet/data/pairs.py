import copy
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

import numpy as np


class Pairs:
    """Base of the sources of images and masks. A source has its own `read`.

    Attributes:
        names: one name a pair.
        channels: channels of the images.
        num_classes: 1 for masks of one object.
        groups: what pair of `names` comes from (a volume, a patient), so that no group
            is divided between training and test; or `None`.
        in_hu: whether the images are CT slices in HU.
        class_names: names of the labels 1, 2, ..., where the source knows them.
    """

    names: list[str]
    channels: int
    num_classes: int
    groups: list[str] | None = None
    in_hu: bool = False
    class_names: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return self.read(index)

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        return (self[index] for index in range(len(self)))

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Image `(height, width, channels)` and labels `(height, width)` of a pair."""
        raise NotImplementedError

    def spacing(self, group: str) -> tuple[float, float, float] | None:
        """mm from slice to slice, row to row and column to column of a group.

        `None` where nobody knows.
        """
        return None

    def select(self, names: Iterable[str]) -> "Pairs":
        """The pairs of these names only, in their order.

        Names that differ in Unicode's forms only, NFC and NFD, are the same.

        Raises:
            ValueError: if there is no pair of a name.
        """
        selected = copy.copy(self)
        names = list(names)
        known = {to_nfc(name): name for name in self.names}
        known |= {name: name for name in self.names}
        unknown = [name for name in names if not {name, to_nfc(name)} & known.keys()]
        if unknown:
            raise ValueError(
                f"Expected names of pairs, like {some(self.names, 2)}. Not there: "
                f"{some(unknown)}"
            )
        selected.names = [known.get(name) or known[to_nfc(name)] for name in names]
        if self.groups is not None:
            group = dict(zip(self.names, self.groups))
            selected.groups = [group[name] for name in selected.names]
        return selected


def check_num_classes(num_classes: int) -> int:
    """The number itself.

    Raises:
        ValueError: unless labels of so many classes fit into 8 bits.
    """
    if not 1 <= num_classes <= 256:
        raise ValueError(f"Expected 1 to 256 classes. Received: {num_classes=}")
    return num_classes


def printable(text: str) -> str:
    """Text with what cannot be printed, such as bytes of a name, as `\\udcff`."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def to_nfc(name: str) -> str:
    """A name in Unicode's form NFC: macOS keeps file names in another, NFD."""
    return unicodedata.normalize("NFC", name)


def some(items: Sequence, most: int = 5) -> str:
    """The first items, and how many more there are."""
    text = ", ".join(map(str, items[:most]))
    return text + (f" and {len(items) - most} more" if len(items) > most else "")
