"""A site, its server and a real Chromium."""

import os
import shutil
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

from keras_pamunet.page import ASSETS, write_page
from keras_pamunet.page_server import make_server

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
# Milliseconds. The machine of the tests may have other work.
PATIENCE = 120_000
# What Chromium says when a page asks for a graphics card and there is none.
NO_CARD = "No available adapters."


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """The page with the two presets, as `keras-pamunet page` writes it."""
    if not (ASSETS / "index.html").is_file():
        pytest.skip("needs the built page: make page")
    # A site that was written before saves the export of its models.
    if ready := os.environ.get("KERAS_PAMUNET_SITE"):
        return Path(ready)
    return write_page(tmp_path_factory.mktemp("page") / "site", progress=False)


@contextmanager
def served(site):
    """The address of a server that ends with the block."""
    with make_server(site, port=0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="session")
def address(site):
    with served(site) as address:
        yield address


# WebGPU, computed by Chromium's own software: slow, and the same everywhere.
GPU = (
    "--enable-unsafe-webgpu",
    "--use-webgpu-adapter=swiftshader",
    "--enable-features=Vulkan",
)


@pytest.fixture(scope="session")
def chromium():
    """Chromium, to be launched with some arguments."""
    playwright = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    with playwright.sync_playwright() as run:
        # As root there is no sandbox; /dev/shm may be small in a container.
        common = ("--no-sandbox", "--disable-dev-shm-usage")
        yield lambda *arguments: run.chromium.launch(
            executable_path=CHROMIUM, args=[*common, *arguments]
        )


@pytest.fixture(scope="session")
def browser(chromium):
    with chromium() as browser:
        yield browser


@pytest.fixture
def gpu_browser(chromium):
    with chromium(*GPU) as browser:
        yield browser


# A picture that Chromium draws, and nobody to ask.
CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")


@pytest.fixture
def camera_browser(chromium):
    with chromium(*CAMERA) as browser:
        yield browser


@contextmanager
def opened(browser, address, **options):
    """The page in a profile of its own; whatever it asks for or complains of counts."""
    with browser.new_context(**options) as context:
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        complaints, asked = [], []
        page.on(
            "console",
            lambda said: (
                said.type in ("error", "warning")
                and said.text != NO_CARD
                and complaints.append(said.text)
            ),
        )
        page.on("pageerror", lambda error: complaints.append(str(error)))
        context.on("request", lambda request: asked.append(request.url))
        page.goto(address)
        page.wait_for_selector("#model option", state="attached")
        yield page
        assert complaints == []
        own = (address, f"blob:{address}")
        assert [url for url in asked if not url.startswith(own)] == []


@pytest.fixture
def page(browser, address):
    with opened(browser, address) as page:
        yield page
