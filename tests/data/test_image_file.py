"""Files of independent writers, against the arrays they were made of."""

import io
import os
import struct
import zlib

import cv2
import numpy as np
import pytest
import tifffile
from PIL import ExifTags, Image, ImageOps

from keras_pamunet.data.image_file import fit_channels, read_image, read_mask
from keras_pamunet.data.value_range import check_range

COMPRESSIONS = (None, "zlib", "lzw", "zstd", "lzma", "packbits")


@pytest.fixture
def colours(rng):
    """An image, `(24, 31, 3)` uint8."""
    return rng.integers(0, 256, (24, 31, 3), "uint8")


@pytest.fixture
def mask():
    """A mask, `(40, 60)` uint8 of 0 and 1."""
    values = np.zeros((40, 60), "uint8")
    values[5:15, 5:20] = 1
    return values


def equal(found, expected):
    assert found.dtype == expected.dtype and found.dtype.isnative
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("kind", ["u1", "i1", "u2", "i2", "u4", "i4", "f4", "f8"])
def test_tiff_numbers(tmp_path, kind, order):
    limits = np.iinfo(kind) if kind[0] in "iu" else np.finfo("f4")
    values = np.array([[limits.min, -5, 0], [1, 3_000_000_000, limits.max]], "f8")
    values = np.clip(values, limits.min, limits.max).astype(kind)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, values, byteorder=order, photometric="minisblack")
    equal(read_image(path)[..., 0], values)


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("tile", [None, (16, 16)])
@pytest.mark.parametrize("planes", ["contig", "separate"])
def test_tiff_layouts(tmp_path, rng, compression, tile, planes):
    values = rng.integers(0, 65536, (24, 31, 3)).astype("uint16")
    stored = values if planes == "contig" else np.moveaxis(values, -1, 0)
    options = {"planarconfig": planes, "compression": compression, "tile": tile}
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", **options)
    equal(read_image(tmp_path / "a.tif"), values)


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "CMYK", "YCbCr", "P"])
def test_tiff_modes(tmp_path, colours, mode):
    picture = Image.fromarray(colours).convert(mode)
    picture.save(tmp_path / "a.tif")
    if mode in ("CMYK", "YCbCr", "P"):
        picture = picture.convert("RGB")
    expected = np.asarray(picture)
    equal(read_image(tmp_path / "a.tif"), expected.reshape(24, 31, -1))


def test_tiff_of_clinic_db(tmp_path, colours):
    """RGB samples called grey, as in CVC-ClinicDB."""
    options = {"photometric": "minisblack", "planarconfig": "contig"}
    tifffile.imwrite(tmp_path / "a.tif", colours, **options)
    equal(read_image(tmp_path / "a.tif"), colours)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "uint16", "uint32"])
def test_tiff_of_white_as_zero(tmp_path, mask, dtype):
    top = 1 if dtype == "bool" else np.iinfo(dtype).max
    stored = np.where(mask, 0, top).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="miniswhite")
    bright = 255 if dtype == "bool" else top
    found = read_image(tmp_path / "a.tif")[..., 0]
    np.testing.assert_array_equal(found, np.where(mask, bright, 0))
    equal(read_mask(tmp_path / "a.tif"), mask)


@pytest.mark.parametrize("compression", ["group3", "group4", "tiff_lzw", "packbits"])
def test_tiff_of_one_bit(tmp_path, mask, compression):
    Image.fromarray(mask > 0).save(tmp_path / "a.tif", compression=compression)
    equal(read_image(tmp_path / "a.tif")[..., 0], 255 * mask)
    equal(read_mask(tmp_path / "a.tif"), mask)


@pytest.mark.parametrize(("bits", "scale"), [(2, 85), (4, 17), (12, 1)])
def test_tiff_of_odd_depth(tmp_path, rng, bits, scale):
    values = rng.integers(0, 2**bits, (24, 31), "uint8" if bits < 8 else "uint16")
    tifffile.imwrite(tmp_path / "a.tif", values, bitspersample=bits)
    equal(read_image(tmp_path / "a.tif")[..., 0], values * values.dtype.type(scale))


