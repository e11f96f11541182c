"""The history of a run: a row an epoch."""

import csv
import io
from pathlib import Path

HISTORY = "history.csv"
COUNTS = ("epoch", "step")


def read_history(folder: str | Path) -> list[dict[str, float]]:
    """Reads `history.csv` of a run folder.

    Args:
        folder: the run folder.

    Returns:
        For each epoch its numbers by name: `epoch` from 1 on, `step`, the optimizer's
        steps until its end, `loss`, `val_loss`, `dice`, `val_dice` and others.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it is damaged.
    """
    path = Path(folder, HISTORY)
    try:
        rows = list(csv.DictReader(io.StringIO(path.read_text("utf-8"))))
        return [
            {
                name: int(cell) if name in COUNTS else float(cell)
                for name, cell in row.items()
            }
            for row in rows
        ]
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(
            f"Expected a row an epoch in {path}. It is damaged."
        ) from error


def to_text(history: list[dict[str, float]]) -> str:
    """The history as the text of `history.csv`."""
    lines = [",".join(history[0]), *(",".join(map(str, x.values())) for x in history)]
    return "\n".join(lines) + "\n"


def best_epoch(history: list[dict[str, float]]) -> dict[str, float]:
    """The row of the epoch that the run keeps: the first of the best validation Dice.

    Raises:
        KeyError: if it has no `val_dice`.
    """
    return max(history, key=lambda row: row["val_dice"])
