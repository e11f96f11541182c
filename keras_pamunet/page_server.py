"""Offers the page to browsers on this machine, and to no other."""

import json
import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

HEADERS = "headers.json"


def make_server(site: str | Path, port: int = 8000) -> ThreadingHTTPServer:
    """A server of a folder that `keras_pamunet.page.write_page` wrote.

    Its headers isolate the page, which lets ONNX Runtime compute in several threads,
    and allow it no other host.

    Args:
        site: the folder.
        port: of 127.0.0.1; 0 for one that is free.

    Returns:
        The server, to be told `serve_forever`.

    Raises:
        FileNotFoundError: if the folder holds no page.
        OSError: if another program has the port.
    """
    headers = Path(site, HEADERS)
    if not headers.is_file():
        raise FileNotFoundError(
            f"Expected a page that `keras-pamunet page` wrote. Received: {site}"
        )
    handler = partial(
        _Handler, directory=str(site), headers=json.loads(headers.read_text("utf-8"))
    )
    try:
        return _Server(("127.0.0.1", port), handler)
    except OSError as error:
        raise OSError(
            f"Expected a free port. Received: {port} ({error.strerror}). Name another "
            "(--port)."
        ) from error


class _Server(ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        """Says nothing of a browser that is closed before all is read."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(SimpleHTTPRequestHandler):
    # Not what the system's table says, which may be wrong.
    extensions_map = {
        "": "application/octet-stream",
        ".css": "text/css",
        ".html": "text/html; charset=utf-8",
        ".js": "text/javascript",
        ".json": "application/json",
        ".md": "text/plain; charset=utf-8",
        ".mjs": "text/javascript",
        ".svg": "image/svg+xml",
        ".wasm": "application/wasm",
        ".webmanifest": "application/manifest+json",
    }

    def __init__(self, *arguments, headers, **options):
        self._headers = headers
        super().__init__(*arguments, **options)

    def end_headers(self):
        for name, value in self._headers.items():
            self.send_header(name, value)
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def log_message(self, *_):
        """Says nothing of each request."""
