"""The page in a real Chromium, beside what prediction in Python finds."""

import base64
import csv
import gzip
import io
import os
import time
from pathlib import Path
from zipfile import ZipFile

import cv2
import nibabel
import numpy as np
import onnx
import pytest
from PIL import Image

from keras_pamunet import choices
from keras_pamunet.data import Phantom
from keras_pamunet.inference.dicom_inputs import convert
from keras_pamunet.inference.images import predict_images
from keras_pamunet.inference.onnx_model import OnnxModel
from keras_pamunet.inference.predictor import segment
from keras_pamunet.inference.volumes import predict_volume, predict_volumes
from tests.data.test_dicom import write_series
from tests.helpers import write_onnx
from web.e2e.conftest import PATIENCE, opened, served

DATA = Path(os.environ.get("KERAS_PAMUNET_DATA", "shared/data"))
AXE = Path(__file__).parents[1] / "node_modules/axe-core/axe.min.js"
# Where the pictures of the documentation go, if they shall be made anew.
PICTURES = os.environ.get("KERAS_PAMUNET_PICTURES")
# Of the pixels of a mask, those that may differ: another decoder, other sums.
SHARE = 0.001
DONE = "#list li[data-state=done]"


def photograph(path, index=0, size=(300, 340), **options):
    """A drawn one, as a camera's file."""
    image, _ = Phantom(9, max(size))[index]
    Image.fromarray(image[: size[0], : size[1]]).save(path, **options)
    return path


def choose(page, *paths):
    page.set_input_files("#files", [str(path) for path in paths])


def wait_for(page, count, selector=DONE):
    page.wait_for_function(
        "([selector, count]) => document.querySelectorAll(selector).length === count",
        arg=[selector, count],
    )


def saved(page, button):
    with page.expect_download() as download:
        page.click(button)
    return Path(download.value.path()).read_bytes(), download.value.suggested_filename


def model(site, name):
    return OnnxModel(site / f"models/{name}.onnx")


@pytest.mark.parametrize("flips", [True, False])
@pytest.mark.parametrize(
    "name, options",
    [
        ("photo.jpg", {"quality": 92}),
        ("photo.png", {}),
        ("small.webp", {"size": (90, 200), "lossless": True}),
        ("turned.jpg", {"exif": Image.Exif(), "quality": 92}),
    ],
)
def test_photograph(page, site, tmp_path, name, options, flips):
    """The same mask as that of `predict`, and the same row in the table."""
    if "exif" in options:
        options["exif"][0x0112] = 6
    path = photograph(tmp_path / name, **options)
    page.set_checked("#flips", flips)
    choose(page, path)
    wait_for(page, 1)
    mask, file = saved(page, "#save-one")
    predicted = predict_images(
        model(site, choices.PHOTOGRAPHS),
        path,
        tmp_path / "found",
        flips=flips,
        progress=False,
    )
    ours = np.asarray(Image.open(predicted.written[0]))
    theirs = np.asarray(Image.open(io.BytesIO(mask)))
    assert file == f"{path.stem}_mask.png"
    assert theirs.shape == ours.shape and set(np.unique(theirs)) == {0, 255}
    print(f"{name}: {np.sum(theirs != ours)} of {ours.size} pixels differ")
    assert np.mean(theirs != ours) <= SHARE
    table = saved(page, "#save-table")[0].decode()
    assert_alike(table, (tmp_path / "found/results.csv").read_text())


def assert_alike(table, expected):
    """The same columns, rows and, but for pixels at the border, sizes."""
    ours, theirs = (list(csv.DictReader(io.StringIO(x))) for x in (expected, table))
    assert [*ours[0]] == [*theirs[0]] and len(ours) == len(theirs)
    for one, other in zip(ours, theirs):
        assert one["kind"] == other["kind"] and one["class"] == other["class"]
        for column in ("percent", "mean_probability", "volume_ml"):
            near = pytest.approx(float(one[column] or 0), rel=0.01, abs=0.1)
            assert float(other[column] or 0) == near


