"""Writes `fixtures.json`: what OpenCV, nibabel, SciPy and ONNX make of small inputs.

python web/test/fixtures.py
"""

import base64
import json
from pathlib import Path

import cv2
import nibabel
import numpy as np
import onnx
from nibabel.orientations import io_orientation
from scipy import ndimage

from keras_pamunet.data import Volume
from keras_pamunet.data.resized import resize_image
from keras_pamunet.inference.exported_model import METADATA
from keras_pamunet.inference.onnx_model import seal
from keras_pamunet.palette import COLOURS

RNG = np.random.default_rng(0)


def packed(content):
    """Bytes, or an array's, as text."""
    if isinstance(content, np.ndarray):
        content = content.tobytes()
    return base64.b64encode(content).decode()


def resizing():
    """Shrinking by areas, whole and not; between pixels; one side each way."""
    sizes = [
        ((7, 9), (4, 5)),
        ((8, 12), (4, 6)),
        ((9, 12), (3, 4)),
        ((23, 31), (10, 13)),
        ((5, 6), (8, 9)),
        ((5, 12), (8, 7)),
        ((6, 6), (9, 6)),
    ]
    for dtype in ("uint8", "float32"):
        for channels in (1, 3):
            for size, target in sizes:
                image = RNG.integers(0, 256, (*size, channels)).astype(dtype)
                if dtype == "float32":
                    image += RNG.random(image.shape, dtype)
                yield {
                    "dtype": dtype,
                    "size": size,
                    "channels": channels,
                    "target": target,
                    "image": packed(image),
                    "resized": packed(resize_image(image, target)),
                    "linear": packed(cv2.resize(image, target[::-1])),
                }


def orientations():
    """Affines of any angle, half of them sheared, and the axes that nibabel names."""
    for number in range(40):
        matrix = RNG.normal(size=(3, 3))
        if number % 2:
            turn, _ = np.linalg.qr(matrix)
            matrix = turn @ np.diag(RNG.uniform(0.5, 4, 3))
        affine = np.eye(4)
        affine[:3, :3] = matrix
        yield {"matrix": matrix.tolist(), "axes": io_orientation(affine).tolist()}


def volumes():
    """NIfTI files of each version, type and byte order, their slices and a mask."""
    kinds = [
        (nibabel.Nifti1Image, "<i2", "sform", None),
        (nibabel.Nifti1Image, ">i2", "qform", (2.0, -1024.0)),
        (nibabel.Nifti1Image, "<f4", None, None),
        (nibabel.Nifti2Image, "<u2", "sform", (1.0, -1024.0)),
        (nibabel.Nifti2Image, "<i8", "qform", None),
    ]
    for kind, dtype, form, scaling in kinds:
        turn = np.eye(3)[RNG.permutation(3)] * RNG.choice([-1, 1], 3)
        affine = np.eye(4)
        affine[:3, :3] = turn @ np.diag([0.75, 0.5, 2.5])
        affine[:3, 3] = [10, -20, 30]
        stored = RNG.integers(0, 2000, (3, 4, 5)).astype(dtype)
        header = kind.header_class(endianness=dtype[0])
        image = kind(stored, None, header)
        image.set_data_dtype(dtype)
        if form == "sform":
            image.set_sform(affine, 2)
        if form == "qform":
            image.set_qform(affine, 1)
        image.header["descrip"] = b"a name"
        image.header.set_xyzt_units("mm")
        if scaling:
            image.header.set_slope_inter(*scaling)
        content = to_bytes(image)
        volume = Volume(content)
        labels = RNG.integers(0, 3, volume.shape[::-1]).astype("uint8")
        mask = volume.to_nifti(labels, ("liver", "a <b> & c"))
        yield {
            "file": packed(content),
            "spacing": volume.spacing,
            "slices": [
                packed(volume.slice(z).astype("float32")) for z in range(len(volume))
            ],
            "labels": packed(labels),
            "mask": packed(mask.to_bytes()),
        }


def to_bytes(image):
    """As nibabel writes it, but with the header's own scaling."""
    content = bytearray(image.to_bytes())
    slope, inter = image.header["scl_slope"], image.header["scl_inter"]
    place = 112 if image.header.sizeof_hdr == 348 else 176
    kind = image.header["scl_slope"].dtype.newbyteorder(image.header.endianness)
    scaling = np.array([slope, inter], kind).tobytes()
    content[place : place + len(scaling)] = scaling
    return bytes(content)


def components():
    """Labels in slices: parts touch by corners in a slice and by faces across."""
    structure = np.zeros((3, 3, 3), int)
    structure[1], structure[:, 1, 1] = 1, 1
    for share in (0.2, 0.4):
        labels = (RNG.random((4, 9, 11)) < share).astype("uint8")
        numbers, count = ndimage.label(labels, structure)
        sizes = np.bincount(numbers.ravel())[1:]
        boxes = ndimage.find_objects(numbers)
        yield {
            "shape": labels.shape,
            "labels": packed(labels),
            "sizes": sorted(sizes.tolist(), reverse=True),
            "largest": packed((numbers == sizes.argmax() + 1).astype("uint8")),
            "box": [[x.start, x.stop] for x in boxes[sizes.argmax()]],
        }


def model():
    """An ONNX file with the metadata and the seal of `export`."""
    held = {
        "num_classes": 2,
        "masks": "overlapping",
        "class_names": ["liver", "tumour"],
        "mirror_axes": [2],
        "input_range": [-200.0, 250.0],
        "sealed": True,
    }
    value = onnx.helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, [None])
    node = onnx.helper.make_node("Identity", ["image"], ["mask"])
    out = onnx.helper.make_tensor_value_info("mask", onnx.TensorProto.FLOAT, [None])
    graph = onnx.helper.make_graph([node], "graph", [value], [out])
    whole = onnx.helper.make_model(graph)
    plain = whole.SerializeToString()
    onnx.helper.set_model_props(whole, {METADATA: json.dumps(held)})
    sealed = seal(whole.SerializeToString())
    return {
        "plain": packed(plain),
        "sealed": packed(sealed),
    }


def main():
    """Everything in one file."""
    content = {
        "resizing": list(resizing()),
        "orientations": list(orientations()),
        "volumes": list(volumes()),
        "components": list(components()),
        "model": model(),
        "colours": COLOURS.tolist(),
    }
    path = Path(__file__).with_name("fixtures.json")
    path.write_text(json.dumps(content, separators=(",", ":")) + "\n", "utf-8")


if __name__ == "__main__":
    main()
