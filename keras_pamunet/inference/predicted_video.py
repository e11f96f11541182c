import dataclasses
from pathlib import Path
from typing import Any

from keras_pamunet.files import plain


@dataclasses.dataclass(frozen=True, kw_only=True)
class PredictedVideo:
    """What a video came to.

    Args:
        overlay: the video with the objects' outlines.
        table: the CSV file with a row for each frame.
        frames: number of frames.
        found: number of frames with an object.
        frames_per_second: of reading, predicting and writing.
        own_frames_per_second: of the video as it is played.
    """

    overlay: Path
    table: Path
    frames: int
    found: int
    frames_per_second: float
    own_frames_per_second: float

    def to_json(self) -> dict[str, Any]:
        """As JSON holds it; paths are texts."""
        return plain(dataclasses.asdict(self))
