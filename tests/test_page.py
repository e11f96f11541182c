"""What the page's folder holds. `web/e2e` opens it in a browser."""

import json

import pytest
from typer.testing import CliRunner

from keras_pamunet.cli import app
from keras_pamunet.page import is_site, write_page
from tests.helpers import once, write_onnx

pytestmark = once


@pytest.fixture
def assets(tmp_path):
    """A built page in small."""
    folder = tmp_path / "assets"
    (folder / "assets/gpu").mkdir(parents=True)
    for name in ("index.html", "sw.js", "headers.json"):
        (folder / name).write_text(name)
    for name in ("assets/index.js", "assets/gpu/a.wasm"):  # Not all need the second.
        (folder / name).write_text(name)
    return folder


def test_site(tmp_path, assets):
    models = [
        write_onnx(tmp_path / "spots.onnx"),
        write_onnx(tmp_path / "ct.onnx", (-200, 250)),
    ]
    site = write_page(tmp_path / "new" / "site", models, assets=assets)
    held = json.loads((site / "site.json").read_text())
    assert is_site(site) and not is_site(assets)
    assert held["files"] == [
        "assets/index.js",
        "headers.json",
        "index.html",
        "models/ct.onnx",
        "models/spots.onnx",
    ]
    spots, ct = held["models"]
    assert spots == {
        "name": "spots",
        "task": "spot",
        "file": "models/spots.onnx",
        "kind": "photograph",
        "largest": False,
    }
    assert ct["kind"] == "volume"
    assert (site / "models/ct.onnx").read_bytes() == models[1].read_bytes()
    assert [path.name for path in site.parent.iterdir()] == ["site"]


def test_version_tells_of_every_byte(tmp_path, assets):
    model = write_onnx(tmp_path / "spots.onnx")

    def version(number):
        site = write_page(tmp_path / f"site {number}", [model], assets=assets)
        return json.loads((site / "site.json").read_text())["version"]

    first = version(1)
    assert version(2) == first
    (assets / "assets/index.js").write_text("other")
    assert version(3) != first


def test_what_is_there_stays(tmp_path, assets):
    model = write_onnx(tmp_path / "spots.onnx")
    site = write_page(tmp_path / "site", [model], assets=assets)
    (site / "mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="--overwrite"):
        write_page(site, [model], assets=assets)
    (tmp_path / "cut.onnx").write_bytes(model.read_bytes()[:-5])
    with pytest.raises(ValueError, match="cut"):
        write_page(site, [tmp_path / "cut.onnx"], assets=assets, overwrite=True)
    assert (site / "mine.txt").exists()
    write_page(site, [model], assets=assets, overwrite=True)
    assert is_site(site) and not (site / "mine.txt").exists()
    (tmp_path / "other").mkdir()
    with pytest.raises(FileExistsError, match="something else"):
        write_page(tmp_path / "other", [model], assets=assets, overwrite=True)


def test_wrong_arguments(tmp_path, assets):
    model = write_onnx(tmp_path / "spots.onnx")
    with pytest.raises(FileNotFoundError, match="make page"):
        write_page(tmp_path / "site", [model], assets=tmp_path)
    with pytest.raises(ValueError, match="twice: spots"):
        write_page(tmp_path / "site", [model, model], assets=assets)
    assert not (tmp_path / "site").exists()


def test_command_keeps_a_folder(tmp_path):
    done = CliRunner().invoke(app, ["page", "-o", str(tmp_path)])
    assert done.exit_code == 1
    assert "make page" in done.output or "something else" in done.output
