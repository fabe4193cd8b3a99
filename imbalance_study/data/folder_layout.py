"""Layouts of image folders: classes, parts of classes, classes of parts, folds.

A layout that can be meant in two ways is refused.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from imbalance_study.data.image_folder import Tree
from imbalance_study.data.part_names import PART_WORDS, fold_of, is_part_alone, part_in, part_of
from imbalance_study.data.report import listed

# Names of folders that hold a portion of a set, or something that belongs to each image.
_PORTION = re.compile(r".*(part|batch|images?|imgs?|chunk|shard)[ _-]*\d+", re.IGNORECASE)
_COMPANIONS = {"images", "image", "imgs", "img", "masks", "mask", "labels", "annotations"}


class Leaf(NamedTuple):
    """A folder of images of one class in one part."""

    folder: str  # relative to the tree's root
    part: int  # position in PARTS
    name: str  # of the class


class Layout(NamedTuple):
    """Places of the images of each class and part."""

    leaves: list[Leaf]
    words: str  # what was taken as parts and classes


def find(tree: Tree, below: str = "", test_fold: int | None = None) -> Layout:
    """Find classes and parts in a folder, or in the only folder of folders in it.

    Args:
        tree: The files and folders.
        below: The folder, relative to the tree's root.
        test_fold: Number of the fold that is the test part; by default the lowest.

    Raises:
        ValueError: The layout can be meant in two ways, or there is no fold `test_fold`.
    """
    return _Finder(tree, test_fold).layout(below)


class _Finder:
    """Finds the layout of a tree."""

    def __init__(self, tree: Tree, test_fold: int | None) -> None:
        self._tree, self._test_fold = tree, test_fold
        self._images: Counter[str] = Counter()  # images below each folder
        folders = Counter(entry.name.rpartition("/")[0] for entry in tree.entries)
        for folder, count in folders.items():
            pieces = folder.split("/") if folder else []
            for end in range(1, len(pieces) + 1):
                self._images["/".join(pieces[:end])] += count

    def layout(self, below: str) -> Layout:
        """Find classes and parts; see `find`."""
        below = self._only_folder(below)
        names = self._filled(below)
        children = self._tree.children(below)
        parts = {name: part for name in children if (part := part_of(name)) is not None}
        if any(part == 0 and self._tree.children(join(below, n)) for n, part in parts.items()):
            self._refuse_no_folds(below)
            return self._parts_first(below, parts)
        self._refuse_parts_as_classes(below, names, parts)
        self._refuse_both_in_one(below, names)
        folds = {name: fold for name in names if (fold := fold_of(name)) is not None}
        if len(folds) > 1:
            return self._folds_first(below, names, folds)
        inner = {name: self._filled(join(below, name)) for name in names}
        if any(is_part_alone(sub) or fold_of(sub) is not None for s in inner.values() for sub in s):
            return self._class_first(below, inner)
        self._refuse_no_folds(below)
        self._refuse_equal_folders(below, inner)
        self._refuse_portions(below, children)
        for name, subs in inner.items():
            self._refuse_both_in_one(join(below, name), subs)
        words = f"{len(children)} class folders in {self._tree.place(below)}, without parts"
        return Layout([Leaf(join(below, name), 0, name) for name in children], words)

    def _only_folder(self, below: str) -> str:
        """Go down while a folder holds one folder of images, which holds folders."""
        while True:
            names = self._filled(below)
            if len(names) != 1 or part_of(names[0]) not in (
                None,
                part_of(below.rpartition("/")[2]),
            ):
                break
            inner = join(below, names[0])
            if not self._tree.children(inner):
                break
            below = inner
        return below

    def _filled(self, folder: str) -> list[str]:
        """Return the folders in a folder that hold an image at any depth."""
        return [n for n in self._tree.children(folder) if self._images[join(folder, n)]]

    def _direct(self, folder: str) -> int:
        """Count the images in a folder that are in no folder in it."""
        total = self._images[folder] if folder else len(self._tree.entries)
        return total - sum(self._images[join(folder, n)] for n in self._filled(folder))

    def _parts_first(self, below: str, parts: Mapping[str, int]) -> Layout:
        tops = {name: self._only_folder(join(below, name)) for name in parts}
        tops = {name: top for name, top in tops.items() if self._tree.children(top)}
        others = [name for name in self._filled(below) if name not in parts]
        if others and set(parts.values()) == {0}:
            raise ValueError(
                f"{self._tree.place(below)} holds {', '.join(parts)} beside {listed(others)}: put "
                f"these elsewhere, or rename {', '.join(parts)} if it is a class like them"
            )
        for part, word in enumerate(PART_WORDS):
            twins = [name for name in tops if parts[name] == part]
            if len(twins) > 1:
                raise ValueError(
                    f"{self._tree.place(below)} holds two {word} folders: {', '.join(twins)}; put "
                    "their images into one"
                )
        ordered = sorted(tops, key=lambda name: parts[name])
        leaves = [leaf for name in ordered for leaf in self._classes_of(tops[name], parts[name])]
        words = f"{_part_words({name: parts[name] for name in ordered})}, by name"
        flat = [name for name in parts if name not in tops]
        return Layout(leaves, f"{words}{_flat_words(flat)}")

    def _classes_of(self, top: str, part: int) -> Iterator[Leaf]:
        """Yield the class folders of a part, which may lie in folds."""
        names = self._tree.children(top)
        folds = [name for name in names if fold_of(name) is not None]
        for name in names:
            path = join(top, name)
            if len(folds) == len(names) > 1:
                yield from (Leaf(join(path, n), part, n) for n in self._tree.children(path))
            else:
                yield Leaf(path, part, name)

    def _refuse_parts_as_classes(
        self, below: str, names: Sequence[str], parts: Mapping[str, int]
    ) -> None:
        others = [name for name in names if name not in parts]
        place = self._tree.place(below)
        if parts and not others:
            raise ValueError(
                f"{place} holds {', '.join(parts)} but no train folder of class folders"
                f"{self._tables(below)}"
            )
        alone = [name for name in parts if is_part_alone(name)]
        if alone:
            raise ValueError(
                f"{place} holds {listed(alone)} among class folders ({listed(others)}): if it is a "
                "class, rename it; if it is a part, put the class folders into a folder train"
            )

    def _tables(self, below: str) -> str:
        """Point to tables in a folder."""
        above = f"{below}/" if below else ""
        names = [name.removeprefix(above) for name in self._tree.others if name.startswith(above)]
        tables = [name for name in names if "/" not in name and name.lower().endswith(".csv")]
        return f"; dataset=csv reads {listed(tables)} beside them" if tables else ""

    def _refuse_both_in_one(self, below: str, names: Sequence[str]) -> None:
        """Refuse names that hold a class and a part: cat_train, cat_test."""
        parts = [part_in(name) for name in names]
        if None not in parts and len(set(parts)) > 1:
            raise ValueError(
                f"{self._tree.place(below)} holds {listed(names)}, which look like a class and a "
                "part in one name; make folders of parts and in them folders of classes"
            )

    def _folds_first(self, below: str, names: Sequence[str], folds: Mapping[str, int]) -> Layout:
        place = self._tree.place(below)
        inner = {name: self._tree.children(join(below, name)) for name in folds}
        others = [name for name in names if name not in folds]
        if others:
            raise ValueError(f"{place} holds folds beside {listed(others)}: put these elsewhere")
        if not all(inner.values()):
            raise ValueError(f"{place} holds {listed(names)}, which hold no class folders")
        if any(part_of(sub) is not None for subs in inner.values() for sub in subs):
            raise ValueError(
                f"{place} holds {listed(names)}, each with parts of its own: set data_dir to one"
            )
        test = self._fold(folds.values(), below)
        leaves = [
            Leaf(join(join(below, fold), name), 2 if folds[fold] == test else 0, name)
            for fold, subs in inner.items()
            for name in subs
        ]
        return Layout(leaves, fold_words(test, len(folds)))

    def _fold(self, folds: Iterable[int], below: str) -> int:
        """Return the number of the fold that is the test part."""
        known = sorted(set(folds))
        if self._test_fold is None:
            return known[0]
        if self._test_fold not in known:
            raise ValueError(
                f"test_fold must be one of {', '.join(map(str, known))}, the folds in "
                f"{self._tree.place(below)}, got {self._test_fold}"
            )
        return self._test_fold

    def _refuse_no_folds(self, below: str) -> None:
        if self._test_fold is not None:
            raise ValueError(
                f"test_fold={self._test_fold} has no effect: {self._tree.place(below)} holds no "
                "folds to choose from"
            )

    def _class_first(self, below: str, inner: Mapping[str, Sequence[str]]) -> Layout:
        """Read parts or folds inside each class folder."""
        place = self._tree.place(below)
        subs = sorted({sub for names in inner.values() for sub in names})
        folds = {sub: fold for sub in subs if (fold := fold_of(sub)) is not None}
        parts = {sub: part for sub in subs if (part := part_of(sub)) is not None}
        stray = [name for name in inner if self._direct(join(below, name))]
        odd = [sub for sub in subs if sub not in (folds or parts)]
        if stray or odd:
            beside = f"folders {listed(odd)}" if odd else f"images in {listed(stray)}"
            raise ValueError(
                f"{place}: class folders hold {listed(list(folds or parts))} beside {beside}; put "
                "all images of a class into its parts, or none"
            )
        if folds:
            test = self._fold(folds.values(), below)
            parts = {sub: 2 if fold == test else 0 for sub, fold in folds.items()}
        else:
            self._refuse_no_folds(below)
        for name, names in inner.items():
            if 0 not in [parts[sub] for sub in names]:
                raise ValueError(f"{place}/{name} holds {listed(names)} but no train folder")
        leaves = [
            Leaf(join(join(below, name), sub), parts[sub], name)
            for name, names in inner.items()
            for sub in names
        ]
        if all(self._filled(leaf.folder) for leaf in leaves):
            raise ValueError(
                f"{place} holds {listed(list(inner))}, each with parts of folders: set data_dir to "
                "one of them"
            )
        words = fold_words(test, len(folds)) if folds else _part_words(parts)
        return Layout(leaves, f"{words}, inside each of the {len(inner)} class folders")

    def _refuse_portions(self, below: str, names: Sequence[str]) -> None:
        """Refuse folders that hold portions of a set, or images and their masks."""
        portions = all(_PORTION.fullmatch(name) for name in names)
        if len(names) > 1 and (portions or all(name.lower() in _COMPANIONS for name in names)):
            raise ValueError(
                f"{self._tree.place(below)} holds {listed(names)}, which do not look like classes; "
                "if a table names the class of each image, use dataset=csv, else rename them"
            )

    def _refuse_equal_folders(self, below: str, inner: Mapping[str, Sequence[str]]) -> None:
        """Refuse class folders that hold nothing but folders of the same names."""
        kinds = set(map(tuple, inner.values()))
        if len(inner) < 2 or len(kinds) != 1 or len(next(iter(kinds))) < 2:
            return
        if any(self._direct(join(below, name)) for name in inner):
            return
        subs = next(iter(inner.values()))
        raise ValueError(
            f"{self._tree.place(below)}: {listed(list(inner))} hold nothing but the same folders, "
            f"{listed(subs)}. If these are the classes, set data_dir to one of "
            f"{listed(list(inner))}; if not, take the images out of these folders"
        )


def join(above: str, name: str) -> str:
    """Return the path of a name in a folder; "" is the root."""
    return f"{above}/{name}" if above else name


def _part_words(parts: Mapping[str, int]) -> str:
    ordered = sorted(parts, key=lambda name: parts[name])
    return ", ".join(f"{name} is the {PART_WORDS[parts[name]]} part" for name in ordered)


def _flat_words(names: Sequence[str]) -> str:
    have = "have" if len(names) > 1 else "has"
    return f"; {listed(names)} {have} no class folders" if names else ""


def fold_words(test: int, folds: int) -> str:
    """Say which fold is the test part."""
    return (
        f"fold {test} of {folds} is the test part, the others are the training part "
        "(test_fold chooses another)"
    )
