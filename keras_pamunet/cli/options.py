"""Options that several commands have, and what they are turned into."""

from typing import Annotated, get_args

import typer

from keras_pamunet import choices

MAX_SIDE = 2**14  # Pixels. What is larger takes more memory than there is.
DATA_HELP = (
    "Folder with images/ and masks/, 'tfds:NAME' for a set prepared by TensorFlow "
    "Datasets, or 'phantom' for drawn ones."
)
Data = Annotated[str, typer.Option(help=DATA_HELP)]
DataArgument = Annotated[str, typer.Argument(help=DATA_HELP)]
NETWORKS = ", ".join(get_args(choices.Network))
Network = Annotated[
    choices.Network | None,
    typer.Option(help="Default: as the model it starts from, or pamunet."),
]
Split = Annotated[
    str | None,
    typer.Option(
        help="A .json file, a split in the data's splits/, or one of Kvasir-SEG: "
        "effisegnet, official, pranet. Default: 80/10/10, drawn by --seed."
    ),
]
Overlapping = Annotated[
    bool | None,
    typer.Option(
        "--overlapping/--exclusive",
        help="Overlapping: what has a label belongs to the classes before it, too, as "
        "a tumour (2) to its liver (1), and the background is no class. Default: as "
        "the model it starts from, or exclusive.",
    ),
]
Classes = Annotated[
    int, typer.Option(help="Above 1, masks hold labels, 0 the background.", min=1)
]
Window = Annotated[
    str | None,
    typer.Option(
        help="Of CT, the HU that the network looks at: liver, soft_tissue, lung, bone "
        "or -200,250. Default: as the model it starts from, or liver."
    ),
]
MODEL_HELP = "A run folder, a .keras file or the name of a preset."
Model = Annotated[str, typer.Option(help=MODEL_HELP)]
ModelArgument = Annotated[str, typer.Argument(help=MODEL_HELP)]
TrainingSize = Annotated[
    int | None,
    typer.Option(help="Height and width in pixels.", min=17, max=MAX_SIDE),
]
BatchSize = Annotated[int | None, typer.Option(min=1)]
EncoderWeights = Annotated[
    str | None,
    typer.Option(
        help="'imagenet', or a .weights.h5 file of the encoder in Keras Applications: "
        "MobileNetV2, of unet and deeplab_v3_plus ResNet50, of fcn8 VGG16."
    ),
]
InputRange = Annotated[
    tuple[float, float] | None,
    typer.Option(help="Lowest and highest pixel value. Default: 0 255."),
]
Size = Annotated[
    int | None,
    typer.Option(help="If the model takes images of any size.", min=17, max=MAX_SIDE),
]
Seed = Annotated[
    int, typer.Option(help="Of the weights, the drawn split and the augmentation.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Flips = Annotated[
    bool,
    typer.Option(
        help="Average over the mirror images that the model allows: four of "
        "photographs, for 4 times the work."
    ),
]
Device = Annotated[
    str | None,
    typer.Option(help="cpu, gpu or gpu:1. Default: what the back end chooses."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars.")]


def masks_of(overlapping):
    """What networks call it; None of None."""
    return {None: None, True: "overlapping", False: "exclusive"}[overlapping]


def window_of(text):
    """Two numbers of `-200,250`; names, and what is neither, stay as they are."""
    try:
        return tuple(float(limit) for limit in text.split(","))
    except (AttributeError, ValueError):
        return text


def image_shape(network, size):
    """Shape of the images a model takes; of `size` if it takes any."""
    fixed = {side for side in network.input_shape[1:3] if side is not None}
    if size is not None and fixed - {size}:
        raise ValueError(
            f"Expected no --size for a model of images of {max(fixed)} pixels. "
            f"Received: --size {size}"
        )
    return tuple(side or size or 128 for side in network.input_shape[1:])
