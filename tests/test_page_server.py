import json
import threading
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from keras_pamunet.page_server import make_server
from tests.helpers import once

pytestmark = once
HEADERS = {"Cross-Origin-Opener-Policy": "same-origin"}


@pytest.fixture
def site(tmp_path):
    (tmp_path / "headers.json").write_text(json.dumps(HEADERS))
    for name in ("index.html", "ort.wasm", "ort.mjs", "model.onnx"):
        (tmp_path / name).write_text(name)
    return tmp_path


@pytest.fixture
def address(site):
    with make_server(site, port=0) as server:
        host, port = server.server_address
        assert host == "127.0.0.1"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://{host}:{port}/"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    "name, kind",
    [
        ("", "text/html; charset=utf-8"),
        ("ort.wasm", "application/wasm"),
        ("ort.mjs", "text/javascript"),
        ("model.onnx", "application/octet-stream"),
    ],
)
def test_headers(address, name, kind):
    with urlopen(address + name) as answer:
        assert answer.read().decode() == (name or "index.html")
        assert answer.headers["Content-Type"] == kind
        for header, value in HEADERS.items():
            assert answer.headers[header] == value


def test_nothing_outside(address, site):
    (site.parent / "outside.txt").write_text("not for others")
    with pytest.raises(HTTPError, match="404") as error:
        urlopen(address + "../outside.txt")
    error.value.close()


def test_no_page(tmp_path, site):
    with pytest.raises(FileNotFoundError, match="keras-pamunet page"):
        make_server(tmp_path / "nowhere")
    with make_server(site, port=0) as server, pytest.raises(OSError, match="--port"):
        make_server(site, port=server.server_port)