def ct(path):
    """30 slices of a scan if there is one, else drawn ones; stored front to back."""
    scan = DATA / "liver-ct/ircad-volume-17/ct_17.nii.gz"
    if scan.is_file():
        image = nibabel.load(scan)
        middle = image.shape[2] // 2
        image = image.slicer[::2, ::2, middle - 15 : middle + 15]
        hu, affine = np.asarray(image.dataobj), image.affine
    else:
        y, x, z = np.ogrid[-1:1:96j, -1:1:112j, -1:1:30j]
        hu = np.where(x**2 + y**2 + 0 * z < 0.8, 20, -1000)
        hu = np.where((x + 0.4) ** 2 + y**2 + z**2 / 4 < 0.15, 120, hu)
        hu = hu + np.random.default_rng(0).normal(0, 15, hu.shape)
        affine = np.diag([-3.1, -3.3, 4.7, 1])
    cos, sin = np.cos(0.02), np.sin(0.02)
    turn = [[cos, -sin, 0, 3.3], [sin, cos, 0, 7.7], [0, 0, 1, 1.1], [0, 0, 0, 1]]
    affine = np.array(turn) @ affine
    image = nibabel.Nifti1Image(np.rint(hu).astype("int16"), affine)
    image.set_qform(affine, 1)
    image.set_sform(affine, 2)
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = b"a name that stays here"
    image.to_filename(path)
    return path


def predicted(site, volumes, folder):
    """The mask that `predict` writes of one volume."""
    options = {"preview": False, "largest": True, "progress": False}
    done = predict_volumes(model(site, choices.VOLUMES), volumes, folder, **options)
    return done.written[0]


def test_volume(page, site, tmp_path):
    """Byte for byte the file that `predict` writes: header, affine and labels."""
    path = ct(tmp_path / "ct.nii.gz")
    choose(page, path)
    wait_for(page, 1)
    mask, file = saved(page, "#save-one")
    ours = predicted(site, path, tmp_path / "found")
    expected = gzip.decompress(ours.read_bytes())
    theirs = gzip.decompress(mask)
    offset = int(nibabel.load(ours).dataobj.offset)
    assert file == "ct_mask.nii.gz"
    assert theirs[:offset] == expected[:offset] and len(theirs) == len(expected)
    ours, other = (np.frombuffer(x[offset:], "uint8") for x in (expected, theirs))
    assert ours.any() and np.mean(ours != other) <= SHARE
    print(f"volume: {np.count_nonzero(ours != other)} of {ours.size} voxels differ")
    table = saved(page, "#save-table")[0].decode()
    assert_alike(table, (tmp_path / "found/results.csv").read_text())


def test_dicom(page, site, tmp_path):
    """Each series is a volume, where `predict` finds the same, or said to be none."""
    scan = nibabel.as_closest_canonical(nibabel.load(ct(tmp_path / "ct.nii.gz")))
    # Slices from the feet up, rows from the front, columns from the right.
    hu = np.asarray(scan.dataobj).astype("int16").transpose(2, 1, 0)[:, ::-1, ::-1]
    write_series(tmp_path / "study/3", hu, 3, "1.2.3")
    write_series(tmp_path / "study/4", hu, 4, "1.2.4")
    (tmp_path / "study/4/4-005.dcm").unlink()
    write_series(tmp_path / "study/5", hu[:3], 5, "1.2.5", tilt=0.7)
    write_series(tmp_path / "study/6", hu[:3], 6, "1.2.6", modality="MR")
    choose(page, *sorted(tmp_path.glob("study/*/*.dcm")))
    wait_for(page, 1)
    wait_for(page, 3, "#list li[data-state=failed]")
    texts = page.locator("#list li[data-state=failed]").all_inner_texts()
    reasons = "are missing", "gantry was tilted", "this is MR"
    for text, words in zip(texts, reasons, strict=True):
        assert text.startswith("portal_") and words in text
    mask, file = saved(page, "#save-one")
    assert file == "portal_3_3_mask.nii.gz"
    (tmp_path / file).write_bytes(mask)
    volumes, _, _ = convert([tmp_path / "study/3"], tmp_path / "converted")
    ours = predicted(site, volumes, tmp_path / "found")
    ours, theirs = (
        nibabel.as_closest_canonical(nibabel.load(path))
        for path in (ours, tmp_path / file)
    )
    np.testing.assert_allclose(ours.affine, theirs.affine, atol=1e-3)
    ours, theirs = np.asarray(ours.dataobj), np.asarray(theirs.dataobj)
    assert ours.any() and np.mean(ours != theirs) <= SHARE


