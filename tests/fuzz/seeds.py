"""Whole files, to be damaged: small, one of each kind that the package reads."""

import io
import json
from pathlib import Path

import cv2
import nibabel
import numpy as np
import tifffile
from onnx import TensorProto, helper
from PIL import Image

# Options of tifffile for each kind of TIFF, and the type of its pixels.
TIFFS = {
    "grey": ("uint8", {}),
    "colour": ("uint8", {"photometric": "rgb"}),
    "white-is-0": ("uint8", {"photometric": "miniswhite"}),
    "white-is-0-16": ("uint16", {"photometric": "miniswhite"}),
    "big-endian": ("uint16", {"byteorder": ">"}),
    "deep-colour": ("uint16", {"photometric": "rgb", "compression": "zlib"}),
    "lzw": ("uint8", {"compression": "lzw", "predictor": True}),
    "float": ("float32", {}),
    "int8": ("int8", {}),
    "uint32": ("uint32", {}),
    "tiles": ("uint8", {"tile": (16, 16)}),
    "planes": ("uint8", {"photometric": "rgb", "planarconfig": "separate"}),
    "bigtiff": ("uint16", {"bigtiff": True}),
}


def images() -> dict[str, bytes]:
    """Pictures of 24 x 20 pixels by file name."""
    grey = Image.fromarray(_pixels("uint8", 1))
    colour = Image.fromarray(_pixels("uint8", 3))
    turned = Image.Exif()
    turned[0x0112] = 6
    found = {
        "grey.png": _saved(grey, "png"),
        "colour.png": _saved(colour, "png", exif=turned),
        "rgba.png": _saved(Image.fromarray(_pixels("uint8", 4)), "png"),
        "palette.png": _saved(colour.quantize(5), "png"),
        "bits.png": _saved(grey.convert("1"), "png"),
        "deep.png": cv2.imencode(".png", _pixels("uint16", 1))[1].tobytes(),
        "deep-colour.png": cv2.imencode(".png", _pixels("uint16", 3))[1].tobytes(),
        "grey.jpg": _saved(grey, "jpeg"),
        "colour.jpg": _saved(colour, "jpeg", exif=turned, quality=95),
        "cmyk.jpg": _saved(colour.convert("CMYK"), "jpeg"),
        "colour.bmp": _saved(colour, "bmp"),
        "palette.bmp": _saved(colour.quantize(5), "bmp"),
        "colour.webp": _saved(colour, "webp", lossless=True),
        "pages.tif": _tiff(
            np.stack(3 * [_pixels("uint8", 1)]), photometric="minisblack"
        ),
        # Formats that are none of the package's, under a name that is.
        "eps.png": _saved(colour, "eps"),
        "gif.jpg": _saved(colour, "gif"),
        "pcx.bmp": _saved(colour, "pcx"),
        "pdf.tif": _saved(colour, "pdf"),
    }
    for name, (dtype, options) in TIFFS.items():
        channels = 3 if options.get("photometric") == "rgb" else 1
        pixels = _pixels(dtype, channels)
        if options.get("planarconfig") == "separate":
            pixels = np.moveaxis(pixels, -1, 0)
        found[f"{name}.tif"] = _tiff(pixels, **options)
    return found


def masks() -> tuple[np.ndarray, dict[str, bytes]]:
    """A mask of 24 x 20 pixels, 0 and 1, and the files that hold it."""
    truth = np.zeros((24, 20), "uint8")
    truth[5:15, 4:9] = 1
    grey = Image.fromarray(255 * truth)
    alpha = Image.merge("LA", [Image.new("L", grey.size, 255), grey])
    palette = Image.fromarray(1 - truth).convert("P")
    palette.putpalette([255, 255, 255, 0, 0, 0])
    half = Image.fromarray(65535 * truth.astype("uint16"))
    return truth, {
        "grey.png": _saved(grey, "png"),
        "labels.png": _saved(Image.fromarray(truth), "png"),
        "palette.png": _saved(palette, "png"),
        "bits.png": _saved(grey.convert("1"), "png"),
        "rgb.png": _saved(grey.convert("RGB"), "png"),
        "alpha.png": _saved(alpha, "png"),
        "deep.png": _saved(half, "png"),
        "grey.bmp": _saved(grey, "bmp"),
        "grey.jpg": _saved(grey, "jpeg", quality=95),
        "labels.jpg": _saved(Image.fromarray(truth), "jpeg", quality=95),
        "cmyk.tif": _saved(grey.convert("CMYK"), "tiff"),
        "grey.tif": _tiff(255 * truth),
        "white-is-0.tif": _tiff(255 - 255 * truth, photometric="miniswhite"),
        "white-is-0-16.tif": _tiff(
            (65535 * (1 - truth.astype(int))).astype("uint16"), photometric="miniswhite"
        ),
        "float.tif": _tiff(truth.astype("float32")),
    }


