"""What the package writes, each into a folder that may hold it already."""

import json
import resource
import sys
from collections.abc import Callable
from pathlib import Path

import keras
import nibabel
import numpy as np

from keras_pamunet import PAMUNet
from keras_pamunet.data import Phantom, save_split
from keras_pamunet.inference.images import predict_images
from keras_pamunet.inference.volumes import predict_volumes
from keras_pamunet.run_folder import write_config
from keras_pamunet.show import show
from keras_pamunet.training import train
from tests.fuzz import seeds
from tests.fuzz.targets import Stub
from tests.helpers import SMALL


def split(folder: Path) -> None:
    names = {"train": [f"case-{i}" for i in range(999)]}
    save_split(folder / "split.json", names, overwrite=True)


def sheet(folder: Path) -> None:
    show(Phantom(2), folder / "sheet.png")


def config(folder: Path) -> None:
    write_config(folder, {"seed": 0}, {"train": [f"case-{i}" for i in range(999)]})


def preset(folder: Path) -> None:
    keras.utils.set_random_seed(0)
    model = PAMUNet((32, 32, 3), expansion=1, attention=None)
    model.save_to_preset(folder / "preset")


def masks(folder: Path) -> None:
    data = folder.parent / "data"
    if not data.exists():
        seeds.data_set(data)
    options = {"overwrite": True, "progress": False}
    predict_images(Stub(), data / "images", folder, **options)


def volumes(folder: Path) -> None:
    ct = folder.parent / "ct.nii.gz"
    if not ct.exists():
        hu = np.random.default_rng(0).integers(-1000, 1000, (64, 64, 9), "int16")
        nibabel.Nifti1Image(hu, np.eye(4)).to_filename(ct)
    options = {"overwrite": True, "progress": False}
    model = Stub()
    model.input_range = (-200, 250)
    predict_volumes(model, ct, folder, **options)


def run(folder: Path) -> None:
    data = folder.parent / "data"
    seeds.data_set(data)
    train(data, folder / "run", split="own", **{**SMALL, "batch_size": 1})


# `run` is none of them: no run is written twice.
WRITERS: dict[str, Callable[[Path], None]] = {
    "split": split,
    "sheet": sheet,
    "config": config,
    "preset": preset,
    "masks": masks,
    "volumes": volumes,
}


def files(folder: Path) -> dict[str, bytes]:
    """What each file in a folder holds, by its path there."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def fill_disk(name: str, folder: Path, size: int) -> dict[str, str | list[str]]:
    """Writes once with room, and again where no file may have more than `size` bytes.

    Returns:
        The error, and the files that differ from those of before.
    """
    folder.mkdir()
    write = WRITERS.get(name, run)
    if name in WRITERS:
        write(folder)
    before = files(folder)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        write(folder)
        error = ""
    except Exception as raised:
        error = f"{type(raised).__name__}: {raised}"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    after = files(folder)
    # Masks that are made anew leave their record and its table first.
    names = (before.keys() | after.keys()) - {"predictions.json", "results.csv"}
    other = sorted(name for name in names if before.get(name) != after.get(name))
    return {"error": error, "other": other}


if __name__ == "__main__":
    root, names = Path(sys.argv[1]), sys.argv[2:]
    found = {
        f"{name}, {size} bytes": fill_disk(name, root / f"{name}-{size}", size)
        for name in names
        for size in ((0, 500) if name in WRITERS else (100_000,))
    }
    print("\n" + json.dumps(found))
