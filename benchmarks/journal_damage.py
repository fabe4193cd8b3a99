"""Damage the journal of a finished run everywhere, and count what is lost or invented.

    python benchmarks/journal_damage.py

Trains a small run and keeps its journal. Then each byte of three lines becomes another one, in two
ways, and each line is removed, doubled and emptied. After each, `salvage` (what `sync --salvage
true` does first) must keep every entry that was not hit, and read none that was never written.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from imbalance_study.config.resolve import resolve
from imbalance_study.tracking import journal, run
from imbalance_study.tracking.event_log import DamagedLog, Entry, EventLog, salvage

LOST = "lost"
OPTIONS = {
    "dataset": "digits", "model": "resnet20", "image_size": 8, "epochs": 5, "steps_per_epoch": 2,
    "analyses": "none", "system_metrics": False, "device": "cpu", "auto_precision": False,
}  # fmt: skip


class Case(NamedTuple):
    """One damage."""

    kind: str
    lines: list[bytes]  # of the file afterwards
    hit: int  # the line that was damaged
    keeps: bool = False  # the entry of that line is still there


def main(words: list[str] | None = None) -> int:
    """Print the count of cases of each kind, and those that went wrong; 1 where there are any."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lines", type=int, default=3, help="lines whose bytes are damaged")
    asked = parser.parse_args(words)
    with tempfile.TemporaryDirectory() as folder:
        lines = journal_of_a_run(Path(folder))
        print(f"a journal of {len(lines)} lines, {sum(map(len, lines)):,} bytes")
        counts: Counter[str] = Counter()
        wrong: list[str] = []
        for case in cases(lines, asked.lines):
            counts[case.kind] += 1
            if fault := check(case, lines, Path(folder)):
                wrong.append(f"{case.kind}, line {case.hit + 1}: {fault}")
    for kind, count in counts.items():
        print(f"{kind:40} {count:6,} cases")
    print(f"{sum(counts.values()):,} cases, {len(wrong)} wrong", *wrong[:20], sep="\n")
    return int(bool(wrong))


def journal_of_a_run(folder: Path) -> list[bytes]:
    """Train, and return the lines of the journal as they are when the run ends."""
    kept = folder / "events.jsonl"

    def keep(_: object) -> None:
        shutil.copy(journal.current().folder / "events.jsonl", kept)

    options = {name: str(value) for name, value in OPTIONS.items()}
    options |= {"cache_dir": str(folder / "cache"), "tracking_uri": f"sqlite:///{folder / 'm.db'}"}
    with contextlib.chdir(folder):
        run.train(resolve(options), hooks=run.Hooks(on_end=keep), show_progress=False)
    return kept.read_bytes().splitlines(keepends=True)


def cases(lines: list[bytes], bytes_of: int) -> Iterator[Case]:
    """Go through all damages; bytes are those of so many lines, evenly from the first on."""
    last = len(lines) - 1
    for hit in sorted({round(part * last / bytes_of) for part in range(bytes_of)}):
        for at, byte in enumerate(lines[hit]):
            for kind, other in (("one bit of a byte", byte ^ 1), ("a byte becomes zero", 0)):
                changed = lines[hit][:at] + bytes([other]) + lines[hit][at + 1 :]
                # Its own end of line is no part of an entry.
                keeps = at == len(lines[hit]) - 1
                yield Case(kind, [*lines[:hit], changed, *lines[hit + 1 :]], hit, keeps)
    for hit, line in enumerate(lines):
        yield Case("a line removed", [*lines[:hit], *lines[hit + 1 :]], hit)
        yield Case("a line emptied", [*lines[:hit], b"\n", *lines[hit + 1 :]], hit)
        yield Case("a line twice", [*lines[:hit], line, *lines[hit:]], hit, keeps=True)


def check(case: Case, lines: list[bytes], folder: Path) -> str:
    """Return what is wrong after the salvage of a damaged journal; empty if nothing is."""
    path = folder / "damaged" / "events.jsonl"
    shutil.rmtree(path.parent, ignore_errors=True)
    path.parent.mkdir()
    path.write_bytes(b"".join(case.lines))
    noticed = False
    try:
        EventLog(path).close()
    except DamagedLog:
        noticed = True
    path.write_bytes(b"".join(case.lines))
    salvage(path, lambda number, damage: Entry(number, LOST, {}))
    log = EventLog(path)
    log.close()
    found = {entry.number: entry.line() for entry in log.entries if entry.op != LOST}
    sound = dict(enumerate(lines))
    if invented := [number for number, line in found.items() if sound.get(number) != line]:
        return f"record {invented[0]} was never written"
    missing = sound.keys() - found.keys() - (set() if case.keeps else {case.hit})
    if missing:
        return f"record {min(missing)} is lost"
    lost = case.hit not in found
    torn = case.hit == len(lines) - 1  # an end that is missing is that of a process that was killed
    return "nobody is told" if lost and not noticed and not torn else ""


if __name__ == "__main__":
    sys.exit(main())