def test_tiff_of_jpeg(tmp_path):
    ramp = np.add.outer(np.arange(64), np.arange(64)).astype("uint8")
    expected = np.dstack([ramp, ramp[::-1], ramp[:, ::-1]])
    picture = Image.fromarray(expected)
    picture.save(tmp_path / "a.tif", compression="jpeg", quality=95)
    found = read_image(tmp_path / "a.tif").astype(int)
    assert np.abs(found - expected).max() < 8


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_png_of_16_bits(tmp_path, rng, channels):
    values = rng.integers(0, 4096, (24, 31, channels)).astype("uint16")
    if channels == 2:  # OpenCV writes no grey with opacity.
        rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
        (tmp_path / "a.png").write_bytes(png(31, 24, 16, 4, zlib.compress(rows)))
    else:
        order = {1: [0], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[channels]
        cv2.imwrite(str(tmp_path / "a.png"), values[..., order])
    equal(read_image(tmp_path / "a.png"), values)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(tmp_path, colours, suffix, orientation):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(colours).save(path, exif=exif)
    with Image.open(path) as picture:
        equal(read_image(path), np.asarray(ImageOps.exif_transpose(picture)))


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
@pytest.mark.parametrize(
    "block", [b"", b"XX\0*\0\0\0\x08", b"MM\0*", b"MM\0*\xff\xff\xff\xff"]
)
def test_damaged_exif(tmp_path, colours, suffix, block):
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(colours).save(path)
    plain = read_image(path)
    Image.fromarray(colours).save(path, exif=b"Exif\0\0" + block)
    equal(read_image(path), plain)


@pytest.mark.parametrize("suffix", ["tif", "png", "webp"])
def test_several_images(tmp_path, colours, suffix):
    pages = [Image.fromarray(colours // part) for part in (1, 2, 3)]
    path = tmp_path / f"a.{suffix}"
    pages[0].save(path, save_all=True, append_images=pages[1:])
    with pytest.raises(ValueError, match=f"a.{suffix}.*one image. Received: 3 pages"):
        read_image(path)


@pytest.mark.parametrize("options", [{"imagej": True}, {}])
def test_stack_of_one_directory(tmp_path, options):
    stack = np.zeros((5, 24, 31), "uint8")
    tifffile.imwrite(tmp_path / "a.tif", stack, truncate=True, **options)
    with pytest.raises(ValueError, match="Received: 5 pages"):
        read_image(tmp_path / "a.tif")


def test_tiff_with_thumbnail(tmp_path, colours):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(colours, photometric="rgb")
        file.write(colours[::2, ::2], photometric="rgb", subfiletype=1)
    equal(read_image(tmp_path / "a.tif"), colours)


def test_other_formats_are_not_opened(tmp_path, colours):
    """Pillow would hand the first to Ghostscript."""
    (tmp_path / "a.png").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    Image.fromarray(colours).save(tmp_path / "b.png", "gif")
    (tmp_path / "c.png").write_bytes(b"")
    (tmp_path / "d.png").mkdir()
    os.mkfifo(tmp_path / "e.png")
    (tmp_path / "f.png").symlink_to("/dev/zero")
    for name in "abc":
        with pytest.raises(ValueError, match=f"{name}.png: it is no JPEG, PNG"):
            read_image(tmp_path / f"{name}.png")
    for name in "def":
        with pytest.raises(ValueError, match=f"{name}.png: Expected a file"):
            read_image(tmp_path / f"{name}.png")
    Image.fromarray(colours).save(tmp_path / "g.jpg", "png")
    equal(read_image(tmp_path / "g.jpg"), colours)


def png(width, height, bits, colour, content):
    """A PNG file of these claims."""

    def chunk(kind, data):
        checksum = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + checksum

    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", content), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def tiff(width, height, content, compression=1, more=()):
    """A TIFF file of one strip of 8 bits, with these claims."""
    tags = {256: width, 257: height, 258: 8, 259: compression, 262: 1, 277: 1}
    tags |= {278: height, 279: len(content)} | dict(more)
    places = {273, 324} & set(tags) or {273}
    start = 8 + 2 + 12 * len(tags | dict.fromkeys(places)) + 4
    tags |= dict.fromkeys(places, start)
    entries = [struct.pack("<HHII", tag, 4, 1, tags[tag]) for tag in sorted(tags)]
    head = struct.pack("<2sHIH", b"II", 42, 8, len(tags))
    return head + b"".join(entries) + bytes(4) + content


def jpeg(width, height):
    """A JPEG file that claims this size."""
    file = io.BytesIO()
    Image.new("L", (8, 8)).save(file, "jpeg")
    content = bytearray(file.getvalue())
    at = content.index(b"\xff\xc0") + 5
    content[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(content)


def bmp(width, height):
    """A BMP file that claims this size."""
    fields = 54, 0, 0, 54, 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0
    return b"BM" + struct.pack("<IHHIIiiHHIIiiII", *fields) + bytes(99)


TILES = {322: 60_000, 323: 60_000, 324: 0, 325: 20}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (png(65_000, 65_000, 8, 2, b""), "Received: 65000 x 65000"),
        (png(65_000, 65_000, 16, 6, b""), "Received: 65000 x 65000"),
        (png(9_400, 9_400, 8, 2, b""), "truncated"),
        (png(10_000, 9_500, 8, 0, b""), "Received: 10000 x 9500"),
        (jpeg(65_000, 65_000), "Received: 65000 x 65000"),
        (bmp(65_000, 65_000), "Received: 65000 x 65000"),
        (tiff(65_000, 65_000, bytes(99)), "Received: 65000 x 65000"),
        (tiff(9_400, 9_400, bytes(99)), "failed to read"),
        (tiff(64, 64, zlib.compress(bytes(10**8)), 8), "INSUFFICIENT_SPACE"),
        (tiff(64, 64, jpeg(60_000, 60_000), 7), "strips are larger"),
        (tiff(64, 64, bytes(20), 8, TILES), "Received: 60000 x 60000"),
        (tiff(0, 64, bytes(20)), "Received: 0 x 64"),
        (tiff(64, 64, bytes(20), 34712), "JPEG2000, is not supported"),
    ],
)
def test_claims(tmp_path, content, message):
    """What a header claims takes no memory; what is cut off is no black area."""
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(ValueError, match=f"Cannot read .*a.png: .*{message}"):
        read_image(tmp_path / "a.png")


def test_directories_in_a_circle(tmp_path):
    content = bytearray(tiff(8, 8, bytes(64)))
    content[-68:-64] = struct.pack("<I", 8)
    (tmp_path / "a.tif").write_bytes(content)
    with pytest.raises(ValueError, match="1000 or more pages"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "webp", "tif", "lzw.tif"])
def test_truncated(tmp_path, colours, suffix):
    path = tmp_path / f"a.{suffix}"
    options = {"compression": "tiff_lzw"} if suffix == "lzw.tif" else {}
    Image.fromarray(colours).save(path, **options)
    content = path.read_bytes()
    for share in (0.3, 0.6, 0.95):
        path.write_bytes(content[: int(share * len(content))])
        with pytest.raises(ValueError, match=f"Cannot read .*a.{suffix}"):
            read_image(path)


@pytest.mark.parametrize(
    ("tag", "value", "message"),
    [(258, 7, "7 bits a channel"), (258, 12, "12 bits"), (273, 16, "its directory")],
)
def test_damaged_tags(tmp_path, colours, tag, value, message):
    """The pixels that such a file would give are others than those in it."""
    path = tmp_path / "a.tif"
    grey = colours[..., 0]
    tifffile.imwrite(path, grey, compression="lzw", predictor=2)
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        at = file.pages[0].tags[tag].valueoffset
    content[at : at + 2] = value.to_bytes(2, "little")
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_image(path)


def as_grey(mask):
    return Image.fromarray(255 * mask)


def as_quantized(mask):
    return Image.fromarray(255 * mask).quantize(2)  # White comes first.


def as_adaptive(mask):
    palette = {"palette": Image.Palette.ADAPTIVE, "colors": 2}
    return Image.fromarray(255 * mask).convert("P", **palette)


def as_numbers(mask):
    picture = Image.fromarray(mask, "P")
    picture.putpalette([0, 0, 0] * 2)
    return picture


def as_voc(mask):
    picture = Image.fromarray(mask * np.uint8(15), "P")
    picture.putpalette([0, 0, 0] * 15 + [192, 128, 128])
    return picture


def as_red_first(mask):
    picture = Image.fromarray(1 - mask, "P")
    picture.putpalette([255, 0, 0, 0, 0, 0])
    return picture


def as_cmyk(mask):
    return Image.fromarray(255 * mask).convert("RGB").convert("CMYK")


def as_black_on_transparent(mask):
    return Image.fromarray(np.dstack([0 * mask] * 3 + [255 * mask]))


def as_transparent_white(mask):
    """All is white that can be seen, but so is what cannot."""
    return Image.fromarray(np.dstack([0 * mask + 255] * 3 + [255 * mask]))


def as_half_hidden(mask):
    """White object and white, transparent corner."""
    grey, opacity = 255 * mask, np.full_like(mask, 255)
    grey[30:, 50:], opacity[30:, 50:] = 255, 0
    return Image.fromarray(np.dstack([grey] * 3 + [opacity]))


def as_grey_with_opacity(mask):
    return Image.fromarray(np.dstack([0 * mask, 255 * mask]))


def as_one_bit(mask):
    return Image.fromarray(mask > 0)


def as_soft(mask):
    large = Image.fromarray(255 * mask).resize((240, 160), Image.Resampling.NEAREST)
    return large.resize((60, 40), Image.Resampling.BILINEAR)


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize(
    "draw",
    [
        as_grey,
        as_quantized,
        as_adaptive,
        as_numbers,
        as_voc,
        as_red_first,
        as_cmyk,
        as_black_on_transparent,
        as_transparent_white,
        as_half_hidden,
        as_grey_with_opacity,
        as_one_bit,
        as_soft,
    ],
)
def test_masks_of_one_object(tmp_path, mask, draw, suffix):
    if (draw, suffix) == (as_cmyk, "png"):
        pytest.skip("there is no such PNG")
    draw(mask).save(tmp_path / f"a.{suffix}")
    equal(read_mask(tmp_path / f"a.{suffix}"), mask)


def test_mask_of_half_the_size(tmp_path):
    """Of five values: 0, 64, 128, 191 and 255."""
    large = np.zeros((80, 120), "uint8")
    large[11:31, 11:41] = 255
    small = cv2.resize(large, (60, 40), interpolation=cv2.INTER_AREA)
    Image.fromarray(small).save(tmp_path / "a.png")
    covered = large.reshape(40, 2, 60, 2).mean(axis=(1, 3)) / 255
    equal(read_mask(tmp_path / "a.png"), (covered >= 0.5).astype("uint8"))


def test_small_third_label(tmp_path, mask):
    """A lesion of few pixels is no soft edge."""
    labels = 255 * mask
    labels[20:24, 30:35] = 128
    Image.fromarray(labels).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"3 values \(0, 128, 255\)"):
        read_mask(tmp_path / "a.png")


