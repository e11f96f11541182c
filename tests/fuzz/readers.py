"""What other libraries read from a file: the truth of the fuzz suite."""

import gzip
import io
import struct
from collections.abc import Iterator
from contextlib import suppress

import cv2
import h5py
import imagecodecs
import nibabel
import numpy as np
import tifffile
from nibabel.affines import voxel_sizes
from PIL import Image, ImageOps

# An orientation of EXIF or TIFF, as a function of pixels.
TURNS = {
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.swapaxes(0, 1),
    6: lambda x: x.swapaxes(0, 1)[:, ::-1],
    7: lambda x: x[::-1, ::-1].swapaxes(0, 1),
    8: lambda x: x.swapaxes(0, 1)[::-1],
}
# Millimetres of a unit of NIfTI.
MILLIMETRES = {1: 1000, 2: 1, 3: 0.001}


def pictures(data: bytes) -> Iterator[np.ndarray]:
    """Each independent reading, `(height, width, channels)`, of an image file."""
    for reader in (_codec, _pillow, _opencv, _plain_strip):
        with suppress(Exception):
            for pixels in reader(data):
                yield pixels.reshape(*pixels.shape[:2], -1)


def _codec(data):
    """By libpng, libwebp and libtiff, which know nothing of orientation."""
    if data.startswith(b"\x89PNG"):
        yield imagecodecs.png_decode(data)
    elif data.startswith(b"RIFF"):
        yield imagecodecs.webp_decode(data)
    elif data[:2] in (b"II", b"MM"):
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            pages, page = len(file.pages), file.pages[0]
            white_is_0 = page.tags.valueof(262) == 0
            turn = TURNS.get(page.tags.valueof(274), np.asarray)
        if pages > 1:
            return
        pixels = imagecodecs.tiff_decode(data)
        if page.planarconfig == 2 and pixels.ndim == 3:
            pixels = np.moveaxis(pixels, 0, -1)
        if white_is_0 and pixels.dtype.kind == "u":
            pixels = np.iinfo(pixels.dtype).max - pixels
        yield turn(pixels)


def _pillow(data):
    """8 bits alone: Pillow drops what is more."""
    deep = data.startswith(b"\x89PNG") and data[24] == 16
    tiff = data[:2] in (b"II", b"MM")
    if deep or data.startswith(b"%!") or (tiff and max(_bits(data)) > 8):
        return
    with Image.open(
        io.BytesIO(data), formats=("PNG", "JPEG", "BMP", "WEBP", "TIFF")
    ) as image:
        if getattr(image, "n_frames", 1) > 1:
            return
        image.load()
        with suppress(Exception):
            image = ImageOps.exif_transpose(image)
        if image.mode in ("L", "RGB", "LA", "RGBA"):
            yield np.asarray(image)
        for mode in ("RGB", "RGBA"):
            yield np.asarray(image.convert(mode))


def _bits(data):
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        bits = file.pages[0].tags.valueof(258) or 1
        signed = file.pages[0].tags.valueof(339) or 1
    return (*np.ravel(bits), 99 if np.any(np.ravel(signed) != 1) else 0)


def _plain_strip(data):
    """Bytes of a TIFF that are pixels as they are: libtiff refuses any odd tag."""
    if data[:2] != b"II":
        return
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages[0]
        tags = [page.tags.valueof(code) for code in (256, 257, 258, 277, 339)]
        odd = [page.tags.valueof(code) for code in (259, 262, 266, 274, 284)]
        (start,), (count,) = (page.tags.valueof(code) for code in (273, 279))
    width, height, bits, samples, kind = tags
    if samples != 1 or kind not in (None, 1) or odd[:2] != [1, 1] or any(odd[2:]):
        return
    pixels = np.frombuffer(data[start : start + count], f"<u{bits // 8}")
    yield pixels[: height * width].reshape(height, width, 1)


def _opencv(data):
    if data[:2] in (b"II", b"MM"):
        return  # It reads some wrongly.
    pixels = cv2.imdecode(np.frombuffer(data, "uint8"), cv2.IMREAD_UNCHANGED)
    yield pixels
    yield pixels[..., [2, 1, 0, *range(3, pixels.shape[2])]]


