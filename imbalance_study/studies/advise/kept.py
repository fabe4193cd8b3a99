"""Rows of repeats on disk: a command that is repeated goes on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from imbalance_study.studies.advise.heads import Floats, Ints

VERSION = 1


class Key(NamedTuple):
    """One head: its remedy, its repeat, and the class of which it saw a share alone."""

    remedy: str
    repeat: int
    label: int = -1  # -1: all images of all classes
    share: float = 1.0


class Rows:
    """Confusion matrices of trained heads, one line each, appended as they come.

    Args:
        path: The file, made when missing; None keeps nothing.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._confusions: dict[Key, Ints] = {}
        self.read = 0  # that were there before
        if path is not None and path.exists():
            for line in path.read_text("utf-8").splitlines():
                self._take(line)
        self.read = len(self._confusions)

    def _take(self, line: str) -> None:
        try:
            row = json.loads(line)
            key = Key(row["remedy"], row["repeat"], row["label"], row["share"])
            self._confusions[key] = np.array(row["confusion"], np.int64)
        except (ValueError, KeyError, TypeError):  # a line that was cut off
            return

    def __contains__(self, key: Key) -> bool:
        """Tell whether the head was trained."""
        return key in self._confusions

    def __getitem__(self, key: Key) -> Ints:
        """Return the confusion matrix (C, C) of a head on its test images."""
        return self._confusions[key]

    def add(self, key: Key, confusion: Ints) -> None:
        """Keep the result of a head."""
        self._confusions[key] = confusion
        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps(key._asdict() | {"confusion": confusion.tolist()})
        with self.path.open("a", encoding="utf-8") as file:
            file.write(f"\n{line}")

    def stacked(self, remedy: str, repeats: int) -> Floats:
        """Return the confusion matrices (J, C, C) of the first repeats of a remedy."""
        return np.stack([self._confusions[Key(remedy, one)] for one in range(repeats)]).astype(
            float
        )


def name_of(made_of: Mapping[str, Any]) -> str:
    """Return the name of the file of rows, by a digest of all that they follow from."""
    text = json.dumps({"version": VERSION, **made_of}, sort_keys=True, default=str)
    return f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.jsonl"
