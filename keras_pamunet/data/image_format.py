"""From the bytes of an image file to an array: five formats, strict, within limits.

The format is what the content says, not the name. Nothing but the decoders of these
five is ever called, for among Pillow's others some start another program.
"""

import io
import itertools
import logging
import math
import threading
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

import imagecodecs
import numpy as np
import tifffile
from PIL import (
    BmpImagePlugin,
    ExifTags,
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    WebPImagePlugin,
)
from tifffile.tifffile import shaped_description_metadata

from keras_pamunet.files import check_regular

# The largest image that is decoded, whatever its header claims.
MAX_PIXELS = 89_478_485  # Where Pillow begins to suspect a decompression bomb.
MAX_BYTES = 2**29
# Pages of a file are counted up to here.
MAX_PAGES = 1000

_READERS = {
    "JPEG": JpegImagePlugin.jpeg_factory,
    "PNG": PngImagePlugin.PngImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "WebP": WebPImagePlugin.WebPImageFile,
}
# How to show the pixels of each EXIF and TIFF orientation.
_TURNS: dict[int, Callable] = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
    8: lambda pixels: np.rot90(pixels),
}
_COMPRESSIONS = {
    tifffile.COMPRESSION.NONE,
    tifffile.COMPRESSION.CCITTRLE,
    tifffile.COMPRESSION.CCITT_T4,
    tifffile.COMPRESSION.CCITT_T6,
    tifffile.COMPRESSION.LZW,
    tifffile.COMPRESSION.JPEG,
    tifffile.COMPRESSION.ADOBE_DEFLATE,
    tifffile.COMPRESSION.DEFLATE,
    tifffile.COMPRESSION.PACKBITS,
    tifffile.COMPRESSION.LZMA,
    tifffile.COMPRESSION.ZSTD,
}
_BITS = (
    tifffile.COMPRESSION.CCITTRLE,
    tifffile.COMPRESSION.CCITT_T4,
    tifffile.COMPRESSION.CCITT_T6,
)
# Bits of a channel that cameras and programs write.
_DEPTHS = (1, 2, 4, 8, 10, 12, 14, 16, 24, 32, 64)
# Tags that each image has, and tags of one number each.
_NEEDED = {
    256: "ImageWidth",
    257: "ImageLength",
    259: "Compression",
    262: "PhotometricInterpretation",
}
_NUMBERS = {256, 257, 259, 262, 274, 277, 278, 284, 322, 323}
# Tags of offsets and sizes of an image's parts, and the types that they may have.
_PARTS = {273, 279, 324, 325}
_UNSIGNED = {tifffile.DATATYPE.SHORT, tifffile.DATATYPE.LONG, tifffile.DATATYPE.LONG8}
_ALPHA = tifffile.EXTRASAMPLE.ASSOCALPHA, tifffile.EXTRASAMPLE.UNASSALPHA

# What tifffile has to say about damaged files comes as an error, or not at all.
logging.getLogger("tifffile").addHandler(logging.NullHandler())


class Picture(NamedTuple):
    """An image as its file stores it, turned as its orientation says.

    Attributes:
        pixels: `(height, width)` or `(height, width, channels)`; bool of one bit,
            otherwise numbers of the file's depth, at least 8 bits. CMYK is RGB here.
        palette: `(colours, 4)` uint8, red, green, blue and opacity of each value of
            the pixels; `None` if the pixels are no numbers of colours.
        alpha: whether the last channel is opacity.
        lossy: whether the file's compression changes values.
    """

    pixels: np.ndarray
    palette: np.ndarray | None = None
    alpha: bool = False
    lossy: bool = False

    @property
    def channels(self) -> int:
        """Number of channels without that of opacity; 3 for a palette."""
        if self.palette is not None:
            return 3
        return (1 if self.pixels.ndim == 2 else self.pixels.shape[2]) - self.alpha


