import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True, kw_only=True)
class Exported:
    """How an exported file compares with the model in Keras.

    Args:
        file: its name.
        format: `"onnx"`, `"litert"` or `"saved_model"`.
        quantize: `"int8"` or `"float16"`, `None` of float32.
        bytes: size of the file.
        parameters: number of the model's.
        images: number of images that were compared.
        largest_difference: of probabilities.
        changed_pixels: number of pixels whose label is another.
        pixels: number of all pixels.
        dice_before: of the model in Keras, the mean over images and classes in the
            model's size, without flips; `None` of images without masks.
        dice_after: that of the file.
        float_layers: names of layers that an int8 file has in float32.
    """

    file: str
    format: str
    quantize: str | None
    bytes: int
    parameters: int
    images: int
    largest_difference: float
    changed_pixels: int
    pixels: int
    dice_before: float | None
    dice_after: float | None
    float_layers: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As JSON holds it."""
        return dataclasses.asdict(self)
