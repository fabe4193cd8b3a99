"""Names of the parts of a data set, as people write them: Train, train_images, valid, fold_3."""

from __future__ import annotations

import re

PARTS = ("train", "val", "test")
PART_WORDS = ("training", "validation", "test")  # for messages

_NUMBERS = {
    **dict.fromkeys(("train", "training", "trainval", "trn"), 0),
    **dict.fromkeys(("val", "valid", "validation", "validate"), 1),
    **dict.fromkeys(("dev", "devel", "development"), 1),
    **dict.fromkeys(("test", "testing", "tst", "holdout"), 2),
}
_CLASSES_TOO = {"valid", "dev", "devel", "development", "holdout"}  # words of other meanings
_FILLERS = {
    *("image", "images", "img", "imgs", "picture", "pictures", "photo", "photos", "sample"),
    *("samples", "data", "dataset", "set", "sets", "split", "part", "folder", "files", "file"),
    *("seg", "label", "labels", "labelled", "labeled", "metadata", "csv"),
}
_GLUED = re.compile(rf"({'|'.join(sorted(_NUMBERS, key=len, reverse=True))})(set|data|images|imgs)")
_FOLD = re.compile(r"(?:cv|k)?[ _-]*fold[ _-]*(\d+)|cv[ _-]*(\d+)|(\d+)[ _-]*fold", re.IGNORECASE)


def part_of(name: str) -> int | None:
    """Return the position in PARTS that a name of a folder, file or cell means, or None.

    Case, digits, and words like images, set and data do not count: ``Train``, ``training_set``,
    ``test-images``, ``val2017``.
    """
    word = _word(name)
    return _NUMBERS.get(word) if word else None


def is_part_alone(name: str) -> bool:
    """Return whether a name means a part and hardly a class: train, but not valid."""
    return part_of(name) is not None and _word(name) not in _CLASSES_TOO


def part_in(name: str) -> int | None:
    """Return the part that is one of the words of a name: cat_train; None for none or several."""
    found = {_NUMBERS[word] for word in _words(name) if word in _NUMBERS.keys() - _CLASSES_TOO}
    return found.pop() if len(found) == 1 else None


def _words(name: str) -> list[str]:
    return re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower())


def _word(name: str) -> str:
    words = [word for word in _words(name) if word not in _FILLERS]
    if len(words) != 1:
        return ""
    glued = _GLUED.fullmatch(words[0])
    return glued[1] if glued else words[0]


def fold_of(name: str) -> int | None:
    """Return the number of a fold of cross-validation: fold_3, Fold 3, cv3; else None."""
    found = _FOLD.fullmatch(name.strip())
    return int(next(filter(None, found.groups()))) if found else None