@pytest.mark.parametrize("quality", [50, 75, 95])
def test_masks_with_noise(tmp_path, quality):
    """JPEG, the same pixels in PNG, and those resized with soft edges."""
    rows, columns = np.mgrid[:300, :400]
    disc = (rows - 140) ** 2 + (columns - 180) ** 2 < 90**2
    Image.fromarray(255 * disc.astype("uint8")).save(
        tmp_path / "a.jpg", quality=quality
    )
    with Image.open(tmp_path / "a.jpg") as noisy:
        noisy.save(tmp_path / "b.png")
        noisy.resize((176, 176), Image.Resampling.BILINEAR).save(tmp_path / "c.png")
    for name in ("a.jpg", "b.png"):
        assert np.mean(read_mask(tmp_path / name) != disc) < 0.001
    smaller = Image.fromarray(disc).resize((176, 176), Image.Resampling.NEAREST)
    assert np.mean(read_mask(tmp_path / "c.png") != np.asarray(smaller)) < 0.01


LABELS = {
    "three": [0, 1, 2],
    "void": [0, 1, 255],
    "scaled": [0, 127, 255],
    "near": [0, 250, 255],
    "many": [0, 1, 2, 3, 4, 5, 6, 255],
    "voc": [0, 3, 7, 9, 12, 15, 20, 255],
}


