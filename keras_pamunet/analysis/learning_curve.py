"""The picture of a run: loss and Dice by epoch."""

from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from keras_pamunet.files import written_aside
from keras_pamunet.history import best_epoch


def write_learning_curve(history: list[dict[str, float]], path: str | Path) -> None:
    """Draws loss and Dice of training and validation, and marks the kept epoch.

    Args:
        history: see `keras_pamunet.history.read_history`.
        path: the PNG.

    Raises:
        OSError: if it cannot be written.
    """
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    epochs = [row["epoch"] for row in history]
    best = best_epoch(history)
    for axes, name, title in zip(
        figure.subplots(1, 2), ("loss", "dice"), ("Loss", "Dice")
    ):
        for key, label in ((name, "training"), (f"val_{name}", "validation")):
            axes.plot(epochs, [row[key] for row in history], ".-", label=label)
        axes.axvline(best["epoch"], color="0.6", linestyle=":")
        axes.set(title=title, xlabel="epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
    figure.suptitle(
        f"Best epoch {best['epoch']}: validation Dice {best['val_dice']:.3f}"
    )
    with written_aside(Path(path)) as new:
        figure.savefig(new, dpi=120, format="png")
