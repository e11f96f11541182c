"""The app, its process, and how a verb is called."""

import os
import shlex
import signal
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer
from absl import logging

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Light medical image segmentation with PAM-UNet and Keras 3.",
)
# Errors of verbs that users can mend.
MENDABLE = (ValueError, OSError, ArithmeticError, MemoryError, ImportError)


def run() -> None:
    """The process of the command: its output and its signals."""
    for name in ("stdout", "stderr"):
        # One that is closed is None.
        stream = getattr(sys, name) or open(os.devnull, "w")  # noqa: SIM115
        # A file name may have letters that the terminal's encoding has not.
        stream.reconfigure(errors="backslashreplace")
        setattr(sys, name, stream)
    # What is half done is tidied up, as after Ctrl-C.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        try:
            app()
        finally:
            sys.stdout.flush()
    except OSError as error:
        # Python would try to write the rest once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        typer.echo(f"Error: Cannot write the output: {error.strerror}", err=True)
        sys.exit(1)


@app.callback(invoke_without_command=True)
def main(
    show_version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.")
    ] = False,
) -> None:
    if show_version:
        print(version("keras-pamunet"))
        raise typer.Exit
    # TensorFlow's errors come as exceptions, too; its log has others that are none.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    _cache_what_jax_compiles()
    logging.set_verbosity(logging.ERROR)  # Grain warns where there is no JAX.
    warnings.showwarning = _show_warning


def _cache_what_jax_compiles():
    """Has the next process take what this one compiles.

    JAX would keep only what took more than a second; a hundred small parts take ten.
    """
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(home, "keras_pamunet", "jax")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return  # A home that nobody can write to.
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(folder))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")


def call(run, module: str, interrupted: str = "", extra: str | None = None) -> Any:
    """Runs a verb; turns what users can mend into one message and an exit code.

    Args:
        run: the verb.
        module: the verb's own, imported first.
        interrupted: what to say on Ctrl-C, before the command to go on with.
        extra: which extra of the package holds the verb's own requirements.
    """
    stopped = []
    try:
        with (
            _without_chatter() as stderr,
            _on_interrupt(lambda *_: _stop_at_once(stderr)),
        ):
            import_module(module)
        with _on_interrupt(lambda *_: _stop(stopped)):
            return run()
    except (KeyboardInterrupt, Exception) as error:
        # What is interrupted may fail in a way of its own.
        if stopped or isinstance(error, KeyboardInterrupt):
            command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
            to_go_on = f"{interrupted}{command if interrupted else ''}"
            typer.echo(f"\nStopped. {to_go_on}", err=True)
            raise typer.Exit(130) from None
        if not isinstance(error, MENDABLE):
            raise
        hint = ""
        if extra and isinstance(error, ImportError):
            hint = f" (in a checkout: pip install '.[{extra}]')"
        message = str(error) or type(error).__name__
        typer.secho(f"Error: {message}{hint}", fg="red", err=True)
        raise typer.Exit(1) from None


@contextmanager
def _without_chatter() -> Iterator[int]:
    """Keeps what libraries say on their import, and shows it only if that fails.

    TensorFlow's C++ greets before it reads how much it shall say. Yields the descriptor
    of what is shown all the same.
    """
    with tempfile.TemporaryFile() as said:
        sys.stderr.flush()
        stderr = os.dup(2)
        os.dup2(said.fileno(), 2)
        try:
            yield stderr
        except BaseException:
            said.seek(0)
            os.write(stderr, said.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def _stop(stopped):
    stopped.append(True)
    raise KeyboardInterrupt


def _stop_at_once(stderr):
    """Ends the process: an import may swallow an exception, and nothing is begun."""
    os.write(stderr, b"\nStopped.\n")
    os._exit(130)


@contextmanager
def _on_interrupt(handler) -> Iterator[None]:
    """Has a handler of its own for Ctrl-C, unless that is ignored, as by `nohup`."""
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _show_warning(message, category, filename, lineno, file=None, line=None):
    typer.secho(f"Warning: {message}", fg="yellow", err=True)
