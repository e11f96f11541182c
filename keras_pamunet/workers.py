"""Processes that share a search: where its chief listens, and which are at work."""

import json
import os
import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import grpc
from filelock import FileLock, Timeout

from keras_pamunet.files import LOCK, locked

CHIEF = "chief"
# A chief may die while it answers; another call waits for the next one.
RETRY = {
    "maxAttempts": 5,
    "initialBackoff": "1s",
    "maxBackoff": "10s",
    "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE"],
}
# Seconds that a worker waits while the chief looks at its lock.
WAIT_FOR_LOCK = 5


def split_address(address: str) -> tuple[str, int]:
    """Host and port of `host:port`.

    Raises:
        ValueError: if it is none.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise ValueError(
            "Expected HOST:PORT as the address of the chief, such as 10.0.0.5:8500. "
            f"Received: {address!r}"
        )
    return host.strip("[]"), int(port)


def check_free(address: str) -> None:
    """Makes sure that nothing listens at an address of this machine yet.

    Raises:
        OSError: if something does, or the address is another machine's.
    """
    host, port = split_address(address)
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        raise OSError(
            f"Expected an address that this machine can listen at. Received: {address} "
            f"({error.strerror}). Take another port, or 0.0.0.0 for the host."
        ) from error


def wait_for_chief(address: str, seconds: float) -> None:
    """Waits until the chief of a search listens.

    Raises:
        OSError: names the address, if it does not in time.
    """
    with grpc.insecure_channel(address) as channel:
        try:
            grpc.channel_ready_future(channel).result(seconds)
        except grpc.FutureTimeoutError:
            raise OSError(
                f"Expected the chief of a search at {address}. None has answered for "
                f"{seconds:g} seconds. Start it, or look for a firewall."
            ) from None


def patient_channel(address: str) -> grpc.Channel:
    """A channel to the chief, whose calls outlive a chief that is started again."""
    config = {"methodConfig": [{"name": [{}], "retryPolicy": RETRY}]}
    return grpc.insecure_channel(address, [("grpc.service_config", json.dumps(config))])


def check_name(name: str) -> None:
    """Makes sure that a worker can have this name.

    Raises:
        ValueError: if it is the chief's to KerasTuner, or no name of a file.
    """
    if CHIEF in name or not re.fullmatch(r"\w[\w.-]*", name):
        raise ValueError(
            "Expected a worker's name of letters, digits, '.', '-' and '_', without "
            f"{CHIEF!r} in it. Received: {name!r}"
        )


@contextmanager
def at_work(folder: Path, name: str) -> Iterator[None]:
    """Lets the other processes see that a worker is at work, until it ends or dies.

    Raises:
        ValueError: if another worker has the name.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(folder / name, WAIT_FOR_LOCK))
        except ValueError:
            raise ValueError(
                "Expected each worker of a search to have a name of its own. Received: "
                f"{name!r}, which one at work has."
            ) from None
        yield


def is_at_work(folder: Path, name: str) -> bool:
    """Whether a worker of this name is at work."""
    if not (folder / name / LOCK).exists():
        return False
    try:
        with FileLock(folder / name / LOCK, timeout=0):
            return False
    except Timeout:
        return True


@contextmanager
def named_to_keras_tuner(name: str, address: str) -> Iterator[None]:
    """Tells KerasTuner, which reads it from the environment, who this process is."""
    host, port = split_address(address)
    given = {
        "KERASTUNER_TUNER_ID": name,
        "KERASTUNER_ORACLE_IP": f"[{host}]" if ":" in host else host,
        "KERASTUNER_ORACLE_PORT": str(port),
    }
    before = {key: os.environ.get(key) for key in given}
    os.environ.update(given)
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                del os.environ[key]
            else:
                os.environ[key] = value
