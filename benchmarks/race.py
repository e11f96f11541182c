"""PAM-UNet in ONNX Runtime beside the networks of other packages.

Run it with `python benchmarks/race.py --repeats 30 [--short]`. All sides predict the
same image, one at a time, on two threads, with weights drawn at random. The gates of
PAM-UNet have the key strides of the presets. Ratios are to the Unet with
`mobilenet_v2` of segmentation_models.pytorch. The matrix product shows what the
processor can do in the same runtime.

The other networks are exported by PyTorch, which is installed beside, once: some 7 GB
in `~/.cache/keras_pamunet/race`, less with a wheel for CPUs from an index in
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
    "monai==1.6.1",
    "medicai==0.0.4",
    "keras==3.15.1",
)
# How each is made, by package and name. The last two have the 64 to 1024 filters of the
# first U-Net.
RIVALS = {
    "smp Unet mobilenet_v2": "smp.Unet('mobilenet_v2', encoder_weights=None)",
    "smp DeepLabV3Plus mobilenet_v2": (
        "smp.DeepLabV3Plus('mobilenet_v2', encoder_weights=None)"
    ),
    "smp Unet resnet34": "smp.Unet('resnet34', encoder_weights=None)",
    "smp Segformer mit_b0": "smp.Segformer('mit_b0', encoder_weights=None)",
    "medicai UNet efficientnet_b0": (
        "medicai.models.UNet(encoder_name='efficientnet_b0', "
        "input_shape=(size, size, 3))"
    ),
    "MONAI BasicUNet": "nets.BasicUNet(2, 3, 1)",
    "MONAI BasicUNet 64..1024": (
        "nets.BasicUNet(2, 3, 1, features=(64, 128, 256, 512, 1024, 64))"
    ),
    "MONAI AttentionUnet 64..1024": (
        "nets.AttentionUnet(2, 3, 1, channels=(64, 128, 256, 512, 1024), "
        "strides=(2, 2, 2, 2))"
    ),
}
KEY_STRIDES = {128: 2, 256: 4, 512: 4}
PRODUCT, SIDE = "matrix product", 1024
# Writes one of them, in evaluation: batch normalisation is folded.
EXPORT = """
import os, sys
os.environ["KERAS_BACKEND"] = "torch"
import medicai
import segmentation_models_pytorch as smp
import torch
from monai.networks import nets

make, size, path = sys.argv[1], int(sys.argv[2]), sys.argv[3]
torch.manual_seed(0)
model = eval(make)
shape = (1, size, size, 3) if make.startswith("medicai") else (1, 3, size, size)
image = torch.zeros(shape)
model = torch.nn.Sequential(model, torch.nn.Sigmoid()).eval()
model(image)  # Layers of Keras begin with it.
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
    taken, *_ = session.get_inputs()
    rng = np.random.default_rng(0)
    if form == PRODUCT:
        matrices = rng.uniform(0, 1, (2, SIDE, SIDE)).astype("float32")
        return lambda: session.run(None, dict(zip("AB", matrices)))
    image = rng.uniform(0, 255, (1, size, size, 3)).astype("float32")
    if taken.shape[1] == 3:
        image = np.ascontiguousarray(image.transpose(0, 3, 1, 2))
    return lambda: session.run(None, {taken.name: image})


def comparisons(short):
    install()
    lists = []
    # Apart: a side's peak of memory begins with that of the process that starts it.
    elsewhere = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
    first = next(iter(RIVALS))
    for size in (128,) if short else (128, 256, 512):
        forms: dict[str, float | None] = dict.fromkeys(
            form for form in RIVALS if export_rival(form, size)
        )
        if first not in forms:
            skip(f"{first} cannot be exported.")
        forms |= elsewhere.submit(export_ours, size).result()
        lists.append(
            [
                {"backend": "onnxruntime", "form": form, "size": size}
                | ({} if gflop is None else {"gflop": gflop})
                for form, gflop in forms.items()
            ]
        )
    return lists


def onnx_file(form, size):
    return CACHE / "onnx" / f"{form.replace(' ', '-').replace(',', '')}-{size}.onnx"


def export_ours(size):
    """Writes PAM-UNet's forms and the matrix product; returns the GFLOP of each."""
    from keras_pamunet import PAMUNet
    from keras_pamunet.analysis.complexity import count
    from keras_pamunet.exporting import export

    stride = KEY_STRIDES[size]
    forms = {
        "PAM-UNet, no attention": {"attention": None},
        "PAM-UNet, first order": {"key_stride": stride},
        "PAM-UNet, exact": {"score_activation": "sigmoid", "key_stride": stride},
    }
    gflop = {PRODUCT: write_product(onnx_file(PRODUCT, size))}
    for form, arguments in forms.items():
        model = PAMUNet((size, size, 3), **arguments)
        gflop[form] = 2e-9 * count(model)["macs"]
        export(model, onnx_file(form, size), overwrite=True, progress=False)
    return gflop


def write_product(path):
    """Writes the product of two square matrices; returns its GFLOP."""
    import onnx

    a, b, c = (
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [SIDE, SIDE])
        for name in "ABC"
    )
    node = onnx.helper.make_node("MatMul", ["A", "B"], ["C"])
    graph = onnx.helper.make_graph([node], "product", [a, b], [c])
    opset = [onnx.helper.make_opsetid("", 17)]
    model = onnx.helper.make_model(graph, opset_imports=opset, ir_version=8)
    onnx.save(model, path)
    return 2e-9 * SIDE**3


def export_rival(form, size):
    """Whether the file is there, or could be written."""
    path = onnx_file(form, size)
    path.parent.mkdir(exist_ok=True)
    arguments = RIVALS[form], str(size), str(path)
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
