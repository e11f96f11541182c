"""The colours of classes, the same in every picture."""

import colorsys

import numpy as np

# Label 0, the background, is black. The next are those of Okabe and Ito, which people
# of every colour vision can tell apart (https://jfly.uni-koeln.de/color/).
_FIRST = (
    (0, 0, 0),
    (240, 228, 66),
    (86, 180, 233),
    (230, 159, 0),
    (0, 158, 115),
    (204, 121, 167),
    (213, 94, 0),
    (0, 114, 178),
)
_GOLDEN = 0.618034  # Turns of hue: no two of many neighbours come close.


def _table():
    rest = (
        colorsys.hsv_to_rgb(label * _GOLDEN % 1, 0.65, 0.95)
        for label in range(256 - len(_FIRST))
    )
    rest = [[round(255 * value) for value in colour] for colour in rest]
    return np.array([*_FIRST, *rest], "uint8")


# Red, green and blue of each label from 0 to 255.
COLOURS = _table()
