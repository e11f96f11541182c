"""What comes of a call that reads a damaged file."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

RIGHT, CLEAR, TRACEBACK, WRONG = "right", "clear error", "traceback", "silent wrong"
MEMORY, LIMIT = "memory", 2 * 2**30  # Bytes that a call may take.


def judge(
    call: Callable[[], Any], fault: Callable[[Any], str | bool], *names: str
) -> tuple[str, str]:
    """Calls, and sorts what comes back: the column, and what was seen.

    An error is clear if it is a `ValueError`, an `OSError` or a `FloatingPointError`
    that names the file or says what was expected. So is a warning beside a wrong value.

    Args:
        call: reads the damaged file.
        fault: what is wrong with its value, nothing if it is right.
        *names: of the file: what an error may name.
    """

    def told(message):
        return "Expected" in message or any(name in message for name in names)

    Path("/proc/self/clear_refs").write_text("5")  # The peak is sought from here on.
    before, error = peak_memory(), None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            value = call()
        except Exception as raised:
            error = raised
    if (size := peak_memory() - before) > LIMIT:
        return MEMORY, f"{names[0]}: {size / 2**30:.1f} GiB, {error!r}"
    if error is not None:
        text = f"{type(error).__name__}: {error}"
        clear = isinstance(error, ValueError | OSError | FloatingPointError)
        if clear and told(text):
            return CLEAR, text
        return TRACEBACK, f"{names[0]}: {text}"
    wrong = fault(value)
    if not wrong:
        return RIGHT, ""
    for warning in caught:
        if warning.category is UserWarning and told(str(warning.message)):
            return CLEAR, str(warning.message)
    return WRONG, f"{names[0]}: {wrong}"


def peak_memory() -> int:
    """The most bytes that this process has held."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])
