"""A picture of a segmented volume."""

from collections import defaultdict
from functools import partial

import numpy as np

from keras_pamunet.data.mapped_slices import MappedSlices
from keras_pamunet.data.volume import Volume
from keras_pamunet.drawing import to_rgb
from keras_pamunet.figures import volume_sheet
from keras_pamunet.palette import COLOURS

SLICES = 8
# Opacity of a mask in the projection: the least, and what its thickness adds.
OPACITY = 0.2, 0.6


def draw(
    volume: Volume, labels: np.ndarray | MappedSlices, window: tuple[float, float]
) -> np.ndarray:
    """Draws planes, a projection and some slices of a volume with its mask.

    The first row has, in one scale of mm, the axial, coronal and sagittal plane that
    cuts most of the mask, and the mean from front to back, with the mask the more
    opaque the thicker it is. Below are slices, spread over those with a mask, or else
    over all. Memory holds a few planes.

    Args:
        volume: the image.
        labels: `(slices, rows, columns)`, 0 outside.
        window: lowest and highest HU to show.

    Returns:
        The picture, `(rows, columns, 3)` uint8.
    """
    counts = _counts(labels)
    found = np.flatnonzero(counts[0])
    choice = found if found.size else np.arange(len(volume))
    picks = np.linspace(0, len(choice) - 1, min(SLICES, len(choice)))
    panels = [
        (f"slice {z + 1} of {len(volume)}", _grey(volume, z, window), labels[z])
        for z in choice[picks.astype(int)]
    ]
    rows = [panels[i : i + 2] for i in range(0, len(panels), 2)]
    z, row, column = (
        int(np.argmax(count)) if found.size else len(count) // 2 for count in counts
    )
    return volume_sheet(_planes(volume, labels, window, z, row, column), rows)


def _grey(volume, z, window):
    return to_rgb(volume.slice(z)[..., np.newaxis], window)


def _counts(labels):
    """Voxels with a label in each slice, each row and each column."""
    slices, rows, columns = (np.zeros(count, int) for count in labels.shape)
    for z, mask in enumerate(labels):
        where = mask > 0
        slices[z] = np.count_nonzero(where)
        rows += np.count_nonzero(where, axis=1)
        columns += np.count_nonzero(where, axis=0)
    return slices, rows, columns


def _planes(volume, labels, window, z, row, column):
    across, down, up = volume.spacing
    height, depth, width = labels.shape
    # Greys and labels of planes through the volume, and the mean of greys.
    coronal = np.empty((height, width, 3), "uint8"), np.empty((height, width), "uint8")
    sagittal = np.empty((height, depth, 3), "uint8"), np.empty((height, depth), "uint8")
    means = np.empty((height, width))
    thick = defaultdict(partial(np.zeros, (height, width)))
    for index, mask in enumerate(labels):
        grey, at = _grey(volume, index, window), height - 1 - index  # The head is up.
        coronal[0][at], coronal[1][at] = grey[row], mask[row]
        sagittal[0][at], sagittal[1][at] = grey[:, column], mask[:, column]
        means[at] = grey[..., 0].mean(axis=0)
        for label in np.unique(mask[mask > 0]):
            thick[label][at] = np.count_nonzero(mask == label, axis=0)
    return [
        ("axial", _grey(volume, z, window), labels[z], (down, across)),
        ("coronal", *coronal, (up, across)),
        ("sagittal, front at the left", *sagittal, (up, down)),
        ("mean from front to back", *_projection(means, thick), (up, across)),
    ]


def _projection(means, thick):
    """The mean picture at full contrast, tinted where a label is, and the labels."""
    picture = means[..., np.newaxis].repeat(3, -1) * (255 / max(means.max(), 1))
    last = np.zeros(means.shape, "uint8")
    for label, voxels in sorted(thick.items()):
        least, more = OPACITY
        opacity = (voxels > 0) * (least + more * voxels / voxels.max())
        picture += opacity[..., np.newaxis] * (COLOURS[label] - picture)
        last[voxels > 0] = label
    return np.rint(picture).astype("uint8"), last
