"""Checks of a network's arguments. Each raises a `ValueError` that names one."""

import math
import numbers
import re
from pathlib import Path
from typing import Any

import numpy as np

from keras_pamunet.files import check_regular

NAME = re.compile(r"\w[\w -]{0,63}")
# Limits, so that a damaged file cannot claim gigabytes. Labels have 8 bits.
MAX_CLASSES, MAX_EXPANSION, MAX_CHANNELS, MAX_SIDE = 256, 64, 4096, 2**16


def check_choice(name: str, value: Any, expected: tuple) -> None:
    """Makes sure that a value is one of those expected."""
    if value not in expected:
        raise ValueError(
            f"Invalid value for argument `{name}`. Expected one of {expected}. "
            f"Received: {name}={value!r}"
        )


def to_shape(shape: Any) -> tuple[int | None, int | None, int]:
    """`(height, width, channels)` of plain numbers, height and width or None."""
    sides = list(shape) if isinstance(shape, tuple | list) else []
    sides = [-1 if x is not None and _plain(x) is None else x for x in sides]
    limits = (MAX_SIDE, MAX_SIDE, MAX_CHANNELS)
    if len(sides) != 3 or any(
        not (isinstance(side, numbers.Integral) and 0 < int(side) <= limit)
        and not (side is None and limit == MAX_SIDE)
        for side, limit in zip(sides, limits)
    ):
        raise ValueError(
            "Invalid value for argument `input_shape`. Expected (height, width, "
            f"channels), at most {limits}; height and width may be None. Received: "
            f"input_shape={shape!r}"
        )
    height, width = (None if side is None else int(side) for side in sides[:2])
    return height, width, int(sides[2])


def to_integer(name: str, value: Any, largest: int) -> int:
    """An integer from 1 to `largest`, as one of Python."""
    plain = _plain(value)
    if not isinstance(plain, int) or not 1 <= plain <= largest:
        raise ValueError(
            f"Invalid value for argument `{name}`. Expected an integer from 1 to "
            f"{largest}. Received: {name}={value!r}"
        )
    return plain


def to_range(name: str, limits: Any) -> tuple[float, float]:
    """`(lowest, highest)` in Python's numbers.

    Unsigned ones of NumPy overflow in `high + low`, and none can be written as JSON.
    """
    values = limits.tolist() if isinstance(limits, np.ndarray) else limits
    plain = [_plain(x) for x in values] if isinstance(values, tuple | list) else []
    if None in plain or len(plain) != 2 or not plain[0] < plain[1]:
        raise ValueError(
            f"Invalid value for argument `{name}`. Expected (lowest, highest), two "
            f"numbers. Received: {name}={limits!r}"
        )
    return tuple(plain)


def to_names(names: Any, count: int) -> tuple[str, ...]:
    """Names of classes, which are different and may be names of folders."""
    plain = list(names) if isinstance(names, tuple | list) else []
    texts = [x for x in plain if isinstance(x, str) and NAME.fullmatch(x)]
    if len(texts) != len(plain) or len(set(texts)) != count:
        raise ValueError(
            f"Invalid value for argument `class_names`. Expected {count} different "
            "name(s) of letters, digits, spaces, _ and -, the background not among "
            f"them. Received: class_names={names!r}"
        )
    return tuple(texts)


def to_axes(axes: Any) -> tuple[int, ...]:
    """Axes to mirror images along: 1 is top to bottom, 2 left to right."""
    plain: list[Any] = list(axes) if isinstance(axes, tuple | list) else [None]
    if any(x not in (1, 2) for x in plain) or len(set(plain)) != len(plain):
        raise ValueError(
            "Invalid value for argument `mirror_axes`. Expected some of (1, 2): 1 for "
            "top to bottom, 2 for left to right. Received: mirror_axes="
            f"{axes!r}"
        )
    return tuple(sorted(int(x) for x in plain))


def check_number(name: str, value: Any, largest: float = math.inf) -> None:
    """Makes sure that a value is a number from 0 to `largest`."""
    plain = _plain(value)
    if plain is None or not 0 <= plain <= largest:
        raise ValueError(
            f"Invalid value for argument `{name}`. Expected a number from 0 to "
            f"{largest}. Received: {name}={value!r}"
        )


def check_weights_source(name: str, value: Any) -> None:
    """Makes sure that a value is None, `"imagenet"` or a file that is there."""
    if value is None or (isinstance(value, str) and value == "imagenet"):
        return
    problem: Any = "which is no path"
    if isinstance(value, str | Path):
        try:
            check_regular(value)
            return
        except (OSError, ValueError) as error:
            problem = error
    raise ValueError(
        f"Invalid value for argument `{name}`. Expected None, 'imagenet' or the path "
        f"of a .weights.h5 file. Received: {name}={value!r} ({problem})"
    )


def _plain(value):
    """A finite number as an int or a float of Python, and None for all else."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real):
        return None
    plain = value.item() if isinstance(value, np.generic) else value
    try:
        return plain if math.isfinite(plain) else None
    except OverflowError:  # An integer of hundreds of digits.
        return None