def volumes() -> dict[str, bytes]:
    """NIfTI files of 6 x 5 x 4 voxels, uncompressed, of all kinds of header."""
    rng = np.random.default_rng(0)
    hu = rng.integers(-1000, 1000, (6, 5, 4))
    affine = np.array(
        [[0, -0.8, 0, 9], [0.7, 0, 0, -4], [0, 0, -2.5, 30], [0, 0, 0, 1]]
    )
    found = {}
    for name, kind, dtype, endian in (
        ("int16", nibabel.Nifti1Image, "int16", "<"),
        ("big-endian", nibabel.Nifti1Image, "int16", ">"),
        ("float", nibabel.Nifti1Image, "float32", "<"),
        ("second", nibabel.Nifti2Image, "int16", "<"),
        ("scaled", nibabel.Nifti1Image, "uint8", "<"),
    ):
        header = kind.header_class(endianness=endian)
        header["descrip"] = b"NAME OF PATIENT"
        header.set_xyzt_units("mm")
        image = kind(hu.astype("float32"), affine, header)
        image.set_data_dtype(dtype)
        image.set_sform(affine, 1)
        image.set_qform(affine, 1)
        found[name] = image.to_bytes()
    return found


def onnx_model() -> bytes:
    """The smallest network with what `OnnxModel` asks for."""
    from keras_pamunet.inference.exported_model import METADATA
    from keras_pamunet.inference.onnx_model import seal

    shape = ["batch", "height", "width", 3]
    weights = np.array([[0.01], [-0.02], [0.005]], "float32")
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["image", "weights"], ["scores"]),
            helper.make_node("Sigmoid", ["scores"], ["mask"]),
        ],
        "fuzz",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("mask", TensorProto.FLOAT, [*shape[:3], 1])],
        [helper.make_tensor("weights", TensorProto.FLOAT, (3, 1), weights.ravel())],
    )
    opset = helper.make_opsetid("", 15)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=8)
    held = {"num_classes": 1, "activation": "sigmoid", "input_range": [0, 255]}
    held["sealed"] = True
    helper.set_model_props(model, {METADATA: json.dumps(held)})
    return seal(model.SerializeToString())


def data_set(root: Path, count: int = 4) -> None:
    """A folder of images, masks and a split in text files."""
    for part in ("images", "masks", "splits"):
        (root / part).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for index in range(count):
        pixels = rng.integers(0, 256, (20, 20, 3), "uint8")
        Image.fromarray(pixels).save(root / "images" / f"case-{index}.png")
        mask = Image.fromarray(255 * (pixels[..., 0] > 128).astype("uint8"))
        mask.save(root / "masks" / f"case-{index}.png")
    for index, part in enumerate(("train", "validation", "test")):
        (root / "splits" / f"own_{part}.txt").write_text(f"case-{index}\n", "utf-8")


def _pixels(dtype, channels):
    """Values over the whole range of a type, with edges and a gradient."""
    rows, columns = np.mgrid[:24, :20]
    values = np.stack([rows * 9, columns * 12, (rows * columns) % 250, rows + 200], -1)
    values[6:10, 3:9] = 255
    scale = {"uint16": 257, "uint32": 16843009}.get(dtype, 1)
    values = values[..., :channels].astype("int64") * scale - 128 * (dtype == "int8")
    return np.squeeze(values.astype(dtype))


def _saved(image, form, **options):
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def _tiff(pixels, **options):
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, **options)
    return file.getvalue()
