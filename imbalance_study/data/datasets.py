"""Data sets by name: uint8 images in memory, labels, class names and the set's own split."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

import numpy as np

from imbalance_study.config import choices, spec
from imbalance_study.data import (
    class_folders,
    csv_table,
    image_folder,
    plug_in,
    torchvision_archives,
)
from imbalance_study.data.cache import Writer, cached
from imbalance_study.data.decode import resize
from imbalance_study.data.decoding_choice import Wanted
from imbalance_study.data.image_set import ImageSet, ReadSettings, decoded
from imbalance_study.download import download
from imbalance_study.files import default_cache_dir

if TYPE_CHECKING:
    from torchvision.datasets import CIFAR10

_NONE = np.empty(0, np.int64)
_BLOCK = 10_000  # images of CIFAR that are resized at a time
_CIFAR10 = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
_FLOWERS = {"daisy", "dandelion", "rose", "sunflower", "tulip"}
_FLOWER_FOLDERS = ("flowers", "flower_photos", "flowers-recognition", "flowers_recognition")


class ReadOptions(TypedDict, total=False):
    """Ways to read a data set, each with a default."""

    image_size: int  # side of the images in pixels; 0: `default_image_size`
    on_bad_image: str  # "error", or "skip" to leave unreadable files out
    cache_dir: str | Path  # folder of decoded images; "auto": `files.default_cache_dir`
    workers: int  # cores to decode with; 0: all
    base_url: str  # server that replaces the public ones in downloads
    test_fold: int | None  # fold that is the test part; None: the lowest
    fit: str  # "auto", "crop", "pad" or "squash": see `decode.decode_and_look`
    pixel_range: str  # of images of more than eight bits: "auto", or LOW/HIGH
    csv_columns: str  # columns of a table, as path:NAME,label:NAME; "auto": by their usual names


def load(dataset: str, data_dir: str | Path = "data", **options: Unpack[ReadOptions]) -> ImageSet:
    """Read a data set, from the cache where it was decoded before.

    Images are converted to RGB and made square, see `decode.decode`.

    Args:
        dataset: A name in `choices.DATASETS`, or a function of the user's own; see `plug_in`.
        data_dir: Folder that holds the files, or gets the download. It must exist, unless it is
            the default.
        **options: Ways to read it.

    Raises:
        ValueError: An unknown name, a folder that does not exist or has another layout,
            unreadable images, or no data and no network; the message names the ways out.
        OSError: The cache or data folder cannot be written or is on a full disk.
    """
    named = spec.parse(dataset)
    read = spec.bind(choices.DATASETS, named, "dataset")
    settings = _settings(options)
    folder = Path(data_dir or "data").expanduser()
    if str(data_dir) not in ("", "data") and not folder.exists():
        raise ValueError(f"data_dir {str(data_dir)!r} does not exist")
    if ":" in named.name:
        return plug_in.read(dataset, read, folder, settings)
    size = settings.image_size or default_image_size(dataset)
    image_set: ImageSet = read(folder, dataclasses.replace(settings, image_size=size))
    return image_set


def _settings(options: ReadOptions) -> ReadSettings:
    settings = ReadSettings(
        image_size=options.get("image_size", 0),
        on_bad_image=options.get("on_bad_image", "error"),
        cache_dir=Path(options.get("cache_dir") or "auto").expanduser(),
        workers=options.get("workers", 0),
        base_url=options.get("base_url", ""),
        csv_columns=options.get("csv_columns", "auto"),
        wanted=Wanted(options.get("fit", "auto"), options.get("pixel_range", "auto")),
        test_fold=options.get("test_fold"),
    )
    if settings.on_bad_image not in ("error", "skip"):
        raise ValueError(f"on_bad_image must be one of error, skip, got {settings.on_bad_image!r}")
    if settings.image_size < 0:
        raise ValueError(
            f"image_size must be at least 1, or 0 for the default, got {settings.image_size}"
        )
    if str(settings.cache_dir) == "auto":
        return dataclasses.replace(settings, cache_dir=default_cache_dir())
    return settings


def default_image_size(dataset: str) -> int:
    """Return the side in pixels: native for small sets, 224 for photographs."""
    return {"digits": 32, "cifar10": 32, "cifar100": 32, "flowers": 128}.get(dataset, 224)


def digits(data_dir: Path, settings: ReadSettings) -> ImageSet:
    """Read scikit-learn's 1,797 handwritten digits, embedded: 8x8 grey, scaled up, no split."""
    pixels, labels = _read_digits()
    grey = np.rint(pixels * (255 / 16)).astype(np.uint8)
    images = resize(np.repeat(grey[..., None], 3, axis=3), settings.image_size, settings.workers)
    files = tuple(f"digits/{number:04d}" for number in range(1, len(labels) + 1))
    names = tuple(map(str, range(10)))
    everything = np.arange(len(labels))
    return ImageSet("digits", images, labels, names, files, everything, _NONE, _NONE, _NONE, ())