def test_graphics_card(gpu_browser, address, site, tmp_path):
    """WebGPU finds the same, where it is asked for."""
    path = tmp_path / "ct.nii.gz"
    image = nibabel.load(ct(path))
    image.slicer[:, :, 15:16].to_filename(path)
    with opened(gpu_browser, address) as page:
        page.check("#gpu")
        page.uncheck("#largest")  # As `predict_volume` finds them all.
        choose(page, path)
        wait_for(page, 1)
        mask = gzip.decompress(saved(page, "#save-one")[0])
    found = predict_volume(model(site, choices.VOLUMES), path)
    ours = np.asarray(found.dataobj)
    theirs = np.frombuffer(mask[-ours.size :], "uint8")
    assert ours.any() and np.mean(ours.ravel(order="F") != theirs) <= SHARE


def test_first_mask(browser, address, tmp_path):
    """From the choice of a file to its mask, once the page is loaded."""
    path = photograph(tmp_path / "photo.png", size=(256, 256))
    with opened(browser, address) as page:
        assert page.evaluate("() => crossOriginIsolated")  # Else there is one thread.
        page.wait_for_load_state("networkidle")
        for what in ("first", "second"):
            start = time.perf_counter()
            choose(page, path)
            wait_for(page, 1)
            print(f"{what} mask of 256 pixels: {time.perf_counter() - start:.2f} s")
            page.click("#clear")


def test_broken_files(page, tmp_path):
    """Each gets one sentence, and the others go on."""
    whole = photograph(tmp_path / "whole.jpg")
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(whole.read_bytes()[:600])
    text = tmp_path / "text.png"
    text.write_text("no picture")
    volume = ct(tmp_path / "ct.nii.gz")
    short = tmp_path / "short.nii.gz"
    short.write_bytes(volume.read_bytes()[:5000])
    four = tmp_path / "four.nii"
    nibabel.Nifti1Image(np.zeros((4, 4, 4, 2), "int16"), np.eye(4)).to_filename(four)
    scaled = tmp_path / "scaled.nii"
    nibabel.Nifti1Image(np.ones((4, 4, 4), "uint8"), np.eye(4)).to_filename(scaled)
    deep = tmp_path / "deep.png"
    Image.fromarray(np.full((40, 40), 300, "uint16")).save(deep)
    clear = tmp_path / "clear.png"
    Image.fromarray(np.zeros((40, 40, 4), "uint8")).save(clear)
    choose(page, cut, text, short, four, deep, clear, whole)
    wait_for(page, 1)
    failed = page.locator("#list li[data-state=failed]").all_inner_texts()
    expected = {
        "cut.jpg": "is damaged",
        "text.png": "JPEG, PNG, BMP or WebP",
        "short.nii.gz": "damaged or was cut",
        "four.nii": "three axes",
        "deep.png": "8 bits",
        "clear.png": "opaque",
    }
    assert len(failed) == len(expected)
    for (name, words), found in zip(expected.items(), failed):
        assert name in found and words in found
    assert page.locator("#status").inner_text() == "1 of 7 done, 6 could not be used"


def without_metadata(content):
    model = onnx.load_from_string(content)
    del model.metadata_props[:]
    return model.SerializeToString()


def test_own_model(page, site, tmp_path):
    """One that `export` wrote is taken; others get a sentence."""
    path = photograph(tmp_path / "photo.png")
    content = (site / f"models/{choices.PHOTOGRAPHS}.onnx").read_bytes()
    for name, own, words in (
        ("cut.onnx", content[:1000], "no ONNX file"),
        ("changed.onnx", content[:500] + b"?" + content[501:], "damaged or altered"),
        ("other.onnx", without_metadata(content), "export wrote"),
    ):
        (tmp_path / name).write_bytes(own)
        choose(page, tmp_path / name, path)
        wait_for(page, 1, "#list li[data-state=failed]")
        text = page.locator("#list li").inner_text()
        assert f"{name}: " in text and words in text
        page.click("#clear")
    mine = tmp_path / "mine.onnx"
    mine.write_bytes(content)
    page.set_input_files("#own", str(mine))
    choose(page, path)
    wait_for(page, 1)
    assert page.locator("#model option:checked").inner_text() == "mine.onnx"


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_own_model_of_any_size(page, tmp_path, dtype):
    """Grey images in their own size: what is above black is found."""
    size = "height", "width"
    spots = write_onnx(tmp_path / "spots.onnx", size=size, dtype=dtype)
    grey = np.random.default_rng(0).integers(0, 2, (37, 61), "uint8") * 90
    Image.fromarray(grey).save(tmp_path / "grey.png")
    choose(page, spots, tmp_path / "grey.png", photograph(tmp_path / "photo.png"))
    wait_for(page, 1)
    wait_for(page, 1, "#list li[data-state=failed]")
    mask = Image.open(io.BytesIO(saved(page, "#save-one")[0]))
    assert np.array_equal(np.asarray(mask) > 0, grey > 0)
    assert "grey image" in page.locator("#list li[data-state=failed]").inner_text()


