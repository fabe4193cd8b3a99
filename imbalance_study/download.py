"""Checked downloads: a file arrives whole and with the right checksum, or not at all.

``torch.hub.download_url_to_file`` and torchvision's ``download_url`` wait for ever on a silent
server and take a connection that broke off for the end of the file, so neither is used here.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import http.client
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_BLOCK = 1 << 20


class Remote(NamedTuple):
    """A file that can be downloaded."""

    name: str
    url: str
    md5: str = ""
    sha256: str = ""  # or its first digits, where there is no md5


def md5_of(path: Path) -> str:
    """Compute the MD5 checksum of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def check(path: Path, md5: str) -> None:
    """Compare a file with its checksum.

    Raises:
        ValueError: They differ: the file is incomplete or another one.
    """
    actual = md5_of(path)
    if actual != md5:
        raise ValueError(
            f"{path} is damaged or incomplete: its MD5 is {actual}, must be {md5}; "
            "delete it and start again"
        )


def download(remote: Remote, folder: Path, timeout: float = 30.0) -> Path:
    """Download a file into `folder`, with a progress bar on a terminal; return its path.

    The file is written under another name and renamed when its checksum is right, so an interrupted
    download is never mistaken for the file.

    Args:
        remote: Name, address and checksum.
        folder: Created when needed.
        timeout: Seconds without a byte after which the download fails.

    Raises:
        ConnectionError: No network, no such page, or the connection broke.
        ValueError: The file has another checksum.
        OSError: The folder cannot be written or its disk is full; the message names it.
    """
    kind, expected = ("md5", remote.md5) if remote.md5 else ("sha256", remote.sha256)
    digest = hashlib.new(kind)
    part = folder / f".{remote.name}.{uuid.uuid4().hex}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            for block in _blocks(remote, timeout):
                digest.update(block)
                file.write(block)
        if not digest.hexdigest().startswith(expected):
            raise ValueError(
                f"{remote.url} gave a file with {kind.upper()} {digest.hexdigest()} where "
                f"{expected} is right: a changed file, or a page of a proxy; nothing was kept"
            )
        return part.replace(folder / remote.name)
    except ConnectionError:
        raise
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        problem = "its disk is full" if full else "it cannot be written"
        raise OSError(
            f"the download goes to data_dir={folder}, but {problem} ({error.strerror or error})"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def _blocks(remote: Remote, timeout: float) -> Iterator[bytes]:
    """Yield the remote file block by block while the progress bar follows."""
    from tqdm import tqdm

    try:
        with urllib.request.urlopen(remote.url, timeout=timeout) as response:
            total = int(response.headers.get("Content-Length") or 0)
            received = 0
            with tqdm(
                total=total or None, unit="B", unit_scale=True, desc=remote.name, disable=None
            ) as bar:
                while block := response.read(_BLOCK):
                    received += len(block)
                    bar.update(len(block))
                    yield block
            if received < total:
                raise ConnectionError(f"broke off after {received} of {total} bytes")
    except (OSError, http.client.HTTPException) as error:
        raise ConnectionError(f"{remote.url}: {getattr(error, 'reason', None) or error}") from error