@pytest.mark.parametrize("values", LABELS.values(), ids=LABELS)
def test_labels_are_no_object(tmp_path, values):
    labels = np.repeat(np.array(values, "uint8"), 8) * np.ones((30, 1), "uint8")
    Image.fromarray(labels).save(tmp_path / "a.png")
    message = f"a.png.*two values.*Received: {len(values)} values.*--num-classes"
    with pytest.raises(ValueError, match=message):
        read_mask(tmp_path / "a.png")


def test_object_of_another_value(tmp_path, mask):
    Image.fromarray(127 * mask).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match="if 127 is the object, write 255"):
        read_mask(tmp_path / "a.png")


@pytest.mark.parametrize(("suffix", "value"), [("jpg", 1), ("webp", 40)])
def test_lossy_formats_keep_no_small_numbers(tmp_path, mask, suffix, value):
    Image.fromarray(value * mask).save(tmp_path / f"a.{suffix}", quality=90)
    with pytest.raises(ValueError, match="in a lossy format"):
        read_mask(tmp_path / f"a.{suffix}")
    with pytest.raises(ValueError, match="lossless format"):
        read_mask(tmp_path / f"a.{suffix}", 2)
    Image.fromarray(0 * mask).save(tmp_path / f"a.{suffix}")
    equal(read_mask(tmp_path / f"a.{suffix}"), 0 * mask)