def decode(path: str | Path) -> Picture:
    """Decodes a JPEG, PNG, BMP, WebP or TIFF file of one image.

    Raises:
        ValueError: names the file, if there is none, it is damaged, of another format
            or of several images, or claims more than 89 million pixels or 512 MiB.
    """
    path = Path(path)
    try:
        check_regular(path)
        with path.open("rb") as file:
            if path.stat().st_size > MAX_BYTES:
                raise ValueError(
                    f"Expected a file of at most {MAX_BYTES:,} bytes. Received: "
                    f"{path.stat().st_size:,} bytes"
                )
            head = file.read(32)
            file.seek(0)
            kind = _kind(head)
            picture = _tiff(file) if kind == "TIFF" else _other(file, kind, head)
    # Each decoder has its own errors for damaged bytes, and some have many.
    except Exception as error:
        text = str(error)
        if not text or not isinstance(error, ValueError | OSError | SyntaxError):
            text = f"{type(error).__name__} {text}".strip()
        raise ValueError(f"Cannot read {path}: {text}") from error
    dtype = picture.pixels.dtype.newbyteorder("=")
    return picture._replace(pixels=np.ascontiguousarray(picture.pixels, dtype))


def _kind(head):
    """Name of the format that begins with these bytes."""
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith(b"BM"):
        return "BMP"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "WebP"
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "TIFF"
    raise ValueError("it is no JPEG, PNG, BMP, TIFF or WebP file.")


