"""Pictures of images, masks and attention side by side, drawn with OpenCV."""

from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from keras_pamunet.drawing import (
    EXTRA_COLOUR,
    MISSED_COLOUR,
    PREDICTION_COLOUR,
    TRUTH_COLOUR,
    outline,
)
from keras_pamunet.palette import COLOURS

PANEL = 320
# Panels of longer images are squeezed to this width.
WIDEST = 6 * PANEL
TITLE = 22
GAP = 4
SHADE = 0.35
HEAT = cv2.COLORMAP_INFERNO
BAR = 10
VERDICT = "truth white, prediction yellow; missed blue, extra red"
ATTENTION_NOTE = (
    "before, after: mean over the channels of the skip, in one scale. attention: "
    "weight of each place, mean over the places that look at it; pixel: its weight "
    "for the marked pixel. Scales go from black, the lowest, to yellow, the highest."
)
GATES_NOTE = (
    "Means over the channels of the skip, before and after a gate in one scale, from "
    "black, the lowest, to yellow, the highest."
)

# An image's title, the image `(height, width, 3)` uint8, its true labels
# `(height, width)`, and by title the labels that a model found.
Row = tuple[str, np.ndarray, np.ndarray, dict[str, np.ndarray]]
# A plane's title, picture `(rows, columns, 3)` uint8, labels `(rows, columns)`, and mm
# from row to row and from column to column.
Plane = tuple[str, np.ndarray, np.ndarray, tuple[float, float]]


def comparison(
    image: np.ndarray,
    truth: np.ndarray,
    prediction: np.ndarray,
    attention: np.ndarray | None = None,
    title: str = "",
) -> np.ndarray:
    """Panels side by side: image | truth and prediction | attention.

    One class has both outlines in one panel, with what is missed and what is extra
    shaded. Several classes have a panel for the truth and one for the prediction, each
    class in its colour of `keras_pamunet.palette.COLOURS`.

    Args:
        image: `(height, width, 3)` uint8.
        truth: labels `(height, width)`.
        prediction: labels `(height, width)`.
        attention: map of any size, shown from its lowest to its highest value.
        title: written below the image.

    Returns:
        The picture, `(rows, columns, 3)` uint8, in the image's aspect.
    """
    image = _panel(image)
    panels = [(title, image), *_masks(image, truth, prediction)]
    if attention is not None:
        heat = _heat(attention, attention, image.shape, under=image)
        panels.append((f"attention, finest gate: {_span(attention)}", heat))
    return _sheet([panels])


def before_after(rows: Sequence[Row], note: str = "") -> np.ndarray:
    """A row for each image: the image, and what each model found beside the truth.

    Args:
        rows: see `Row`.
        note: written below.

    Returns:
        The picture, `(rows, columns, 3)` uint8.
    """
    sheet = []
    for title, image, truth, found in rows:
        image = _panel(image)
        panels = [(title, image)]
        for name, labels in found.items():
            *first, (_, last) = _masks(image, truth, labels)
            if len(panels) == 1:
                panels += first  # The truth of several classes stands once.
            panels.append((name, last))
        sheet.append(panels)
    one_class = all(np.max(truth, initial=0) <= 1 for _, _, truth, _ in rows)
    return _sheet(sheet, f"{note} {VERDICT if one_class else ''}".strip())


def masks_sheet(rows: Sequence[Row]) -> np.ndarray:
    """A row for each image: image | truth | the mask of each model (Fig. 3).

    Each class has its colour of `keras_pamunet.palette.COLOURS`, the background is
    black.

    Args:
        rows: see `Row`.

    Returns:
        The picture, `(rows, columns, 3)` uint8, in the images' aspect.
    """
    return _sheet(
        [
            [
                (title, _panel(image)),
                *(
                    (name, COLOURS[_panel(mask, nearest=True)])
                    for name, mask in {"truth": truth, **found}.items()
                ),
            ]
            for title, image, truth, found in rows
        ]
    )


