"""The files of CIFAR-10, CIFAR-100 and Flowers-102 as torchvision keeps them."""

from __future__ import annotations

import io
import pickle
import re
import shutil
import tarfile
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from imbalance_study.data.image_folder import Entry, Listing
from imbalance_study.download import Remote, check, download

_BYTES_EACH = 3 * 32 * 32


class CifarFiles(NamedTuple):
    """Where CIFAR lies, and the checksums that torchvision knows it by."""

    archive: Remote
    folder: str
    train: dict[str, str]  # file -> MD5
    test: dict[str, str]
    meta: tuple[str, str, str]  # file, MD5, key of the class names
    labels: str

    @property
    def checksums(self) -> dict[str, str]:
        """All files of the unpacked folder with their MD5."""
        return {**self.train, **self.test, self.meta[0]: self.meta[1]}


class Cifar(NamedTuple):
    """What the batches of CIFAR hold, training images first."""

    batches: list[np.ndarray]  # of uint8 (n, 32, 32, 3)
    labels: list[int]
    num_train: int
    class_names: list[str]


class Flowers102Files(NamedTuple):
    """Where Flowers-102 lies, and the checksums that torchvision knows it by."""

    images: Remote
    labels: Remote
    splits: Remote
    class_names: tuple[str, ...]


def cifar_files(num_classes: int, base_url: str = "") -> CifarFiles:
    """CIFAR-10's or CIFAR-100's files as torchvision names them; `base_url` replaces the server."""
    from torchvision.datasets import CIFAR10, CIFAR100

    source = CIFAR10 if num_classes == 10 else CIFAR100
    url = f"{base_url.rstrip('/')}/{source.filename}" if base_url else source.url
    return CifarFiles(
        Remote(source.filename, url, source.tgz_md5),
        source.base_folder,
        dict(source.train_list),
        dict(source.test_list),
        (source.meta["filename"], source.meta["md5"], source.meta["key"]),
        "labels" if num_classes == 10 else "fine_labels",
    )


def flowers102_files(base_url: str = "") -> Flowers102Files:
    """Flowers-102's files as torchvision names them; `base_url` replaces the server."""
    from torchvision.datasets import Flowers102

    base = base_url.rstrip("/") or Flowers102._download_url_prefix.rstrip("/")
    images, labels, splits = (
        Remote(name, f"{base}/{name}", md5)
        for name, md5 in (Flowers102._file_dict[key] for key in ("image", "label", "setid"))
    )
    return Flowers102Files(images, labels, splits, tuple(Flowers102.classes))


def read_cifar(place: Path, files: CifarFiles) -> Cifar:
    """Read the batches from the unpacked folder or the archive, after checking them.

    Raises:
        ValueError: A file is missing, is not what its checksum says, or holds something else.
    """
    if place.is_dir():
        contents = _from_folder(place, files)
    else:
        check(place, files.archive.md5)
        contents = _from_archive(place, files)
    batches, labels, num_train = [], [], 0
    for name in (*files.train, *files.test):
        data = _field(contents[name], "data", np.ndarray, name)
        numbers = _field(contents[name], files.labels, list, name)
        if data.dtype != np.uint8 or data.shape != (len(numbers), _BYTES_EACH):
            raise ValueError(f"{name} in {place} holds no images of 32x32 with a label each")
        batches.append(data.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
        labels.extend(numbers)
        num_train += len(numbers) * (name in files.train)
    names = _field(contents[files.meta[0]], files.meta[2], list, files.meta[0])
    if not all(isinstance(label, int) and 0 <= label < len(names) for label in labels):
        raise ValueError(f"{place} holds labels outside 0..{len(names) - 1}")
    return Cifar(batches, labels, num_train, names)


def _from_folder(folder: Path, files: CifarFiles) -> dict[str, Any]:
    found = {}
    for name, md5 in files.checksums.items():
        if not (folder / name).is_file():
            raise ValueError(f"{folder} holds no {name}")
        check(folder / name, md5)
        with (folder / name).open("rb") as file:
            found[name] = restricted_load(file)
    return found


def _from_archive(path: Path, files: CifarFiles) -> dict[str, Any]:
    found = {}
    with tarfile.open(path) as archive:
        for member in archive:
            name = member.name.removeprefix(f"{files.folder}/")
            file = archive.extractfile(member) if name in files.checksums else None
            if file is not None:
                found[name] = restricted_load(io.BytesIO(file.read()))
    missing = [name for name in files.checksums if name not in found]
    if missing:
        raise ValueError(f"{path} holds no {files.folder}/{missing[0]}")
    return found


def _field(entry: Any, key: str, kind: type, name: str) -> Any:
    value = entry.get(key) if isinstance(entry, dict) else None
    if not isinstance(value, kind):
        raise ValueError(f"{name} holds no {key!r}")
    return value


class _Restricted(pickle.Unpickler):
    """Builds numpy arrays and Python's own plain values, and calls nothing else."""

    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        from numpy._core import multiarray

        allowed: dict[tuple[str, str], Callable[..., Any]] = {
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): np.dtype,
            ("multiarray", "_reconstruct"): multiarray._reconstruct,  # type: ignore[attr-defined]
            ("_codecs", "encode"): _encode,
        }
        key = ("multiarray" if module.endswith("core.multiarray") else module, name)
        if key not in allowed:
            raise pickle.UnpicklingError(f"{module}.{name} has no place in a file of images")
        return allowed[key]


def _encode(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"encoding {encoding!r} has no place in a file of images")
    return text.encode("latin1")


def restricted_load(file: IO[bytes]) -> Any:
    """Load a pickle that holds numpy arrays, text, numbers, lists and dicts only.

    Raises:
        ValueError: It holds anything else, or is damaged.
    """
    try:
        return _Restricted(file, encoding="latin1").load()
    except Exception as error:  # a damaged pickle can raise anything
        raise ValueError(f"not a pickle of plain arrays: {error}") from error


def find_flowers102(data_dir: Path, files: Flowers102Files) -> Path | None:
    """The folder with ``jpg/`` and both .mat files; the archive is unpacked where needed."""
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
    """Download what is missing of the three files to ``flowers-102/`` and unpack the images."""
    folder = data_dir / "flowers-102"
    for remote in (files.labels, files.splits, files.images):
        if not (folder / remote.name).is_file():
            download(remote, folder)
    found = find_flowers102(data_dir, files)
    assert found is not None
    return found


def _unpack_jpg(path: Path, md5: str, folder: Path) -> None:
    """Unpack the images to ``jpg/``: in full or not at all, and nothing but images."""
    check(path, md5)
    scratch = folder / f".jpg-{uuid.uuid4().hex}"
    scratch.mkdir()
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                if member.isfile() and re.fullmatch(r"(\./)?jpg/image_\d{5}\.jpg", member.name):
                    file = archive.extractfile(member)
                    assert file is not None
                    (scratch / Path(member.name).name).write_bytes(file.read())
        if not (folder / "jpg").is_dir():
            scratch.rename(folder / "jpg")
    except OSError as error:
        raise OSError(
            f"{path} cannot be unpacked in {folder}: {error.strerror or error}"
        ) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def list_flowers102(folder: Path, files: Flowers102Files) -> Listing:
    """Images, labels and the set's own split of Flowers-102.

    Raises:
        ValueError: A .mat file is not what its checksum says, or an image is missing.
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
