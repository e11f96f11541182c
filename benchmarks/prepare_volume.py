"""Time and memory to prepare a CT volume as slices of 256 pixels, over nibabel's.

The first side is nibabel's reading of the image alone, without its labels. Takes the
volume from the folder `KERAS_PAMUNET_DATA`.
"""

import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import sides

DATA = Path(os.environ.get("KERAS_PAMUNET_DATA", "../shared/data"))
VOLUME = DATA / "liver-ct/ircad-volume-17"


def make(form: str):
    folder = Path(tempfile.mkdtemp())
    (folder / "volume-17.nii.gz").symlink_to((VOLUME / "ct_17.nii.gz").resolve())
    labels = (VOLUME / "label_17.nii.gz").resolve()
    (folder / "segmentation-17.nii.gz").symlink_to(labels)
    return globals()[form](folder)


def nibabel(folder):
    import nibabel

    return lambda: np.asarray(nibabel.load(folder / "volume-17.nii.gz").dataobj)


def slices(folder):
    from keras_pamunet.data import Resized, Volumes

    def work():
        pairs = Resized(Volumes(folder, num_classes=3), (256, 256))
        return [pairs[index] for index in range(len(pairs))]

    return work


def tfds(folder):
    import tensorflow_datasets as tfds

    import keras_pamunet.data.lits  # noqa: F401

    config = tfds.download.DownloadConfig(manual_dir=folder)

    def work():
        shutil.rmtree(folder / "tfds", ignore_errors=True)
        builder = tfds.builder(
            "lits/slices_256", data_dir=folder / "tfds", file_format="array_record"
        )
        builder.download_and_prepare(download_config=config)

    return work


def comparisons(short: bool) -> list[list[dict]]:
    return [
        [{"form": form, "backend": "jax"} for form in ("nibabel", "slices", "tfds")]
    ]


if __name__ == "__main__":
    sides.main("prepare_volume", make, comparisons)
