"""Folders of images as labelled files: their classes and parts, and the files left over."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from imbalance_study.data import folder_layout
from imbalance_study.data.folder_layout import Layout, Leaf, join
from imbalance_study.data.formats import ENDINGS
from imbalance_study.data.image_folder import Listing, Tree, readable
from imbalance_study.data.labels import key_of, near_equal
from imbalance_study.data.report import Finding, listed


def class_folders(
    tree: Tree, below: str = "", classes: Sequence[str] = (), test_fold: int | None = None
) -> Listing:
    """Read folders as classes and parts: classes alone, or with parts above or below them.

    Parts may have any usual name, see `part_names.part_of`. Of folds one is the test part, the
    others are the training part. Classes are the folders' names in alphabetical order, and all
    images at any depth below one belong to it.

    Args:
        tree: The files and folders.
        below: Folder of the class folders, relative to the tree's root.
        classes: The folders that are classes; by default all.
        test_fold: Number of the fold that is the test part; by default the lowest.

    Raises:
        ValueError: Fewer than two classes, a class folder without an image, a class in val or test
            that train lacks, a layout that can be meant in two ways, or no fold `test_fold`.
    """
    if classes:
        leaves = [Leaf(join(below, name), 0, name) for name in classes]
        layout = Layout(leaves, "")
    else:
        layout = folder_layout.find(tree, below, test_fold)
    leaves, names, findings = _named_alike(tree, layout.leaves)
    if len(names) < 2:
        found = ", ".join(names) or "none"
        raise ValueError(
            f"{tree.place(below)} must hold at least two class folders of images, found: {found}"
            f"{_archives(tree)}"
        )
    owners = _Owners(leaves)
    placed = [(leaf, entry) for entry in tree.entries if (leaf := owners.of(entry.name))]
    _refuse_empty(tree, leaves, {leaf.folder for leaf, _ in placed})
    placed.sort(key=lambda item: item[0].part)  # the entries are sorted by name
    number = {name: label for label, name in enumerate(names)}
    layouts = [Finding("layout", layout.words)] if layout.words else []
    return Listing(
        tree.root,
        tree.root,
        [entry for _, entry in placed],
        np.array([number[leaf.name] for leaf, _ in placed], np.int64),
        np.array([leaf.part for leaf, _ in placed], np.int8),
        tuple(map(readable, names)),
        findings=(*layouts, *findings, *_left_over(tree, owners)),
    )


def _named_alike(tree: Tree, leaves: Sequence[Leaf]) -> tuple[list[Leaf], list[str], list[Finding]]:
    """Give the class folders of val and test the names of those of train; list the classes.

    Raises:
        ValueError: A class in val or test that train lacks.
    """
    names = list(dict.fromkeys(leaf.name for leaf in leaves if leaf.part == 0))
    names.sort()
    by_key: dict[str, list[str]] = {}
    for name in names:
        by_key.setdefault(key_of(name), []).append(name)
    alike, kept = {}, []
    for leaf in leaves:
        name = leaf.name
        if name not in names:
            near = by_key.get(key_of(name), [])
            if len(near) != 1:
                part = leaf.folder.removesuffix(f"/{name}")
                raise ValueError(
                    f"{tree.root}: class {name!r} of {part} is not in train, "
                    f"which has: {listed(names, 20)}"
                )
            alike[name] = near[0]
        kept.append(leaf._replace(name=alike.get(name, name)))
    found = [Finding("labels", f"{name} is taken as {train}") for name, train in alike.items()]
    return kept, names, [*found, *near_equal(names)]


class _Owners:
    """Class folders that hold files, at any depth."""

    def __init__(self, leaves: Sequence[Leaf]) -> None:
        self.folders = {leaf.folder: leaf for leaf in leaves}
        self._known: dict[str, Leaf | None] = {}  # of each folder of a file that was asked for

    def of(self, name: str) -> Leaf | None:
        """Return the class folder of a file."""
        folder = name.rpartition("/")[0]
        if folder not in self._known:
            above = (self.folders.get(place) for place in _places(name))
            self._known[folder] = next(filter(None, above), None)
        return self._known[folder]


def _refuse_empty(tree: Tree, leaves: Sequence[Leaf], filled: set[str]) -> None:
    known = " ".join(ENDINGS)
    for leaf in leaves:
        if leaf.folder not in filled:
            others = Counter(
                _ending(name) for name in tree.others if name.startswith(f"{leaf.folder}/")
            )
            has = f"it holds {_endings(others)}" if others else f"names end in {known}"
            raise ValueError(f"class folder {tree.place(leaf.folder)} holds no image; {has}")


def _left_over(tree: Tree, owners: _Owners) -> list[Finding]:
    """Count the images outside of class folders, and files of other endings inside them."""
    above = {place for folder in owners.folders for place in _places(folder)}
    outside: Counter[str] = Counter()
    for entry in tree.entries:
        if owners.of(entry.name) is None:
            places = _places(entry.name)
            outside[next((p for p in places if p not in above), places[-1] if places else "")] += 1
    found = []
    if outside:
        shown = [f"{_images(count)} in {place or tree.root}" for place, count in outside.items()]
        total = sum(outside.values())
        found.append(Finding("not used", f"{listed(shown)}, outside of class folders", total))
    endings: dict[str, Counter[str]] = {}
    for name in tree.others:
        leaf = owners.of(name)
        if leaf is not None:
            endings.setdefault(_ending(name), Counter())[leaf.name] += 1
    if endings:
        total = sum(map(Counter.total, endings.values()))
        shown = [
            f"{ending} {classes.total()} ({listed([f'{n} {c}' for n, c in classes.most_common()])})"
            for ending, classes in sorted(endings.items(), key=lambda item: -item[1].total())
        ]
        text = f"{total:,} files of other endings in class folders: {listed(shown)}"
        found.append(Finding("not used", text, total))
    return found


def _places(name: str) -> list[str]:
    """Return the folders above a file or folder, from the top down."""
    pieces = name.split("/")[:-1]
    return ["/".join(pieces[:end]) for end in range(1, len(pieces) + 1)]


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count:,} images"


def _ending(name: str) -> str:
    """Return the ending of a file's name in small letters."""
    file = name.rpartition("/")[2]
    return f".{file.rpartition('.')[2].lower()}" if "." in file else "no ending"


def _endings(counts: Counter[str]) -> str:
    return listed([f"{ending} {count}" for ending, count in counts.most_common()])


def _archives(tree: Tree) -> str:
    """Point to archives in a folder that holds no images."""
    if tree.entries:
        return ""
    zips = [name for name in tree.others if name.lower().endswith(".zip")]
    return f"; data_dir={tree.root}/{zips[0]} reads that file" if zips else ""
