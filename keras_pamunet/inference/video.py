"""Predicts masks of the frames of a video. Needs no Keras."""

import csv
import io
import itertools
import os
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from keras_pamunet.files import (
    check_regular,
    make_folder,
    replace_text,
    unwritable,
    written_aside,
)
from keras_pamunet.inference.predicted_video import PredictedVideo
from keras_pamunet.inference.predictor import (
    Predictor,
    check_threshold,
    fit_image,
    predict_batch,
    to_segmentation,
)
from keras_pamunet.inference.segmentation import Segmentation
from keras_pamunet.progress import track

SUFFIXES = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg")
COLUMNS = (
    "frame",
    "seconds",
    "objects",
    "percent",
    "x",
    "y",
    "width",
    "height",
    "mean_probability",
)


def is_video(path: str | Path) -> bool:
    """Whether this is a video, by its name."""
    return Path(path).suffix.lower() in SUFFIXES


def predict_video(
    model: Predictor,
    path: str | Path,
    output: str | Path,
    *,
    threshold: float = 0.5,
    min_area: int = 0,
    flips: bool = True,
    batch_size: int = 8,
    overwrite: bool = False,
    progress: bool = True,
) -> PredictedVideo:
    """Writes a video with what was found in each frame, and that in numbers.

    Args:
        model: a `Segmenter`, an `OnnxModel` or a `LiteRTModel`.
        path: a video of any kind that OpenCV reads.
        output: folder for `<stem>.mp4` (MPEG-4, without sound) and `<stem>.csv` of
            `COLUMNS`: of each frame its number from 1, its time, the number of objects,
            what all cover, and box and mean probability of the largest.
        threshold: see `keras_pamunet.inference.segment`.
        min_area: see `keras_pamunet.inference.segment`.
        flips: see `keras_pamunet.inference.segment`; four times the work.
        batch_size: frames predicted at once.
        overwrite: whether to replace files that are there.
        progress: whether to show a progress bar.

    Raises:
        FileExistsError: if one of the two files is there.
        FileNotFoundError: if there is no such video.
        FloatingPointError: names the model, if its probabilities are NaN.
        OSError: if the files cannot be written.
        ValueError: if the file is no video that OpenCV can read or has no frame, or the
            model does not take pictures of 8 bits.

    Warns:
        UserWarning: if the video breaks off before its end.
    """
    check_threshold(model, threshold)
    path, folder = Path(path), Path(output)
    overlay, table = (folder / f"{path.stem}{x}" for x in (".mp4", ".csv"))
    with _opened(path) as (frames, rate, count):
        for target in (overlay, table):
            if target.exists() and not overwrite:
                raise FileExistsError(
                    f"Expected a new file. Received: {target}, which exists. Name "
                    "another folder, or overwrite it (--overwrite)."
                )
        make_folder(folder)
        start, rows = time.perf_counter(), []
        work = _segment(model, frames, threshold, min_area, flips, batch_size)
        try:
            with written_aside(overlay) as new, _writer(new, rate) as write:
                for found in track(work, "Predicting", count, progress):
                    write(found.overlay())
                    rows.append(_row(found, len(rows), rate))
        except OSError as error:
            raise unwritable(overlay, error) from error
    seconds = time.perf_counter() - start
    if len(rows) < count:
        warnings.warn(
            f"{path} breaks off: {len(rows)} of its {count} frames could be read.",
            stacklevel=2,
        )
    _write_table(table, rows)
    return PredictedVideo(
        overlay=overlay,
        table=table,
        frames=len(rows),
        found=sum(row["objects"] > 0 for row in rows),
        frames_per_second=len(rows) / seconds,
        own_frames_per_second=rate,
    )


@contextmanager
def _opened(path):
    """The frames of a video in RGB, their rate, and how many there should be."""
    check_regular(path)
    # Messages of OpenCV and FFmpeg do not name the file; the exception says it all.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    log = cv2.utils.logging
    level = log.setLogLevel(log.LOG_LEVEL_SILENT)
    video = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    try:
        there, first = video.read()
        if not there:
            raise ValueError(
                f"Expected a video that OpenCV can read, with a frame. Received: {path}"
            )
        rate = video.get(cv2.CAP_PROP_FPS)
        count = video.get(cv2.CAP_PROP_FRAME_COUNT)
        rate = rate if 0 < rate <= 1000 else 25.0
        yield _frames(video, first), rate, int(min(max(count, 0), 10**9))
    finally:
        video.release()
        log.setLogLevel(level)


def _frames(video, frame) -> Iterator[np.ndarray]:
    there = True
    while there:
        yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
        there, frame = video.read()


def _segment(
    model, frames, threshold, min_area, flips, batch_size
) -> Iterator[Segmentation]:
    while batch := list(itertools.islice(frames, batch_size)):
        images = [fit_image(model, frame) for frame in batch]
        # Filled up: another number would be compiled anew.
        images += [images[-1]] * (batch_size - len(images))
        for frame, found in zip(batch, predict_batch(model, np.stack(images), flips)):
            yield to_segmentation(model, frame, found, threshold, min_area)


@contextmanager
def _writer(path, rate):
    """A function that adds a picture to a video."""
    video = cv2.VideoWriter()

    def write(picture):
        if not video.isOpened():
            size = picture.shape[1::-1]
            video.open(str(path), cv2.VideoWriter.fourcc(*"mp4v"), rate, size)
            if not video.isOpened():
                raise OSError("OpenCV cannot write a video there")
        video.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))

    try:
        yield write
    finally:
        video.release()


def _row(found, index, rate):
    share = np.count_nonzero(found.mask) / found.mask.size
    row = {
        "frame": index + 1,
        "seconds": round(index / rate, 3),
        "objects": len(found.objects),
        "percent": round(100 * share, 4),
    }
    if found.objects:
        largest = max(found.objects, key=lambda one: one.size)
        row |= dict(zip(("x", "y", "width", "height"), largest.box))
        row["mean_probability"] = round(largest.mean_probability, 4)
    return row


def _write_table(path, rows):
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    replace_text(path, text.getvalue())
