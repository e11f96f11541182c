"""The networks, by name."""

import difflib
import inspect
from collections.abc import Iterable
from typing import Any

from keras_pamunet.models.segmenter import Segmenter
from keras_pamunet.models.task import checks_only


def list_models() -> list[str]:
    """Names of the networks, as `--network` takes them."""
    return sorted(Segmenter.networks)


def find_network(name: str) -> type[Segmenter]:
    """The class of a network.

    Raises:
        ValueError: if there is no such network.
    """
    if name not in Segmenter.networks:
        raise ValueError(
            f"Expected a network, one of {', '.join(list_models())}. Received: {name!r}"
        )
    return Segmenter.networks[name]


def check_arguments(
    network: type[Segmenter],
    arguments: dict[str, Any],
    base: Segmenter | None = None,
    beside: Iterable[str] = (),
) -> None:
    """Makes sure that a network takes arguments of these names and values.

    Nothing is read, and no network is made.

    Args:
        network: the class of the network.
        arguments: those given.
        base: a model of the class that has the others, in place of the defaults.
        beside: names of other arguments, one of which may have been meant.

    Raises:
        ValueError: names the one that it does not take, and what it takes.
    """
    taken = list(inspect.signature(network).parameters)
    for name in arguments:
        if name not in taken:
            near = difflib.get_close_matches(name, [*taken, *beside], 1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise ValueError(
                f"Expected arguments of {network.__name__}: {', '.join(taken)}. "
                f"Received: {name}.{hint}"
            )
    with checks_only():
        (network if base is None else base.clone)(**arguments)
