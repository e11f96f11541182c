import dataclasses
from pathlib import Path
from typing import Any

from keras_pamunet.files import plain


@dataclasses.dataclass(frozen=True, kw_only=True)
class Predicted:
    """What a folder of images or volumes came to.

    Args:
        written: the masks that were made.
        kept: those that were there, made of the same input by the same model with the
            same settings.
        rows: of both, the rows of `results.csv`, see `keras_pamunet.inference.results`.
        folder: of the masks and of `results.csv`.
    """

    written: list[Path]
    kept: list[Path]
    rows: list[dict[str, Any]]
    folder: Path

    def to_json(self) -> dict[str, Any]:
        """As JSON holds it; paths are texts."""
        return plain(dataclasses.asdict(self))
