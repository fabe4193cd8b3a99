"""Archives in torchvision's formats, with a few images each."""

import io
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.io import savemat
from torchvision.datasets import CIFAR10

from imbalance_study.data.torchvision_archives import Flowers102Files
from imbalance_study.download import Remote, md5_of

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), np.uint8)
LABELS = [0, 1, 1, 0, 1]


def batch(rows: slice, **changes: Any) -> dict[str, Any]:
    data = PIXELS[rows].transpose(0, 3, 1, 2).reshape(-1, 3072)
    return {"data": np.ascontiguousarray(data), "labels": LABELS[rows], **changes}


def tiny_cifar(folder: Path, server: str = "", **changes: Any) -> type[CIFAR10]:
    """Write five images as an unpacked folder and its archive; return a source with their MD5."""
    contents = {
        "data_batch_1": batch(slice(0, 2), **changes),
        "data_batch_2": batch(slice(2, 3)),
        "test_batch": batch(slice(3, 5)),
        "batches.meta": {"label_names": ["cat", "dog"]},
    }
    unpacked = folder / "cifar-py"
    unpacked.mkdir(parents=True)
    for name, value in contents.items():
        (unpacked / name).write_bytes(pickle.dumps(value, protocol=2))
    with tarfile.open(folder / "cifar.tar.gz", "w:gz") as archive:
        archive.add(unpacked, "cifar-py")
    sums = {name: md5_of(unpacked / name) for name in contents}
    source = {
        "url": f"{server}/cifar.tar.gz",
        "filename": "cifar.tar.gz",
        "tgz_md5": md5_of(folder / "cifar.tar.gz"),
        "base_folder": "cifar-py",
        "train_list": [[name, sums[name]] for name in ("data_batch_1", "data_batch_2")],
        "test_list": [["test_batch", sums["test_batch"]]],
        "meta": {
            "filename": "batches.meta",
            "md5": sums["batches.meta"],
            "key": "label_names",
        },
    }
    return type("TinyCifar", (CIFAR10,), source)


def tiny_flowers102(folder: Path, url: str = "", outside: bool = False) -> Flowers102Files:
    """Six images in torchvision's three files, with checksums."""
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(folder / "102flowers.tgz", "w:gz") as archive:
        for number in range(1, 7):
            buffer = io.BytesIO()
            Image.new("RGB", (9, 9), (number * 40, 0, 0)).save(buffer, "JPEG")
            member = tarfile.TarInfo(f"jpg/image_{number:05d}.jpg")
            member.size = len(buffer.getvalue())
            archive.addfile(member, io.BytesIO(buffer.getvalue()))
        if outside:
            archive.addfile(tarfile.TarInfo("../evil.jpg"))
    savemat(folder / "imagelabels.mat", {"labels": [[1, 1, 2, 2, 1, 2]]})
    savemat(folder / "setid.mat", {"trnid": [[5, 3]], "valid": [[1]], "tstid": [[2, 4, 6]]})
    names = ("102flowers.tgz", "imagelabels.mat", "setid.mat")
    remotes = (Remote(name, f"{url}/{name}", md5_of(folder / name)) for name in names)
    return Flowers102Files(*remotes, ("rose", "lotus"))
