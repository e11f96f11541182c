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

    def to_json(self) -> dict[str, Any]:
        """As JSON holds it."""
        return plain(dataclasses.asdict(self))
