"""What the masks in a folder were made of, so that none is taken for another's."""

import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

import keras_pamunet
from keras_pamunet.data.pairs import some
from keras_pamunet.files import locked, plain, read_json_object, sha256_of, write_json
from keras_pamunet.inference.predictor import Predictor
from keras_pamunet.inference.results import is_record, rows_of, write_csv

RECORD, RESULTS, REPORT = "predictions.json", "results.csv", "report.json"
# Entries of the record that the report leaves out, as other files have them.
ELSEWHERE = ("results", "files")
# Seconds to wait for another process that writes the record.
WAIT = 60


class Predictions:
    """The record `predictions.json` of a folder of masks, and its `results.csv`.

    The record's `"masks"` hold for each mask, by its path in the folder, the input's
    path, size in bytes and SHA-256, the other files drawn of it, where the model came
    from, its fingerprint and the settings. A mask is entered before it is made, and
    only where none is yet: so what an entry says is true of its mask. What was found
    is entered afterwards, see `keras_pamunet.inference.results.to_record`, and how the
    mask was made: its SHA-256, seconds, versions and device.

    Args:
        folder: of the masks. It exists.
        model: a `Segmenter` or an `OnnxModel`.
        settings: what else the masks depend on, such as `{"flips": True}`.
    """

    def __init__(self, folder: Path, model: Predictor, settings: Mapping[str, Any]):
        self.folder = folder
        self.path = folder / RECORD
        self.runtime = {
            "keras_pamunet": keras_pamunet.__version__,
            "python": platform.python_version(),
            "numpy": np.__version__,
            **model.runtime,
        }
        self.origin = {
            "model": model.origin,
            "model_sha256": model.fingerprint,
            "settings": plain(settings),
        }

    def plan(
        self,
        masks: Mapping[Path, Path],
        overwrite: bool = False,
        extras: Mapping[Path, Sequence[Path]] | None = None,
    ) -> list[Path]:
        """Enters the masks that are to be made.

        Args:
            masks: the input of each mask.
            overwrite: whether masks that are there shall be made anew. They leave the
                record until `add` enters them.
            extras: the other files of each mask that are to be written.

        Returns:
            The masks that are there and are kept: made of the same input by the same
            model with the same settings, and all of their other files there. With
            `overwrite` there are none.

        Raises:
            ValueError: names other masks that are there and what they were made of, or
                other files in the place of those to be written; also if the record is
                damaged, or another process has it for long.
            OSError: if the record cannot be written.
        """
        extras = extras or {}
        self._check_targets(masks, extras)
        self._entries = {
            self._name(mask): self._entry(path, extras.get(mask, ()))
            for mask, path in masks.items()
        }
        # Unlike Path.exists, it takes a name that is too long for a missing one.
        there = [mask for mask in masks if os.path.exists(mask)]
        with locked(self.folder, WAIT):
            record = self._read()
            others = [
                f"{mask}, {reason}"
                for mask in there
                if (reason := self._other_origin(record, self._name(mask)))
            ]
            if others and not overwrite:
                raise ValueError(
                    "Expected masks of these images by this model with these settings "
                    f"in {self.folder}, or none. Received {len(others)} other(s): "
                    f"{some(others)}. Write them anew (--overwrite), or name another "
                    "folder."
                )
            self._check_extras(extras, record, overwrite)
            kept = [
                mask
                for mask in there
                if not overwrite
                and all(map(os.path.exists, extras.get(mask, ())))
                and is_record(record[self._name(mask)].get("results"))
            ]
            names = set(map(self._name, kept))
            planned = {x: y for x, y in self._entries.items() if x not in names}
            if overwrite:
                # Nothing but the files that would show a mask of before.
                old = (self._name(mask) for mask in there)
                planned |= {name: _drawn(record.get(name)) for name in old}
            self._write(record | planned)
        # Those of before that are not written anew.
        self._old = {
            mask: _files(record.get(self._name(mask)))
            - {self._name(path) for path in extras.get(mask, ())}
            for mask in there
        }
        return kept

    def confirm(self, mask: Path) -> None:
        """Makes sure, before a mask is put there, that the entry is still this one.

        Raises:
            ValueError: if another process has planned another mask in its place.
        """
        if _stamp(self.path) != self._stamp:
            name = self._name(mask)
            entry = self._read().get(name)
            if _is_whole(entry) and _origin(entry) != self._entries[name]:
                raise ValueError(
                    f"Expected {self.folder} to be this process's own. Another one, of "
                    "another model or other settings, writes its masks there."
                )

    def add(
        self, results: Mapping[Path, dict[str, Any]], seconds: Mapping[Path, float]
    ) -> None:
        """Enters what was found, and writes `results.csv` of all masks in the folder.

        Other files of the masks before go, where none of the new mask takes their
        place.

        Args:
            results: what was found in the input of each mask, see
                `keras_pamunet.inference.results.to_record`.
            seconds: that each of them took.

        Raises: as `plan`.
        """
        for mask in results:
            for name in self._old.get(mask, ()):
                (self.folder / name).unlink(missing_ok=True)
        new = {}
        for mask, found in results.items():
            entry = self._entries[self._name(mask)]
            if entry is not None:
                made = {"seconds": round(seconds[mask], 3), "sha256": sha256_of(mask)}
                made |= self.runtime
                new[self._name(mask)] = {**entry, "made": made, "results": found}
        with locked(self.folder, WAIT):
            record = self._read() | new
            if new:
                self._write(record)
            write_csv(self.folder / RESULTS, self._rows(record))

    def write_report(self) -> None:
        """Writes `report.json`: how each mask in the folder was made.

        Raises: as `plan`.
        """
        with locked(self.folder, WAIT):
            rows = [
                {"mask": name}
                | {key: x for key, x in entry.items() if key not in ELSEWHERE}
                for name, entry in sorted(self._read().items())
                if _is_whole(entry) and os.path.exists(self.folder / name)
            ]
            write_json(self.folder / REPORT, {"masks": rows})

    def rows(self, masks: Iterable[Path]) -> list[dict[str, Any]]:
        """Rows of `results.csv` of some masks."""
        names = set(map(self._name, masks))
        record = {x: y for x, y in self._read().items() if x in names}
        return self._rows(record)

    def _rows(self, record):
        rows = []
        for name in sorted(record):
            entry = record[name]
            found = entry.get("results") if isinstance(entry, dict) else None
            if is_record(found) and os.path.exists(self.folder / name):
                rows += rows_of(name, found)
        return rows

    def _name(self, path):
        """A file's path in the folder, as the record has it."""
        return path.relative_to(self.folder).as_posix()

    def _entry(self, path, extras):
        if not path.is_file():
            return None
        facts = {"bytes": path.stat().st_size, "sha256": sha256_of(path)}
        if extras:
            facts["files"] = [self._name(extra) for extra in extras]
        return {"input": str(path.resolve()), **facts, **self.origin}

    def _check_targets(self, masks, extras):
        """Makes sure that nothing takes the place of an input or of another file."""
        inputs = {os.path.realpath(path): path for path in masks.values()}
        targets = {}
        for mask, path in masks.items():
            for target in (mask, *extras.get(mask, ())):
                if (taken := os.path.realpath(target)) in inputs:
                    raise ValueError(
                        f"Expected another place for the masks. Received: {target}, an "
                        "input. Name another folder (--output)."
                    )
                if taken in targets:
                    raise ValueError(
                        "Expected inputs whose masks get different names. Received: "
                        f"{targets[taken].name} and {path.name}. Rename one of them."
                    )
                targets[taken] = path

    def _check_extras(self, extras, record, overwrite):
        """Makes sure that no file takes the place of another one."""
        others = []
        for mask, paths in extras.items():
            own = _files(record.get(self._name(mask)))
            for path in paths:
                name = self._name(path)
                free = name in own or (overwrite and name not in record)
                if not free and os.path.exists(path):
                    others.append(str(path))
        if not self.path.exists() and not overwrite:
            own = (self.folder / name for name in (RESULTS, REPORT))
            others += [str(path) for path in own if path.exists()]
        if others:
            raise ValueError(
                f"Expected no other files in the place of those to write. Received "
                f"{len(others)}: {some(others)}. Name another folder."
            )

    def _other_origin(self, record, name):
        """What an entry differs in; "" if in nothing that a mask depends on."""
        held, new = record.get(name), self._entries[name]
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


def _files(entry):
    """Names in an entry of the record of the files drawn of a mask."""
    names = entry.get("files", []) if isinstance(entry, dict) else []
    if not isinstance(names, list):
        return set()
    return {name for name in names if isinstance(name, str) and _is_inside(name)}


def _is_inside(name):
    """Whether a name that was read from a file leads to no other folder."""
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and "\\" not in name


def _drawn(entry):
    """Of the entry of a mask that is to be made anew, what is left until then."""
    names = _files(entry)
    return {"files": sorted(names)} if names else None


def _origin(entry):
    """An entry without what was found, and how."""
    return {x: value for x, value in entry.items() if x not in ("results", "made")}


def _is_whole(entry):
    return isinstance(entry, dict) and "sha256" in entry


def _stamp(path):
    status = path.stat()
    return status.st_ino, status.st_mtime_ns
