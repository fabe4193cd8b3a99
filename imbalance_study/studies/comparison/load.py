"""Read a finished run from MLflow for a comparison."""

from __future__ import annotations

import io
import json
import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from mlflow import MlflowClient
from mlflow.environment_variables import MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR
from PIL import Image

from imbalance_study.studies.comparison.outcome import (
    Curve,
    Outcome,
    StoredEmbedding,
    StoredPredictions,
)
from imbalance_study.tracking.recorder import CONSTANTS

# Metrics whose history is read; each one is a request to the server.
CURVES = (
    *("train/loss", "train/accuracy"),
    *("val/loss", "val/accuracy", "val/balanced_accuracy", "val/macro_f1"),
)
_PREDICTIONS = "predictions/test.parquet"
_FEATURES = "features/coordinates.parquet"
# Images of the grid, predicted after an epoch.
_PICTURE = re.compile(r"images~(?:val|train)_predictions\+step\+(\d+)\+.*\.png$")
_EPOCHS = 12
_PIXELS = 640


def load_outcome(client: MlflowClient, run_id: str, configuration: str) -> Outcome:
    """Read a finished run.

    Args:
        client: Client of the store.
        run_id: A run of `tracking.run.train`.
        configuration: Its label in the comparison.

    Returns:
        The outcome, without test predictions or t-SNE where the run has none.
    """
    run = client.get_run(run_id)
    metrics = {
        name: value
        for name, value in run.data.metrics.items()
        if not name.startswith("system/") and np.isfinite(value)
    }
    with tempfile.TemporaryDirectory(prefix="imbalance_study_") as folder:
        files = _Files(client, run_id, Path(folder))
        metrics = files.constants() | metrics
        content = json.loads(files.get("config.json").read_text())
        facts = content["resolved"]
        names = tuple(facts["class_names"])
        return Outcome(
            run_id=run_id,
            configuration=configuration,
            seed=int(content["config"]["seed"]),
            metrics=metrics,
            curves=_curves(client, run_id, metrics),
            class_names=names,
            train_counts=np.asarray(facts["train_counts"], dtype=np.int64),
            fingerprint=facts["fingerprint"]["fingerprint"],
            epochs=int(metrics.get("train/epochs", 0)),
            images_seen=int(metrics.get("train/images_seen", 0)),
            steps=int(metrics.get("train/steps", 0)),
            test=_predictions(files, names),
            tsne=_embedding(files),
            params=dict(run.data.params),
            seconds=metrics.get("time/train_seconds", 0.0),
            threads=facts.get("threads", 0) if facts.get("device") == "cpu" else 0,
        )


class _Files:
    """Artifacts of a run, downloaded to a local folder on demand."""

    def __init__(self, client: MlflowClient, run_id: str, folder: Path) -> None:
        self._client, self._run_id, self._folder = client, run_id, folder
        MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR.set(False)

    def get(self, name: str) -> Path:
        return Path(self._client.download_artifacts(self._run_id, name, str(self._folder)))

    def constants(self) -> dict[str, float]:
        """Read the metrics that are no metrics in MLflow, as no training changes them."""
        if "metrics.json" not in {
            entry.path for entry in self._client.list_artifacts(self._run_id)
        }:
            return {}
        found = json.loads(self.get("metrics.json").read_text())
        return {name: float(found[name]) for name in CONSTANTS if name in found}

    def columns(self, name: str) -> dict[str, np.ndarray[Any, Any]]:
        """Read the columns of a Parquet file; none where there is no such file."""
        parent, _, _ = name.rpartition("/")
        names = {entry.path for entry in self._client.list_artifacts(self._run_id, parent)}
        if name not in names:
            return {}
        from pyarrow import parquet

        table = parquet.read_table(self.get(name))
        return {
            column: table[column].to_numpy(zero_copy_only=False) for column in table.column_names
        }


def _curves(client: MlflowClient, run_id: str, metrics: dict[str, float]) -> dict[str, Curve]:
    curves = {}
    for name in CURVES:
        if name in metrics:
            points = sorted((m.step, m.value) for m in client.get_metric_history(run_id, name))
            steps, values = zip(*points, strict=True)
            curves[name] = Curve(np.asarray(steps, np.int64), np.asarray(values, np.float64))
    return curves


def _predictions(files: _Files, names: tuple[str, ...]) -> StoredPredictions | None:
    columns = files.columns(_PREDICTIONS)
    if not columns:
        return None
    order = np.argsort(columns["index"], kind="stable")
    probs = np.stack([columns[f"p_{name}"][order] for name in names], axis=1)
    return StoredPredictions(
        columns["index"][order].astype(np.int64), columns["label"][order].astype(np.int64), probs
    )


def _embedding(files: _Files) -> StoredEmbedding | None:
    columns = files.columns(_FEATURES)
    if "tsne_1" not in columns:
        return None
    points = np.stack([columns["tsne_1"], columns["tsne_2"]], axis=1)
    return StoredEmbedding(
        columns["index"].astype(np.int64), columns["label"].astype(np.int64), points
    )


def load_pictures(client: MlflowClient, run_id: str) -> dict[int, bytes]:
    """Read how a run predicted the same images after some of its epochs.

    Returns:
        Epoch to a WebP image of at most 640 pixels, of a dozen epochs; none where none was kept.
    """
    found: dict[int, str] = {}
    for entry in client.list_artifacts(run_id, "images"):
        match = _PICTURE.search(entry.path)
        if match:
            found[int(match[1])] = entry.path
    epochs = sorted(found)
    places = np.unique(np.linspace(0, len(epochs) - 1, min(len(epochs), _EPOCHS)).round())
    with tempfile.TemporaryDirectory(prefix="imbalance_study_") as folder:
        files = _Files(client, run_id, Path(folder))
        chosen = [epochs[int(place)] for place in places]
        return {epoch: _small(files.get(found[epoch])) for epoch in chosen}


def _small(path: Path) -> bytes:
    with Image.open(path) as image:
        made = image.convert("RGB")
    made.thumbnail((_PIXELS, _PIXELS))
    stream = io.BytesIO()
    made.save(stream, format="webp", quality=60)
    return stream.getvalue()
