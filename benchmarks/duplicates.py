"""Time of the search for copies: ``python benchmarks/duplicates.py --images 50000 --side 32``.

Random smooth pictures, 1 % of them saved anew as JPEG. Prints the seconds of the search and of
reading its result, and the copies that it finds. The limit is 60 s for 50,000 images.
"""

from __future__ import annotations

import argparse
import io
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from imbalance_study.data import duplicates


def pictures(count: int, side: int) -> np.ndarray:
    """Make smooth random pictures; the last 1 % are the first ones, saved anew."""
    generator = np.random.default_rng(0)
    images = np.empty((count, side, side, 3), np.uint8)
    copies = count // 100
    for row in range(count - copies):
        small = Image.fromarray(generator.integers(0, 256, (7, 7, 3), np.uint8))
        images[row] = np.asarray(small.resize((side, side), Image.Resampling.BICUBIC))
    for row in range(copies):
        stream = io.BytesIO()
        Image.fromarray(images[row]).save(stream, "JPEG", quality=75)
        images[count - copies + row] = np.asarray(Image.open(stream))
    return images


def main() -> None:
    """Search once, and print the times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--side", type=int, default=32)
    options = parser.parse_args()
    images = pictures(options.images, options.side)
    with tempfile.TemporaryDirectory() as folder:
        begun, processor = time.perf_counter(), time.process_time()
        found = duplicates.find(images, Path(folder))
        whole, used = time.perf_counter() - begun, time.process_time() - processor
        begun = time.perf_counter()
        duplicates.find(images, Path(folder))
        again = time.perf_counter() - begun
    planted = options.images // 100
    print(f"search          {whole:.1f} s ({used:.1f} s of processor)")
    print(f"from the cache  {again:.2f} s")
    print(f"planted copies  {len(found.pairs)} pairs found for {planted}")


if __name__ == "__main__":
    main()
