"""Peak memory of `keras-pamunet predict --statistics` by the number of slices.

Each side is a process of its own, with the liver's preset on each back end and from an
ONNX file, for a drawn body of 512 x 512 voxels a slice.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import nibabel
import numpy as np

SLICES = 119, 600
SCRIPT = "from keras_pamunet.cli import run; run()"


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = str(folder / "liver.onnx")
        peak("tensorflow", "export", "pamunet_liver_ct", "-o", model, "-q")
        for count in SLICES:
            write_body(folder / f"{count}.nii.gz", count)
        for label, backend, options in (
            ("TensorFlow", "tensorflow", []),
            ("JAX", "jax", []),
            ("ONNX Runtime", "tensorflow", ["--model", model]),
        ):
            for count in SLICES:
                source, masks = folder / f"{count}.nii.gz", folder / f"{label}-{count}"
                command = ["predict", source, "-o", masks, "--statistics", "-q"]
                mib = peak(backend, *command, *options)
                print(f"{label:12} {count:4} slices  {mib:6.0f} MiB", flush=True)


def write_body(path: Path, count: int) -> None:
    """An ellipse of soft tissue with noise, in air."""
    y, x = np.ogrid[-1:1:512j, -1:1:512j]
    noise = np.random.default_rng(0).integers(-30, 30, (512, 512), "int16")
    hu = np.where(x**2 / 0.7 + y**2 / 0.4 < 1, noise + 60, -1000).astype("int16")
    voxels = np.broadcast_to(hu.T[..., np.newaxis], (512, 512, count))
    image = nibabel.Nifti1Image(voxels, np.diag([-0.8, -0.8, 1.5, 1]))
    image.header.set_xyzt_units("mm")
    image.to_filename(path)


def peak(backend: str, *arguments: object) -> float:
    """Runs the command; returns its peak of resident memory in MiB."""
    environment = {**os.environ, "KERAS_BACKEND": backend}
    command = [sys.executable, "-c", SCRIPT, *map(str, arguments)]
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"Failed: {' '.join(command)}")
    return usage.ru_maxrss / 1024  # KiB under Linux.


if __name__ == "__main__":
    main()
