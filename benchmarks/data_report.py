"""Cost of the report of a run's images, beside decoding them and looking for copies.

    python benchmarks/data_report.py --data_dir DIR --side 32

DIR holds a folder for each class. The report without the search for nearly equal images is to take
at most 2 % of the processor seconds of decoding.
"""

from __future__ import annotations

import argparse
import dataclasses
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from imbalance_study.data import datasets, duplicates, leaks, longtail, report
from imbalance_study.data.image_set import ImageSet

T = TypeVar("T")


def timed(call: Callable[[], T]) -> tuple[T, float, float]:
    """Call, and return the result with the seconds and the processor seconds that it took."""
    begun, processor = time.perf_counter(), _processor_seconds()
    result = call()
    return result, time.perf_counter() - begun, _processor_seconds() - processor


def _processor_seconds() -> float:
    """Return those of this process and of its children that ended."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)


def main() -> None:
    """Decode a folder, hash it, search it, report it, and print the seconds of each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data_dir", required=True)
    parser.add_argument("--side", type=int, default=32)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder)

        def decode() -> ImageSet:
            return datasets.load(
                "imagefolder", options.data_dir, image_size=options.side, cache_dir=folder
            )

        images, wall, decoding = timed(decode)
        print(f"decoding        {wall:6.2f} s, {decoding:6.2f} s of processor")
        _, wall, used = timed(lambda: duplicates.find(images.images, cache))
        print(f"copies          {wall:6.2f} s, {used:6.2f} s of processor")
        copies, wall, hashing = timed(lambda: duplicates.find(images.images, cache))
        print(f"copies, again   {wall:6.2f} s, {hashing:6.2f} s of processor")
        found = dataclasses.replace(images, copies=copies)
        split = longtail.make_split(found, validation="none")

        def tell() -> report.DataReport:
            findings = [*images.findings, *leaks.findings(found, split)]
            parts = split._asdict()
            return report.make(images.class_names, images.labels, parts, findings)

        told, wall, used = timed(tell)
        print(f"report          {wall:6.2f} s, {used:6.2f} s of processor")
        share = (used + hashing) / decoding
        print(f"report and hashes: {share:.1%} of decoding {len(images.labels):,} images")
        print(*told.lines()[:3], sep="\n")


if __name__ == "__main__":
    main()
