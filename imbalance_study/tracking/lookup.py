"""Finding in the store what a run left."""

from __future__ import annotations

from pathlib import Path

import mlflow
from mlflow.environment_variables import MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR
from mlflow.exceptions import MlflowException

from imbalance_study.tracking import store

CHECKPOINT = "checkpoints/best.pt"


def checkpoint_of(run_id: str, folder: Path, tracking_uri: str = "auto") -> Path:
    """Bring the kept checkpoint of a run to a local folder.

    Args:
        run_id: The run, or ``runs:/<id>``.
        folder: Where to put the file.
        tracking_uri: The store; see `store.connect`.

    Returns:
        The file.

    Raises:
        ValueError: There is no such store, run, or checkpoint.
    """
    run_id = run_id.removeprefix("runs:/").strip("/")
    store.find(tracking_uri)
    address = store.without_password(store.connect(tracking_uri))
    client = mlflow.MlflowClient()
    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        raise ValueError(f"unknown run {run_id!r} in {address}") from error
    parent, _, _ = CHECKPOINT.rpartition("/")
    there = [file.path for file in client.list_artifacts(run_id, parent)]
    if CHECKPOINT not in there:
        raise ValueError(
            f"run {run_id} has no checkpoint {CHECKPOINT}: its status is {run.info.status}, and it "
            f"holds {', '.join(there) or 'none'}"
        )
    MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR.set(False)
    return Path(client.download_artifacts(run_id, CHECKPOINT, str(folder)))
