"""Differences between the contents of two trees of runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from run_contents import sha256

Content = dict[str, Any]


class Difference(NamedTuple):
    """Where two files differ."""

    place: str
    before: Any
    after: Any


def differences(before: Any, after: Any, place: str = "") -> Iterator[Difference]:
    """Find what differs between two nested contents."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted({*before, *after}):
            inner = f"{place} > {key}" if place else key
            yield from differences(before.get(key), after.get(key), inner)
    elif before != after:
        yield Difference(place, before, after)


def digest(results: Content) -> str:
    """Digest the section that must be equal."""
    return sha256(json.dumps(results, sort_keys=True))


def shared(*contents: Content) -> list[Content]:
    """Keep of several contents the runs that all of them hold."""
    return [
        {
            section: {
                run: found
                for run, found in content[section].items()
                if all(run in other[section] for other in contents)
            }
            for section in content
        }
        for content in contents
    ]


def compare_files(before: Path, after: Path, most: int, *, common: bool) -> int:
    """Print in what two files differ; 1 where they do, else 0."""
    contents = [json.loads(place.read_text("utf-8")) for place in (before, after)]
    if common:
        contents = shared(*contents)
    for place, content in zip((before, after), contents, strict=True):
        print(f"{digest(content['results'])}  results of {place}")
    found = {}
    for section in ("results", "records"):
        found[section] = list(differences(*(content[section] for content in contents)))
        print(f"{section}: {len(found[section]) or 'no'} differences")
        for one in found[section][:most]:
            print(f"  {one.place}\n    {str(one.before)[:200]}\n    {str(one.after)[:200]}")
    return int(any(found.values()))
