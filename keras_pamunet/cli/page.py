"""The command `page`."""

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from keras_pamunet import choices
from keras_pamunet.cli.entry import call
from keras_pamunet.cli.options import MODEL_HELP, Quiet
from keras_pamunet.cli.screen import bold


def page(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for the site.")
    ] = Path("site"),
    preset: Annotated[
        list[str] | None,
        typer.Option(
            help=f"{MODEL_HELP} Or an .onnx file. Several times for several models. "
            f"[default: {choices.PHOTOGRAPHS} and {choices.VOLUMES}]",
            show_default=False,
        ),
    ] = None,
    serve: Annotated[
        bool,
        typer.Option(
            "--serve",
            help="Open it in the browser, on this machine alone. A site that is there "
            "is opened as it is.",
        ),
    ] = False,
    port: Annotated[
        int, typer.Option(help="For --serve.", min=0, max=2**16 - 1)
    ] = 8000,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Write anew a site that is there.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Write a web page that segments in the browser, on the user's own machine."""

    def write():
        from keras_pamunet.page import is_site, write_page

        if serve and not overwrite and preset is None and is_site(output):
            return
        models = preset or (choices.PHOTOGRAPHS, choices.VOLUMES)
        write_page(output, models, overwrite=overwrite, progress=not quiet)
        typer.echo(f"Site: {bold(output)}")

    call(write, "keras_pamunet.page", extra="export,tensorflow")
    if serve:
        call(lambda: _serve(output, port), "keras_pamunet.page_server")


def _serve(site, port):
    from keras_pamunet.page_server import make_server

    with make_server(site, port) as server:
        address = f"http://127.0.0.1:{server.server_port}/"
        typer.echo(f"{bold(address)} (Ctrl-C ends it)")
        webbrowser.open(address)
        server.serve_forever()
