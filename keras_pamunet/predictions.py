"""What the masks in a folder were made of, so that none is taken for another's."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from keras_pamunet.data.pairs import some
from keras_pamunet.files import locked, plain, read_json_object, sha256_of, write_json

RECORD = "predictions.json"
# Seconds to wait for another process that writes the record.
WAIT = 60


class Predictions:
    """The record `predictions.json` of a folder of masks.

    Its `"masks"` hold for each file name the input's path, size in bytes and SHA-256,
    the name of the picture if one was drawn, where the model came from, its fingerprint
    and the settings. A mask is entered before it is made, and only where none is yet:
    so what an entry says is true of its mask.

    Args:
        folder: of the masks. It exists.
        model: a `PAMUNet` or an `OnnxModel`.
        settings: what else the masks depend on, such as `{"flips": True}`.
    """

    def __init__(self, folder: Path, model: Any, settings: Mapping[str, Any]):
        self.path = folder / RECORD
        self.origin = {
            "model": model.origin,
            "model_sha256": model.fingerprint,
            "settings": plain(settings),
        }

    def plan(
        self,
        masks: Mapping[Path, Path],
        overwrite: bool = False,
        pictures: Mapping[Path, Path] | None = None,
    ) -> list[Path]:
        """Enters the masks that are to be made.

        Args:
            masks: the input of each mask.
            overwrite: whether masks that are there shall be made anew. They leave the
                record until `add` enters them.
            pictures: the picture of each mask, if such are to be drawn.

        Returns:
            The masks that are there and are kept: made of the same input by the same
            model with the same settings, their pictures drawn. With `overwrite` there
            are none.

        Raises:
            ValueError: names other masks that are there and what they were made of, or
                other files in the place of pictures; also if the record is damaged, or
                another process has it for long.
            OSError: if the record cannot be written.
        """
        pictures = pictures or {}
        self._entries = {
            mask.name: self._entry(path, pictures.get(mask))
            for mask, path in masks.items()
        }
        # Unlike Path.exists, it takes a name that is too long for a missing one.
        there = [mask for mask in masks if os.path.exists(mask)]
        with locked(self.path.parent, WAIT):
            record = self._read()
            others = [
                f"{mask}, {reason}"
                for mask in there
                if (reason := self._other_origin(record.get(mask.name), mask.name))
            ]
            if others and not overwrite:
                raise ValueError(
                    "Expected masks of these images by this model with these settings "
                    f"in {self.path.parent}, or none. Received {len(others)} other(s): "
                    f"{some(others)}. Write them anew (--overwrite), or name another "
                    "folder."
                )
            self._check_pictures(pictures, record, overwrite)
            kept = [] if overwrite else [x for x in there if _is_drawn(pictures.get(x))]
            self._write(
                record
                | self._entries
                | {mask.name: record.get(mask.name) for mask in kept}
                | {
                    mask.name: _drawn(record.get(mask.name))
                    for mask in there
                    if overwrite
                }
            )
        # Those that show masks of before, and are not drawn anew.
        self._old_pictures = {
            mask: _picture(record.get(mask.name)) for mask in there if not pictures
        }
        return kept

    def confirm(self, mask: Path) -> None:
        """Makes sure, before a mask is put there, that the entry is still this one.

        Raises:
            ValueError: if another process has planned another mask in its place.
        """
        if _stamp(self.path) != self._stamp:
            entry = self._read().get(mask.name)
            if _is_whole(entry) and entry != self._entries[mask.name]:
                raise ValueError(
                    f"Expected {mask.parent} to be this process's own. Another one, of "
                    "another model or other settings, writes its masks there."
                )

    def add(self, masks: Iterable[Path]) -> None:
        """Enters masks that have been made anew.

        Pictures of the masks before go, where none is drawn of the new ones.

        Raises: as `plan`.
        """
        masks = list(masks)
        if not masks:
            return
        for mask in masks:
            if picture := self._old_pictures.get(mask):
                (self.path.parent / picture).unlink(missing_ok=True)
        new = {mask.name: self._entries[mask.name] for mask in masks}
        with locked(self.path.parent, WAIT):
            self._write(self._read() | new)

    def _entry(self, path, picture):
        if not path.is_file():
            return None
        facts = {"bytes": path.stat().st_size, "sha256": sha256_of(path)}
        if picture is not None:
            facts["picture"] = picture.name
        return {"input": str(path.resolve()), **facts, **self.origin}

    def _check_pictures(self, pictures, record, overwrite):
        """Makes sure that no picture takes the place of another file."""
        others = []
        for mask, picture in pictures.items():
            own = _picture(record.get(mask.name)) == picture.name
            kept = not overwrite or picture.name in record
            if kept and not own and os.path.exists(picture):
                others.append(str(picture))
        if others:
            raise ValueError(
                f"Expected no other files in the place of pictures. Received "
                f"{len(others)}: {some(others)}. Name another folder."
            )

    def _other_origin(self, held, name):
        """What an entry differs in; "" if in nothing that a mask depends on."""
        new = self._entries[name]
        if not _is_whole(held) or new is None:
            return "which no record tells the origin of"
        if held.get("sha256") != new["sha256"]:
            return f"made of another input, {held.get('input')}"
        if held.get("model_sha256") != new["model_sha256"]:
            return f"made by another model, {held.get('model')}"
        if held.get("settings") != new["settings"]:
            return f"made with other settings, {held.get('settings')}"
        return ""

    def _read(self):
        if not self.path.exists():
            return {}
        try:
            record = read_json_object(self.path)["masks"]
            if isinstance(record, dict):
                return record
            error = "it holds no masks"
        except (ValueError, KeyError, OSError) as found:
            error = found
        raise ValueError(
            f"Expected the record of masks in {self.path}. It is damaged: {error}. "
            "Name another folder, or delete it and write the masks anew (--overwrite)."
        )

    def _write(self, record):
        entries = {name: entry for name, entry in record.items() if entry is not None}
        write_json(self.path, {"masks": entries})
        self._stamp = _stamp(self.path)


def _picture(entry):
    """Name of the picture in an entry of the record, or None."""
    name = entry.get("picture") if isinstance(entry, dict) else None
    return name if isinstance(name, str) and Path(name).name == name else None


def _drawn(entry):
    """Of the entry of a mask that is to be made anew, what is left until then."""
    name = _picture(entry)
    return None if name is None else {"picture": name}


def _is_whole(entry):
    return isinstance(entry, dict) and "sha256" in entry


def _is_drawn(picture):
    return picture is None or os.path.exists(picture)


def _stamp(path):
    status = path.stat()
    return status.st_ino, status.st_mtime_ns