def caption(page, pattern):
    """Waits for words below the picture."""
    page.wait_for_function(
        "(words) => RegExp(words).test(document.querySelector('#caption').textContent)",
        arg=pattern,
    )
    return page.inner_text("#caption")


def wait_for_button(page, text):
    page.wait_for_function(
        "(text) => document.querySelector('#camera').textContent === text", arg=text
    )


def test_video(page, site, tmp_path):
    """A frame is segmented as a photograph is, without flips."""
    path = tmp_path / "scope.webm"
    image, _ = Phantom(30, 240)[7]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"VP80"), 10, (240, 240))
    for _ in range(30):
        writer.write(image[..., ::-1])
    writer.release()
    choose(page, path)
    said = caption(page, "frames a second")
    print(f"video of 240 pixels: {said}")
    wait_for_button(page, "Use the camera")
    drawn = page.evaluate("() => document.querySelector('#mask').toDataURL()")
    drawn = Image.open(io.BytesIO(base64.b64decode(drawn.partition(",")[2])))
    found = np.asarray(drawn)[..., 3] > 0
    read, frame = cv2.VideoCapture(str(path)).read()
    assert read
    photographs = model(site, choices.PHOTOGRAPHS)
    expected = segment(photographs, frame[..., ::-1], flips=False)
    # The page shows a later frame, which VP8 has packed otherwise, by another decoder.
    sure = np.abs(expected.probabilities[..., 0] - 0.5) > 0.25
    assert sure.mean() > 0.5 and 0.01 < expected.mask[sure].mean() < 0.99
    assert np.mean(found[sure] != expected.mask[sure]) < 0.01


def test_camera(camera_browser, address):
    with opened(camera_browser, address) as page:
        for _ in range(2):
            page.click("#camera")
            wait_for_button(page, "Stop")
            caption(page, "^Camera: .*frames a second")
            page.keyboard.press("Escape")
            wait_for_button(page, "Use the camera")


@pytest.mark.parametrize(
    "name, words",
    [
        # The second where there is one.
        ("Camera", r"There is no camera\.|The browser may not use the camera\."),
        ("damaged.mp4", r"The browser cannot play this video\."),
    ],
)
def test_no_moving_picture(page, tmp_path, name, words):
    """One sentence; photographs go on."""
    if name == "Camera":
        page.click("#camera")
    else:
        (tmp_path / name).write_bytes(b"no video")
        choose(page, tmp_path / name)
    page.wait_for_function(
        "(words) => RegExp(words).test(document.querySelector('#empty').textContent)",
        arg=f"^{name}: ({words})$",
    )
    choose(page, photograph(tmp_path / "photo.png"))
    wait_for(page, 1)


def test_without_network(browser, site, tmp_path):
    """After the first load the page needs no server."""
    path = photograph(tmp_path / "photo.png")
    with served(site) as address:
        context = browser.new_context()
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        page.goto(address)
        page.wait_for_function(
            "() => document.querySelector('#offline').textContent.length > 0"
        )
    # The server has ended.
    context.set_offline(True)
    page.reload()
    choose(page, path, ct(tmp_path / "ct.nii.gz"))
    wait_for(page, 2)
    assert page.evaluate("() => crossOriginIsolated")
    context.close()


def test_no_other_host(browser, address):
    """The browser itself keeps the page from any."""
    with browser.new_context() as context:
        page = context.new_page()
        said = []
        page.on("console", lambda message: said.append(message.text))
        page.goto(address)
        refused = page.evaluate(
            "() => fetch('https://example.org').then(() => false, () => true)"
        )
        assert refused and any("Content Security Policy" in text for text in said)


def test_cancel_and_go_on(page, tmp_path):
    path = ct(tmp_path / "ct.nii.gz")
    photo = photograph(tmp_path / "photo.png")
    choose(page, path, photo)
    page.wait_for_selector("#list progress[value]")
    page.keyboard.press("Escape")
    wait_for(page, 2, "#list li[data-state=cancelled]")
    page.wait_for_function(
        "() => document.querySelector('#cancel').textContent === 'Go on'"
    )
    page.click("#cancel")
    wait_for(page, 2)