def same(found: np.ndarray, truth: np.ndarray) -> bool:
    """Whether two pictures are the same, with copied channels or without alpha."""
    if found.shape[:2] != truth.shape[:2]:
        return False
    count = truth.shape[2]
    colours = truth[..., : {2: 1, 4: 3}.get(count, count)]
    if found.shape[2] not in (count, colours.shape[2]) and colours.shape[2] != 1:
        grey = (colours == colours[..., :1]).all()
        return bool(grey and found.shape[2] == 1 and same(found, colours[..., :1]))
    if found.shape[2] != count:
        found, truth = found[..., :3] if found.shape[2] == 4 else found, colours
    # A JPEG's colours come out of rounded sums.
    return bool((np.abs(found.astype(float) - truth) <= 2).all())


def masks_of(pixels: np.ndarray) -> Iterator[np.ndarray]:
    """The masks, 0 and 1, that a picture may be said to show."""
    colours = pixels[..., :-1] if pixels.shape[2] in (2, 4) else pixels
    if (colours != colours[..., :1]).any():  # A few damaged pixels are no grey ones.
        for grey in (colours.mean(-1), colours.max(-1), colours.min(-1)):
            yield grey > grey.max() / 2
            yield grey > 127
    grey = colours[..., 0].astype(float)
    if pixels.shape[2] in (2, 4):
        alpha = pixels[..., -1] > 0.5 * pixels[..., -1].max()
        if np.ptp(grey) == 0 and not alpha.all():
            yield alpha
        grey = grey * alpha
    if set(np.unique(grey)) <= {0, 1}:
        yield grey
        if grey.max() < 1:
            return
    yield grey > grey.max() / 2
    yield grey > 127


def _with_offset(path):
    """The file; of one whose voxels begin at byte 0, a copy that says where they do.

    nibabel would take the header for voxels. Where the header's size is damaged, too,
    it goes by the magic word, as here.
    """
    content = path.read_bytes()
    if content.startswith(b"\x1f\x8b"):
        content = gzip.decompress(content)
    first = content[344:347] == b"n+1"
    at, bytes_, least = (108, "f", 352) if first else (168, "q", 544)
    offset = struct.pack("=" + bytes_, 0)
    if content[at : at + len(offset)] in (offset, b"\x00\x00\x00\x80"):
        sides = content[40:48] if first else content[16:32]
        width = 2 if first else 8
        order = "little" if 1 <= int.from_bytes(sides[:width], "little") <= 7 else "big"
        content = bytearray(content)
        struct.pack_into(
            {"little": "<", "big": ">"}[order] + bytes_, content, at, least
        )
        path = path.with_name("copy.nii")
        path.write_bytes(content)
    return path


def volume(path) -> dict:
    """Geometry and voxels of a NIfTI file, slices as radiologists look at them."""
    image = nibabel.load(_with_offset(path))
    header = image.header
    canonical = nibabel.as_closest_canonical(image)
    data = np.asanyarray(canonical.dataobj, dtype="float64")
    slices = data.reshape(data.shape[:3])[::-1, ::-1].T
    unit = MILLIMETRES.get(int(header["xyzt_units"]) & 7, 1)
    codes = int(header["sform_code"]), int(header["qform_code"])
    corners = np.array([*np.ndindex(2, 2, 2)]) * (np.array(image.shape[:3]) - 1)
    corners = np.column_stack([corners, np.ones(8)]).T
    doubt = "" if max(codes) > 0 else "no orientation"
    if min(codes) > 0:
        apart = np.abs((header.get_sform() - header.get_qform()) @ corners).max()
        doubt = "" if apart * unit <= 0.1 else "sform against qform"
    return {
        "shape": image.shape,
        "affine": image.affine,
        "spacing": voxel_sizes(canonical.affine) * unit,
        "slices": slices,
        "doubt": doubt,
    }


def weights(data: bytes) -> list[bytes]:
    """The arrays of a network in an HDF5 file of Keras, in no order that matters."""
    arrays = []

    def keep(name, item):
        number = isinstance(item, h5py.Dataset) and item.dtype.kind == "f"
        if number and not name.startswith("optimizer"):
            arrays.append(np.asarray(item, "float32").tobytes())

    file = h5py.File.in_memory(data)
    file.visititems(keep)
    with suppress(RuntimeError):  # What else is damaged is no array's.
        file.close()
    return sorted(arrays)
