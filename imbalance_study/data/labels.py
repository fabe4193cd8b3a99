"""Labels that are no good: such as look alike, name several classes, or stand for nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from imbalance_study.data.report import Finding


def key_of(name: str) -> str:
    """Return a name without case, blanks and hyphens, and numbers by value: 1.0 is 1."""
    key = "".join(letter for letter in name.casefold() if letter not in " _-\t\u00a0")
    try:
        return f"{float(key):g}"
    except ValueError:
        return key


def near_equal(names: Iterable[str], counts: Mapping[str, int] | None = None) -> list[Finding]:
    """Warn of classes whose names differ in case, blanks or hyphens alone, or as 1 and 1.0."""
    by_key: dict[str, list[str]] = {}
    for name in names:
        by_key.setdefault(key_of(name), []).append(name)
    found = []
    for near in by_key.values():
        if len(near) > 1:
            shown = [f"{n!r} ({counts[n]})" if counts else repr(n) for n in near]
            found.append(
                Finding("labels", f"{', '.join(shown)} are different classes, and look alike")
            )
    return found
