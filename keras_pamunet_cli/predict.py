"""The command `predict`."""

from pathlib import Path
from typing import Annotated

import typer

from keras_pamunet_cli.entry import call, do_without_keras
from keras_pamunet_cli.options import MODEL_HELP, WINDOW_HELP, Flips, Quiet, window_of
from keras_pamunet_cli.screen import bold


def predict(
    model: Annotated[
        str, typer.Option(help=f"{MODEL_HELP} Or an .onnx file, without Keras.")
    ],
    images: Annotated[
        Path,
        typer.Option(
            "--input", "-i", help="An image, a NIfTI volume or a folder of either."
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="Folder for the masks; for one volume also a file."
        ),
    ],
    overlay: Annotated[bool, typer.Option(help="Write images with outlines, too.")] = (
        False
    ),
    window: Annotated[
        str | None,
        typer.Option(help=f"{WINDOW_HELP} Default: the model's own."),
    ] = None,
    preview: Annotated[
        bool, typer.Option("--preview", help="Draw slices of volumes, too.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Write masks anew that are there.")
    ] = False,
    flips: Flips = True,
    quiet: Quiet = False,
) -> None:
    """Predict masks of images or of CT volumes."""

    def run():
        network = _open_model(model)
        from keras_pamunet import inference, volume_inference
        from keras_pamunet.data import image_file

        if not volume_inference.holds_nifti(images):
            if window or preview:
                raise ValueError(
                    "Expected NIfTI volumes for --window and --preview. "
                    f"Received: {images}"
                )
            return inference.predict(
                network, images, output, overlay, overwrite, not quiet, flips
            )
        if overlay:
            raise ValueError("Expected --preview for volumes. Received: --overlay")
        if images.is_dir() and image_file.holds_images(images):
            raise ValueError(
                f"Expected images or NIfTI volumes. Received: {images} with both. Put "
                "them into folders of their own."
            )
        return volume_inference.predict_volumes(
            network,
            images,
            output,
            window_of(window),
            preview,
            overwrite,
            not quiet,
            flips,
        )

    is_onnx = model.endswith(".onnx")
    if is_onnx:
        do_without_keras()
    module = "keras_pamunet.onnx_model" if is_onnx else "keras_pamunet.models"
    masks, kept = call(run, module, extra="export" if is_onnx else None)
    if kept:
        typer.echo(
            f"{len(kept)} mask(s) were there and are kept: made of the same input by "
            "the same model (--overwrite makes them anew)"
        )
    typer.echo(f"{len(masks)} new mask(s) in {bold(output)}")


def _open_model(model):
    """A model in Keras or, of an .onnx file, in ONNX Runtime."""
    if not model.endswith(".onnx"):
        from keras_pamunet.models import load_model

        return load_model(model)
    from keras_pamunet.onnx_model import OnnxModel

    return OnnxModel(model)
