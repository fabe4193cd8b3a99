"""Image folders made on the spot."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

MakeFolder = Callable[..., Path]


@pytest.fixture
def image_folder(tmp_path: Path) -> MakeFolder:
    """Makes a folder of 6x6 PNG files, {"train/cat": 3} being 0.png to 2.png in train/cat.

    The red of each image is its number; the green is the number of its folder.
    """

    def make(counts: Mapping[str, int], name: str = "images") -> Path:
        root = tmp_path / name
        for position, (folder, count) in enumerate(counts.items()):
            (root / folder).mkdir(parents=True)
            for number in range(count):
                pixels = np.full((6, 6, 3), (number, position, 7), np.uint8)
                Image.fromarray(pixels).save(root / folder / f"{number}.png")
        return root

    return make
