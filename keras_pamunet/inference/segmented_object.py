import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True)
class SegmentedObject:
    """A connected object that a model has found.

    Args:
        label: the object's class: 1 of a model that finds one kind.
        size: pixels of an image, voxels of a volume.
        box: `(x, y, width, height)` in pixels, counted from the upper left corner. Of
            a volume, in its axial slices.
        slices: numbers of the first and the last slice, counted from 1 at the feet;
            `(1, 1)` in an image.
        mean_probability: mean of the label's probability over the object.
    """

    label: int
    size: int
    box: tuple[int, int, int, int]
    slices: tuple[int, int]
    mean_probability: float
