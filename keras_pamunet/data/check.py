"""Looks at every pair of a data set before work on it begins."""

import warnings
from collections import Counter
from collections.abc import Iterable
from hashlib import blake2b
from typing import Any

import cv2
import numpy as np

from keras_pamunet.data.pairs import Pairs, printable, some
from keras_pamunet.data.value_range import check_range
from keras_pamunet.progress import track
from keras_pamunet.targets import check_labels

# Ends of the histogram's bins, shares of foreground.
BINS = (0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1)
# Bits of the 256 of a fingerprint in which near-duplicates may differ. In Kvasir-SEG
# the near-duplicates differ in up to 10, the next pair of images in 31.
MAX_DISTANCE = 16


def check(
    sources: Iterable[Pairs],
    progress: bool = True,
    input_range: tuple[float, float] | None = None,
) -> None:
    """Reads every pair once, and names all that are unfit for use.

    Args:
        sources: the subsets of a split: `Folder`, `Resized` or other sources of pairs.
        progress: whether to show a progress bar.
        input_range: `(lowest, highest)` value of the model's images, to see that
            each image fits (see `keras_pamunet.data.value_range.check_range`).

    Raises:
        ValueError: names the pairs that cannot be used and says why.

    Warns:
        UserWarning: names the pairs with an empty mask, and those that look the same.
    """
    report = examine(sources, progress, input_range)
    errors, count = report["errors"], report["pairs"]
    if errors:
        lines = "\n".join(f"  {error}" for error in errors[:20])
        more = f"\n  and {len(errors) - 20} more" if len(errors) > 20 else ""
        raise ValueError(
            f"{len(errors)} of {count} pairs cannot be used:\n{lines}{more}"
        )
    for message in complaints(report):
        warnings.warn(message, stacklevel=2)


def examine(
    sources: Iterable[Pairs],
    progress: bool = True,
    input_range: tuple[float, float] | None = None,
) -> dict[str, Any]:
    r"""Reads every pair once, to the end whatever is found, and reports.

    Args:
        sources: the subsets of a split, or one source for the whole set. The same image
            in two subsets is an error.
        progress: whether to show a progress bar.
        input_range: see `check`.

    Returns:
        `"pairs"`, their number; `"errors"`, what is wrong with each that cannot be
        used, with its name; `"empty"`, names of those with an empty mask;
        `"duplicates"`, pairs of names whose images are the same to the pixel;
        `"near_duplicates"`, pairs of names whose images look the same, but for those
        within a group or, where there are several subsets, within a subset; `"sizes"`,
        the number of images of each `"<height>x<width>"`; `"foreground"`, the number of
        masks by share of foreground, with the bins' ends in per cent. Bytes of a file
        name that are no UTF-8 stand there as `\udcff`.
    """
    sources = list(sources)
    pairs = [
        (subset, source, index, group)
        for subset, source in enumerate(sources)
        for index, group in enumerate(source.groups or [None] * len(source))
    ]
    errors, shares, seen, sizes = [], [], [], Counter()
    for subset, source, index, group in track(
        pairs, "Checking the data", shown=progress
    ):
        name = printable(source.names[index])
        try:
            image, mask = source[index]
            check_labels(mask, source.num_classes)
            if input_range is not None:
                check_range(image, input_range)
            one = _Seen(name, subset, group, image)
        # A source may be anyone's; its pairs are looked at all the same.
        except Exception as error:
            errors.append(_named(name, error))
            continue
        seen.append(one)
        shares.append(np.count_nonzero(mask) / mask.size)
        sizes["{}x{}".format(*mask.shape)] += 1
    duplicates = _duplicates(seen)
    errors += [
        "Expected an image in one subset of a split. Received: the same one in "
        f"{one.name} and {other.name}"
        for one, other in duplicates
        if one.subset != other.subset
    ]
    counts, _ = np.histogram(shares, BINS)
    return {
        "pairs": len(pairs),
        "errors": errors,
        "empty": [item.name for item, share in zip(seen, shares) if not share],
        "duplicates": _names(duplicates),
        "near_duplicates": _names(_near_duplicates(seen, len(sources) > 1)),
        "sizes": dict(sizes.most_common()),
        "foreground": {
            f"{100 * low:g}-{100 * high:g} %": int(count)
            for low, high, count in zip(BINS, BINS[1:], counts)
        },
    }


def _named(name, error):
    """An error as a sentence that has the name of the pair."""
    text = printable(str(error))
    if not isinstance(error, ValueError | OSError):
        text = f"{type(error).__name__} {text}".strip()
    return text if name in text else f"{name}: {text}"


def complaints(report: dict[str, Any]) -> list[str]:
    """What `examine` found that is odd but can be used, in sentences."""
    count, messages = report["pairs"], []
    if report["empty"]:
        messages.append(
            f"{len(report['empty'])} of {count} masks are empty: "
            f"{some(report['empty'], 20)}"
        )
    for kind, what in (("duplicates", "are"), ("near_duplicates", "look")):
        found = [" ~ ".join(names) for names in report[kind]]
        if found:
            messages.append(
                f"{len(found)} pairs of images {what} the same: {some(found, 20)}"
            )
    return messages


class _Seen:
    """What is kept of an image to find it again."""

    def __init__(self, name, subset, group, image):
        self.name, self.subset, self.group = name, subset, group
        self.digest = blake2b(image.tobytes(), digest_size=16).digest()
        grey = cv2.resize(
            image.mean(axis=2, dtype="float32"), (17, 16), interpolation=cv2.INTER_AREA
        )
        # Does it get brighter to the right? 256 answers, in four integers.
        self.fingerprint = np.packbits(grey[:, 1:] > grey[:, :-1]).view("uint64")
        self.flat = np.ptp(grey) == 0


def _duplicates(seen):
    """Pairs of the same image. An image of one value is no one's double."""
    first = {}
    pairs = [(first.setdefault(one.digest, one), one) for one in seen if not one.flat]
    return [(one, other) for one, other in pairs if one is not other]


def _near_duplicates(seen, several_parts):
    """Each image that looks like one before it, with the first such one."""
    seen = [one for one in seen if not one.flat]
    fingerprints = np.array([one.fingerprint for one in seen])
    pairs = []
    for index, one in enumerate(seen):
        bits = np.bitwise_count(fingerprints[:index] ^ one.fingerprint).sum(axis=1)
        for other in (seen[near] for near in np.flatnonzero(bits <= MAX_DISTANCE)):
            together = one.group is not None and one.group == other.group
            if several_parts:
                together |= one.subset == other.subset
            if not together and one.digest != other.digest:
                pairs.append((other, one))
                break
    return pairs


def _names(pairs):
    return [[one.name, other.name] for one, other in pairs]