def _check_size(width, height, pixel_bytes):
    """Makes sure that an image is not too large, before memory is taken for it."""
    most = min(MAX_PIXELS, MAX_BYTES // max(pixel_bytes, 1))
    if not 0 < width * height <= most:
        raise ValueError(
            f"Expected 1 to {most:,} pixels of {pixel_bytes} bytes. Received: "
            f"{width} x {height}"
        )


def _check_single(count):
    if count != 1:
        raise ValueError(
            f"Expected a file of one image. Received: {count}"
            f"{' or more' if count == MAX_PAGES else ''} pages or frames. "
            "Save each to a file of its own."
        )


def _other(file, kind, head):
    """Decodes what is no TIFF."""
    with _READERS[kind](file) as image:
        deep = kind == "PNG" and head[24] == 16
        _check_size(*image.size, len(image.getbands()) * (2 if deep else 1))
        # Of the several images in a JPEG file the first is the photograph.
        _check_single(1 if kind == "JPEG" else getattr(image, "n_frames", 1))
        if deep:
            picture = Picture(_deep_png(file, image, head))
            depth = 1 if picture.pixels.ndim == 2 else picture.pixels.shape[2]
            picture = picture._replace(alpha=depth in (2, 4))
        else:
            picture = _from_pillow(image)
        turn = _turn(image)
    lossy = kind == "JPEG" or (kind == "WebP" and _is_lossy_webp(file))
    return picture._replace(pixels=turn(picture.pixels), lossy=lossy)


def _deep_png(file, image, head):
    """Pixels of a PNG file of 16 bits, of which Pillow keeps 8."""
    size = int.from_bytes(head[16:20]), int.from_bytes(head[20:24])
    if head[12:16] != b"IHDR" or size != image.size:
        raise ValueError("its header is damaged.")
    image.load()  # Libpng warns where Pillow refuses.
    file.seek(0)
    return imagecodecs.png_decode(file.read())


def _from_pillow(image):
    if image.mode == "P":
        indices = np.array(image)
        image.apply_transparency()
        colours = np.array(image.getpalette("RGBA"), "uint8").reshape(-1, 4)
        return Picture(indices, _whole_palette(colours, indices))
    if image.mode == "CMYK":
        image = image.convert("RGB")
    elif "transparency" in image.info and image.mode in ("1", "L", "RGB"):
        image = image.convert("RGBA" if image.mode == "RGB" else "LA")
    if image.mode not in ("1", "L", "LA", "RGB", "RGBA"):
        raise ValueError(f"Expected grey, RGB or CMYK. Received: mode {image.mode}")
    return Picture(np.array(image), alpha=image.mode in ("LA", "RGBA"))


def _whole_palette(colours, indices):
    """A palette with a colour for each index; those that the file lacks are black."""
    if indices.dtype.kind != "u" or indices.max() >= max(len(colours), 256):
        raise ValueError("its palette is damaged.")
    missing = max(256 - len(colours), 0)
    return np.concatenate([colours, np.full((missing, 4), (0, 0, 0, 255), "uint8")])


def _turn(image):
    """What the EXIF block says is to be done with the pixels; nothing if damaged."""
    try:
        return _TURNS[image.getexif()[ExifTags.Base.Orientation]]
    except Exception:
        return lambda pixels: pixels


def _is_lossy_webp(file: BinaryIO):
    file.seek(0)
    return b"VP8L" not in file.read()


def _tiff(file):
    with _complaints_are_errors(), tifffile.TiffFile(file) as tiff:
        page = tiff.pages.first
        _check_single(_count_images(tiff))
        _check_tiff(page, file)
        pixels = _pixels(page, file)
        orientation = page.tags.valueof(274, 1)
        lossy = page.compression == tifffile.COMPRESSION.JPEG
        alpha = bool(page.extrasamples) and page.extrasamples[-1] in _ALPHA
    if page.axes == "SYX":
        pixels = np.moveaxis(pixels, 0, -1)
    pixels, palette = _colours(page, pixels)
    if orientation in _TURNS:
        pixels = _TURNS[orientation](pixels)
    return Picture(pixels, palette, alpha, lossy)


def _pixels(page, file):
    """Pixels of a page, of which `_check_tiff` has found nothing wrong."""
    if page.compression != tifffile.COMPRESSION.LZW:
        return page.asarray(maxworkers=1)
    # Damaged LZW makes the decoder that tifffile takes write beyond its memory.
    file.seek(0)
    return imagecodecs.tiff_decode(file.read())


@contextmanager
def _complaints_are_errors():
    """tifffile logs what is wrong with a file, and reads on without that tag."""
    said, thread = [], threading.get_ident()
    handler = logging.Handler(logging.ERROR)
    handler.emit = lambda record: record.thread == thread and said.append(record)
    logger = logging.getLogger("tifffile")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
    if said:
        raise ValueError(said[0].getMessage())


def _count_images(tiff):
    """Number of images in a TIFF file, but for smaller copies of one."""
    # A damaged file's directories may go in a circle.
    pages = itertools.islice(tiff.pages, MAX_PAGES)
    count = sum(not page.is_reduced for page in pages)
    # ImageJ and tifffile describe a stack, but may write a directory for the first.
    first = tiff.pages.first
    if first.is_imagej:
        count = max(count, (tiff.imagej_metadata or {}).get("images", 1))
    if first.shaped_description:
        shape = shaped_description_metadata(first.shaped_description)["shape"]
        if tuple(shape[-first.ndim :]) == first.shape:
            count = max(count, math.prod(shape[: -first.ndim]))
    return count * first.imagedepth


def _check_tiff(page, file):
    """Makes sure that a page can be decoded, in little memory and to the end."""
    for code, name in _NEEDED.items():
        if code not in page.tags:
            raise ValueError(f"Expected a tag {name}. There is none.")
    for code in _NUMBERS & set(page.tags.keys()):
        if not isinstance(page.tags.valueof(code), int):
            raise ValueError(f"its tag {code} is damaged.")
    if page.tags.valueof(284, 1) not in (1, 2):
        raise ValueError("its planar configuration is damaged.")
    if page.samplesperpixel < 1 or (322 in page.tags) != (323 in page.tags):
        raise ValueError("its samples or its tiles are damaged.")
    if page.bitspersample == 1 and page.samplesperpixel > 1:
        raise ValueError("its colours have one bit, which nobody writes.")
    if page.compression == tifffile.COMPRESSION.LZW and page.bitspersample in (2, 4):
        raise ValueError(
            f"it is LZW of {page.bitspersample} bits a channel. Save it as PNG."
        )
    if page.bitspersample not in _DEPTHS or (
        page.predictor != 1 and page.bitspersample not in (8, 16, 32, 64)
    ):
        raise ValueError(
            f"its pixels have {page.bitspersample} bits a channel, which nobody writes "
            "in this way."
        )
    if page.compression in _BITS and page.bitspersample != 1:
        raise ValueError("its compression is of one bit, and its pixels have more.")
    if page.compression not in _COMPRESSIONS:
        raise ValueError(
            f"its compression, {getattr(page.compression, 'name', page.compression)}, "
            "is not supported. Save it with LZW or Deflate."
        )
    if page.dtype is None or page.dtype.kind not in "biuf":
        raise ValueError("Expected integers or floats. Received: other pixels")
    if page.axes not in ("YX", "YXS", "SYX"):
        raise ValueError(f"Expected height and width. Received: axes {page.axes}")
    pixel_bytes = page.samplesperpixel * page.dtype.itemsize
    _check_size(page.imagewidth, page.imagelength, pixel_bytes)
    if page.is_tiled:
        _check_size(page.tilewidth, page.tilelength, pixel_bytes)
    for code in _PARTS & set(page.tags.keys()):
        if page.tags[code].dtype not in _UNSIGNED:
            raise ValueError("its offsets or sizes are damaged.")
    size = file.seek(0, io.SEEK_END)
    segments = list(zip(page.dataoffsets, page.databytecounts))
    if not all(isinstance(x, int) for segment in segments for x in segment):
        raise ValueError("its offsets or sizes are damaged.")
    if len(segments) < np.prod(page.chunked) or any(
        not count or offset + count > size for offset, count in segments
    ):
        raise ValueError("the file is truncated.")
    # A directory of n entries has 2 + 12 n bytes at least.
    start, end = page.offset, page.offset + 2 + 12 * len(page.tags)
    if any(at < 8 or (at < end and at + count > start) for at, count in segments):
        raise ValueError("a part of it begins in its header or its directory.")
    if page.compression == tifffile.COMPRESSION.NONE:
        # A part of one more byte has an even size.
        most = math.prod(page.chunks) * page.bitspersample / 8 + page.chunks[0] + 1
        if max(count for _, count in segments) > most:
            raise ValueError("its parts are larger than its size and depth tell.")
    if page.compression == tifffile.COMPRESSION.JPEG:
        for offset, count in segments:
            file.seek(offset)
            part = JpegImagePlugin.JpegImageFile(io.BytesIO(file.read(count)))
            if part.width * part.height > np.prod(page.chunks):
                raise ValueError("its strips are larger than the image.")


def _colours(page, pixels):
    """Grey or RGB pixels of bright as the largest value, or indices and palette."""
    photometric, bits = page.photometric, page.bitspersample
    kinds = tifffile.PHOTOMETRIC
    if photometric == kinds.PALETTE and pixels.ndim == 2:
        colours = page.colormap.T
        if colours.max() > 255:
            colours = colours >> 8
        colours = np.insert(colours.astype("uint8"), 3, 255, axis=1)
        return pixels, _whole_palette(colours, pixels)
    modes = {(kinds.SEPARATED, 4): "CMYK", (kinds.YCBCR, 3): "YCbCr"}
    mode = modes.get((photometric, page.samplesperpixel))
    if mode and bits == 8:
        # The decoder of JPEG makes RGB of YCbCr itself.
        if mode == "YCbCr" and page.compression == tifffile.COMPRESSION.JPEG:
            return pixels, None
        image = Image.frombytes(mode, pixels.shape[1::-1], pixels.tobytes())
        return np.array(image.convert("RGB")), None
    if pixels.dtype == "float16":
        pixels = pixels.astype("float32")
    if photometric == kinds.MINISWHITE and pixels.dtype.kind == "b":
        pixels = ~pixels
    elif photometric == kinds.MINISWHITE and pixels.dtype.kind == "u":
        pixels = pixels.dtype.type(2**bits - 1) - pixels
    elif photometric not in (kinds.MINISBLACK, kinds.RGB):
        raise ValueError(
            "Expected grey, RGB, a palette, or CMYK or YCbCr of 8 bits. Received: "
            f"{getattr(photometric, 'name', photometric)} of {pixels.dtype}"
        )
    if bits < 8 and pixels.dtype == "uint8":
        pixels = pixels * np.uint8(255 // (2**bits - 1))
    return pixels, None
