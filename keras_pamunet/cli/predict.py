"""The command `predict`."""

import glob
import re
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from keras_pamunet import choices
from keras_pamunet.cli.entry import call
from keras_pamunet.cli.options import (
    MODEL_HELP,
    Device,
    Flips,
    Quiet,
)
from keras_pamunet.cli.screen import bold, print_table
from keras_pamunet.inference.model_file import RUNTIMES, is_exported, open_exported

# More images than this are summed up.
MOST_ROWS = 20


def predict(
    inputs: Annotated[
        list[str],
        typer.Argument(
            help="Images, NIfTI volumes, folders of DICOM or a video: files, folders, "
            "patterns such as '*.jpg'."
        ),
    ],
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            help=f"{MODEL_HELP} Or an .onnx or .tflite file, without Keras. "
            f"[default: {choices.PHOTOGRAPHS}, of volumes {choices.VOLUMES}]",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Folder for the masks; for one input also the mask's own path. "
            "Default: beside the input, as photos_predicted.",
        ),
    ] = None,
    recursive: Annotated[
        bool, typer.Option("--recursive", "-r", help="Look into subfolders, too.")
    ] = False,
    overlay: Annotated[
        bool, typer.Option(help="Draw what was found: overlays of images, previews.")
    ] = True,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Write them, too, with 16 bits.")
    ] = False,
    class_masks: Annotated[
        bool, typer.Option("--class-masks", help="Write a mask for each class, too.")
    ] = False,
    statistics: Annotated[
        bool,
        typer.Option(
            "--statistics",
            help="Write ml, surface, HU and lengths, too. Volumes only.",
        ),
    ] = False,
    dicom_seg: Annotated[
        bool,
        typer.Option(
            "--dicom-seg", help="Write DICOM segmentations, too. Of DICOM only."
        ),
    ] = False,
    threshold: Annotated[
        float,
        typer.Option(
            help="Lowest probability of an object; of classes that exclude each other "
            "the likeliest is taken."
        ),
    ] = 0.5,
    min_area: Annotated[
        int, typer.Option(help="Leave out smaller objects. Pixels; images only.", min=0)
    ] = 0,
    min_volume: Annotated[
        float, typer.Option(help="Leave out smaller objects. ml; volumes only.", min=0)
    ] = 0,
    largest: Annotated[
        bool | None,
        typer.Option(
            "--largest/--no-largest",
            help="Keep the largest object of each class alone. Volumes only. "
            "[default: with the default model]",
            show_default=False,
        ),
    ] = None,
    fill_holes: Annotated[
        bool,
        typer.Option(
            "--fill-holes",
            help="Fill the holes of each class in each slice. Volumes only.",
        ),
    ] = False,
    flips: Flips = True,
    batch_size: Annotated[
        int, typer.Option(help="Images or slices at once.", min=1)
    ] = 8,
    series: Annotated[
        int | None,
        typer.Option(help="Number of the DICOM series, where there are several."),
    ] = None,
    shard: Annotated[
        str,
        typer.Option(
            help="Do a part of the inputs alone: 3/16 is the third of 16 parts. "
            "Processes that share the work may write to one folder."
        ),
    ] = "1/1",
    device: Device = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Write masks anew that are there.")
    ] = False,
    report: Annotated[
        bool,
        typer.Option(
            "--report", help="Write hashes, seconds, versions and device, too."
        ),
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Find objects in images, CT volumes or a video: masks, pictures, numbers."""
    paths = _expand(inputs)
    part = _part(shard)
    folder = output or _beside(paths)
    extra = None if model is None else RUNTIMES.get(Path(model).suffix)
    if extra and device not in (None, "cpu"):
        raise typer.BadParameter(
            "Exported models run on the CPU.", param_hint="--device"
        )

    def run():
        from keras_pamunet.data.nifti import is_nifti
        from keras_pamunet.inference.dicom_seg import library
        from keras_pamunet.inference.incomplete import Incomplete
        from keras_pamunet.inference.inputs import find_files
        from keras_pamunet.inference.video import is_video, predict_video

        of_volumes = {
            "--min-volume": min_volume,
            "--largest": largest,
            "--fill-holes": fill_holes,
            "--statistics": statistics,
        }
        if any(map(is_video, paths)):
            if len(paths) > 1:
                raise ValueError("Expected one video at a time, and nothing beside it.")
            of_others = {
                "--probabilities": probabilities,
                "--class-masks": class_masks,
                "--shard": part != (1, 1),
                "--series": series is not None,
                "--report": report,
                "--dicom-seg": dicom_seg,
            }
            _check_options(False, min_area, of_volumes)
            _refuse(of_others, "images or volumes", "a video")
            with _on_device(None if extra else device):
                video = predict_video(
                    _open_model(model, False, quiet),
                    paths[0],
                    folder,
                    threshold=threshold,
                    min_area=min_area,
                    flips=flips,
                    batch_size=batch_size,
                    overwrite=overwrite,
                    progress=not quiet,
                )
            _show_video(video)
            return
        # Before the model is loaded.
        if dicom_seg:
            library()
        found, problems, scans = _converted(
            paths, folder, recursive, series, part, quiet
        )
        if not found:
            typer.echo("Nothing to do.")
            return
        if dicom_seg and not scans:
            raise ValueError("Expected DICOM for --dicom-seg. Found none.")
        is_volumes = any(map(is_nifti, find_files(found, recursive).values()))
        _check_options(is_volumes, min_area, of_volumes)
        options = {
            "recursive": recursive,
            "probabilities": probabilities,
            "class_masks": class_masks,
            "threshold": threshold,
            "flips": flips,
            "batch_size": batch_size,
            # Of DICOM, only that part was converted.
            "shard": part if found == paths else (1, 1),
            "overwrite": overwrite,
            "report": report,
            "progress": not quiet,
        }
        if is_volumes:
            from keras_pamunet.inference.volumes import predict_volumes as find

            options |= {
                "preview": overlay,
                "min_volume": min_volume,
                "statistics": statistics,
                "largest": model is None if largest is None else largest,
                "fill_holes": fill_holes,
                "scans": scans if dicom_seg else {},
                "series": series,
            }
        else:
            from keras_pamunet.inference.images import predict_images as find

            options |= {"overlay": overlay, "min_area": min_area}
        with _on_device(None if extra else device):
            network = _open_model(model, is_volumes, quiet)
            try:
                predicted = find(network, found, folder, **options)
            except Incomplete as error:
                predicted = error.predicted
                problems.append(str(error))
        if predicted.rows or not problems:
            _show(predicted)
        _raise(problems)

    module = "keras_pamunet.inference" if extra else "keras_pamunet.models"
    call(run, module, extra=extra)


def _expand(inputs):
    """Paths that are there. Said of others before anything is imported."""
    paths = []
    for given in inputs:
        found = (
            [given]
            if Path(given).exists()
            else sorted(glob.glob(given, recursive=True))
        )
        if not found:
            typer.secho(
                f"Error: Expected a file, a folder or a pattern. Not there: {given}",
                fg="red",
                err=True,
            )
            raise typer.Exit(1)
        paths += map(Path, found)
    return paths


def _beside(paths):
    """The folder for the masks, if none is named."""
    if len(paths) > 1:
        return Path("predicted")
    path = paths[0].resolve()
    stem = path.name if path.is_dir() else path.name.partition(".")[0]
    return path.with_name(f"{stem}_predicted")


def _converted(paths, folder, recursive, series, part, quiet):
    """The inputs, with NIfTI files in the place of DICOM, beside the output.

    And what is wrong with scans, and the scan of each new file.
    """
    from keras_pamunet.inference import dicom_inputs

    folder = folder.resolve()  # "." has no name.
    name = folder.name.removesuffix(".gz").removesuffix(".nii")
    target = folder.parent / f"{name}_nifti"
    found, problems, scans = dicom_inputs.convert(
        paths, target, recursive, series, part, progress=not quiet
    )
    if problems:
        problems = [f"{len(problems)} scan(s) could not be used:", *problems]
    if not found:
        _raise(problems)
    if series is not None and found == paths:
        raise ValueError("Expected folders of DICOM files for --series. Found none.")
    return found, problems, scans


def _raise(problems):
    if problems:
        raise ValueError("\n".join(problems))


def _part(shard):
    """The numbers in 3/16."""
    found = re.fullmatch(r"(\d+)/(\d+)", shard)
    if not found:
        raise typer.BadParameter(
            f"Expected a part such as 3/16. Received: {shard}", param_hint="--shard"
        )
    return int(found[1]), int(found[2])


def _check_options(is_volumes, min_area, of_volumes):
    if is_volumes and min_area:
        raise ValueError("Expected --min-volume for volumes. Received: --min-area")
    if not is_volumes:
        _refuse(of_volumes, "NIfTI volumes", "images")


def _refuse(options, expected, received):
    for option, given in options.items():
        if given:
            raise ValueError(f"Expected {expected} for {option}. Received: {received}")


def _show_video(found):
    typer.echo(
        f"{found.found} of {found.frames} frames with a finding, "
        f"{found.frames_per_second:.1f} frames a second (as played: "
        f"{found.own_frames_per_second:.1f})"
    )
    for target in (found.overlay, found.table):
        typer.echo(f"  {target}")


def _on_device(name):
    if name is None:
        return nullcontext()
    from keras_pamunet.backend import on_device

    return on_device(name)


def _open_model(model, is_volumes, quiet):
    """A model in Keras or, of an exported file, in its runtime."""
    if model is not None and is_exported(model):
        return open_exported(model)
    from keras_pamunet import hub
    from keras_pamunet.models import load_model

    if model is None:
        model = choices.VOLUMES if is_volumes else choices.PHOTOGRAPHS
        if not quiet:
            typer.echo(f"Model: {model}, for {hub.presets()[model]['task']}")
    return load_model(model)


def _show(predicted):
    rows = [row for row in predicted.rows if row["kind"] != "object"]
    if not rows:
        typer.echo("Nothing to do.")
        return
    is_volumes = rows[0]["kind"] == "volume"
    size = "ml" if is_volumes else "% of the image"
    key = "volume_ml" if is_volumes else "percent"
    table = Table()
    table.add_column("mask", overflow="fold")
    for column in ("objects", size, "mean probability"):
        table.add_column(column, justify="right")
    for row in rows if len(rows) <= MOST_ROWS else ():
        probability = row.get("mean_probability")
        cells = (f"{row[key]:.1f}", "" if probability is None else f"{probability:.3f}")
        table.add_row(row["mask"], str(row["object"]), *cells)
    if len(rows) > MOST_ROWS:
        hits = sorted(row[key] for row in rows if row["object"])
        median = f", {hits[len(hits) // 2]:.1f} {size} in the median" if hits else ""
        typer.echo(
            f"{len(hits)} of {len(rows)} with a finding{median}; "
            f"{sum(row['object'] for row in rows)} objects"
        )
    else:
        print_table(table)
    if predicted.kept:
        typer.echo(
            f"{len(predicted.kept)} mask(s) were there and are kept: made of the same "
            "input by the same model (--overwrite makes them anew)"
        )
    typer.echo(f"{len(predicted.written)} new mask(s) in {bold(predicted.folder)}")
    for name in (
        "overlays",
        "previews",
        "probabilities",
        "classes",
        "dicom",
        "results.csv",
        "statistics.csv",
        "report.json",
    ):
        if (predicted.folder / name).exists():
            typer.echo(f"  {predicted.folder / name}")
