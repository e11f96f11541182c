import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True, kw_only=True)
class Exported:
    """How an exported file compares with the model in Keras.

    Args:
        images: number of images that were compared.
        largest_difference: of probabilities.
        changed_pixels: number of pixels whose label is another.
        pixels: number of all pixels.
    """

    images: int
    largest_difference: float
    changed_pixels: int
    pixels: int

    def to_json(self) -> dict[str, Any]:
        """As JSON holds it."""
        return dataclasses.asdict(self)
