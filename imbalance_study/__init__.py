"""Which remedy for class imbalance helps this image model on this data, how sure, at what cost.

The names of ``__all__`` are imported when they are first used (PEP 562), so that
``import imbalance_study`` imports neither torch nor MLflow.
"""

import importlib
import os
from typing import TYPE_CHECKING

__version__ = "0.1.0"

# Threads that wait for each other spin by default, and on a shared machine they spin in the place
# of the thread they wait for: training was 30 times slower beside another busy program, and no
# faster alone. Read by the OpenMP runtime when torch is imported.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

if TYPE_CHECKING:
    from imbalance_study.config.resolve import make, resolve
    from imbalance_study.config.schema import Config
    from imbalance_study.data.plug_in import Examples
    from imbalance_study.experiment.run import run
    from imbalance_study.studies.advise.result import Advice
    from imbalance_study.studies.advise.run import advise
    from imbalance_study.studies.comparison.configurations import ComparisonSettings
    from imbalance_study.studies.comparison.run import compare
    from imbalance_study.tracking.run import train

# Name to module.
_EXPORTS = {
    "Advice": "studies.advise.result",
    "ComparisonSettings": "studies.comparison.configurations",
    "Config": "config.schema",
    "Examples": "data.plug_in",
    "advise": "studies.advise.run",
    "compare": "studies.comparison.run",
    "make": "config.resolve",
    "resolve": "config.resolve",
    "run": "experiment.run",
    "train": "tracking.run",
}

__all__ = [
    "Advice",
    "ComparisonSettings",
    "Config",
    "Examples",
    "__version__",
    "advise",
    "compare",
    "make",
    "resolve",
    "run",
    "train",
]


def __getattr__(name: str) -> object:
    """Import an exported name when it is first used.

    Raises:
        AttributeError: There is no such name.
    """
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    exported: object = getattr(importlib.import_module(f"{__name__}.{_EXPORTS[name]}"), name)
    globals()[name] = exported
    return exported


def __dir__() -> list[str]:
    """List the exported names with the rest of the module."""
    return sorted({*globals(), *__all__})
