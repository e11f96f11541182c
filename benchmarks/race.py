"""PAM-UNet in ONNX Runtime beside networks of segmentation_models.pytorch.

Run it with `python benchmarks/race.py --repeats 30 [--short]`. All sides predict the
same image, one at a time, on two threads, with weights drawn at random. The gates of
PAM-UNet have the key strides of the presets. Ratios are to the Unet with
`mobilenet_v2`.

The other networks come from PyTorch, which is installed beside, once: some 7 GB in
`~/.cache/keras_pamunet/race`, less with a wheel for CPUs from an index in
`PIP_EXTRA_INDEX_URL`. Without a network there is nothing to compare with, and it says
so.
"""

import multiprocessing
import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from sides import main

HOME = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
CACHE = Path(HOME, "keras_pamunet", "race")
PACKAGES = (
    "torch==2.14.1",
    "segmentation-models-pytorch==0.6.0",
    "onnx==1.23.2",
    "onnxscript==0.7.2",
)
RIVALS = (
    "Unet mobilenet_v2",
    "DeepLabV3Plus mobilenet_v2",
    "Unet resnet34",
    "Segformer mit_b0",
)
KEY_STRIDES = {128: 2, 256: 4}
# Writes one of them, in evaluation: batch normalisation is folded.
EXPORT = """
import os, sys
import segmentation_models_pytorch as smp
import torch

form, size, path = sys.argv[1:]
kind, encoder = form.split()
torch.manual_seed(0)
model = getattr(smp, kind)(encoder, encoder_weights=None, activation="sigmoid").eval()
image = torch.zeros(1, 3, int(size), int(size))
torch.onnx.export(model, (image,), path + ".new", external_data=False, verbose=False)
os.replace(path + ".new", path)
"""


def make(form, size):
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    session = onnxruntime.InferenceSession(
        onnx_file(form, size), options, providers=["CPUExecutionProvider"]
    )
    (taken,) = session.get_inputs()
    rng = np.random.default_rng(0)
    image = rng.uniform(0, 255, (1, size, size, 3)).astype("float32")
    if taken.shape[1] == 3:
        image = np.ascontiguousarray(image.transpose(0, 3, 1, 2))
    return lambda: session.run(None, {taken.name: image})


def comparisons(short):
    install()
    lists = []
    # Apart: a side's peak of memory begins with that of the process that starts it.
    elsewhere = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
    for size in (128,) if short else (128, 256):
        forms = [form for form in RIVALS if export_rival(form, size)]
        if RIVALS[0] not in forms:
            skip(f"{RIVALS[0]} cannot be exported.")
        forms[1:1] = elsewhere.submit(export_ours, size).result()
        lists.append(
            [{"backend": "onnxruntime", "form": form, "size": size} for form in forms]
        )
    return lists


def onnx_file(form, size):
    return CACHE / "onnx" / f"{form.replace(' ', '-').replace(',', '')}-{size}.onnx"


def export_ours(size):
    """Names of the forms of PAM-UNet, whose files it writes."""
    from keras_pamunet import PAMUNet
    from keras_pamunet.exporting import export

    stride = KEY_STRIDES[size]
    forms = {
        "PAM-UNet, no attention": {"attention": None},
        "PAM-UNet, first order": {
            "score_activation": "first_order",
            "key_stride": stride,
        },
        "PAM-UNet, exact": {"key_stride": stride},
    }
    for form, arguments in forms.items():
        model = PAMUNet((size, size, 3), **arguments)
        export(model, onnx_file(form, size), overwrite=True, progress=False)
    return list(forms)


def export_rival(form, size):
    """Whether the file is there, or could be written."""
    path = onnx_file(form, size)
    path.parent.mkdir(exist_ok=True)
    arguments = form, str(size), str(path)
    return path.exists() or run(python(), "-c", EXPORT, *arguments)


def python():
    return CACHE / "bin" / "python"


def install():
    if not run(sys.executable, "-m", "venv", CACHE) or not run(
        python(), "-m", "pip", "install", "--quiet", *PACKAGES
    ):
        skip("the packages to compare with cannot be installed.")


def run(*command):
    """Whether a program succeeds. If not, it says the last of what the program said."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        print(*done.stderr.splitlines()[-3:], sep="\n", file=sys.stderr)
    return done.returncode == 0


def skip(reason):
    print(f"Skipped: {reason}")
    sys.exit()


if __name__ == "__main__":
    main("race", make, comparisons)