def gates_sheet(
    rows: Sequence[tuple[str, np.ndarray, np.ndarray, Sequence[dict[str, np.ndarray]]]],
) -> np.ndarray:
    """Two rows for each image: features before each gate, and after it (Fig. 2c).

    Both share one scale; below each map stands its range.

    Args:
        rows: for each image its title, the image `(height, width, 3)` uint8, its true
            labels `(height, width)`, and what
            `keras_pamunet.analysis.attention_maps.gate_features` returned.

    Returns:
        The picture, `(rows, columns, 3)` uint8, in the images' aspect.
    """
    sheet = []
    for title, image, truth, levels in rows:
        image = _panel(image)
        own = {
            "before": (title, image),
            "after": ("truth", outline(image, _panel(truth, nearest=True))),
        }
        for part, first in own.items():
            panels = [first]
            for level, maps in enumerate(levels):
                values = maps[part]
                scale = np.array([[x.min(), x.max()] for x in maps.values()])
                text = f"{part} gate at 1/{2 ** (level + 1)}: " + _span(values)
                panels.append((text, _heat(values, scale, image.shape)))
            sheet.append(panels)
    return _sheet(sheet, GATES_NOTE)


def attention_sheet(
    image: np.ndarray,
    levels: Sequence[dict[str, np.ndarray]],
    pixel: tuple[int, int],
) -> np.ndarray:
    """A row for each gate: image | before | after | attention | pixel.

    Before and after share one scale, each of the others goes from its lowest to its
    highest value; below each map stands its range, and below all what they show.

    Args:
        image: `(height, width, 3)` uint8, of any size.
        levels: see `keras_pamunet.analysis.attention_maps.gate_maps`.
        pixel: `(row, column)`, marked in the image.

    Returns:
        The picture, `(rows, columns, 3)` uint8, in the image's aspect.
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
            shared = features if name in ("before", "after") else [values]
            scale = np.array([[x.min(), x.max()] for x in shared])
            title = f"{name} {_span(values)}"
            rows[-1].append((title, _heat(values, scale, panel.shape)))
    return _sheet(rows, ATTENTION_NOTE)


def contact_sheet(
    rows: Sequence[Sequence[tuple[str, np.ndarray, np.ndarray]]],
) -> np.ndarray:
    """Rows of panels, image | mask | overlay for each pair of a row.

    Each class has its colour of `keras_pamunet.palette.COLOURS`.

    Args:
        rows: for each row its pairs: title, image `(height, width, 3)` uint8 and mask
            `(height, width)` of labels.

    Returns:
        The picture, `(rows, columns, 3)` uint8.
    """
    return _sheet(_pairs(rows))


def volume_sheet(
    planes: Sequence[Plane],
    rows: Sequence[Sequence[tuple[str, np.ndarray, np.ndarray]]],
) -> np.ndarray:
    """A row of planes with outlines, in one scale of mm, above a contact sheet.

    Args:
        planes: see `Plane`.
        rows: see `contact_sheet`.

    Returns:
        The picture, `(rows, columns, 3)` uint8.
    """
    sides = np.array([np.multiply(x.shape[:2], mm) for _, x, _, mm in planes])
    scale = min(WIDEST / sides[:, 1].sum(), 2 * PANEL / sides[:, 0].max())
    sizes = [tuple(x) for x in np.maximum(np.rint(scale * sides), 1).astype(int)]
    tallest = max(height for height, _ in sizes)
    panels = []
    for (title, image, labels, _), size in zip(planes, sizes):
        panel = outline(_resized(image, size), _resized(labels, size, nearest=True))
        above = (tallest - size[0]) // 2
        room = ((above, tallest - size[0] - above), (0, 0), (0, 0))
        panels.append((title, np.pad(panel, room)))
    return _sheet([panels, *_pairs(rows)])


def _pairs(rows):
    """Panels of a contact sheet."""
    sheet = []
    for row in rows:
        panels = []
        for title, image, mask in row:
            image, mask = _panel(image), _panel(mask, nearest=True)
            overlay = outline(image, mask)
            panels += [(title, image), ("mask", COLOURS[mask]), ("overlay", overlay)]
        sheet.append(panels)
    return sheet


def _masks(image, truth, prediction):
    """Panels, with titles, of truth and prediction on an image."""
    truth, prediction = (_panel(x, nearest=True) for x in (truth, prediction))
    if max(truth.max(), prediction.max()) > 1:
        parts = {"truth": truth, "prediction": prediction}
        return [(name, outline(image, labels)) for name, labels in parts.items()]
    picture = image.astype("float32")
    for part, colour in (
        (truth > prediction, MISSED_COLOUR),
        (prediction > truth, EXTRA_COLOUR),
    ):
        picture[part] = (1 - SHADE) * picture[part] + SHADE * np.array(colour)
    picture = outline(picture.astype("uint8"), truth, TRUTH_COLOUR)
    return [(VERDICT, outline(picture, prediction, PREDICTION_COLOUR))]


def _heat(values, scale, shape, under=None):
    """Values in colours, from the lowest number in `scale` to the highest.

    At the right edge stands the scale, its highest colour above.
    """
    span = max(float(np.ptp(scale)), 1e-12)
    grey = np.rint(255 * (values - np.min(scale)) / span).astype("uint8")
    heat = cv2.applyColorMap(cv2.resize(grey, shape[1::-1]), HEAT)[..., ::-1]
    if under is not None:
        heat = cv2.addWeighted(under, 0.35, np.ascontiguousarray(heat), 0.65, 0)
    bar = np.linspace(255, 0, shape[0]).astype("uint8")[:, np.newaxis]
    bar = cv2.applyColorMap(bar, HEAT)[..., ::-1].repeat(BAR, axis=1)
    gap = np.full((shape[0], GAP, 3), 255, "uint8")
    return np.concatenate([heat, gap, bar], axis=1)


def _span(values):
    return f"{values.min():.3g} to {values.max():.3g}"


def _sheet(rows, note=""):
    """Rows of panels, `(title, picture)`, one below the other, and a note below."""
    strips = [
        np.concatenate([_labelled(panel, text) for text, panel in row], axis=1)
        for row in rows
    ]
    width = max(strip.shape[1] for strip in strips)
    if note:
        strips += [_text(line, width) for line in _lines(note, width)]
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
    height, width = pixels.shape[:2]
    width = min(max(round(PANEL * width / height), 1), WIDEST)
    return _resized(pixels, (PANEL, width), nearest)


def _resized(pixels, size, nearest=False):
    height, width = size
    pixels = np.ascontiguousarray(pixels, "uint8")
    shrinks = pixels.shape[0] > height
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    if nearest:
        interpolation = cv2.INTER_NEAREST_EXACT
    return cv2.resize(pixels, (width, height), interpolation=interpolation)


def _labelled(panel, text):
    strip = _text(text, panel.shape[1])
    return np.pad(
        np.concatenate([panel, strip]), ((0, 0), (0, GAP), (0, 0)), constant_values=255
    )


def _font():
    return ImageFont.load_default(13)


def _text(text, width):
    """A white strip with a line of text; what does not fit is cut at its end."""
    strip = Image.new("RGB", (width, TITLE), "white")
    # The font has the letters of ASCII.
    text = "".join(letter if " " <= letter <= "~" else "?" for letter in text)
    while len(text) > 1 and _font().getlength(text) > width:
        text = text[:-1]
    ImageDraw.Draw(strip).text((4, 3), text, "black", _font())
    return np.asarray(strip)


def _lines(text, width):
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if _font().getlength(longer) > width - 8 and lines[-1]:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines
