"""Looks at every pair of a data set before work on it begins."""

import warnings
from collections.abc import Iterable
from typing import Any

import rich.progress


def check(sources: Iterable[Any], progress: bool = True) -> None:
    """Reads every pair once, and names all that are unfit for use.

    Args:
        sources: `Folder`, `Cache` or other sources of pairs.
        progress: whether to show a progress bar.

    Raises:
        ValueError: names the pairs that cannot be used and says why.

    Warns:
        UserWarning: names the pairs with an empty mask.
    """
    problems, empty = [], []
    pairs = [(source, index) for source in sources for index in range(len(source))]
    for source, index in rich.progress.track(
        pairs, "Checking the data", disable=not progress, transient=True
    ):
        try:
            _, mask = source[index]
        except ValueError as error:
            problems.append(str(error))
        else:
            if not mask.any():
                empty.append(source.names[index])
    if problems:
        lines = "\n".join(f"  {problem}" for problem in problems[:20])
        more = f"\n  and {len(problems) - 20} more" if len(problems) > 20 else ""
        raise ValueError(
            f"{len(problems)} of {len(pairs)} pairs cannot be used:\n{lines}{more}"
        )
    if empty:
        warnings.warn(
            f"{len(empty)} of {len(pairs)} masks are empty: {', '.join(empty[:20])}"
            + (" …" if len(empty) > 20 else ""),
            stacklevel=2,
        )
