"""Predicts the masks of many scans on Apache Beam.

`python -m keras_pamunet.beam scans --model runs/liver --output masks` runs here, with
`--runner=FlinkRunner` and the like elsewhere.
"""

import argparse
import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from keras_pamunet.data.nifti import is_nifti
from keras_pamunet.files import make_folder
from keras_pamunet.inference.images import predict_images
from keras_pamunet.inference.inputs import find_files
from keras_pamunet.inference.volumes import predict_volumes
from keras_pamunet.models import load_model

DEAD_LETTERS = "dead_letters"


class Segment(beam.DoFn):
    """Writes the mask of each scan. Yields those that cannot be used, and why.

    A scan is `(name, path)`, as `keras_pamunet.inference.inputs.find_files` returns
    them. It may be done again, for what is complete is kept.

    Args:
        model: see `keras_pamunet.models.load_model`. Each worker loads it once.
        output: folder for the masks, which all workers share.
        **options: of `keras_pamunet.inference.images.predict_images` or
            `keras_pamunet.inference.volumes.predict_volumes`.
    """

    def __init__(self, model: str, output: str | Path, **options: Any):
        super().__init__()
        self.model = model
        self.output = Path(output)
        self.options = options

    def setup(self) -> None:
        self._loaded = load_model(self.model)

    def process(self, scan: tuple[Path, Path]) -> Iterator[tuple[str, str]]:
        name, path = scan
        predict = predict_volumes if is_nifti(path) else predict_images
        folder = self.output / name.parent
        try:
            predict(self._loaded, path, folder, progress=False, **self.options)
        except ValueError as error:
            yield str(path), " ".join(str(error).split())


def predict_on_beam(
    inputs: str | Path | Iterable[str | Path],
    output: str | Path,
    model: str,
    *,
    recursive: bool = False,
    beam_options: Sequence[str] = (),
    **options: Any,
) -> None:
    """Writes the masks of images or NIfTI volumes, each of them an element for Beam.

    Args:
        inputs: see `keras_pamunet.inference.inputs.find_files`.
        output: folder for the masks. Those of subfolders lie in folders of the same
            names, each with its own `results.csv`. `dead_letters.csv` has a row for
            each scan that cannot be used.
        model: see `keras_pamunet.models.load_model`.
        recursive: whether to look into the folders of folders, too.
        beam_options: such as `["--runner=FlinkRunner"]`.
        **options: see `Segment`.

    Raises:
        FileNotFoundError: if there is no such file or folder.
        ValueError: if there is neither an image nor a volume.
        OSError: if the output cannot be written.
    """
    scans = find_files(inputs, recursive)
    make_folder(Path(output))
    with beam.Pipeline(options=PipelineOptions([*beam_options])) as pipeline:
        (
            pipeline
            | beam.Create(scans.items())
            | beam.Reshuffle()  # Else one worker has them all.
            | beam.ParDo(Segment(model, output, **options))
            | beam.Map(_to_line)
            | beam.io.WriteToText(
                str(Path(output, DEAD_LETTERS)),
                file_name_suffix=".csv",
                shard_name_template="",
                header="scan,error",
            )
        )


def _to_line(row):
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(row)
    return text.getvalue()


def main(arguments: Sequence[str] | None = None) -> None:
    """The program."""
    parser = argparse.ArgumentParser(
        prog="python -m keras_pamunet.beam",
        description="Writes the masks of images or NIfTI volumes.",
        epilog="Options of Beam, written as --name=value, are passed on to it.",
    )
    parser.add_argument("inputs", nargs="+", help="images, volumes or folders of them")
    parser.add_argument("--model", required=True, help="run folder, file or preset")
    parser.add_argument("--output", required=True, help="folder for the masks")
    parser.add_argument("--recursive", action="store_true", help="look into subfolders")
    given, others = parser.parse_known_args(arguments)
    predict_on_beam(
        given.inputs,
        given.output,
        given.model,
        recursive=given.recursive,
        beam_options=others,
    )


if __name__ == "__main__":
    # Not as __main__, by which name no worker would find it.
    from keras_pamunet import beam as module

    module.main()