def test_masks_that_cannot_be_told(tmp_path, mask):
    red = np.dstack([255 * mask, 0 * mask, 0 * mask])
    purple = Image.fromarray(mask, "P")
    purple.putpalette([68, 1, 84, 253, 231, 36])
    for picture in (Image.fromarray(red), purple):
        picture.save(tmp_path / "a.png")
        with pytest.raises(ValueError, match="a.png.*several colours"):
            read_mask(tmp_path / "a.png")
    Image.fromarray(np.dstack([255 * mask] * 3 + [0 * mask])).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match="only transparent"):
        read_mask(tmp_path / "a.png")
    Image.fromarray(255 * mask).save(tmp_path / "a.png", transparency=255)
    with pytest.raises(ValueError, match="either may be the object"):
        read_mask(tmp_path / "a.png")
    tifffile.imwrite(tmp_path / "a.tif", -mask.astype("int8"), photometric="minisblack")
    with pytest.raises(ValueError, match="two values"):
        read_mask(tmp_path / "a.tif")


def test_labels(tmp_path, rng):
    labels = rng.integers(0, 3, (24, 31), "uint8")
    path = tmp_path / "a.png"
    voc = Image.fromarray(labels, "P")
    voc.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
    turned = Image.fromarray(2 - labels, "P")  # Its colours are the labels.
    turned.putpalette([2, 2, 2, 1, 1, 1, 0, 0, 0])
    opacity = np.where(labels > 0, 255, 0).astype("uint8")
    hidden = Image.fromarray(np.dstack([np.maximum(labels, 1), opacity]))
    for picture in (Image.fromarray(labels), voc, turned, hidden):
        picture.save(path)
        equal(read_mask(path, 3), labels)
    quantized = Image.fromarray(255 * (labels // 2)).quantize(2)
    assert quantized.getpalette()[:3] == [255] * 3
    quantized.save(path)
    with pytest.raises(ValueError, match="black, the background, as its colour"):
        read_mask(path, 2)
    for values in (labels + np.uint16(256), labels + np.float32(0.5)):
        tifffile.imwrite(tmp_path / "a.tif", values)
        with pytest.raises(ValueError, match="a.tif.*labels from 0 to 2"):
            read_mask(tmp_path / "a.tif", 3)


def test_fit_channels(colours):
    grey, opacity = colours[..., :1], colours[..., 1:2]
    equal(fit_channels(np.dstack([colours, opacity]), 3), colours)
    equal(fit_channels(grey, 3), np.dstack([grey] * 3))
    equal(fit_channels(np.dstack([grey, opacity]), 3), np.dstack([grey] * 3))
    equal(fit_channels(np.dstack([grey, opacity]), 1), grey)
    equal(fit_channels(np.dstack([grey] * 3 + [opacity]), 1), grey)
    assert fit_channels(colours, 3) is colours
    for image, channels in ((colours, 1), (colours, 4), (colours, 5), (colours[0], 3)):
        with pytest.raises(ValueError, match=f"width, {channels}\\). Received: shape"):
            fit_channels(image, channels)


def test_check_range():
    fit = [
        (np.array([0, 255], "uint8"), (0, 255)),
        (np.array([0, 255], "uint16"), (0, 255)),
        (np.array([0, 1], "uint8"), (0, 255)),
        (np.array([0, 0.0]), (0, 255)),
        (np.array([0, 1.0]), (0, 1)),
        (np.array([-1000, 3000]), (-200, 250)),
    ]
    for image, input_range in fit:
        check_range(image, input_range)
    unfit = [
        (np.array([0, 256], "uint16"), (0, 255), "8 bits.*uint16 values up to 256"),
        (np.array([-1, 9], "int8"), (0, 255), "no negative values.*from -1 to 9"),
        (np.array([0, 0.9]), (0, 255), "up to 0.9. Multiply them by 255"),
        (np.array([0, 255], "uint8"), (0, 1), "up to 255. Divide"),
    ]
    for image, input_range, message in unfit:
        with pytest.raises(ValueError, match=message):
            check_range(image, input_range)


@pytest.mark.parametrize(
    ("tag", "at", "message"),
    [
        (339, 2, "data type"),  # How the 32 bits of a sample are to be read.
        (262, 0, "PhotometricInterpretation"),  # Whether 0 is black.
        (284, 8, "planar configuration"),
        (258, 0, "its colours have one bit"),  # One bit is the default.
        (259, 0, "Compression"),
        (278, 4, "tag 278"),  # More than one number.
        (277, 8, "samples"),
    ],
)
def test_damaged_tiff_tags(tmp_path, rng, tag, at, message):
    """What a TIFF says of its pixels is not guessed."""
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, rng.random((9, 8), "float32"), metadata=None)
    if tag in (258, 284):
        tifffile.imwrite(path, rng.integers(0, 9, (9, 8, 3), "uint8"), metadata=None)
    with tifffile.TiffFile(path) as tiff:
        offset = tiff.pages.first.tags[tag].offset
    content = bytearray(path.read_bytes())
    value = {278: 2, 277: 0}.get(tag, 60_000)
    content[offset + at : offset + at + 2] = struct.pack("<H", value)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"Cannot read .*a.tif: .*{message}"):
        read_image(path)


