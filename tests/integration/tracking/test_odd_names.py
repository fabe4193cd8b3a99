"""A training on folders and files with hostile names does no harm, and keeps the names."""

import json
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient
from PIL import Image

from imbalance_study.config.resolve import resolve
from imbalance_study.tracking import run

NAMES = (
    "a 'single' and \"double\"",
    "<img src=x onerror=alert(1)>",
    "[link](javascript:alert(1)) `code` | cell",
    "$(touch harm); && rm -rf ~",
    "größe ü 日本語",
    "%2e%2e %s {0} #tag+step+1",
    "x" * 200,
)


@pytest.mark.slow
def test_odd_names_of_classes_and_files_do_no_harm(own_place, make_store, tmp_path):
    draw = np.random.default_rng(0)
    for name in NAMES:
        folder = tmp_path / "data" / name
        folder.mkdir(parents=True)
        for number in range(8):
            pixels = draw.integers(0, 255, (16, 16, 3), np.uint8)
            Image.fromarray(pixels).save(folder / f"{number} {name[:100]}.png")
    store = make_store(tmp_path)
    given = {
        "dataset": "imagefolder",
        "data_dir": str(tmp_path / "data"),
        "image_size": "16",
        "model": "resnet20",
        "epochs": "1",
        "validation": "none",
        "select_by": "last",
        "system_metrics": "false",
        "analyses": "errors",
        "tracking_uri": store,
    }
    run.train(resolve(given), show_progress=False)
    client = MlflowClient(store)
    (record,) = client.search_runs(["0"])
    assert record.info.status == "FINISHED"
    content = client.download_artifacts(record.info.run_id, "config.json", str(tmp_path))
    names = json.loads(Path(content).read_text())["resolved"]["class_names"]
    assert sorted(names) == sorted(NAMES)
    assert "<img" not in record.data.tags["mlflow.note.content"]
    assert not list(tmp_path.rglob("harm"))

    def paths(folder=None):
        for item in client.list_artifacts(record.info.run_id, folder):
            yield item.path
            if item.is_dir:
                yield from paths(item.path)

    for text in [*paths(), *record.data.metrics, *record.data.tags]:
        assert not any(name[:20] in text for name in NAMES), text
