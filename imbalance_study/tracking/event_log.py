"""The file of a journal: one entry a line, which outlives a process that is killed."""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path
from typing import Any, NamedTuple

# Seconds after which lines are forced to the disk.
_SYNC_INTERVAL = 5.0


class Entry(NamedTuple):
    """One line of a journal."""

    number: int  # from 0
    op: str
    content: dict[str, Any]

    def line(self) -> bytes:
        """Return the entry as a line of JSON."""
        text = json.dumps({"n": self.number, "op": self.op, **self.content})
        return f"{text}\n".encode("ascii")


class EventLog:
    """An append-only file of lines.

    A line is given to the system at once, and forced to the disk every few seconds. Lines that a
    full disk refuses stay in memory until they can be written.

    Args:
        path: The file, made when missing; an incomplete last line is removed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.entries, self._length = _read(path)  # entries at the opening
        self._file = path.open("ab", buffering=0)
        self._file.truncate(self._length)
        self._unwritten = b""
        self._synced = time.monotonic()

    def read(self) -> list[Entry]:
        """Return all entries that are on the disk now."""
        return _read(self._path)[0]

    def append(self, line: bytes, *, strict: bool) -> None:
        """Write a line, and those that could not be written before.

        Args:
            line: With its end.
            strict: Drop the line and raise if it cannot be written, instead of keeping it.

        Raises:
            OSError: The disk is full, and `strict` is set.
        """
        self._unwritten += line
        try:
            written = self._file.write(self._unwritten) or 0
            if written < len(self._unwritten):
                self._file.write(self._unwritten[written:])  # raises the reason
        except OSError:
            with contextlib.suppress(OSError):
                self._file.truncate(self._length)  # removes an incomplete line
            if strict:
                self._unwritten = self._unwritten.removesuffix(line)
                raise
            return
        self._length += len(self._unwritten)
        self._unwritten = b""
        if time.monotonic() - self._synced > _SYNC_INTERVAL:
            self.flush()

    def flush(self) -> None:
        """Force the written lines to the disk, where the system allows it."""
        with contextlib.suppress(OSError):
            os.fsync(self._file.fileno())
            self._synced = time.monotonic()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _read(path: Path) -> tuple[list[Entry], int]:
    """Return the complete entries of a file, and their length in bytes."""
    entries: list[Entry] = []
    length = 0
    with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
        for line in file:
            try:
                content = json.loads(line)
            except ValueError:
                break
            if not line.endswith(b"\n"):
                break
            entries.append(Entry(content.pop("n"), content.pop("op"), content))
            length += len(line)
    return entries, length
