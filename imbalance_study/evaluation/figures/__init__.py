"""Figures: arrays in, matplotlib Figures out.

Its modules are imported when a name of them is first used, as in ``figures.run.training_curves``:
matplotlib takes a second to import, which no training waits for.
"""

import importlib
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imbalance_study.evaluation.figures import (
        attribution,
        calibration,
        embedding,
        errors,
        lr_range_test,
        reconstruction,
        run,
    )

__all__ = [
    "attribution",
    "calibration",
    "embedding",
    "errors",
    "lr_range_test",
    "reconstruction",
    "run",
]


def __getattr__(name: str) -> ModuleType:
    """Import a module of figures when it is first used.

    Raises:
        AttributeError: There is no such module.
    """
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module(f"{__name__}.{name}")
