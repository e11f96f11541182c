"""The networks, by name."""

from keras_pamunet.models.segmenter import Segmenter


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
