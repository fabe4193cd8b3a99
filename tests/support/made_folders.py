"""Folders of small images, one class a folder."""

import numpy as np
from PIL import Image


def folder(root, sizes, part="", seed=0):
    """Write images of noise around a colour for each class."""
    generator = np.random.default_rng(seed)
    for label, (name, count) in enumerate(sizes.items()):
        place = root / part / name
        place.mkdir(parents=True, exist_ok=True)
        for number in range(count):
            noise = generator.integers(0, 120, (8, 8, 3))
            pixels = (noise + np.roll([120, 0, 60], label)).astype(np.uint8)
            Image.fromarray(pixels).save(place / f"{number}.png")
    return root
