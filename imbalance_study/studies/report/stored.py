"""The files of a run, as the store has them."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.environment_variables import MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR


class Stored:
    """The artifacts of a run; what is not there is empty."""

    def __init__(self, client: MlflowClient, run_id: str) -> None:
        self._client, self.run_id = client, run_id
        self._listed: dict[str, set[str]] = {}
        MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR.set(False)

    def names(self, folder: str = "") -> set[str]:
        """Paths of the files in a folder."""
        if folder not in self._listed:
            entries = self._client.list_artifacts(self.run_id, folder or None)
            self._listed[folder] = {entry.path for entry in entries if not entry.is_dir}
        return self._listed[folder]

    def content(self, name: str) -> bytes:
        """What a file holds."""
        if name not in self.names(name.rpartition("/")[0]):
            return b""
        with tempfile.TemporaryDirectory(prefix="imbalance_study_") as folder:
            return Path(self._client.download_artifacts(self.run_id, name, folder)).read_bytes()

    def json(self, name: str) -> dict[str, Any]:
        """What a JSON file holds."""
        found: dict[str, Any] = json.loads(self.content(name) or b"{}")
        return found

    def table(self, name: str) -> dict[str, list[Any]]:
        """The columns of a table, as MLflow logs it."""
        found = self.json(f"{name}.json")
        return {
            column: [row[number] for row in found["data"]]
            for number, column in enumerate(found.get("columns", ()))
        }
