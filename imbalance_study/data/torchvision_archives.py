"""CIFAR-10, CIFAR-100 and Flowers-102 in the files of torchvision, checked by their MD5."""

from __future__ import annotations

import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from imbalance_study.data.image_folder import Entry, Listing
from imbalance_study.download import Remote, check, download

if TYPE_CHECKING:
    from torchvision.datasets import CIFAR10


class Cifar(NamedTuple):
    """Images and labels of CIFAR, the training part first."""

    train: np.ndarray  # uint8 (n, 32, 32, 3)
    test: np.ndarray  # uint8 (m, 32, 32, 3)
    labels: list[int]  # n + m
    class_names: list[str]


class Flowers102Files(NamedTuple):
    """The files of Flowers-102 with the checksums that torchvision lists."""

    images: Remote
    labels: Remote
    splits: Remote
    class_names: tuple[str, ...]


def cifar_source(num_classes: int, base_url: str = "") -> type[CIFAR10]:
    """Return torchvision's class of CIFAR-10 or CIFAR-100; `base_url` replaces its server."""
    from torchvision.datasets import CIFAR10, CIFAR100

    source = CIFAR10 if num_classes == 10 else CIFAR100
    url = f"{base_url.rstrip('/')}/{source.filename}" if base_url else source.url
    return type(source.__name__, (source,), {"url": url})


def cifar_archive(source: type[CIFAR10]) -> Remote:
    """Return the archive of CIFAR as a file to download."""
    return Remote(source.filename, source.url, source.tgz_md5)


def cifar_checksums(source: type[CIFAR10]) -> dict[str, str]:
    """Map each file of the unpacked folder to its MD5."""
    meta = source.meta
    return dict([*source.train_list, *source.test_list, (meta["filename"], meta["md5"])])


def read_cifar(path: Path, source: type[CIFAR10]) -> Cifar:
    """Read CIFAR from its archive or the unpacked folder with torchvision's reader.

    The archive is unpacked to a temporary folder. Torchvision unpickles a file only after its MD5
    was right.

    Raises:
        ValueError: A file is missing or has another checksum; it is named.
        OSError: The archive cannot be unpacked, on a full disk say.
    """
    if path.is_file():
        check(path, source.tgz_md5)
        with tempfile.TemporaryDirectory() as scratch:
            _unpack(path, Path(scratch))
            return read_cifar(Path(scratch) / source.base_folder, source)
    located = type(source.__name__, (source,), {"base_folder": path.name})
    try:
        train, test = (located(path.parent, train=part) for part in (True, False))
    except RuntimeError:  # torchvision does not say which file is damaged
        for name, md5 in cifar_checksums(source).items():
            if not (path / name).is_file():
                raise ValueError(f"{path} holds no {name}") from None
            check(path / name, md5)
        raise
    return Cifar(train.data, test.data, train.targets + test.targets, train.classes)


def flowers102_files(base_url: str = "") -> Flowers102Files:
    """Return Flowers-102's files as torchvision names them; `base_url` replaces the server."""
    from torchvision.datasets import Flowers102

    base = base_url.rstrip("/") or Flowers102._download_url_prefix.rstrip("/")
    images, labels, splits = (
        Remote(name, f"{base}/{name}", md5)
        for name, md5 in (Flowers102._file_dict[key] for key in ("image", "label", "setid"))
    )
    return Flowers102Files(images, labels, splits, tuple(Flowers102.classes))


def find_flowers102(data_dir: Path, files: Flowers102Files) -> Path | None:
    """Return the folder with ``jpg/`` and both .mat files; unpack the archive where needed."""
    for folder in (data_dir / "flowers-102", data_dir):
        mats = all((folder / remote.name).is_file() for remote in (files.labels, files.splits))
        archive = folder / files.images.name
        if mats and (folder / "jpg").is_dir():
            return folder
        if mats and archive.is_file():
            _unpack_jpg(archive, files.images.md5, folder)
            return folder
    return None


def fetch_flowers102(data_dir: Path, files: Flowers102Files) -> Path:
    """Download the missing files to ``flowers-102/``, unpack the images, return the folder."""
    folder = data_dir / "flowers-102"
    for remote in (files.labels, files.splits, files.images):
        if not (folder / remote.name).is_file():
            download(remote, folder)
    if not (folder / "jpg").is_dir():
        _unpack_jpg(folder / files.images.name, files.images.md5, folder)
    return folder


def _unpack_jpg(archive: Path, md5: str, folder: Path) -> None:
    """Unpack the images to ``jpg/``, in full or not at all."""
    check(archive, md5)
    with tempfile.TemporaryDirectory(prefix=".unpacking-", dir=folder) as scratch:
        _unpack(archive, Path(scratch))
        if not (folder / "jpg").is_dir():
            (Path(scratch) / "jpg").rename(folder / "jpg")


def _unpack(archive: Path, folder: Path) -> None:
    from torchvision.datasets.utils import extract_archive

    try:
        extract_archive(archive, folder)
    except (OSError, EOFError, tarfile.TarError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OSError(f"{archive} cannot be unpacked in {folder}: {reason}") from error


def list_flowers102(folder: Path, files: Flowers102Files) -> Listing:
    """List images, labels and the set's own split of Flowers-102.

    Torchvision's reader accepts one folder name only and keeps these lists private.

    Raises:
        ValueError: A .mat file has another checksum, or an image is missing.
    """
    from scipy.io import loadmat

    for remote in (files.labels, files.splits):
        check(folder / remote.name, remote.md5)
    labels = loadmat(folder / files.labels.name, squeeze_me=True)["labels"].astype(np.int64) - 1
    splits = loadmat(folder / files.splits.name, squeeze_me=True)
    entries, numbers, parts = [], [], []
    for part, key in enumerate(("trnid", "valid", "tstid")):
        for number in np.atleast_1d(splits[key]).tolist():
            name = f"jpg/image_{number:05d}.jpg"
            try:
                status = (folder / name).stat()
            except OSError as error:
                raise ValueError(f"{folder / name}: {error.strerror}") from error
            entries.append(Entry(name, status.st_size, status.st_mtime_ns))
            numbers.append(number - 1)
            parts.append(part)
    return Listing(
        folder, folder, entries, labels[numbers], np.array(parts, np.int8), files.class_names
    )