def _read_digits() -> tuple[np.ndarray, np.ndarray]:
    """Read pixels 0..16 (1797, 8, 8) and labels from the file: scikit-learn imports slowly."""
    package = importlib.util.find_spec("sklearn")
    for folder in package.submodule_search_locations or () if package else ():
        path = Path(folder) / "datasets" / "data" / "digits.csv.gz"
        if path.is_file():
            table = np.loadtxt(path, delimiter=",")
            return table[:, :-1].reshape(-1, 8, 8), table[:, -1].astype(np.int64)
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return bunch.images, bunch.target.astype(np.int64)


def cifar10(data_dir: Path, settings: ReadSettings) -> ImageSet:
    """Read CIFAR-10: 60,000 images of 32x32 in 10 classes, downloaded when absent."""
    return _cifar("cifar10", 10, data_dir, settings)


def cifar100(data_dir: Path, settings: ReadSettings) -> ImageSet:
    """Read CIFAR-100: 60,000 images of 32x32 in 100 classes, downloaded when absent."""
    return _cifar("cifar100", 100, data_dir, settings)


def _cifar(name: str, num_classes: int, data_dir: Path, settings: ReadSettings) -> ImageSet:
    for root in (data_dir / name, data_dir):
        if (root / "train").is_dir() and (root / "test").is_dir():
            return _cifar_folders(name, num_classes, root, settings)
    source = torchvision_archives.cifar_source(num_classes, settings.base_url)
    return read_cifar_archive(name, data_dir, source, settings)


def _cifar_folders(name: str, num_classes: int, root: Path, settings: ReadSettings) -> ImageSet:
    listing = class_folders.class_folders(image_folder.scan_folder(root))
    classes = listing.class_names
    if len(classes) != num_classes or (num_classes == 10 and classes != _CIFAR10):
        raise ValueError(
            f"{root} holds train and test folders of {len(classes)} classes "
            f"({', '.join(classes[:10])}), which is not {name}; dataset=imagefolder reads any"
        )
    return decoded(name, listing, settings)


def read_cifar_archive(
    name: str, data_dir: Path, source: type[CIFAR10], settings: ReadSettings
) -> ImageSet:
    """Read CIFAR from torchvision's archive or its unpacked folder, downloaded when absent.

    Raises:
        ValueError: Neither is there and nothing can be downloaded, or a file is damaged.
    """
    path = _cifar_path(name, data_dir, source)

    def build(write: Writer) -> dict[str, Any]:
        content = torchvision_archives.read_cifar(path, source)
        for images in (content.train, content.test):
            for start in range(0, len(images), _BLOCK):
                write(resize(images[start : start + _BLOCK], settings.image_size, settings.workers))
        return {
            "labels": content.labels,
            "num_train": len(content.train),
            "class_names": content.class_names,
        }

    made_of = {"root": str(path.resolve()), "files": _stamps(path, source)}
    images, notes = cached(settings.cache_dir, made_of, settings.image_size, 60_000, build)
    labels, cut = np.array(notes["labels"], np.int64), notes["num_train"]
    names = (f"train/{i:05d}" if i < cut else f"test/{i - cut:05d}" for i in range(len(labels)))
    train, test = np.arange(cut), np.arange(cut, len(labels))
    classes = tuple(notes["class_names"])
    return ImageSet(
        *(name, images, labels, classes, tuple(names), train, _NONE, test, _NONE, ()),
        in_archive_order=True,
    )


def _cifar_path(name: str, data_dir: Path, source: type[CIFAR10]) -> Path:
    """Return the unpacked folder or the archive, in `data_dir` or itself; else download it."""
    names: tuple[str, str] = (source.base_folder, source.filename)
    for path in (*(data_dir / name for name in names), data_dir):
        if path.name in names and path.exists():
            return path
    archive = torchvision_archives.cifar_archive(source)
    try:
        return download(archive, data_dir)
    except ConnectionError as error:
        raise ValueError(
            f"{name} is not in {data_dir} and cannot be downloaded ({error}). Ways: "
            "dataset=digits needs no files; data_dir=FOLDER, where FOLDER holds "
            f"{name}/train/<class>/* and {name}/test/<class>/*; or get {archive.name} "
            f"from {archive.url} elsewhere and copy it to {data_dir}"
        ) from error


