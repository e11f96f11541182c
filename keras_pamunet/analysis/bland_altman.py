"""How volumes that were found agree with the true ones."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from keras_pamunet.files import written_aside

# Standard deviations on both sides of the mean that hold 95 % of normal differences.
WIDTH = 1.96


def limits_of_agreement(
    truth: np.ndarray, found: np.ndarray
) -> tuple[float, float, float]:
    """Mean difference of two measurements, and where 95 % of the differences lie.

    Args:
        truth: one measurement of each case.
        found: the other.

    Returns:
        The mean of `found - truth`, and the mean less and plus 1.96 standard deviations
        (NaN of a single case).

    Reference:
        - Bland and Altman, Lancet 327, 1986.
    """
    difference = np.subtract(found, truth)
    mean = float(difference.mean())
    spread = WIDTH * float(difference.std(ddof=1)) if len(difference) > 1 else np.nan
    return mean, mean - spread, mean + spread


def write_bland_altman(cases: Sequence[Mapping[str, Any]], path: str | Path) -> None:
    """Draws the difference of each case's volumes over their mean, class by class.

    Args:
        cases: rows of `keras_pamunet.cases.CaseScores`, whose classes have `truth_ml`
            and `found_ml`.
        path: the PNG.

    Raises:
        OSError: if it cannot be written.
    """
    classes = list(zip(*(row["classes"] for row in cases)))
    figure = Figure(figsize=(5 * len(classes), 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(classes), squeeze=False)[0]
    for axes, rows in zip(panels, classes):
        truth, found = (
            np.array([row[key] for row in rows]) for key in ("truth_ml", "found_ml")
        )
        axes.plot((truth + found) / 2, found - truth, ".", color="C0")
        mean, low, high = limits_of_agreement(truth, found)
        axes.axhline(mean, color="0.3")
        for limit in (low, high):
            axes.axhline(limit, color="0.6", linestyle=":")
        title = f"{rows[0]['name']}, {len(rows)} volume(s): mean {mean:+.1f} ml"
        if len(rows) > 1:
            title += f",\n95 % from {low:+.1f} to {high:+.1f} ml"
        axes.set(
            title=title,
            xlabel="mean of true and found volume, ml",
            ylabel="found - true, ml",
        )
        axes.spines[["top", "right"]].set_visible(False)
    with written_aside(Path(path)) as new:
        figure.savefig(new, dpi=120, format="png")
