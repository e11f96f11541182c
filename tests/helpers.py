"""What several tests share."""

import dataclasses
import json

import keras
import nibabel
import numpy as np
import pytest

from keras_pamunet.inference.exported_model import METADATA
from keras_pamunet.inference.onnx_model import seal
from keras_pamunet.models import find_network, list_models
from keras_pamunet.training import RECIPES

# Tests of what no back end computes. Under JAX each network takes seconds to make.
once = pytest.mark.skipif(
    keras.backend.backend() == "jax", reason="the same under TensorFlow"
)
# No graphs under TensorFlow, which take longer to make than a few steps.
EAGER, PAPER = (
    dataclasses.replace(recipe, run_eagerly=keras.backend.backend() == "tensorflow")
    for recipe in RECIPES.values()
)
# A training as small as one gets.
SMALL = {
    "size": 32,
    "epochs": 2,
    "batch_size": np.int64(5),
    "recipe": EAGER,
    "network": "res_unet",  # Of the fewest layers.
    "filters": 4,
    "input_range": (0, 255),
    "progress": False,
}


def own_networks():
    """Names of the package's networks: tests have some of their own."""
    return [
        name
        for name in list_models()
        if find_network(name).__module__.startswith("keras_pamunet.")
    ]


def gradients(function, *arrays):
    """Value and gradients of a scalar function, by the back end's own means."""
    tensors = [keras.ops.convert_to_tensor(array) for array in arrays]
    if keras.backend.backend() == "jax":
        import jax

        positions = tuple(range(len(tensors)))
        value, slopes = jax.jit(jax.value_and_grad(function, positions))(*tensors)
    elif keras.backend.backend() == "torch":
        for tensor in tensors:
            tensor.requires_grad_()
        value = function(*tensors)
        value.backward()
        value, slopes = value.detach(), [tensor.grad for tensor in tensors]
    else:
        import tensorflow as tf

        with tf.GradientTape() as tape:
            for tensor in tensors:
                tape.watch(tensor)
            value = function(*tensors)
        slopes = tape.gradient(value, tensors)
    return np.asarray(value), [np.asarray(slope) for slope in slopes]


def write_lits(root, cases=("0", "10"), shape=(12, 10, 3)):
    """Writes small volumes with labels as LiTS names them; returns their arrays."""
    root.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    affine = np.diag([-0.8, -0.8, 2, 1])
    arrays = {}
    for case in cases:
        hu = rng.integers(-1024, 400, shape, "int16")
        labels = rng.integers(0, 3, shape, "uint8")
        for name, array in (("volume", hu), ("segmentation", labels)):
            path = root / f"{name}-{case}.nii.gz"
            nibabel.Nifti1Image(array, affine).to_filename(path)
        arrays[f"volume-{case}"] = hu, labels
    return arrays


def write_onnx(path, input_range=(0, 255), size=(32, 32), dtype="float32"):
    """A sigmoid in the place of a network, as an ONNX file of ours."""
    import onnx  # Of an extra.

    shape = ["batch", *size, 1]
    float32 = onnx.TensorProto.FLOAT
    image, mask = (
        onnx.helper.make_tensor_value_info(name, kind, shape)
        for name, kind in (
            ("image", onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))),
            ("mask", float32),
        )
    )
    nodes = [
        onnx.helper.make_node("Cast", ["image"], ["float"], to=float32),
        onnx.helper.make_node("Sigmoid", ["float"], ["mask"]),
    ]
    graph = onnx.helper.make_graph(nodes, "graph", [image], [mask])
    opset = [onnx.helper.make_opsetid("", 17)]
    model = onnx.helper.make_model(graph, opset_imports=opset, ir_version=8)
    held = {"num_classes": 1, "input_range": input_range, "class_names": ["spot"]}
    onnx.helper.set_model_props(model, {METADATA: json.dumps(held | {"sealed": True})})
    path.write_bytes(seal(model.SerializeToString()))
    return path