def test_page_stays_awake(page, tmp_path):
    """While a volume is segmented the page answers at once."""
    choose(page, ct(tmp_path / "ct.nii.gz"))
    page.wait_for_selector("#list progress[value]")
    longest, ticks = page.evaluate(
        """async () => {
            let [longest, ticks, last] = [0, 0, performance.now()];
            while (!document.querySelector("#list li[data-state=done]")) {
                await new Promise((resolve) => setTimeout(resolve, 5));
                longest = Math.max(longest, performance.now() - last);
                last = performance.now();
                ticks++;
            }
            return [longest, ticks];
        }"""
    )
    assert ticks > 10
    assert longest < 1000


def test_settings(page, tmp_path):
    """A lower threshold finds more; keys and boxes change what is shown."""
    path = photograph(tmp_path / "photo.png")
    choose(page, path, photograph(tmp_path / "other.png", index=3))
    wait_for(page, 2)
    sizes = []
    for threshold in ("0.9", "0.1"):
        page.locator("#threshold").fill(threshold)
        page.wait_for_timeout(1000)
        mask = Image.open(io.BytesIO(saved(page, "#save-one")[0]))
        sizes.append(np.count_nonzero(np.asarray(mask)))
    assert sizes[0] < sizes[1]
    assert page.locator("#mask").is_visible()
    page.locator("body").press("b")
    assert not page.locator("#mask").is_visible()
    assert page.locator("#before").get_attribute("aria-pressed") == "true"
    page.locator("body").press("b")
    page.locator("body").press("m")
    assert not page.locator("#mask").is_visible()
    assert page.locator("#outline").is_visible()
    page.locator("body").press("j")
    page.wait_for_function(
        "() => document.querySelector('#caption').textContent.startsWith('other.png')"
    )
    with ZipFile(io.BytesIO(saved(page, "#save-all")[0])) as archive:
        assert archive.namelist() == ["photo_mask.png", "other_mask.png"]
        assert archive.testzip() is None


def test_many_files(page, tmp_path):
    """Memory comes back when the list is emptied."""
    paths = [photograph(tmp_path / f"{n}.jpg", n % 9) for n in range(50)]
    page.set_checked("#flips", False)

    def megabytes():
        found = page.evaluate("() => performance.measureUserAgentSpecificMemory()")
        return found["bytes"] / 1e6

    def go(count):
        choose(page, *paths[:count])
        wait_for(page, count)
        page.click("#clear")
        wait_for(page, 0)
        return megabytes()

    first, second = go(5), go(50)
    print(f"memory after 5 images and 50 more: {first:.0f} and {second:.0f} MB")
    assert second < first + 10


def keep(screenshot, path):
    """A small copy for the documentation."""
    picture = Image.open(io.BytesIO(screenshot)).convert("RGB")
    picture.thumbnail((960, 960))
    picture.quantize(128).save(path, optimize=True)


@pytest.mark.parametrize("width, height", [(1280, 800), (390, 800)])
def test_looks(browser, address, tmp_path, width, height):
    """No fault that axe finds, nothing wider than the screen; and a picture of it."""
    size = {"width": width, "height": height}
    with opened(browser, address, viewport=size) as page:
        for name, index in (("photo.jpg", 7), ("another.jpg", 28)):
            image, _ = Phantom(30, 128)[index]
            large = Image.fromarray(image).resize((512, 512), Image.Resampling.BICUBIC)
            large.save(tmp_path / name)
            choose(page, tmp_path / name)
        choose(page, ct(tmp_path / "ct.nii.gz"))
        (tmp_path / "damaged.jpg").write_bytes(b"\xff\xd8\xff damaged")
        choose(page, tmp_path / "damaged.jpg")
        wait_for(page, 3)
        wait_for(page, 1, "#list li[data-state=failed]")
        page.wait_for_selector("#figure:not([hidden])")
        overflow = "() => document.documentElement.scrollWidth - innerWidth"
        assert page.evaluate(overflow) <= 0
        if PICTURES and width > height:
            keep(page.screenshot(), Path(PICTURES, "page.png"))
        if not AXE.is_file():
            pytest.skip("needs axe-core: npm ci in web/")
        page.evaluate(AXE.read_text("utf-8"))
        for state in ("done", "chosen"):
            faults = page.evaluate("async () => (await axe.run()).violations")
            assert [(x["id"], x["nodes"][0]["html"]) for x in faults] == [], state
            page.click("#list li:nth-child(3) button")
            page.wait_for_selector("#slices:not([hidden])")
