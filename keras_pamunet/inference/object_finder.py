import cv2
import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from keras_pamunet.inference.segmented_object import SegmentedObject


class ObjectFinder:
    """Finds the connected objects of an image or a volume, slice by slice.

    Pixels of one label belong to one object if they touch by a side or a corner, or
    lie above each other in neighbouring slices. Memory holds two slices, and a row of
    numbers for each part of an object in a slice.

    Args:
        min_size: pixels or voxels. Smaller objects count as background.
        largest: whether all but the largest object of each label do, too.

    Example:

    >>> finder = ObjectFinder()
    >>> for labels in np.eye(4, dtype="uint8"), np.zeros((4, 4), "uint8"):
    ...     finder.add(labels, probabilities=np.full((4, 4), 0.75))
    >>> [(x.size, x.mean_probability) for x in finder.objects()]
    [(4, 0.75)]
    """

    def __init__(self, min_size: float = 0, largest: bool = False):
        self.min_size = min_size
        self.largest = largest
        self._parts = []  # Of each slice a table with a row for each part.
        self._starts = [0]  # Number of the first part of each slice.
        self._links = [np.empty((0, 2), int)]
        self._last: tuple[np.ndarray, np.ndarray, int] | None = None
        self._groups: tuple[np.ndarray, np.ndarray] | None = None
        self._listed: tuple[list[SegmentedObject], np.ndarray] | None = None

    def add(self, labels: np.ndarray, probabilities: np.ndarray) -> None:
        """Adds the next slice.

        Args:
            labels: `(rows, columns)` uint8, 0 the background.
            probabilities: `(rows, columns)`, of each pixel's own label.
        """
        numbers, table = _parts_of(labels)
        sums = np.bincount(numbers.ravel(), probabilities.ravel(), len(table) + 1)
        first = self._starts[-1]
        if self._last is not None and len(table):
            before, before_labels, before_first = self._last
            both = (before > 0) & (numbers > 0) & (before_labels == labels)
            pairs = np.stack([before[both] + before_first, numbers[both] + first], 1)
            self._links.append(np.unique(pairs, axis=0) - 1)
        self._last = numbers, labels.copy(), first
        z = np.full((len(table), 1), len(self._parts) + 1)
        self._parts.append(np.concatenate([table, z, sums[1:, np.newaxis]], 1))
        self._starts.append(first + len(table))
        self._groups = self._listed = None

    def objects(self) -> list[SegmentedObject]:
        """The objects found so far, the largest first."""
        return self._list()[0]

    def numbers(self, index: int, labels: np.ndarray) -> np.ndarray:
        """The object of each pixel of a slice.

        Args:
            index: number of the slice, in the order of `add`.
            labels: as they were added.

        Returns:
            Its number among `objects`, counted from 1; 0 for the background.
        """
        groups, _ = self._grouped()
        parts, _ = _parts_of(labels)
        first, end = self._starts[index], self._starts[index + 1]
        return np.append(0, self._list()[1][groups[first:end]])[parts]

    def clean(self, index: int, labels: np.ndarray) -> np.ndarray:
        """A slice without the objects that count as background; see `numbers`."""
        kept = self.numbers(index, labels) > 0
        return np.where(kept, labels, 0).astype("uint8")

    def _list(self) -> tuple[list[SegmentedObject], np.ndarray]:
        """The objects that count, and of each group its number among them, or 0."""
        if self._listed is not None:
            return self._listed
        groups, sizes = self._grouped()
        kept = self._kept()
        parts = np.concatenate(self._parts)
        order = np.argsort(groups, kind="stable")
        bounds = np.searchsorted(groups[order], range(len(sizes) + 1))
        objects = []
        for group in np.flatnonzero(kept):
            own = order[bounds[group] : bounds[group + 1]]
            label, size, x, y, width, height, z, total = parts[own].T
            left, top = int(x.min()), int(y.min())
            found = SegmentedObject(
                label=int(label[0]),
                size=int(size.sum()),
                box=(
                    left,
                    top,
                    int((x + width).max()) - left,
                    int((y + height).max()) - top,
                ),
                slices=(int(z.min()), int(z.max())),
                mean_probability=float(total.sum() / size.sum()),
            )
            objects.append((group, found))
        listed = sorted(objects, key=lambda x: (-x[1].size, x[1].slices, x[1].box))
        numbers = np.zeros(len(sizes), int)
        numbers[[group for group, _ in listed]] = range(1, len(listed) + 1)
        self._listed = [x for _, x in listed], numbers
        return self._listed

    def _kept(self) -> np.ndarray:
        """Of each object, whether it counts."""
        groups, sizes = self._grouped()
        kept = sizes >= self.min_size
        if self.largest:
            labels = np.zeros(len(sizes))
            labels[groups] = np.concatenate(self._parts)[:, 0]
            for label in np.unique(labels):
                own = np.where(labels == label, sizes, -1)
                kept &= (labels != label) | (np.arange(len(sizes)) == own.argmax())
        return kept

    def _grouped(self) -> tuple[np.ndarray, np.ndarray]:
        """The object of each part, and the size of each object."""
        if self._groups is None:
            count = self._starts[-1]
            one, other = np.concatenate(self._links).T
            graph = coo_array((np.ones(len(one)), (one, other)), (count, count))
            number, groups = connected_components(graph, directed=False)
            sizes = np.concatenate(self._parts)[:, 1]
            self._groups = groups, np.bincount(groups, sizes, number)
        return self._groups


def _parts_of(labels):
    """Numbers of the connected parts of a slice, and a row for each of them.

    Returns:
        The part of each pixel, counted from 1, and a table of label, size and box.
    """
    numbers, rows = np.zeros(labels.shape, int), []
    for label in np.flatnonzero(np.bincount(labels.ravel())[1:]) + 1:
        binary = (labels == label).astype("uint8")
        count, parts, stats, _ = cv2.connectedComponentsWithStats(
            binary, connectivity=8
        )
        numbers += np.where(parts > 0, parts + len(rows), 0)
        rows += [[label, area, *box] for *box, area in stats[1:].tolist()]
    return numbers, np.array(rows, float).reshape(-1, 6)
