"""The trained model that a command is told of: by its run, its name in the registry, or a file."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imbalance_study.inference.load import LoadedModel

MODEL_HELP = "models:/NAME@champion, runs:/ID, or a checkpoint file of a run."


def ready(address: str, tracking_uri: str = "auto") -> LoadedModel:
    """Load the kept weights of a run, without pickle.

    Args:
        address: ``models:/NAME@ALIAS``, ``models:/NAME/VERSION``, ``runs:/ID``, a run's id, or a
            checkpoint file.
        tracking_uri: Where the run is.

    Raises:
        ValueError: There is no such model, or its checkpoint is none, damaged, or of other code.
    """
    from imbalance_study.inference import load as trained

    path = Path(address).expanduser()
    if not address.startswith(("models:", "runs:")):
        if path.is_file():
            return trained.from_checkpoint(path)
        if path.is_dir() or path.suffix or "/" in address:
            what = "is a folder, not a file" if path.is_dir() else "there is none"
            raise ValueError(f"model {address!r}: {what}; give {MODEL_HELP}")
    from imbalance_study.tracking import fetch

    with tempfile.TemporaryDirectory(prefix="imbalance_study_") as folder:
        path = fetch.download_checkpoint(address, Path(folder), tracking_uri)
        return trained.from_checkpoint(path, own_code=True)
