"""Files from the web: whole, checked by their checksum, or not at all."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import http.client
import os
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

_BLOCK = 1 << 20


class Remote(NamedTuple):
    """A file that can be downloaded."""

    name: str
    url: str
    md5: str = ""
    sha256: str = ""  # or its beginning, where there is no md5


def md5_of(path: Path) -> str:
    """The MD5 checksum of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def check(path: Path, md5: str) -> None:
    """Compare a file with its checksum.

    Raises:
        ValueError: They differ: the file is incomplete or another one.
    """
    found = md5_of(path)
    if found != md5:
        raise ValueError(
            f"{path} is damaged or incomplete: its MD5 is {found}, must be {md5}; "
            "delete it and start again"
        )


def download(remote: Remote, folder: Path, timeout: float = 30.0) -> Path:
    """Download a file into `folder`, with a progress bar on a terminal; return where it lies.

    It is written under another name and renamed when its checksum is right, so an interrupted
    download is never mistaken for the file.

    Args:
        remote: Name, address and checksum.
        folder: Created when needed.
        timeout: Seconds without a byte until it gives up.

    Raises:
        ConnectionError: No network, no such page, or the connection broke.
        ValueError: What came has another checksum.
        OSError: The folder cannot be written or its disk is full; the message names it.
    """
    target = folder / remote.name
    with _named(folder):
        folder.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{remote.name}.", suffix=".part", dir=folder)
    part = Path(name)
    try:
        kind, right = ("md5", remote.md5) if remote.md5 else ("sha256", remote.sha256)
        digest = hashlib.new(kind)
        with os.fdopen(descriptor, "wb") as file:
            for block in _blocks(remote, timeout):
                digest.update(block)
                with _named(folder):
                    file.write(block)
                    file.flush()
        if not digest.hexdigest().startswith(right):
            raise ValueError(
                f"{remote.url} gave a file with {kind.upper()} {digest.hexdigest()} where {right} "
                "is right: a changed file, or a page of a proxy; nothing was kept"
            )
        part.chmod(0o644)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return target


def _blocks(remote: Remote, timeout: float) -> Iterator[bytes]:
    """The remote file, block by block, while the progress bar follows."""
    try:
        with urllib.request.urlopen(remote.url, timeout=timeout) as response:
            total = int(response.headers.get("Content-Length") or 0)
            came = 0
            with tqdm(
                total=total or None, unit="B", unit_scale=True, desc=remote.name, disable=None
            ) as bar:
                while block := response.read(_BLOCK):
                    came += len(block)
                    bar.update(len(block))
                    yield block
            if came < total:
                raise ConnectionError(f"broke off after {came} of {total} bytes")
    except (OSError, http.client.HTTPException) as error:
        raise ConnectionError(f"{remote.url}: {getattr(error, 'reason', None) or error}") from error


@contextlib.contextmanager
def _named(folder: Path) -> Iterator[None]:
    """Turn an OSError inside into one that names the folder."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        what = "its disk is full" if full else "it cannot be written"
        raise OSError(
            f"the download goes to data_dir={folder}, but {what} ({error.strerror or error})"
        ) from error
