"""The trained model that a command names: by its run, by its name in the registry, or as a file."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imbalance_study.inference.load import LoadedModel

MODEL_HELP = "models:/NAME@champion, runs:/ID, or a checkpoint file of a run."
OWN_CODE_HELP = (
    "Import and call the functions that a run in a shared store names as its model, loss or head: "
    "only if you trust all who can write to the store."
)


def load_model(address: str, tracking_uri: str = "auto", *, own_code: bool = False) -> LoadedModel:
    """Load the kept weights of a run, without pickle.

    Functions that a run names are imported from a store that is a file on this machine, where they
    are the user's own. In a shared store others may have named them.

    Args:
        address: ``models:/NAME@ALIAS``, ``models:/NAME/VERSION``, ``runs:/ID``, a run's id, or a
            checkpoint file.
        tracking_uri: The store of the run.
        own_code: Import the functions that a run in a shared store names.

    Raises:
        ValueError: There is no such model, or its checkpoint is missing, damaged, or names code
            that may not be imported.
    """
    from imbalance_study.inference import load

    path = Path(address).expanduser()
    if not address.startswith(("models:", "runs:")):
        if path.is_file():
            return load.from_checkpoint(path)
        if path.is_dir() or path.suffix or "/" in address:
            reason = "is a folder, not a file" if path.is_dir() else "does not exist"
            raise ValueError(f"model {address!r} {reason}; give {MODEL_HELP}")
    from imbalance_study.tracking import fetch

    with tempfile.TemporaryDirectory(prefix="imbalance_study_") as folder:
        path = fetch.download_checkpoint(address, Path(folder), tracking_uri)
        trusted = trusts_store(own_code)
        return load.from_checkpoint(path, own_code=trusted, name=address)


def trusts_store(own_code: bool) -> bool:
    """Return whether functions that runs of the current store name may be imported."""
    from imbalance_study.tracking import store

    return own_code or store.sqlite_file(store.address("auto")) is not None
