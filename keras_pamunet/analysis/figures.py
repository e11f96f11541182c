"""Pictures of images, masks and attention, drawn with OpenCV."""

from collections.abc import Sequence

import cv2
import numpy as np

from keras_pamunet.drawing import PREDICTION_COLOUR, TRUTH_COLOUR, outline

PANEL = 256
# Panels of longer images are squeezed to this width.
WIDEST = 8 * PANEL


def comparison(
    image: np.ndarray,
    truth: np.ndarray,
    prediction: np.ndarray,
    attention: np.ndarray | None = None,
    title: str = "",
) -> np.ndarray:
    """Panels side by side: image | truth | prediction | attention.

    Args:
        image: `(height, width, 3)` uint8.
        truth: mask `(height, width)`.
        prediction: mask `(height, width)`.
        attention: map of any size, shown from its lowest to its highest value.
        title: written below the image.

    Returns:
        The picture, `(height, width, 3)` uint8.
    """
    image = _panel(image)
    panels = [
        (title, image),
        ("truth", outline(image, _panel(truth, nearest=True), TRUTH_COLOUR)),
        ("prediction", outline(image, _panel(prediction, nearest=True))),
    ]
    if attention is not None:
        heat = _heat(attention, attention, image.shape)
        panels.append(("attention", cv2.addWeighted(image, 0.35, heat, 0.65, 0)))
    return _sheet([panels])


def attention_sheet(
    image: np.ndarray,
    levels: Sequence[dict[str, np.ndarray]],
    pixel: tuple[int, int],
) -> np.ndarray:
    """A row for each gate: image | before | after | attention | pixel.

    Before and after share one scale, each of the others goes from its lowest to its
    highest value; below each map stands its range.

    Args:
        image: `(height, width, 3)` uint8.
        levels: see `keras_pamunet.analysis.attention_maps.gate_maps`.
        pixel: `(row, column)`, marked in the image.

    Returns:
        The picture, `(height, width, 3)` uint8.
    """
    panel = _panel(image)
    row, column = (
        int((at + 0.5) * new / old)
        for at, new, old in zip(pixel, panel.shape, image.shape)
    )
    marked = cv2.drawMarker(panel.copy(), (column, row), PREDICTION_COLOUR)
    rows = []
    for level, maps in enumerate(levels):
        features = maps["before"], maps["after"]
        rows.append([(f"gate at 1/{2 ** (level + 1)}", marked)])
        for name, values in maps.items():
            scale = features if name in ("before", "after") else [values]
            scale = np.array([[x.min(), x.max()] for x in scale])
            title = f"{name} {values.min():.3g} to {values.max():.3g}"
            rows[-1].append((title, _heat(values, scale, panel.shape)))
    return _sheet(rows)


def contact_sheet(
    rows: Sequence[Sequence[tuple[str, np.ndarray, np.ndarray]]],
) -> np.ndarray:
    """Rows of panels, image | mask | overlay for each pair of a row.

    Args:
        rows: for each row its pairs: title, image `(height, width, 3)` uint8 and mask
            `(height, width)` of labels.

    Returns:
        The picture, `(height, width, 3)` uint8.
    """
    sheet = []
    for row in rows:
        panels = []
        for title, image, mask in row:
            image, mask = _panel(image), _panel(mask, nearest=True)
            grey = (mask * (255 // max(mask.max(), 1)))[..., np.newaxis].repeat(3, -1)
            overlay = outline(image, mask, TRUTH_COLOUR)
            panels += [(title[:30], image), ("mask", grey), ("overlay", overlay)]
        sheet.append(panels)
    return _sheet(sheet)


def _heat(values, scale, shape):
    """Values in colours, from the lowest number in `scale` to the highest."""
    span = max(float(np.ptp(scale)), 1e-12)
    grey = np.rint(255 * (values - np.min(scale)) / span).astype("uint8")
    grey = cv2.resize(grey, shape[1::-1])
    return cv2.applyColorMap(grey, cv2.COLORMAP_INFERNO)[..., ::-1]


def _sheet(rows):
    """Rows of panels, `(title, picture)`, one below the other."""
    strips = [
        np.concatenate([_labelled(panel, text) for text, panel in row], axis=1)
        for row in rows
    ]
    width = max(strip.shape[1] for strip in strips)
    return np.concatenate(
        [
            np.pad(
                strip,
                ((0, 0), (0, width - strip.shape[1]), (0, 0)),
                constant_values=255,
            )
            for strip in strips
        ]
    )


def _panel(pixels, nearest=False):
    interpolation = cv2.INTER_NEAREST_EXACT if nearest else cv2.INTER_LINEAR
    pixels = np.ascontiguousarray(pixels, "uint8")
    height, width = pixels.shape[:2]
    size = (min(max(round(PANEL * width / height), 1), WIDEST), PANEL)
    return cv2.resize(pixels, size, interpolation=interpolation)


def _labelled(panel, text):
    strip = np.full((22, panel.shape[1], 3), 255, "uint8")
    font = cv2.FONT_HERSHEY_SIMPLEX
    # Its letters are those of ASCII; it crashes at a name that is no UTF-8.
    text = "".join(letter if " " <= letter <= "~" else "?" for letter in text)
    cv2.putText(strip, text, (4, 16), font, 0.42, (0, 0, 0), 1, cv2.LINE_AA)
    return np.pad(
        np.concatenate([panel, strip]), ((0, 0), (0, 4), (0, 0)), constant_values=255
    )
