"""Labels that are no good: such as look alike, name several classes, or stand for nothing."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence

from imbalance_study.data.report import Finding, listed

SINGLE = "This program gives an image one class; it is not for images of several labels"
_EMPTY = {"", "nan", "<na>", "nat"}  # as pandas writes a value that is not there
_JOINTS = ("|", ";", ",", "+", "/", " ")


def is_empty(cell: str) -> bool:
    """Return whether a cell holds nothing, or a word for it, as pandas writes one."""
    return cell.lower() in _EMPTY


def refuse_empty(label: str, place: str) -> None:
    """Refuse a label that stands for none.

    Raises:
        ValueError: It is empty, or ``nan``.
    """
    if is_empty(label):
        raise ValueError(
            f"{place} is {'empty' if not label else repr(label) + ', which is no label'}"
        )


def refuse_several(labels: Sequence[tuple[str, str]]) -> None:
    """Refuse cells that hold several labels: joined by |, or others of the column joined.

    Args:
        labels: Place and label of each image.

    Raises:
        ValueError: With the first such cell and their number.
    """
    names = {label for _, label in labels}
    joined = {name for name in names if _holds_several(name, names)}
    places = [(place, label) for place, label in labels if label in joined]
    if places:
        place, label = places[0]
        raise ValueError(
            f"{place}: {label!r} holds several labels, as {len(places):,} of {len(labels):,} rows "
            f"do. {SINGLE}: keep the rows of one label, or give these a label of their own"
        )


def _holds_several(name: str, names: set[str]) -> bool:
    for joint in _JOINTS:
        pieces = [piece.strip() for piece in name.split(joint)]
        if len(pieces) > 1 and all(pieces) and (joint == "|" or {*pieces} <= names):
            return True
    return False


def key_of(name: str) -> str:
    """Return a name without case, blanks and hyphens, and numbers by value: 1.0 is 1."""
    plain = unicodedata.normalize("NFKC", name).casefold()
    key = "".join(letter for letter in plain if letter not in " _-\t")
    try:
        return f"{float(key):g}"
    except ValueError:
        return key


def near_equal(names: Iterable[str], counts: Mapping[str, int] | None = None) -> list[Finding]:
    """Warn of classes whose names differ in case, blanks or hyphens alone, or as 1 and 1.0."""
    found = []
    for near in _by_key(names):
        if len(near) > 1:
            shown = [f"{n!r} ({counts[n]})" if counts else repr(n) for n in near]
            found.append(
                Finding("labels", f"{', '.join(shown)} are different classes, and look alike")
            )
    return found


def near_groups(groups: Iterable[str]) -> list[Finding]:
    """Warn of groups whose names look alike: images of one patient may be in two parts."""
    alike = [near for near in _by_key(sorted(groups)) if len(near) > 1]
    if not alike:
        return []
    shown = listed([" and ".join(map(repr, near)) for near in alike])
    return [Finding("labels", f"groups that look alike, and are kept apart: {shown}", len(alike))]


def _by_key(names: Iterable[str]) -> list[list[str]]:
    by_key: dict[str, list[str]] = {}
    for name in names:
        by_key.setdefault(key_of(name), []).append(name)
    return list(by_key.values())
