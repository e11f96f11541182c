import dataclasses
from pathlib import Path
from typing import Any

from keras_pamunet.files import plain


@dataclasses.dataclass(frozen=True, kw_only=True)
class Search:
    """What `keras_pamunet.tuning.tune` found.

    Args:
        trials: a row for each trial, the best first: `trial`, `status` (`"done"`,
            `"refused"` or `"failed"`), `dice`, `macs`, `epochs`, the hyperparameters
            and `note`.
        folder: of `trials.csv`, `trials.png` and the preset `best/`.
    """

    trials: list[dict[str, Any]]
    folder: Path

    @property
    def best(self) -> dict[str, Any]:
        """The row of the best trial."""
        return self.trials[0]

    @property
    def front(self) -> list[dict[str, Any]]:
        """The rows of the Pareto front of Dice against MACs, the least MACs first.

        Each has a higher Dice than all trials of fewer MACs: it is the best under any
        ceiling from its own MACs up to those of the next.
        """
        done = [row for row in self.trials if row["status"] == "done"]
        front = []
        for row in sorted(done, key=lambda row: (row["macs"], -row["dice"])):
            if not front or row["dice"] > front[-1]["dice"]:
                front.append(row)
        return front

    def to_json(self) -> dict[str, Any]:
        """As JSON holds it."""
        return plain(dataclasses.asdict(self))
