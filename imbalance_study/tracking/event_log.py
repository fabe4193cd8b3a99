"""The file of a journal: one entry a line, which outlives a process that is killed.

A line carries its number and a checksum, so that a line which was damaged, removed or doubled on
the disk is noticed. Lines of earlier versions have no checksum, and are read as they are.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from imbalance_study.files import replacing

# Seconds after which lines are forced to the disk.
_SYNC_INTERVAL = 5.0
# A line begins with its checksum, in hexadecimal digits; one of an earlier version with its number.
_CHECKED, _PLAIN = b'{"crc": "', b'{"n": '
_DIGITS = slice(len(_CHECKED), len(_CHECKED) + 8)
_REST = len(_CHECKED) + 8 + len(b'", ')


class Entry(NamedTuple):
    """One line of a journal."""

    number: int  # from 0
    op: str
    content: dict[str, Any]

    def line(self) -> bytes:
        """Return the entry as a line of JSON, with its checksum."""
        text = json.dumps({"n": self.number, "op": self.op, **self.content}).encode("ascii")
        return b'%s%08x", %s\n' % (_CHECKED, zlib.crc32(text), text[1:])


class DamagedLog(ValueError):
    """Raised for a file of lines that are damaged, missing or out of order."""

    def __init__(self, path: Path, places: list[str]) -> None:
        more = f" (and {len(places) - 1} more places)" if len(places) > 1 else ""
        super().__init__(f"{path} is damaged: {places[0]}{more}")


class _Content(NamedTuple):
    """Content of a file of entries."""

    entries: list[Entry]  # in the order of the file
    length: int  # in bytes, without an incomplete last line
    ended: bool  # whether the last entry has its end of line
    damage: list[str]  # a sentence for each damaged place


class EventLog:
    """An append-only file of lines.

    A line is given to the system at once, and forced to the disk every few seconds. Lines that a
    full disk refuses stay in memory until they can be written.

    Args:
        path: The file, made when missing; an incomplete last line is removed.

    Raises:
        DamagedLog: Another line is damaged or missing; the file stays as it is.
    """

    def __init__(self, path: Path) -> None:
        content = _read(path)
        if content.damage:
            raise DamagedLog(path, content.damage)
        self._path = path
        self.entries, self._length = content.entries, content.length  # at the opening
        self._file = path.open("ab", buffering=0)
        self._file.truncate(self._length)
        self._unwritten = b"" if content.ended else b"\n"
        self._synced = time.monotonic()

    def read(self) -> list[Entry]:
        """Return all entries that are on the disk now."""
        return _read(self._path).entries

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


def salvage(path: Path, stand_in: Callable[[int, str], Entry]) -> str:
    """Write a damaged file anew with its sound entries; the damaged one stays beside it.

    Of two entries of one number the first counts.

    Args:
        path: The file; nothing happens to one that is sound.
        stand_in: Makes an entry for each lost one, of its number and what was damaged.

    Returns:
        What was damaged; empty for a sound file.

    Raises:
        OSError: The file cannot be written.
    """
    content = _read(path)
    if not content.damage:
        return ""
    damage = "; ".join(content.damage)
    sound = {entry.number: entry for entry in reversed(content.entries)}
    end = max(sound, default=-1) + 1
    if content.damage[-1].startswith(_LAST):
        end += 1  # the number of the damaged last line
    entries = [sound.get(number) or stand_in(number, damage) for number in range(end)]
    os.link(path, path.with_name(f"{path.stem}.damaged-{time.time_ns()}{path.suffix}"))
    with replacing(path, "the journal") as partial:
        partial.write_bytes(b"".join(entry.line() for entry in entries))
    return damage


_LAST = "the last line"


def _read(path: Path) -> _Content:
    """Read the entries of a file, and note where it is damaged."""
    lines: list[bytes] = []
    with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
        lines = file.readlines()
    reader = _Reader()
    for at, line in enumerate(lines, start=1):
        found = _entries_of(line)
        whole = line.endswith(b"\n")
        if at == len(lines) and not whole and None in found:
            # A torn end: the entries before it in the same line are whole.
            sound = found[: found.index(None)]
            reader.take(at, sound)
            length = sum(map(len, lines[:-1])) + _length_of(line, len(sound))
            return _Content(reader.entries, length, not sound, reader.damage)
        reader.take(at, found, last=at == len(lines))
    ended = not lines or lines[-1].endswith(b"\n")
    return _Content(reader.entries, sum(map(len, lines)), ended, reader.damage)


class _Reader:
    """Collects entries, and notes gaps, damaged lines and entries out of order."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.damage: list[str] = []
        self._noted = 0  # number of entries when damage was last noted

    def take(self, at: int, found: list[_Checked | None], *, last: bool = False) -> None:
        """Take the entries of line `at`, counted from 1; None stands for a damaged part."""
        for part, checked in enumerate(found, start=1):
            if checked is None:
                ends = last and part == len(found)
                self._note(f"{_LAST} ({at})" if ends else f"line {at}", "is damaged")
                continue
            entry, has_checksum = checked
            expected = self.entries[-1].number + 1 if self.entries else 0
            if self.entries and entry == self.entries[-1]:
                continue  # the same line twice
            if entry.number < expected:
                self._note(f"line {at}", f"holds record {entry.number} out of order")
            elif entry.number > expected and has_checksum and not self._just_noted():
                missing = f"record {expected}" if entry.number == expected + 1 else "records"
                self._note(f"{missing} before line {at}", "cannot be found")
            self.entries.append(entry)

    def _just_noted(self) -> bool:
        return bool(self.damage) and self._noted == len(self.entries)

    def _note(self, place: str, what: str) -> None:
        self.damage.append(f"{place} {what}")
        self._noted = len(self.entries)


class _Checked(NamedTuple):
    """An entry, and whether a checksum vouches for it."""

    entry: Entry
    has_checksum: bool


def _pieces(line: bytes) -> list[bytes]:
    """Split a line where an end of line is damaged: quotes within JSON texts are escaped."""
    starts = [match.start() for match in re.finditer(re.escape(_CHECKED), line)]
    if not starts or starts[0] > 0:
        starts.insert(0, 0)
    return [line[begin:end] for begin, end in zip(starts, [*starts[1:], len(line)], strict=True)]


def _entries_of(line: bytes) -> list[_Checked | None]:
    """Parse a line; of one whose end of line is damaged, several entries. None: a damaged part."""
    return [_parse(piece.removesuffix(b"\n")) or _parse_before(piece) for piece in _pieces(line)]


def _parse_before(piece: bytes) -> _Checked | None:
    """Parse a piece without its last byte, a damaged end of line; only if a checksum agrees."""
    return _parse(piece[:-1]) if piece.startswith(_CHECKED) else None


def _parse(text: bytes) -> _Checked | None:
    """Return the entry of a line without its end; None if it is damaged."""
    has_checksum = text.startswith(_CHECKED)
    if has_checksum:
        digits, text = text[_DIGITS], b"{" + text[_REST:]
        if digits != b"%08x" % zlib.crc32(text):
            return None
    elif not text.startswith(_PLAIN):
        return None
    try:
        content = json.loads(text)
        entry = Entry(content.pop("n"), content.pop("op"), content)
    except (ValueError, KeyError, RecursionError):
        return None
    sound = isinstance(entry.number, int) and isinstance(entry.op, str)
    return _Checked(entry, has_checksum) if sound else None


def _length_of(line: bytes, pieces: int) -> int:
    """Return the length in bytes of the first pieces of a line."""
    return sum(map(len, _pieces(line)[:pieces]))