def _stamps(path: Path, source: type[CIFAR10]) -> list[tuple[str, int, int]]:
    """Return name, size and modification time of the archive or of each unpacked file."""
    parts = [path / name for name in torchvision_archives.cifar_checksums(source)]
    files = [path] if path.is_file() else [part for part in parts if part.exists()]
    return [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]


def flowers(data_dir: Path, settings: ReadSettings) -> ImageSet:
    """Read Flowers Recognition: 4,317 photographs in 5 classes, a folder or zip from Kaggle."""
    location = _find_flowers(data_dir)
    if location is None:
        raise ValueError(
            f"flowers is not in {data_dir}: get 'Flowers Recognition' from "
            "https://www.kaggle.com/datasets/alxmamaev/flowers-recognition and put its folder "
            "flowers/ (daisy, dandelion, rose, sunflower, tulip) or its archive.zip there, or set "
            "data_dir=FOLDER where FOLDER holds it; dataset=digits needs no files"
        )
    tree, below, classes = location
    return decoded("flowers", class_folders.class_folders(tree, below, classes), settings)


def _find_flowers(data_dir: Path) -> tuple[image_folder.Tree, str, list[str]] | None:
    """Return the tree that holds the five class folders, their parent in it, their names."""
    folders = [data_dir / name for name in _FLOWER_FOLDERS]
    if data_dir.is_dir() and _five(os.listdir(data_dir)):
        folders.append(data_dir)
    zips = [data_dir / f"{name}.zip" for name in ("archive", *_FLOWER_FOLDERS)]
    trees = [image_folder.scan_folder(folder) for folder in folders if folder.is_dir()]
    trees += [image_folder.scan_zip(path) for path in (data_dir, *zips) if path.is_file()]
    for tree in trees:
        for below in sorted({"", *tree.folders}, key=lambda name: (name.count("/"), name)):
            classes = _five(tree.children(below))
            if classes:
                return tree, below, classes
    return None


def _five(names: list[str]) -> list[str]:
    """Return the folders named like the five flowers, in any number; none if one is missing."""
    singular = {name.lower().rstrip("s"): name for name in names}
    return sorted(singular[name] for name in _FLOWERS) if singular.keys() >= _FLOWERS else []


def flowers102(data_dir: Path, settings: ReadSettings) -> ImageSet:
    """Read Oxford Flowers-102: 8,189 photographs with a split of their own; downloaded."""
    return read_flowers102(
        data_dir, torchvision_archives.flowers102_files(settings.base_url), settings
    )


def read_flowers102(
    data_dir: Path, files: torchvision_archives.Flowers102Files, settings: ReadSettings
) -> ImageSet:
    """Read Flowers-102 from torchvision's files, downloaded when they are absent."""
    folder = torchvision_archives.find_flowers102(data_dir, files)
    if folder is None:
        try:
            folder = torchvision_archives.fetch_flowers102(data_dir, files)
        except ConnectionError as error:
            names = ", ".join(remote.name for remote in files[:3])
            raise ValueError(
                f"flowers102 is not in {data_dir} and cannot be downloaded ({error}). Ways: "
                f"dataset=digits needs no files; or get {names} from "
                f"{files.images.url.removesuffix(files.images.name)} elsewhere and copy them to "
                f"{data_dir / 'flowers-102'}"
            ) from error
    return decoded("flowers102", torchvision_archives.list_flowers102(folder, files), settings)


def imagefolder(data_dir: Path, settings: ReadSettings) -> ImageSet:
    """Read any folder of class folders, or zip file of one; with or without parts."""
    if data_dir.suffix.lower() == ".zip" and data_dir.is_file():
        tree = image_folder.scan_zip(data_dir)
    elif data_dir.is_dir():
        tree = image_folder.scan_folder(data_dir)
    else:
        problem = "is a file" if data_dir.exists() else "does not exist"
        raise ValueError(
            f"data_dir '{data_dir}' {problem}; dataset=imagefolder needs a folder or a zip file"
        )
    listing = class_folders.class_folders(tree, test_fold=settings.test_fold)
    return decoded("imagefolder", listing, settings)


def table(data_dir: Path, settings: ReadSettings) -> ImageSet:
    """Read a table of files and labels, optionally of parts and groups; see `csv_table`."""
    if not data_dir.exists():
        raise ValueError(f"data_dir '{data_dir}' does not exist; dataset=csv needs a csv file")
    listing = csv_table.list_table(
        data_dir,
        columns=settings.csv_columns,
        on_bad_image=settings.on_bad_image,
        test_fold=settings.test_fold,
    )
    return decoded("csv", listing, settings)
