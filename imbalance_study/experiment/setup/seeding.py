"""One seed for each purpose, all from the seed of the run."""

from __future__ import annotations

import hashlib
from collections.abc import Callable


def seeds(seed: int) -> Callable[[str], int]:
    """Return a function that gives a seed below 2**56 for each purpose, all from one seed."""

    def of(purpose: str) -> int:
        digest = hashlib.sha256(f"{seed}/{purpose}".encode()).digest()
        return int.from_bytes(digest[:7], "little")

    return of
