import math
import mmap
from collections.abc import Iterator
from typing import Any

import numpy as np

from keras_pamunet.data.nifti import let_go, temporary_file


class MappedSlices:
    """Slices of one shape, zeros at first, in a temporary file.

    The file has no name and lies in `TMPDIR`. A slice that is read or written is in
    memory, and no other.

    Args:
        shape: `(slices, rows, columns)`.
        dtype: of NumPy.

    Attributes:
        shape, dtype: as given.
        array: all slices, mapped to the file. What is read of it stays in memory until
            `let_go` is called or a slice is read or written.

    Raises:
        OSError: if there is no room in `TMPDIR`.

    Example:

    >>> slices = MappedSlices((3, 2, 2), "uint8")
    >>> slices[1] = [[1, 2], [3, 4]]
    >>> [int(x.sum()) for x in slices]
    [0, 10, 0]
    """

    def __init__(self, shape: tuple[int, ...], dtype: Any):
        self.shape, self.dtype = tuple(shape), np.dtype(dtype)
        size = math.prod(self.shape) * self.dtype.itemsize
        with temporary_file(size) as file:
            # Zeros are written: on a full disk a sparse file would fail later, inside
            # the mapping, with SIGBUS.
            for _ in range(len(self)):
                file.write(bytes(size // self.shape[0]))
            file.flush()
            self._mapping = mmap.mmap(file.fileno(), 0)
        self.array = np.ndarray(self.shape, self.dtype, self._mapping)

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> np.ndarray:
        pixels = self.array[index].copy()
        self.let_go()
        return pixels

    def __setitem__(self, index: int, pixels: Any) -> None:
        self.array[index] = pixels
        self.let_go()

    def let_go(self) -> None:
        """Takes all slices out of memory; they stay in the file."""
        let_go(self._mapping)
