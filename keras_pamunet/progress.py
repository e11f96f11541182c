"""Progress bars."""

import sys
from collections.abc import Iterable
from typing import TypeVar

import rich.progress

T = TypeVar("T")


def track(
    items: Iterable[T], title: str, total: int | None = None, shown: bool = True
) -> Iterable[T]:
    """Passes items on, and shows on a terminal how many have passed.

    In a log file a bar would leave a blank line.

    Args:
        items: what is worked on.
        title: what is done.
        total: number of the items. Defaults to their length.
        shown: whether to show the bar at all.
    """
    return rich.progress.track(
        items,
        title,
        total,
        disable=not (shown and sys.stdout.isatty()),
        transient=True,
    )
