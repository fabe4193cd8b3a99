"""Finding in the store what a run left."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import mlflow
from mlflow.environment_variables import MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR
from mlflow.exceptions import MlflowException

from imbalance_study import pretrained
from imbalance_study.tracking import store

CHECKPOINT = "checkpoints/best.pt"


@contextlib.contextmanager
def local_weights(weights: str, tracking_uri: str = "auto") -> Iterator[None]:
    """Inside, weights that are ``runs:/ID`` have a local file; see `pretrained.FETCHED`.

    Raises:
        ValueError: The run is not there, did not finish, or has no checkpoint.
    """
    if not weights.startswith("runs:/") or weights in pretrained.FETCHED:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="imbalance_study_weights_") as name:
        path = checkpoint_of(weights, Path(name), tracking_uri, finished=True)
        pretrained.FETCHED[weights] = path
        try:
            yield
        finally:
            del pretrained.FETCHED[weights]


def checkpoint_of(
    run_id: str, folder: Path, tracking_uri: str = "auto", *, finished: bool = False
) -> Path:
    """Bring the kept checkpoint of a run to a local folder.

    Args:
        run_id: The run, or ``runs:/<id>``.
        folder: Where to put the file.
        tracking_uri: The store; see `store.connect`.
        finished: Refuse a run that has not finished.

    Returns:
        The file.

    Raises:
        ValueError: There is no such store, run, or checkpoint.
    """
    run_id = run_id.removeprefix("runs:/").strip("/")
    if tracking_uri != "auto":
        mlflow.set_tracking_uri(tracking_uri)
    address = mlflow.get_tracking_uri()
    file = Path(address.removeprefix("sqlite:///"))
    if address.startswith("sqlite:///") and not file.exists():
        raise ValueError(
            f"there is no store {file.absolute()} to find the run in; go to the folder of its "
            "mlflow.db, or set tracking_uri"
        )
    address = store.without_password(store.connect(tracking_uri))
    client = mlflow.MlflowClient()
    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        raise ValueError(f"unknown run {run_id!r} in {address}") from error
    if finished and run.info.status != "FINISHED":
        raise ValueError(
            f"run {run_id} has not finished: its status is {run.info.status}, so that its weights "
            "are not to be trusted; choose a finished run, or give its checkpoint as a file"
        )
    parent, _, _ = CHECKPOINT.rpartition("/")
    there = [file.path for file in client.list_artifacts(run_id, parent)]
    if CHECKPOINT not in there:
        raise ValueError(
            f"run {run_id} has no checkpoint {CHECKPOINT}: its status is {run.info.status}, and it "
            f"holds {', '.join(there) or 'none'}"
        )
    MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR.set(False)
    return Path(client.download_artifacts(run_id, CHECKPOINT, str(folder)))
