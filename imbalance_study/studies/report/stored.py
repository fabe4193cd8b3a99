"""Read the artifacts of a run."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.environment_variables import MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR


class StoredRun:
    """Artifacts of a run; a missing one reads as empty."""

    def __init__(self, client: MlflowClient, run_id: str) -> None:
        self._client, self.run_id = client, run_id
        self._listed: dict[str, set[str]] = {}
        MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR.set(False)

    def names(self, folder: str = "") -> set[str]:
        """List the paths of the files in a folder."""
        if folder not in self._listed:
            entries = self._client.list_artifacts(self.run_id, folder or None)
            self._listed[folder] = {entry.path for entry in entries if not entry.is_dir}
        return self._listed[folder]

    def content(self, name: str) -> bytes:
        """Read the bytes of a file."""
        if name not in self.names(name.rpartition("/")[0]):
            return b""
        with tempfile.TemporaryDirectory(prefix="imbalance_study_") as folder:
            return Path(self._client.download_artifacts(self.run_id, name, folder)).read_bytes()

    def json(self, name: str) -> dict[str, Any]:
        """Read a JSON file."""
        content: dict[str, Any] = json.loads(self.content(name) or b"{}")
        return content

    def table(self, name: str) -> dict[str, list[Any]]:
        """Read the columns of a table that MLflow logged."""
        content = self.json(f"{name}.json")
        return {
            column: [row[number] for row in content["data"]]
            for number, column in enumerate(content.get("columns", ()))
        }
