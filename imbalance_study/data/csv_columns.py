"""Columns of a table of images, found by their usual names or by those that the user gives."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from imbalance_study.data.part_names import fold_of, part_of
from imbalance_study.data.report import listed

# Usual names, the likeliest first; compared without case, blanks and signs.
_PATH = (
    *("path", "file_path", "filepath", "image_path", "imagepath", "img_path", "filename"),
    *("file_name", "file", "image_filename", "image_file", "image_name", "imagename", "img_name"),
    *(
        "image",
        "img",
        "images",
        "files",
        "filenames",
        "image_id",
        "imageid",
        "img_id",
        "image_index",
    ),
    *("isic_id", "id_code", "fname", "id", "patient_id", "patientid"),
)
_LABEL = (
    *("label", "labels", "class", "class_name", "classname", "class_label", "label_name"),
    *("category", "target", "dx", "diagnosis", "finding_labels", "finding", "disease", "species"),
    *("breed", "class_id", "classid", "label_id"),
)
_GROUP = (
    *("group", "groups", "group_id", "patient", "patient_id", "patientid", "subject"),
    *("subject_id", "subjectid", "person", "person_id", "case_id", "lesion", "lesion_id"),
)
# Forms of names for columns that have none of these.
_FORMS = {
    "path": re.compile(
        r"(image|img|file|photo|picture|scan|slide|tile|frame)s?"
        r"(_(file|name|path|id|index|no|number|filename))*"
    ),
    "label": re.compile(r"(\w+_)?(label|class|category|target|diagnosis)(_(name|id|code|text))?"),
    "group": re.compile(
        r"(\w+_)?(patient|subject|lesion|case|person|participant|group)(_(id|no|number|code))?"
    ),
}
_SPLIT = ("split", "part", "partition", "subset", "set", "phase", "fold", "folds", "kfold")
_ROLES = {"path": _PATH, "label": _LABEL, "group": _GROUP, "split": _SPLIT}
_OPTIONAL = ("group", "split")
ONE = ("1", "1.0", "true")  # cells of a column of 0 and 1


class Table(NamedTuple):
    """A table as text: every cell is stripped."""

    path: Path
    header: list[str]
    rows: list[tuple[int, list[str]]]  # line in the file, cells


class Columns(NamedTuple):
    """Positions of the columns."""

    path: int
    labels: tuple[int, ...]  # one, or several that hold 0 and 1
    group: int | None
    split: int | None
    given: frozenset[str]  # roles whose column the user named, or that has the plain name
    words: str


def parse(text: str) -> dict[str, str]:
    """Read the option csv_columns: role to the name of a column.

    Raises:
        ValueError: It is no list of ROLE:NAME.
    """
    if text in ("", "auto"):
        return {}
    chosen: dict[str, str] = {}
    for piece in text.split(","):
        role, colon, name = (part.strip() for part in piece.partition(":"))
        if role not in _ROLES or not colon or not name or role in chosen:
            raise ValueError(
                f"csv_columns must be like path:NAME,label:NAME,group:NAME,split:NAME, got {text!r}"
            )
        chosen[role] = name
    return chosen


def find(table: Table, chosen: dict[str, str]) -> Columns:
    """Find the columns of file, label, group and split.

    Args:
        table: Its first rows are enough to tell columns of 0 and 1.
        chosen: See `parse`.

    Raises:
        ValueError: There is no column for files or labels, or a chosen one is not there; the
            message lists the columns.
    """
    found: dict[str, int] = {}
    for role in ("path", *_OPTIONAL):
        position = _one(table, role, chosen, taken=set(found.values()))
        if position is not None:
            found[role] = position
    if "path" not in found:
        raise _missing(table, "path", "files", _PATH)
    labels = _labels(table, chosen, set(found.values()))
    plain = {role for role, at in found.items() if _key(table.header[at]) == role}
    split = found.get("split")
    if split is not None and "split" not in chosen.keys() | plain and not _parts(table, split):
        del found["split"]
    return Columns(
        found["path"],
        labels,
        found.get("group"),
        found.get("split"),
        frozenset(chosen) | plain,
        _words(table, found, labels, chosen),
    )


def _parts(table: Table, column: int) -> bool:
    """Return whether a column holds parts or numbers of folds alone."""
    cells = {cells[column] for _, cells in table.rows}
    fold = "fold" in _key(table.header[column])
    return all(
        part_of(c) is not None or fold_of(c) is not None or (fold and c.isdigit()) for c in cells
    )


def _one(table: Table, role: str, chosen: dict[str, str], taken: set[int]) -> int | None:
    if role in chosen:
        if role in _OPTIONAL and chosen[role] == "none":
            return None
        return _position(table, chosen[role])
    for at in _by_names(table, role):
        if at not in taken:
            return at
    return None


def _by_names(table: Table, role: str) -> list[int]:
    """Return the columns of usual names, the likeliest first.

    Raises:
        ValueError: The likeliest name is there twice.
    """
    keys = [_key(name) for name in table.header]
    at = [keys.index(name) for name in _ROLES[role] if name in keys]
    form = _FORMS.get(role)
    if form and not at:
        at = [number for number, name in enumerate(keys) if form.fullmatch(name)]
    if at and keys.count(keys[at[0]]) > 1:
        raise ValueError(f"{table.path} has two columns {table.header[at[0]]!r}: rename one")
    return at


def _position(table: Table, name: str) -> int:
    for form in (str, _key):
        at = [number for number, other in enumerate(table.header) if form(other) == form(name)]
        if len(at) == 1:
            return at[0]
    raise ValueError(
        f"csv_columns: {table.path} has {'two columns' if at else 'no column'} {name!r}; "
        f"its columns: {_listed(table.header)}"
    )


def _labels(table: Table, chosen: dict[str, str], taken: set[int]) -> tuple[int, ...]:
    if "label" in chosen:
        return tuple(_position(table, name.strip()) for name in chosen["label"].split("+"))
    named = [at for at in _by_names(table, "label") if at not in taken]
    if named:
        return (named[0],)
    others = [at for at, name in enumerate(table.header) if name and at not in taken]
    others = [at for at in others if not _key(table.header[at]).startswith("unnamed")]
    if len(others) == 1:
        return (others[0],)
    binary = tuple(at for at in others if _is_binary(cells[at] for _, cells in table.rows))
    if len(binary) < 2:
        raise _missing(table, "label", "labels", _LABEL)
    return binary


def _is_binary(cells: Iterable[str]) -> bool:
    return {cell.lower() for cell in cells} <= {*ONE, "0", "0.0", "false", ""}


def _missing(table: Table, role: str, words: str, usual: Sequence[str]) -> ValueError:
    return ValueError(
        f"{table.path} has no column of {words} with a usual name ({', '.join(usual[:4])} and so "
        f"on); name it with csv_columns={role}:NAME. Its columns: {_listed(table.header)}"
    )


def _listed(header: Sequence[str]) -> str:
    return listed([name for name in header if name], 20) or "none"


def _words(
    table: Table, found: dict[str, int], labels: tuple[int, ...], chosen: dict[str, str]
) -> str:
    header = table.header
    label = listed([header[at] for at in labels])
    parts = [f"{header[found['path']]} is the file", f"{label} the label"]
    if len(labels) > 1:
        parts[1] = f"{label} hold 1 for the label"
    if "group" in found:
        parts.append(f"{header[found['group']]} the group")
    if "split" in found:
        parts.append(f"{header[found['split']]} the part")
    text = f"columns of {table.path.name}: {', '.join(parts)}"
    if "label" not in chosen and len(labels) == 1:
        rest = [header[at] for at in _by_names(table, "label") if at not in labels]
        text += f"; csv_columns=label:NAME chooses another, {listed(rest)}" if rest else ""
    return text


def _key(name: str) -> str:
    """Return a name of a column in small letters with underscores: ImageId is image_id."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return re.sub(r"[^0-9a-z]+", "_", words.lower()).strip("_")