# Codes that are in no table, so that the decoder of tifffile wrote beyond its memory.
LZW = bytes.fromhex(
    "807f20503824160a09834260c1285436041b874344911850b629091b40993051bc387f026041"
    "4810e244096f0524c38a30257414a50e2d45e0c6399414d935821d671033f4ee04879f001214"
    "14cd05454155d0569415ed058d4167d06020"
)


def test_damaged_lzw(tmp_path):
    path = tmp_path / "a.tif"
    grey = np.random.default_rng(0).integers(0, 256, (24, 20), "uint8")
    tifffile.imwrite(path, grey, compression="lzw", predictor=2)
    np.testing.assert_array_equal(read_image(path)[..., 0], grey)
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tiff:
        (start,) = tiff.pages.first.dataoffsets
        at = tiff.pages.first.tags[279].valueoffset
    content[at : at + 4] = len(LZW).to_bytes(4, "little")
    path.write_bytes(content[:start] + LZW)
    with pytest.raises(ValueError, match="a.tif"):
        read_image(path)


@pytest.mark.parametrize(
    ("tag", "skip", "message"),
    [(258, 0, "one bit"), (279, 2, "sizes")],
)
def test_lost_depth_and_odd_type(tmp_path, tag, skip, message):
    """Without a depth a channel has one bit; sizes have a type of numbers."""
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((9, 9, 3), "uint8"), photometric="rgb")
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tiff:
        at = tiff.pages.first.tags[tag].offset + skip
    # Another number of the tag, or the type of plain bytes.
    content[at : at + 2] = b"\7\0" if skip else b"\0\xff"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_image(path)
